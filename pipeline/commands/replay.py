"""`privml replay`: a recorded stream of chunks, fed once more to see how fast it is taken in."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.options import ConfigOption, TransportOption
from pipeline.commands.output import JsonOption, Output
from pipeline.commands.running import run_command
from schemas.reasons import ExitCode

if TYPE_CHECKING:
    from pipeline.replay_report import ReplayReport


def replay(
    to: Annotated[
        str, typer.Option("--to", help="Where the copy goes: log:DIR, without messages of the tenant.")
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OWNER=FILE",
            help="What an owner published, to be encrypted anew; repeat for more. Needed where models "
            "learn in sessions: lr, dt.",
        ),
    ] = None,
    chunks: Annotated[
        str,
        typer.Option(
            metavar="A:B", help="Offsets A to B-1 of the chunks topic; all that MU decided by default."
        ),
    ] = ":",
    speed: Annotated[
        str, typer.Option(help="full, or recorded: with the pauses that the stream had.")
    ] = "full",
    keep: Annotated[
        Path | None,
        typer.Option(help="With --data: keep the fresh tenant in this folder, which must not exist."),
    ] = None,
    config: ConfigOption = None,
    transport: TransportOption = None,
    json: JsonOption = False,
) -> None:
    """Feed the recorded chunks to fresh units and report how fast they learn.

    As they are encrypted, to a master unit in memory that has no keys and no SU; or with --data from
    the owners' files, encrypted anew for a tenant of its own with both units. The recorded tenant is
    only read. Ends with 1 if the whole stream gives other models than the recorded ones, or a model
    that answers otherwise than its plaintext twin.
    """
    from pipeline.configurations import fetch_first_tenant
    from pipeline.recorded_stream import read_stream
    from pipeline.reencrypted_replay import replay_reencrypted
    from pipeline.replay import replay as run_replay
    from pipeline.replay_report import Speed
    from pipeline.settings import load_settings, settings_path
    from pipeline.topic_urls import open_transport

    bounds = _bounds(chunks)
    if speed not in set(Speed):
        raise typer.BadParameter("full or recorded", param_hint="--speed")
    if keep is not None and not data:
        raise typer.BadParameter("there is a tenant to keep with --data only", param_hint="--keep")
    if keep is not None and keep.exists():
        raise typer.BadParameter("the folder exists already", param_hint="--keep")
    files = _files(data or [])
    settings = load_settings(settings_path(config))
    output, pace = Output(json), Speed(speed)

    async def run(folder: Path) -> "ReplayReport":
        async with open_transport(transport or settings.transport) as source:
            tenant = await fetch_first_tenant(settings, source, insecure=True)
            if not files:
                async with open_transport(to) as target:
                    return await run_replay(source, target, tenant, bounds, pace)
            stream = await read_stream(source, tenant, bounds, pace)
        return await replay_reencrypted(stream, files, to, folder, pace, output.say)

    # Around the loop: when it is interrupted, its threads may still be writing.
    with TemporaryDirectory(prefix="privml-replay-") as passing:
        report = run_command(run(keep or Path(passing)))
    result = report.as_dict()
    output.result("replay", result)
    for name, value in result.items():
        if name not in {"units", "model", "models"}:
            output.document(f"{name}: {value}")
    for kind, of_kind in (("unit", result["units"]), ("model", {m["id"]: m for m in result["models"]})):
        for name, figures in of_kind.items():
            output.document(
                f"{kind} {name}: " + ", ".join(f"{k} {v}" for k, v in figures.items() if k != "id")
            )
    if report.differs:
        output.say("the replayed models are not the recorded ones, or not their twins'")
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _bounds(chunks: str) -> tuple[int | None, int | None]:
    bounds = re.fullmatch(r"(\d{0,18}):(\d{0,18})", chunks)
    if bounds is None:
        raise typer.BadParameter(
            "two offsets with a colon between, either may be left out", param_hint="--chunks"
        )
    start, stop = (int(bound) if bound else None for bound in bounds.groups())
    return start, stop


def _files(data: list[str]) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for given in data:
        owner, equals, file = given.partition("=")
        if not (owner and equals and file):
            raise typer.BadParameter("OWNER=FILE, for instance a=a.csv", param_hint="--data")
        files.setdefault(owner, []).append(Path(file))
    return files
