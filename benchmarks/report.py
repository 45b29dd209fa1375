"""The report: one JSON object, and the same as tables in docs/benchmarks.md."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import Machine
from benchmarks.measure import Row
from benchmarks.page import markers, write_between

SCHEMA = "privml.bench/1"
FIGURES = "figures"
BEGIN, END = markers(FIGURES)
GROUPS = {
    "primitive": "The cryptosystem",
    "block": "Building blocks, both units",
    "nb": "Naive Bayes",
    "lr": "Logistic regression",
    "dt": "Hoeffding trees",
    "demo": "End to end: `privml demo`",
    "pipeline": "The pipeline, real processes",
    "stream": "A long stream, real processes on the embedded log",
}
WIDE_SPREAD = 1.5
COUNT_NAMES = {
    "powers_full": "full powers",
    "powers_short": "short powers",
    "fixed_base": "powers by table",
    "multi_bases": "multi-power bases",
    "base_ots": "base transfers",
    "cots": "transfer rows",
    "cot_payload_bytes": "correction bytes",
    "ands": "AND gates",
    "hashes": "hashes",
}


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run.

    Attributes:
        machine: Where.
        profile: Which sizes.
        data: Which data sets.
        quick: Too few repetitions to be quoted.
        pm_seconds: 1 PM: the median of all that were measured in this run.
        rows: The figures.
    """

    machine: Machine
    profile: str
    data: str
    quick: bool
    pm_seconds: float
    rows: Sequence[Row]

    @property
    def missed(self) -> list[Row]:
        """The rows whose target is not met."""
        return [row for row in self.rows if row.met is False]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "schema": SCHEMA,
            "machine": asdict(self.machine),
            "profile": self.profile,
            "data": self.data,
            "quick": self.quick,
            "pm_seconds": _rounded(self.pm_seconds),
            "rows": [_rounded({**asdict(row), "met": row.met}) for row in self.rows],
        }

    def json(self) -> str:
        """Return the JSON text."""
        return json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def markdown(self) -> str:
        """Return the tables, one per group, under a line on the machine."""
        machine = self.machine
        libraries = ", ".join(f"{name} {number}" for name, number in machine.libraries.items())
        lines = [
            f"{machine.date}, {machine.cpu}, {machine.cores} cores (load {machine.load:g} before the run), "
            f"{machine.system}, Python {machine.python}, {libraries}, PrivML {machine.privml}. "
            f"Profile `{self.profile}`. Data: {self.data}. "
            f"**1 PM = {seconds_text(self.pm_seconds)}** of CPU in this run.",
        ]
        if self.quick:
            lines += ["", "Made with `--quick`: too few repetitions to be quoted."]
        for group, title in GROUPS.items():
            rows = [row for row in self.rows if row.name.partition(".")[0] == group]
            if rows:
                lines += ["", f"### {title}", "", *_table(rows)]
        return "\n".join(lines) + "\n"


def write_docs(page: Path, report: Report) -> None:
    """Put the tables between the markers of a page; everything else on it stays.

    Raises:
        ValueError: The page has no markers.
    """
    write_between(page, FIGURES, report.markdown().rstrip("\n"))


def seconds_text(seconds: float) -> str:
    """Return a duration with three digits and a fitting unit."""
    for limit, factor, unit in ((1, 1, "s"), (1e-3, 1e3, "ms"), (0, 1e6, "µs")):
        if seconds >= limit:
            return f"{number_text(seconds * factor)} {unit}"
    raise ValueError("a duration is not negative")


def number_text(value: float) -> str:
    """Return a number with three significant digits, whole numbers in groups of three."""
    if value >= 1000 or value == int(value):
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return text if "e" not in text else f"{value:.7f}".rstrip("0")


def figure_text(row: Row) -> str:
    """Return a row's figure with its unit."""
    if row.value_unit == "s":
        return seconds_text(row.value)
    return f"{number_text(row.value)} {row.value_unit}".rstrip()


def target_text(row: Row) -> str:
    """Return a row's target and whether it is met."""
    if row.target is None:
        return ""
    bound = "≥" if row.at_least else "≤"
    figure = seconds_text(row.target) if row.value_unit == "s" else number_text(row.target)
    return f"{bound} {figure} {'met' if row.met else '**missed**'}"


def counts_text(counts: Mapping[str, float]) -> str:
    """Return counted operations in words."""
    return ", ".join(
        f"{number_text(amount)} {COUNT_NAMES.get(name, name)}" for name, amount in counts.items()
    )


def _spread_text(row: Row) -> str:
    """Return the range of a figure that differed much from one repetition to the next."""
    if row.cpu_range is None or row.cpu_range[1] < WIDE_SPREAD * row.cpu_range[0]:
        return ""
    return " to ".join(map(seconds_text, row.cpu_range))


def _rounded(value: Any) -> Any:
    """Return the same with six digits of every float: more says nothing, and clutters a diff."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def _table(rows: Sequence[Row]) -> list[str]:
    """Return what was timed as one table, other figures as another."""
    timed, others = ([row for row in rows if (row.value_unit == "PM") is so] for so in (True, False))
    between = [""] if timed and others else []
    return [*(_times(timed) if timed else []), *between, *(_figures(others) if others else [])]


def _figures(rows: Sequence[Row]) -> list[str]:
    lines = ["| | figure | target | |", "| --- | ---: | --- | --- |"]
    lines += [f"| {row.what} | {figure_text(row)} | {target_text(row)} | {row.note} |" for row in rows]
    return lines


def _times(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| | per | CPU | wall | in PM | target | operations; sizes |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        cpu, wall = (
            "" if seconds is None else seconds_text(seconds)
            for seconds in (row.cpu_seconds, row.wall_seconds)
        )
        details = "; ".join(text for text in (_spread_text(row), counts_text(row.counts), row.note) if text)
        value = number_text(row.value)
        lines.append(
            f"| {row.what} | {row.unit} | {cpu} | {wall} | {value} | {target_text(row)} | {details} |"
        )
    return lines
