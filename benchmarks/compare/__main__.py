"""`python -m benchmarks.compare`: PrivML, published protocols and installed peers side by side."""

import argparse
import sys
from collections.abc import Iterator, Sequence

from benchmarks.compare import clear, installed
from benchmarks.compare.bost import Bost
from benchmarks.compare.entry import Entry, Stopwatch
from benchmarks.compare.original import Original
from benchmarks.compare.ours import Ours
from benchmarks.compare.report import Comparison
from benchmarks.data_sets import ROOT, data_set, folder
from benchmarks.deployment import Deployment
from benchmarks.machine import this_machine
from benchmarks.page import write_between
from crypto.profiles import PROFILES, profile

PAGE = ROOT / "docs" / "benchmarks.md"
MARKER = "field"
DEFAULT_PROFILES = ("standard", "paper")
FILES = ("nursery", "wdbc", "lbw")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison and return the exit code: 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument(
        "--profile",
        action="append",
        choices=PROFILES,
        help=f"sizes of PrivML and of the protocols; repeatable; {' and '.join(DEFAULT_PROFILES)} if none",
    )
    parser.add_argument("--quick", action="store_true", help="one or two repetitions; not for quoting")
    parser.add_argument("--write-docs", action="store_true", help="write the tables into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    absent = [name for name in FILES if not (folder() / f"{name}.csv").is_file()]
    if absent:
        parser.error(f"no data: PRIVML_DATA names the folder that holds {', '.join(absent)} as CSV files")
    machine = this_machine()
    failures, entries = [], []
    for found in _all(options.profile or DEFAULT_PROFILES, quick=options.quick):
        if isinstance(found, Entry):
            _say(f"{found.task}: {found.system}, {found.level}")
            entries.append(found)
        else:
            failures.append(found)
    text = Comparison(machine, options.quick, entries, installed.found_peers(), failures).markdown()
    if options.write_docs:
        write_between(PAGE, MARKER, text)
    print(text)
    return 0


def _all(names: Sequence[str], *, quick: bool) -> Iterator[Entry | str]:
    watch = Stopwatch(quick)
    for name in names:
        deployment = Deployment(profile(name))
        yield from Ours(deployment, watch).entries()
        parameters, strong = deployment.dealt
        yield Original(parameters, strong, watch).bayes(data_set("nursery"))
        yield from Bost(parameters.n.bit_length(), watch).entries()
    yield from installed.entries(installed.programs(quick=quick))
    yield from clear.entries()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
