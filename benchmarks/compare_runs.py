"""`python -m benchmarks.compare_runs`: a fresh run against the committed one, row by row, in PM.

Ratios to 1 PM compare runs on machines of different speed, and on one that others use as well. Rows
that were not timed here (accuracy, bytes, round trips) are compared only by their presence.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.data_sets import ROOT
from benchmarks.report import SCHEMA, number_text

COMMITTED = ROOT / "docs" / "benchmarks.json"
TOLERANCE = 0.25
TIMED = frozenset({"PM", "s"})
SLOWER, FASTER, SAME, NEW, GONE = "slower", "faster", "same", "new", "gone"


@dataclass(frozen=True, slots=True)
class Change:
    """One row in both runs.

    Attributes:
        name: Of the row.
        before: Its figure in PM in the committed run; None if it is not there.
        after: The same in the fresh run.
        verdict: ``slower``, ``faster``, ``same``, ``new`` or ``gone``.
    """

    name: str
    before: float | None
    after: float | None
    verdict: str

    @property
    def ratio(self) -> float | None:
        """How many times as long it takes; None where one of the two is missing, or nothing."""
        return self.after / self.before if self.after is not None and self.before else None


def read_report(path: Path) -> Mapping[str, Any]:
    """Return a benchmark's JSON object.

    Raises:
        ValueError: The file holds none.
    """
    report = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        raise ValueError(f"{path} is no benchmark's JSON object")
    return report


def compare_reports(
    before: Mapping[str, Any], after: Mapping[str, Any], tolerance: float = TOLERANCE
) -> list[Change]:
    """Return what became of every timed row, slower ones first, by how much.

    Args:
        before: The committed run.
        after: The fresh run; may hold a part of the rows.
        tolerance: Differences up to this part of a figure are nothing, in either direction.

    Raises:
        ValueError: The runs are of different profiles.
    """
    if before["profile"] != after["profile"]:
        raise ValueError(f"one run is of profile {before['profile']}, the other of {after['profile']}")
    old, new = _figures(before), _figures(after)
    changes = []
    for name in [*old, *(name for name in new if name not in old)]:
        pair = old.get(name), new.get(name)
        changes.append(Change(name, *pair, _verdict(*pair, tolerance)))
    order = (SLOWER, FASTER, NEW, GONE, SAME)
    return sorted(changes, key=lambda change: (order.index(change.verdict), -(change.ratio or 0)))


def change_table(changes: Sequence[Change]) -> str:
    """Return the rows that changed as a table, and how many of every kind there are."""
    shown = [change for change in changes if change.verdict != SAME]
    width = max((len(change.name) for change in shown), default=0)
    lines = [
        f"{change.verdict:<7} {change.name:<{width}} {_text(change.before):>10} {_text(change.after):>10} PM"
        + ("" if change.ratio is None else f"  x {change.ratio:.2f}")
        for change in shown
    ]
    counted = [
        f"{sum(change.verdict == kind for change in changes)} {kind}"
        for kind in (SLOWER, FASTER, NEW, GONE, SAME)
    ]
    return "\n".join([*lines, ", ".join(counted)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and return the exit code: 1 if something got slower."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare_runs", description=__doc__)
    parser.add_argument("fresh", type=Path, help="JSON of the fresh run: `make bench ARGS='--json FILE'`")
    parser.add_argument("--committed", type=Path, default=COMMITTED, help="JSON of the run to compare with")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="0.25 lets a quarter pass")
    options = parser.parse_args(arguments)
    try:
        before, after = read_report(options.committed), read_report(options.fresh)
        changes = compare_reports(before, after, options.tolerance)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(change_table(changes))
    if after["quick"]:
        print("the fresh run was made with --quick: two repetitions say little", file=sys.stderr)
    return int(any(change.verdict == SLOWER for change in changes))


def _figures(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the timed rows in PM."""
    return {
        row["name"]: row["value"] if row["value_unit"] == "PM" else row["value"] / report["pm_seconds"]
        for row in report["rows"]
        if row["value_unit"] in TIMED
    }


def _verdict(before: float | None, after: float | None, tolerance: float) -> str:
    if before is None:
        return NEW
    if after is None:
        return GONE
    if after > before * (1 + tolerance):
        return SLOWER
    return FASTER if after * (1 + tolerance) < before else SAME


def _text(value: float | None) -> str:
    return "-" if value is None else number_text(value)


if __name__ == "__main__":
    sys.exit(main())
