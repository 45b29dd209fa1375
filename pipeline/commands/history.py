"""`privml owner history`: an owner reads back what it published, under its own key."""

import asyncio
import contextlib
import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.commands.options import (
    ConfigOption,
    KeystoreOption,
    PassphraseFdOption,
    PassphraseFileOption,
    TransportOption,
)
from pipeline.commands.output import JsonOption, Output
from pipeline.commands.running import run_command
from schemas.topics import Role

if TYPE_CHECKING:
    from pipeline.settings import Settings


def history(
    owner: Annotated[str, typer.Option("--owner", help="Name of the owner in the configuration.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write what the chunks hold to this CSV file.")
    ] = None,
    config: ConfigOption = None,
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFileOption = None,
    passphrase_fd: PassphraseFdOption = None,
    transport: TransportOption = None,
    json: JsonOption = False,
) -> None:
    """List this owner's chunks; with --out, open the accepted ones again under its own key.

    Where models read records they come back as they were encoded: values, bins, scaled numbers. Where
    all models count, a chunk gives back its counts. Only in a tenant with owner keys.
    """
    from dataclasses import replace

    from pipeline.settings import load_settings, settings_path

    if out is not None and not out.parent.is_dir():
        raise typer.BadParameter("its folder does not exist", param_hint="--out")
    settings: Settings = load_settings(settings_path(config))
    if transport is not None:
        settings = replace(settings, transport=transport)
    result = run_command(_history(settings, owner, out, (keystore, passphrase_file, passphrase_fd)))
    output = Output(json)
    output.result("history", result)
    for chunk in result["chunks"]:
        output.document(f"{chunk['chunk_id']}  {chunk['records']} records  {chunk['state']}")


async def _history(
    settings: "Settings", owner: str, out: Path | None, keys: tuple[Path | None, Path | None, int | None]
) -> dict[str, Any]:
    import os
    from concurrent.futures import ThreadPoolExecutor

    from pipeline.configurations import fetch_tenant
    from pipeline.owner_history import ACCEPTED, own_history, own_message
    from pipeline.parties import open_identity
    from pipeline.topic_urls import open_transport
    from roles.chunk_encodings import ChunkEncodings
    from roles.own_chunks import OwnChunks

    keystore, passphrase_file, passphrase_fd = keys
    async with open_transport(settings.transport) as transport:
        tenant = await fetch_tenant(settings, transport, remember=True)
        identity = open_identity(
            *(settings, tenant, owner, Role.OWNER),
            keystore=keystore,
            passphrase_file=passphrase_file,
            passphrase_fd=passphrase_fd,
        )
        chunks = await own_history(transport, tenant, owner)
        with contextlib.ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(max_workers=os.cpu_count() or 1))
            opener = OwnChunks(ChunkEncodings(tenant), identity.weak_key(tenant), pool)
            if out is not None:
                target = stack.enter_context(out.open("w", newline="", encoding="utf-8"))
                table = csv.writer(target)
                table.writerow(("chunk", *opener.header))
                for chunk in chunks:
                    if chunk.state == ACCEPTED:
                        message = await own_message(transport, tenant, chunk)
                        opened = await asyncio.to_thread(opener.open, message)
                        chunk_id = chunk.message_hash.hex()
                        table.writerows((chunk_id, *row) for row in opener.rows(opened))
    return {
        "owner": owner,
        "opened_as": opener.kind,
        "out": None if out is None else str(out),
        "chunks": [
            {
                "chunk_id": chunk.message_hash.hex(),
                "owner_sequence": chunk.sequence,
                "records": chunk.records,
                "state": chunk.state,
            }
            for chunk in chunks
        ],
    }
