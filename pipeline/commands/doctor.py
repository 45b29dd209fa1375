"""`privml doctor`: is this set-up sound, and what to do if not."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.options import ConfigOption, PassphraseFileOption, TransportOption
from pipeline.commands.output import JsonOption, Output
from pipeline.commands.running import run_command
from schemas.reasons import ExitCode

if TYPE_CHECKING:
    from pipeline.doctor_finding import Finding

_MARKS = {"ok": "ok     ", "failed": "FAILED ", "skipped": "skipped"}


def doctor(
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="HOST:PORT",
            help="Where a unit serves its metrics; repeat for both units.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    passphrase_file: PassphraseFileOption = None,
    transport: TransportOption = None,
    json: JsonOption = False,
) -> None:
    """Check files, topics, access, configuration, keystores and units; say what to do about each fault.

    Changes nothing. Ends with 1 if a check fails; one that is skipped says why.
    """
    from pipeline.doctor import Examination, examine
    from pipeline.health_server import MetricsAddress
    from pipeline.settings import settings_path

    addresses = tuple(MetricsAddress.parse(text) for text in metrics or [])
    what = Examination(settings_path(config), transport, passphrase_file, addresses)
    findings = run_command(examine(what))
    failed = [finding for finding in findings if finding.status == "failed"]
    output = Output(json)
    output.result("doctor", {"ok": not failed, "checks": [finding.fields() for finding in findings]})
    for finding in findings:
        output.document(_line(finding))
    if failed:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _line(finding: "Finding") -> str:
    text = f"{_MARKS[finding.status]}  {finding.check:14}  {finding.detail}"
    return text if finding.hint is None else f"{text}\n{'':25}{finding.hint}"
