"""`privml status`: how a tenant is doing, once or again and again; public data only."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.commands.options import ConfigOption, TransportOption
from pipeline.commands.output import JsonOption, Output
from pipeline.commands.running import run_command, run_service

if TYPE_CHECKING:
    from pathlib import Path


def status(
    watch: Annotated[
        float | None,
        typer.Option("--watch", min=0.1, help="Look again every so many seconds.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    transport: TransportOption = None,
    json: JsonOption = False,
) -> None:
    """Show how the tenant is doing: what waits, which versions answer, what calls for a hand.

    Needs no keystore. What this login may not read on a Kafka cluster is left out and named.
    """
    look = _look(config, transport, watch, Output(json))
    if watch is None:
        run_command(look)
        return
    run_service(look)


async def _look(
    config: "Path | None", transport_url: str | None, watch: float | None, output: Output
) -> None:
    from pipeline.configurations import fetch_first_tenant
    from pipeline.settings import load_settings, settings_path
    from pipeline.status import StatusWatch
    from pipeline.topic_urls import open_transport

    settings = load_settings(settings_path(config))
    async with open_transport(transport_url or settings.transport) as transport:
        watching = StatusWatch(transport, await fetch_first_tenant(settings, transport, insecure=True))
        while True:
            found = await watching.look()
            output.result("status", found)
            output.document(_text(found))
            if watch is None:
                return
            await asyncio.sleep(watch)


def _text(found: dict[str, Any]) -> str:
    lag, rounds, receipt = found["lag"], found["rounds"], found["last_receipt"]
    lines = [
        f"{found['tenant']} at {found['at']}",
        f"  undecided: {_count(lag['chunks'])} chunk messages, {_count(lag['queries'])} query messages",
        f"  queries open: {found['queries_open']}, journal entries: {found['journal']['entries']}",
    ]
    if rounds is not None:
        since = "" if rounds["waiting_seconds"] is None else f" for {rounds['waiting_seconds']:.0f} s"
        lines.append(f"  rounds waiting: {rounds['waiting']}{since}, {rounds['per_second']:.1f} a second")
    lines.append(f"  last receipt: {receipt['at'] or 'none'}")
    for model in found["models"]:
        answering = model["answering"]
        by = "does not answer yet" if answering is None else f"answers by version {answering['version']}"
        lines.append(
            f"  model {model['id']} ({model['classifier']}): version {model['version']}, "
            f"{model['records']} records in {model['chunks']} chunks of {model['owners']} owners, "
            f"{model['waiting']} waiting; {by}"
        )
    lines += [f"  warning: {warning['message']} [{warning['code']}]" for warning in found["warnings"]]
    if found["unseen"]:
        lines.append(f"  not shown to this login: {', '.join(found['unseen'])}")
    return "\n".join(lines)


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)
