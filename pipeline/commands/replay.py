"""`privml replay`: a recorded stream of chunks, fed once more to see how fast it is taken in."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.options import ConfigOption, TransportOption
from pipeline.commands.output import JsonOption, Output
from pipeline.commands.running import run_command
from schemas.reasons import ExitCode

if TYPE_CHECKING:
    from pipeline.replay import ReplayReport


def replay(
    to: Annotated[
        str, typer.Option("--to", help="Where the copy goes: log:DIR, without messages of the tenant.")
    ],
    chunks: Annotated[
        str,
        typer.Option(
            metavar="A:B", help="Offsets A to B-1 of the chunks topic; all that MU decided by default."
        ),
    ] = ":",
    speed: Annotated[
        str, typer.Option(help="full, or recorded: with the pauses that the stream had.")
    ] = "full",
    config: ConfigOption = None,
    transport: TransportOption = None,
    json: JsonOption = False,
) -> None:
    """Copy the encrypted chunks to empty topics and train on them there, as MU would; report the speed.

    No keystore, no journal, no SU: the unit that learns lives in memory and is forgotten. Ends with
    1 if the whole stream gives another model than the recorded one.
    """
    from pipeline.configurations import fetch_first_tenant
    from pipeline.replay import Speed
    from pipeline.replay import replay as run_replay
    from pipeline.settings import load_settings, settings_path
    from pipeline.topic_urls import open_transport

    bounds = re.fullmatch(r"(\d{0,18}):(\d{0,18})", chunks)
    if bounds is None:
        raise typer.BadParameter(
            "two offsets with a colon between, either may be left out", param_hint="--chunks"
        )
    if speed not in set(Speed):
        raise typer.BadParameter("full or recorded", param_hint="--speed")
    start, stop = (int(bound) if bound else None for bound in bounds.groups())
    settings = load_settings(settings_path(config))

    async def run() -> "ReplayReport":
        async with open_transport(transport or settings.transport) as source, open_transport(to) as target:
            tenant = await fetch_first_tenant(settings, source, insecure=True)
            return await run_replay(source, target, tenant, (start, stop), Speed(speed))

    report = run_command(run())
    output = Output(json)
    result = report.as_dict()
    output.result("replay", result)
    for name, value in result.items():
        output.document(f"{name}: {value}")
    if report.differs:
        output.say("the replayed model is not the recorded one")
        raise typer.Exit(ExitCode.CHECK_FAILED)
