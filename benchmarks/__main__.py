"""`python -m benchmarks`: measure, report, write the documentation's page."""

import argparse
import fnmatch
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.blocks import Blocks
from benchmarks.ciphertexts import Ciphertexts
from benchmarks.data_sets import ROOT, describe
from benchmarks.deployment import Deployment
from benchmarks.end_to_end import demo_names, demo_rows, run_demo
from benchmarks.logistic import SIZES, Logistic
from benchmarks.machine import this_machine
from benchmarks.measure import Benchmark, PowerMeter, Row, measure
from benchmarks.naive_bayes import NaiveBayes
from benchmarks.pipeline import pipeline_names, pipeline_rows
from benchmarks.primitives import Primitives
from benchmarks.report import Report, figure_text, seconds_text, target_text, write_docs
from benchmarks.stream import stream_rows
from benchmarks.trees import Trees
from crypto.profiles import DEFAULT_PROFILE, profile

PAGE = ROOT / "docs" / "benchmarks.md"
JSON_FILE = ROOT / "docs" / "benchmarks.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and return the exit code: 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", metavar="PATTERN", help="rows whose name has this part, or matches this glob"
    )
    parser.add_argument("--quick", action="store_true", help="two repetitions; not for quoting")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the JSON object there")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.json and .md")
    parser.add_argument("--end-to-end", action="store_true", help="also run `privml demo`; takes minutes")
    parser.add_argument(
        "--stream", action="store_true", help="also a long stream, kills and audits; takes minutes"
    )
    parser.add_argument(
        "--pipeline", action="store_true", help="also topics and processes, on Kafka where there is one"
    )
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    options = parser.parse_args(arguments)
    if options.write_docs and (options.only or options.quick):
        parser.error("--write-docs wants a whole run: without --only and --quick")
    chosen = profile(DEFAULT_PROFILE)
    deployment = Deployment(chosen)
    logistic = Logistic(deployment)
    found = [
        benchmark
        for group in (
            Primitives(deployment),
            Ciphertexts(deployment),
            Blocks(deployment),
            NaiveBayes(deployment),
            logistic,
            Trees(deployment),
        )
        for benchmark in group.benchmarks()
        if _matches(benchmark.name, options.only)
    ]
    demos = (
        [name for name in demo_names() if _matches(f"demo.{name}", options.only)]
        if options.end_to_end
        else []
    )
    sizes = [name for name in SIZES if _matches(name, options.only)]
    streamed = options.stream and _matches("stream.", options.only)
    wanted = options.pipeline or (options.only or "").startswith("pipeline.")
    parts = [name for name in pipeline_names() if wanted and _matches(name, options.only)]
    if not (found or demos or sizes or streamed or parts):
        parser.error(f"no row is called like {options.only!r}; --list prints the names")
    if options.list:
        names = [
            *(benchmark.name for benchmark in found),
            *sizes,
            *(f"demo.{name}" for name in demos),
            *parts,
        ]
        print("\n".join(names))
        return 0
    machine = this_machine()
    _say(f"data: {describe()}")
    meter = PowerMeter(chosen.modulus_bits)
    rows = _measure_all(found, meter, quick=options.quick)
    rows += logistic.sizes(sizes)
    for number, name in enumerate(demos, start=1):
        _say(f"[demo {number}/{len(demos)}] {name} …")
        rows += demo_rows(run_demo(name, chosen.name))
    for row in pipeline_rows(deployment, parts, quick=options.quick):
        _say(f"{row.name}: {figure_text(row)} {target_text(row)}")
        rows.append(row)
    if streamed:
        _say("[stream] …")
        rows += stream_rows(chosen.name, quick=options.quick)
    pm = median(meter.measured or meter.measure(9))
    report = Report(machine, chosen.name, describe(), options.quick, pm, rows)
    target = options.json or (JSON_FILE if options.write_docs else None)
    if target is not None:
        target.write_text(report.json(), encoding="utf-8")
    if options.write_docs:
        write_docs(PAGE, report)
    else:
        print(report.markdown())
    for row in report.missed:
        _say(f"missed: {row.name}: {figure_text(row)}, target {target_text(row)}")
    return 0


def _measure_all(benchmarks: Sequence[Benchmark], meter: PowerMeter, *, quick: bool) -> list[Row]:
    rows = []
    for number, benchmark in enumerate(benchmarks, start=1):
        _say(f"[{number}/{len(benchmarks)}] {benchmark.name} …")
        row = measure(benchmark, meter, quick=quick)
        cpu = seconds_text(row.cpu_seconds or 0.0)
        _say(f"    {cpu} per {row.unit}, {figure_text(row)} {target_text(row)}".rstrip())
        rows.append(row)
    return rows


def _matches(name: str, pattern: str | None) -> bool:
    return pattern is None or pattern in name or fnmatch.fnmatch(name, pattern)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
