"""`privml inspect`: look at a tenant's public data; needs no keystore."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.commands.options import ConfigOption, TransportOption
from pipeline.commands.output import JsonOption, Output
from pipeline.commands.running import run_command

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.transport import Transport
    from roles.tenant import Tenant

app = typer.Typer(no_args_is_help=True, help="Look at topics, chunks, journal and the encrypted model.")


@app.command()
def topics(config: ConfigOption = None, transport: TransportOption = None, json: JsonOption = False) -> None:
    """List the topics with their sizes."""
    from pipeline.inspection import inspect_topics

    listed = _with_tenant(config, transport, lambda opened, _: inspect_topics(opened))
    output = Output(json)
    output.result("inspect topics", {"topics": listed})
    for info in listed:
        size = "" if info["bytes"] is None else f" {info['bytes']:12} bytes"
        output.document(f"{info['topic']:32} {info['messages']:8} messages{size}")


@app.command()
def chunk(
    chunk_id: Annotated[str, typer.Argument(help="Chunk id, as `privml owner publish` prints it.")],
    config: ConfigOption = None,
    transport: TransportOption = None,
    json: JsonOption = False,
) -> None:
    """Show what is public of one chunk: owner, number of records, layout, sizes."""
    from pipeline.inspection import inspect_chunk

    found = _with_tenant(config, transport, lambda opened, tenant: inspect_chunk(opened, tenant, chunk_id))
    _show("inspect chunk", found, Output(json))


@app.command()
def model(
    model_id: Annotated[
        str | None,
        typer.Option("--model", help="Model id. [default: the tenant's first model]", show_default=False),
    ] = None,
    config: ConfigOption = None,
    transport: TransportOption = None,
    json: JsonOption = False,
) -> None:
    """Recompute an encrypted model from the log, or find it as it was sealed, and show its hash."""
    from pipeline.inspection import inspect_model

    found = _with_tenant(config, transport, lambda opened, tenant: inspect_model(opened, tenant, model_id))
    _show("inspect model", found, Output(json))


@app.command()
def journal(config: ConfigOption = None, transport: TransportOption = None, json: JsonOption = False) -> None:
    """List MU's decisions in order."""
    from pipeline.inspection import inspect_journal

    entries = _with_tenant(config, transport, inspect_journal)
    output = Output(json)
    output.result("inspect journal", {"entries": entries})
    for entry in entries:
        if "ignored" in entry:
            output.document(f"{'':>8} ignored: {entry['ignored']}")
        else:
            output.document(
                f"{entry['sequence']:8} {entry['kind']:9} {entry['sender'] or '-':12} "
                f"{entry['records']:7} records  {entry['reason'] or entry['message_id']}"
            )


def _show(kind: str, fields: dict[str, Any], output: Output) -> None:
    output.result(kind, fields)
    for name, value in fields.items():
        output.document(f"{name}: {value}")


def _with_tenant(
    config: "Path | None", transport_url: str | None, look: "Callable[[Transport, Tenant], Awaitable[Any]]"
) -> Any:
    from pipeline.configurations import fetch_first_tenant
    from pipeline.settings import load_settings, settings_path
    from pipeline.topic_urls import open_transport

    settings = load_settings(settings_path(config))

    async def run() -> Any:
        async with open_transport(transport_url or settings.transport) as transport:
            return await look(transport, await fetch_first_tenant(settings, transport, insecure=True))

    return run_command(run())
