"""`privml audit`, and how every audit reports; needs no keystore."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.options import ConfigOption, TransportOption
from pipeline.commands.output import JsonOption, Output, console
from pipeline.commands.running import run_command
from schemas.reasons import ExitCode

if TYPE_CHECKING:
    from pipeline.audit_report import AuditReport

# A terminal is for the first of them; --json has all.
_FINDINGS_SHOWN = 20


def audit(
    skip_proofs: Annotated[
        bool,
        typer.Option("--skip-proofs", help="Leave out the proofs of plaintext knowledge, the longest part."),
    ] = False,
    config: ConfigOption = None,
    transport: TransportOption = None,
    json: JsonOption = False,
) -> None:
    """Hold the whole log against the rules, from public data alone, and recompute the model.

    Ends with 1 if anything is not as it must be.
    """
    from pipeline.audit import audit as run_audit
    from pipeline.configurations import fetch_first_tenant
    from pipeline.settings import load_settings, settings_path
    from pipeline.topic_urls import open_transport

    settings = load_settings(settings_path(config))

    async def run() -> "AuditReport":
        async with open_transport(transport or settings.transport) as opened:
            tenant = await fetch_first_tenant(settings, opened, insecure=True)
            return await run_audit(opened, tenant, proofs=not skip_proofs)

    report_audit(run_command(run()), Output(json))


def report_audit(report: "AuditReport", output: Output) -> None:
    """Print a report: the object on stdout, a table on stderr.

    Raises:
        typer.Exit: With 1 if there are findings.
    """
    from rich.table import Table

    result = report.as_dict()
    output.result("audit", result)
    model = result["model"]
    matches = {True: "as recorded", False: "NOT AS RECORDED", None: "not recorded"}[model["matches"]]
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    if report.last is not None:
        table.add_row("journal", f"entries {result['from']['journal_sequence']} to {report.last}")
    if result["from"]["snapshot"] is not None:
        table.add_row("from", result["from"]["snapshot"])
    for name, amount in result["checked"].items():
        table.add_row(name.replace("_", " "), f"{amount}")
    if model["sha256_recomputed"] is not None:
        table.add_row("model", f"{model['id']} version {model['version']}, {matches}")
    for left_out in report.skipped:
        table.add_row("NOT CHECKED", left_out)
    for finding in report.findings[:_FINDINGS_SHOWN]:
        place = f"{finding.place.topic} {finding.place.partition}:{finding.place.offset}"
        table.add_row(finding.code.value, f"{place}  {finding.detail}")
    if len(report.findings) > _FINDINGS_SHOWN:
        table.add_row("", f"and {len(report.findings) - _FINDINGS_SHOWN} more findings")
    console().print(table)
    if model["sha256_recomputed"] is not None:
        # Whole, however narrow the terminal is.
        output.say(f"model sha256 {model['sha256_recomputed']}")
    output.say("ok" if report.ok else f"{len(report.findings)} findings")
    if not report.ok:
        raise typer.Exit(ExitCode.CHECK_FAILED)
