"""`python -m benchmarks.scaling`: measure every axis, fit exponents, draw charts."""

import argparse
import sys
from collections.abc import Iterator, Sequence

from benchmarks.data_sets import ROOT
from benchmarks.log_chart import log_chart
from benchmarks.machine import Machine, this_machine
from benchmarks.measure import Benchmark, PowerMeter, measure
from benchmarks.page import write_between
from benchmarks.report import number_text, seconds_text
from benchmarks.scaling import cores
from benchmarks.scaling.axes import AXES, Axis
from benchmarks.scaling.fit import Point, PowerLaw, power_law
from benchmarks.scaling.laboratory import Laboratory
from crypto.profiles import DEFAULT_PROFILE, PROFILES, profile

FOLDER = ROOT / "docs"
PAGE = FOLDER / "benchmarks.md"
MARKER = "scaling"
REPETITIONS = 5

Measured = tuple[Axis, list[Point], PowerLaw]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the axes and return the exit code: 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    names = [*(axis.name for axis in AXES), cores.NAME]
    parser.add_argument("--only", action="append", choices=names, help="repeatable")
    parser.add_argument("--profile", choices=PROFILES, default=DEFAULT_PROFILE, help="where it is not varied")
    parser.add_argument("--quick", action="store_true", help="two repetitions, fewer points; not for quoting")
    parser.add_argument(
        "--write-docs", action="store_true", help="write table and charts into docs; whole runs only"
    )
    options = parser.parse_args(arguments)
    if options.write_docs and options.only:
        parser.error("--write-docs wants a whole run: without --only")
    machine = this_machine()
    laboratory = Laboratory(profile(options.profile), options.quick)
    chosen = [axis for axis in AXES if not options.only or axis.name in options.only]
    measured = [run(axis, laboratory) for axis in chosen]
    by_cores = cores.measured(laboratory) if not options.only or cores.NAME in options.only else []
    text = report(machine, laboratory, measured, by_cores)
    if options.write_docs:
        for axis, points, law in measured:
            (FOLDER / f"scaling_{axis.name}.svg").write_text(chart(axis, points, law), encoding="utf-8")
        write_between(PAGE, MARKER, text)
    print(text)
    return 0


def run(axis: Axis, laboratory: Laboratory) -> Measured:
    """Measure one axis and fit its law."""
    points = list(_points(axis, laboratory))
    return axis, points, power_law(points)


def _points(axis: Axis, laboratory: Laboratory) -> Iterator[Point]:
    meter = PowerMeter(laboratory.profile.modulus_bits)
    for size, prepared in axis.points(laboratory):
        row = measure(
            Benchmark(axis.name, "", "", lambda: prepared, repetitions=REPETITIONS),  # noqa: B023 - called at once
            meter,
            quick=laboratory.quick,
        )
        if row.cpu_seconds is None or row.cpu_range is None:
            raise RuntimeError("nothing was timed")
        print(f"{axis.name} {size:,}: {seconds_text(row.cpu_seconds)}", file=sys.stderr, flush=True)
        yield Point(size, row.cpu_seconds, *row.cpu_range)


def chart(axis: Axis, points: Sequence[Point], law: PowerLaw) -> str:
    """Return the chart of an axis."""
    ends = [points[0].size, points[-1].size]
    return log_chart(
        f"{axis.title}: exponent {law.exponent:.2f}",
        axis.quantity,
        "CPU, s",
        [(point.size, point.seconds, point.low, point.high) for point in points],
        [(size, law.seconds(size)) for size in ends],
    )


def report(
    machine: Machine,
    laboratory: Laboratory,
    measured: Sequence[Measured],
    by_cores: Sequence[cores.CoreTimes] = (),
) -> str:
    """Return the tables and the charts as Markdown."""
    lines = [
        f"{machine.date}, {machine.cpu}, {machine.cores} cores (load {machine.load:g} before the run), "
        f"Python {machine.python}, PrivML {machine.privml}, profile `{laboratory.profile.name}`."
    ]
    if laboratory.quick:
        lines += ["", "**Made with `--quick` on a machine that did other things too: not to be quoted.**"]
    if measured:
        head = ("what is timed", "grows", "CPU, median (range) at every size", "exponent", "last two sizes")
        lines += ["", f"| {' | '.join(head)} | growth |", "| --- | --- | --- | ---: | ---: | --- |"]
    for axis, points, law in measured:
        cells = "; ".join(_cell(point) for point in points)
        exponent = f"{law.exponent:.2f} ± {law.error:.2f}"
        lines.append(
            f"| {axis.title} | {axis.quantity} | {cells} | {exponent} | {law.last:.2f} | {law.name} |"
        )
    if by_cores:
        lines += ["", *cores.table(by_cores)]
    for axis, _, _ in measured:
        lines += ["", f"![{axis.title}, by {axis.quantity}](scaling_{axis.name}.svg)"]
    return "\n".join(lines)


def _cell(point: Point) -> str:
    return (
        f"{number_text(point.size)}: {seconds_text(point.seconds)} "
        f"({seconds_text(point.low)} to {seconds_text(point.high)})"
    )


if __name__ == "__main__":
    sys.exit(main())
