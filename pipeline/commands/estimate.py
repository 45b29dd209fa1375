"""`privml estimate`: what a tenant would cost, before there is one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.output import JsonOption, Output, console

if TYPE_CHECKING:
    from pipeline.estimate import Phase
    from pipeline.operation_rates import OperationRates


def estimate(
    schema: Annotated[Path, typer.Option(help="Data schema, as `privml schema infer` writes it.")],
    records: Annotated[int, typer.Option(min=1, help="Records of all owners together.")],
    classifier: Annotated[
        list[str] | None,
        typer.Option(help="[NAME=]KIND:parameter=value,…; repeat for more.", show_default="nb"),
    ] = None,
    chunk_size: Annotated[int, typer.Option(min=1, help="Records per chunk.")] = 500,
    queries: Annotated[int, typer.Option(min=0, help="Rows asked of every model.")] = 100,
    query_rows: Annotated[int, typer.Option(min=1, max=1000, help="Rows per query message.")] = 1,
    owners: Annotated[int, typer.Option(min=1, help="Data owners, of equally many records.")] = 3,
    leaves: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Leaves of a tree in the end. [default: a leaf splits at the tie threshold]",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="Sizes: legacy, standard, …")] = "standard",
    rates: Annotated[
        Path | None,
        typer.Option(help="A benchmark's JSON. [default: measured on this machine]", show_default=False),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Predict operations, bytes, round trips and seconds of training and queries, without any data.

    Operations follow from the plans that the units would run; seconds are for two cores.
    """
    from pipeline.dealer import known_profile
    from pipeline.estimate import Workload, estimated_phases, imagined_tenant, totals
    from pipeline.model_options import parse_models
    from pipeline.operation_rates import measure_rates, rates_from
    from pipeline.schema_files import read_schema
    from schemas.configuration import Limits

    output = Output(json)
    sizes = known_profile(profile)
    data_schema = read_schema(schema)
    models = parse_models(classifier or ["nb"], data_schema.class_count)
    work = Workload(records, min(chunk_size, records), owners, queries, query_rows, leaves)
    limits = Limits(work.chunk_size, max(1 << 24, records), query_rows, 1, 1, 0)
    phases = estimated_phases(imagined_tenant(sizes, data_schema, models, limits), work)
    measured = measure_rates(sizes) if rates is None else rates_from(rates, sizes)
    output.result(
        "estimate",
        {
            "profile": sizes.name,
            "modulus_bits": sizes.modulus_bits,
            "records": records,
            "chunk_size": work.chunk_size,
            "chunks": len(work.chunks),
            "owners": owners,
            "queries": queries,
            "query_rows": query_rows,
            "pm_seconds": measured.power_full,
            "rates": measured.as_dict(),
            "phases": [phase.as_dict(measured) for phase in phases],
            "totals": totals(phases, measured),
        },
    )
    if not json:
        _print(phases, measured)


def _print(phases: list["Phase"], rates: "OperationRates") -> None:
    from rich.table import Table

    figures = Table("what", "model", "times", "trips", "sent", "in PM", "CPU", "wall")
    for phase in phases:
        cpu = phase.cpu_seconds(rates)
        figures.add_row(
            phase.name,
            phase.model or "",
            f"{phase.times:,}",
            f"{phase.rounds:,}",
            f"{sum(phase.sent.values()) / 1e6:,.2f} MB",
            f"{cpu / rates.power_full:,.0f}",
            f"{cpu:,.1f} s",
            f"{phase.wall_seconds(rates):,.1f} s",
        )
    terminal = console()
    terminal.print(figures)
    terminal.print(
        f"1 PM = {rates.power_full * 1000:.1f} ms; `--json` has operations by party and bytes by topic."
    )
