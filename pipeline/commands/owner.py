"""`privml owner`: publish encrypted chunks, take one out again, make keys."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.commands.history import history
from pipeline.commands.keygen import add_keygen
from pipeline.commands.log_format import LogFormatOption, start_logs
from pipeline.commands.options import (
    ConfigOption,
    KeystoreOption,
    PassphraseFdOption,
    PassphraseFileOption,
    TransportOption,
)
from pipeline.commands.output import JsonOption, Output, progress
from pipeline.commands.running import run_command
from schemas.topics import Role

if TYPE_CHECKING:
    from pipeline.owner_service import OwnerService
    from pipeline.settings import Settings
    from roles.tenant import Tenant
    from schemas.journal import Receipt

DEFAULT_CHUNK_RECORDS = 500

app = typer.Typer(no_args_is_help=True, help="A data owner: publish encrypted chunks.")
add_keygen(app, Role.OWNER)
app.command()(history)

OwnerOption = Annotated[str, typer.Option("--owner", help="Name of the owner in the configuration.")]
TimeoutOption = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for a further receipt.")]


@app.command()
def publish(
    file: Annotated[Path, typer.Argument(help="CSV file with the schema's columns and the label.")],
    owner: OwnerOption,
    chunk_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Records per chunk. [default: 500, or what the tenant takes]", show_default=False
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="Wait for the receipt of every chunk, and until models can learn it and logistic "
            "regression has.",
        ),
    ] = False,
    timeout: TimeoutOption = 60.0,
    config: ConfigOption = None,
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFileOption = None,
    passphrase_fd: PassphraseFdOption = None,
    transport: TransportOption = None,
    log_format: LogFormatOption = None,
    json: JsonOption = False,
) -> None:
    """Encrypt a CSV file in chunks and publish them.

    The whole file is checked before the first chunk leaves. Public are the number of records per
    chunk and when they come; their content is not. If it is interrupted, or waits in vain, the
    same command goes on where it stopped and publishes nothing twice.
    """
    from pipeline.csv_input import check_training_file, read_training_file
    from pipeline.outbox import file_digest
    from roles.chunk_encodings import ChunkEncodings
    from schemas.journal import EVERY_MODEL
    from schemas.models import LogisticSpec

    start_logs(log_format, Role.OWNER, json=json)

    async def work(service: "OwnerService", tenant: "Tenant") -> dict[str, Any]:
        most = tenant.configuration.limits.max_chunk_records
        if chunk_size is not None and chunk_size > most:
            raise typer.BadParameter(f"this tenant takes at most {most}", param_hint="--chunk-size")
        size = chunk_size or min(DEFAULT_CHUNK_RECORDS, most)
        records = await asyncio.to_thread(check_training_file, file, tenant.schema)
        source = await asyncio.to_thread(file_digest, file, size)
        resent = await service.resend()
        run = await service.begin(source)
        sent = []
        with progress() as bar:
            task = bar.add_task("encrypting and publishing", total=records)
            words = ChunkEncodings(tenant).word_columns > 0
            batches = await asyncio.to_thread(
                lambda: read_training_file(file, tenant.schema, size, words=words)
            )
            async for chunk in service.publish(batches, run):
                sent.append(chunk)
                bar.advance(task, chunk.records)
            receipts: dict[bytes, dict[str, Receipt]] = {chunk.chunk_id: {} for chunk in sent}
            if wait:
                # A tree learns several chunks together; the last ones may have to wait for more.
                models = [s.model_id for s in tenant.configuration.models if isinstance(s, LogisticSpec)]
                models += [EVERY_MODEL] if tenant.has_owner_keys else []
                task = bar.add_task("waiting for receipts", total=len(sent) * (1 + len(models)))
                async for receipt in service.receipts(set(receipts), run.receipts_from, timeout, models):
                    receipts[receipt.message_hash][receipt.model_id] = receipt
                    bar.advance(task)
        await service.finish(source)
        return {
            "records": records,
            "resumed": len(run.stored),
            "resent": resent,
            "bytes": sum(chunk.bytes for chunk in sent),
            "rejected": _refused(receipts.values(), "") if wait else None,
            "not_learnt": _refused(receipts.values()) - _refused(receipts.values(), "") if wait else None,
            "chunks": [
                {
                    "chunk_id": chunk.chunk_id.hex(),
                    "owner_sequence": chunk.sequence,
                    "records": chunk.records,
                    "receipt": _receipt(receipts[chunk.chunk_id].get("")),
                    "rekeyed": _receipt(receipts[chunk.chunk_id].get(EVERY_MODEL)),
                    "learnt": [
                        {"model": name, "invalid": receipt.invalid, **(_receipt(receipt) or {})}
                        for name, receipt in receipts[chunk.chunk_id].items()
                        if name not in {"", EVERY_MODEL}
                    ],
                }
                for chunk in sent
            ],
        }

    result = _as_owner(
        "publish", work, owner, config, keystore, passphrase_file, passphrase_fd, transport, json=json
    )
    output = Output(json)
    for chunk in result["chunks"]:
        receipt = chunk["receipt"]
        state = (
            "" if receipt is None else f"  {receipt['reason'] or 'accepted'} at {receipt['journal_sequence']}"
        )
        for learnt in chunk["learnt"]:
            invalid = f", {learnt['invalid']} records invalid" if learnt["invalid"] else ""
            state += f"; {learnt['model']}: {learnt['reason'] or 'learnt'}{invalid}"
        output.document(f"{chunk['chunk_id']}  {chunk['records']} records{state}")
    if result["rejected"] or result["not_learnt"]:
        raise typer.Exit(_refused_exit())


@app.command()
def withdraw(
    chunk_id: Annotated[str, typer.Argument(help="Chunk id, as `publish` printed it.")],
    owner: OwnerOption,
    timeout: TimeoutOption = 60.0,
    config: ConfigOption = None,
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFileOption = None,
    passphrase_fd: PassphraseFdOption = None,
    transport: TransportOption = None,
    log_format: LogFormatOption = None,
    json: JsonOption = False,
) -> None:
    """Take one of this owner's accepted chunks out of the model, exactly.

    Naive Bayes can forget a chunk. Logistic regression and trees cannot: a tenant that keeps one of
    them refuses withdrawals.
    """
    start_logs(log_format, Role.OWNER, json=json)

    async def work(service: "OwnerService", _: "Tenant") -> dict[str, Any]:
        start = await service.receipts_end()
        await service.resend()
        sent = await service.withdraw(await asyncio.to_thread(service.sequence_of_chunk, chunk_id))
        async for receipt in service.receipts({sent.chunk_id}, start, timeout):
            return {"chunk_id": chunk_id, "withdrawal_id": sent.chunk_id.hex(), "receipt": _receipt(receipt)}
        raise AssertionError("receipts() yields or raises")

    result = _as_owner(
        "withdraw", work, owner, config, keystore, passphrase_file, passphrase_fd, transport, json=json
    )
    reason = result["receipt"]["reason"]
    Output(json).document(f"{chunk_id}  {reason or 'withdrawn'}")
    if reason:
        raise typer.Exit(_refused_exit())


def _refused(receipts: Iterable["dict[str, Receipt]"], model: str | None = None) -> int:
    """Count the receipts that name a reason: those of one model, or all."""
    return sum(
        bool(receipt.reason)
        for of_chunk in receipts
        for name, receipt in of_chunk.items()
        if model is None or name == model
    )


def _receipt(receipt: "Receipt | None") -> dict[str, Any] | None:
    if receipt is None:
        return None
    return {
        "reason": receipt.reason or None,
        "journal_sequence": receipt.journal_sequence,
        "journal_head": receipt.journal_head.hex(),
    }


def _refused_exit() -> int:
    from schemas.reasons import ExitCode

    return int(ExitCode.REFUSED)


def _as_owner(
    kind: str,
    work: Any,
    owner: str,
    config: Path | None,
    keystore: Path | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    transport_url: str | None,
    *,
    json: bool,
) -> dict[str, Any]:
    from dataclasses import replace

    from pipeline.configurations import fetch_sending_tenant
    from pipeline.meter import Meter
    from pipeline.outbox import Outbox
    from pipeline.owner_service import OwnerService, prepare_tables
    from pipeline.parties import open_identity
    from pipeline.process_lock import sole_process
    from pipeline.settings import load_settings, settings_path
    from pipeline.topic_urls import open_transport

    settings: Settings = load_settings(settings_path(config))
    if transport_url is not None:
        settings = replace(settings, transport=transport_url)

    async def run() -> dict[str, Any]:
        async with open_transport(settings.transport) as transport:
            tenant = await fetch_sending_tenant(settings, transport)
            identity = open_identity(
                settings,
                tenant,
                owner,
                Role.OWNER,
                keystore=keystore,
                passphrase_file=passphrase_file,
                passphrase_fd=passphrase_fd,
            )
            prepare_tables(tenant, tenant.chunk_key(owner))
            meter = Meter()
            publisher = identity.publisher(tenant, transport)
            folder = settings.state / f"outbox-{owner}"
            with sole_process(settings.state / f"outbox-{owner}.lock", f"a command of owner '{owner}'"):
                service = OwnerService(transport, tenant, publisher, Outbox(folder), meter)
                result: dict[str, Any] = await work(service, tenant)
            return {"owner": owner, **result, "meter": meter.summary()}

    result = run_command(run())
    Output(json).result(kind, result)
    return result
