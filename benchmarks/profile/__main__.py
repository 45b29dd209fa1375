"""`python -m benchmarks.profile`: whole runs of every learner, their time by part."""

import argparse
import sys
from collections.abc import Sequence

from benchmarks.data_sets import BUNDLED, ROOT, available
from benchmarks.machine import this_machine
from benchmarks.page import write_between
from benchmarks.profile.report import ProfileReport
from benchmarks.profile.runs import Case, run_case
from crypto.profiles import DEFAULT_PROFILE, PROFILES, profile
from pipeline.operation_rates import measure_rates

PAGE = ROOT / "docs" / "benchmarks.md"
MARKER = "profile"
LEARNERS = ("nb", "lr", "dt")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the runs and return the exit code: 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--only", action="append", choices=LEARNERS, help="repeatable")
    parser.add_argument("--profile", choices=PROFILES, default=DEFAULT_PROFILE)
    parser.add_argument("--quick", action="store_true", help="few records and queries; not for quoting")
    parser.add_argument("--write-docs", action="store_true", help="write the tables into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if options.write_docs and options.only:
        parser.error("--write-docs wants a whole run: without --only")
    chosen = profile(options.profile)
    machine, rates = this_machine(), measure_rates(chosen)
    runs = []
    for case in cases(quick=options.quick):
        if options.only and case.name not in options.only:
            continue
        print(f"{case.what} …", file=sys.stderr, flush=True)
        runs.append(run_case(case, chosen))
    text = ProfileReport(machine, chosen.name, options.quick, rates, runs).markdown()
    if options.write_docs:
        write_between(PAGE, MARKER, text)
    print(text)
    return 0


def cases(*, quick: bool) -> list[Case]:
    """Return the runs, one of every learner."""
    data = "nursery" if "nursery" in available() else BUNDLED
    records, queries = (1000, 5) if quick else (7500, 100)
    return [
        Case("nb", "nb", data, records, queries),
        # Two classes, which logistic regression wants.
        Case("lr", "lr", BUNDLED, 200 if quick else 569, queries),
        Case("dt", "dt:grace=100" if quick else "dt", data, records, queries),
    ]


if __name__ == "__main__":
    sys.exit(main())
