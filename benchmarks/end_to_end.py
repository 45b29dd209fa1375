"""End to end: `privml demo` in a process of its own, its `demo/1` object turned into rows.

The demo runs every role as its own process over the embedded log, and checks each answer against
the plaintext twin. Its figures are those of whole processes: wall time where a person waits, CPU
and memory per role.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.data_sets import BUNDLED, NAMES, available, csv_file, title
from benchmarks.measure import Row

TIMEOUT_SECONDS = 3600
DEMO_SCHEMA = "privml.demo/1"
WALL_TARGET_PM = 2700
MEMORY_TARGET_BYTES = 400 * 10**6
ACCURACY_TARGET = 0.005


@dataclass(frozen=True, slots=True)
class Demo:
    """One run of the demo.

    Attributes:
        name: Data set.
        report: The `demo/1` object.
        wall_seconds: From start to end of the command.
        cpu_seconds: Of the command and all processes it started.
    """

    name: str
    report: Mapping[str, Any] = field(repr=False)
    wall_seconds: float
    cpu_seconds: float


def demo_names() -> tuple[str, ...]:
    """Return the data sets to run: the bundled one, as in `make demo`, and the files at hand."""
    return (BUNDLED, *(name for name in available() if name in NAMES))


def run_demo(name: str, profile: str) -> Demo:
    """Run the demo on a data set.

    Raises:
        RuntimeError: It ended without its object; the message has what it said.
    """
    command = [sys.executable, "-P", "-m", "pipeline", "demo", "--profile", profile, "--json"]
    if name != BUNDLED:
        path, label = csv_file(name)
        command += ["--data", str(path), "--label", label]
    used, start = _children_seconds(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
    wall, cpu = time.perf_counter() - start, _children_seconds() - used
    try:
        report = json.loads(done.stdout)
    except json.JSONDecodeError:
        report = {}
    # Exit code 1 says that answers differ from the twin's: a figure to be reported like others.
    if done.returncode not in {0, 1} or report.get("schema") != DEMO_SCHEMA:
        said = (done.stdout[-500:] + done.stderr[-2000:]).strip()
        raise RuntimeError(f"the demo on {name} ended with {done.returncode}: {said}")
    return Demo(name, report, wall, cpu)


def demo_rows(demo: Demo) -> list[Row]:
    """Return the rows of one run; figures that the demo leaves null are left out."""
    report, name = demo.report, demo.name
    data, pm = report["data"], float(report["pm_seconds"])
    note = (
        f"{data['rows']:,} rows, {data['features_onehot']} one-hot columns, {data['classes']} classes; "
        f"{report['rows_trained']:,} trained in {report['chunks']} chunks, {report['queries']} queries"
    )
    rows = [
        Row(
            f"demo.{name}_wall",
            f"{title(name)}: the whole command, key generation included",
            "run",
            demo.wall_seconds / pm,
            target=WALL_TARGET_PM if name == BUNDLED else None,
            cpu_seconds=demo.cpu_seconds,
            wall_seconds=demo.wall_seconds,
            pm_seconds=pm,
            note=note,
        )
    ]

    def add(key: str, what: str, value: float | None, unit: str, **options: Any) -> None:
        if value is not None:
            rows.append(Row(f"demo.{name}_{key}", f"{title(name)}: {what}", "run", value, unit, **options))

    add(
        "twin_agreement",
        "answers equal to the plaintext twin's",
        report["twin_agreement"],
        "",
        target=1.0,
        at_least=True,
    )
    add("accuracy", "accuracy", report["accuracy"], "")
    reference = report["sklearn_accuracy"]
    if reference is not None:
        apart = abs(report["accuracy"] - reference)
        add(
            "accuracy_apart",
            f"accuracy, apart from scikit-learn's {reference:.4f}",
            apart,
            "",
            target=ACCURACY_TARGET,
        )
    add("keygen", "key generation, wall", report["keygen_seconds"], "s")
    add("owners", "encryption by all owners, CPU", report["owner_encrypt_seconds"], "s")
    add("train", "training, first chunk read to last receipt, wall", report["train_seconds"], "s")
    for role in ("mu", "su"):
        add(f"train_{role}", f"training, CPU of {role.upper()}", report["train_cpu_seconds"][role], "s")
    add("refresh", "refresh of the table, wall", report["refresh_seconds"], "s")
    add("query", "one query, client publishes to client reads, median", report["query_seconds_median"], "s")
    add("query_p95", "the same, 95th percentile", report["query_seconds_p95"], "s")
    add("query_batch", "a query's part in a batch", report["query_batch_seconds_each"], "s")
    for role in ("mu", "su"):
        add(
            f"memory_{role}",
            f"peak memory of {role.upper()}",
            report["peak_rss_bytes"][role],
            "bytes",
            target=MEMORY_TARGET_BYTES,
        )
    add("bytes_owners", "bytes from owners to MU", report["bytes_owner_to_mu"], "bytes")
    add("bytes_units", "bytes between MU and SU", report["bytes_mu_su"], "bytes")
    add("bytes_client", "bytes of query and answer", report["bytes_client"], "bytes")
    add("rounds", "round trips of a query", report["rounds_per_query"], "")
    return rows


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
