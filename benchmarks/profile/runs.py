"""Whole runs with the clock in every process: `privml demo`'s own steps, answers held against the twin."""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.data_sets import BUNDLED, csv_file, title
from benchmarks.profile.parts import REST
from crypto.counting import Tally
from crypto.profiles import Profile
from pipeline import demo, role_processes
from pipeline.demo import DemoOptions, DemoRun, run_demo
from pipeline.demo_answers import compare_answers
from pipeline.demo_data import (
    BREAST_CANCER_LABEL,
    DemoTable,
    load_breast_cancer,
    load_csv_table,
    shuffled_order,
)
from pipeline.operation_rates import OperationRates
from pipeline.settings import ENVIRONMENT, FILE_NAME

PARTIES = ("owners", "mu", "su", "client")
PROFILED = {"mu": "mu", "su": "su", "owner": "owners", "predict": "client"}
"""Parties by the first word of their command."""
OWNERS = 3
MAX_RECORDS = 1 << 20


@dataclass(frozen=True, slots=True)
class Case:
    """A run to be made.

    Attributes:
        name: For `--only`.
        classifier: As the demo takes it.
        data: Data set.
        records: Rows of it, the test rows included; all if there are fewer.
        queries: Rows that are asked one by one, and once more together.
    """

    name: str
    classifier: str
    data: str
    records: int
    queries: int

    @property
    def what(self) -> str:
        """The run in words."""
        return f"`{self.classifier}`, {title(self.data)}"


@dataclass(slots=True)
class Profiled:
    """What a run used.

    Attributes:
        case: Which run.
        trained: Records that the model learnt.
        wall: Seconds by phase, from a first message made to a last one read.
        seconds: CPU seconds by party and part.
        starts: CPU seconds of starting the processes, which is in nothing else.
        tally: Counted operations of everybody.
    """

    case: Case
    trained: int = 0
    wall: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    starts: float = 0.0
    tally: Tally = field(default_factory=Tally)

    @property
    def wall_seconds(self) -> float:
        """All phases together."""
        return sum(self.wall.values())

    @property
    def cpu_seconds(self) -> float:
        """All parties together."""
        return sum(sum(used.values()) for used in self.seconds.values())

    def overhead(self, rates: OperationRates, cores: int = 2) -> float:
        """Return the wall time by what the counted operations alone would take on all cores."""
        return self.wall_seconds / (rates.seconds(self.tally) / cores)


def run_case(case: Case, profile: Profile) -> Profiled:
    """Make a run.

    Raises:
        RuntimeError: An answer is not the twin's.
        PrivMLError: A step failed.
    """
    with tempfile.TemporaryDirectory(prefix="privml-profile-") as name:
        folder, files = Path(name) / "tenant", Path(name) / "parts"
        files.mkdir()
        options = DemoOptions(
            label=_label(case.data),
            owners=OWNERS,
            chunk_size=None,
            classifier=case.classifier,
            profile=profile.name,
            insecure=profile.insecure,
            seed=0,
            queries=case.queries,
            bins=10,
        )
        with _clocked(files):
            run = run_demo(_table(case), options, folder, _say)
        answers = compare_answers(run, MAX_RECORDS)
        if not ((answers.single == answers.twin).all() and (answers.batch == answers.twin).all()):
            raise RuntimeError("an answer is not the twin's")
        return _summary(case, run, files)


@contextmanager
def _clocked(files: Path) -> Iterator[None]:
    """Have the demo start the parties' processes with the clock; each writes a file of its own."""
    plain = role_processes.start
    numbers = count()

    def start(command: Sequence[str], folder: Path) -> "subprocess.Popen[str]":
        party = PROFILED.get(command[0])
        if party is None:
            return plain(command, folder)
        file = files / f"{next(numbers):02}-{party}.json"
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.profile.process", str(file), *command, "--json"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, ENVIRONMENT: str(folder / FILE_NAME)},
        )

    with mock.patch.object(role_processes, "start", start), mock.patch.object(demo, "start", start):
        yield


def _summary(case: Case, run: DemoRun, files: Path) -> Profiled:
    found = Profiled(case, run.model["records"])
    for party in PARTIES:
        found.seconds[party] = defaultdict(float)
    meters: dict[str, list[Mapping[str, Any]]] = {
        "owners": [published["meter"] for published in run.published],
        "mu": [run.stopped["mu"]],
        "su": [run.stopped["su"]],
        "client": [lines[-1]["meter"] for lines in (run.single, run.batch)],
    }
    spans: dict[str, list[tuple[float, float]]] = {party: [] for party in PARTIES}
    for party, own in meters.items():
        reports = [
            json.loads(file.read_text(encoding="utf-8")) for file in sorted(files.glob(f"*-{party}.json"))
        ]
        for report in reports:
            for part, used in report["seconds"].items():
                found.seconds[party][part or REST] += used
            found.starts += report["start_seconds"]
        for meter in own:
            for entry in meter["activities"].values():
                found.tally.add(Tally(**entry["counts"]))
        spans[party] = _spans(party, own, [report["began"] for report in reports])
    (trained,) = spans["mu"]
    found.wall["training"] = trained[1] - min(start for start, _ in spans["owners"])
    for name, (start, end) in zip(("queries one by one", "queries together"), spans["client"], strict=True):
        found.wall[name] = end - start
    return found


def _spans(
    party: str, meters: Sequence[Mapping[str, Any]], began: Sequence[float]
) -> list[tuple[float, float]]:
    """Return from when to when a party's processes worked, by the clock that all processes share."""
    found = []
    # Owners start at the same time: which report belongs to which meter is of no matter but for their start.
    for meter, start in zip(meters, began, strict=True):
        entries = [
            entry
            for name, entry in meter["activities"].items()
            if party != "mu" or name in {"chunk", "learn"}
        ]
        found.append(
            (
                start + min(entry["started_seconds"] for entry in entries),
                start + max(entry["ended_seconds"] for entry in entries),
            )
        )
    return found


def _table(case: Case) -> DemoTable:
    table = load_breast_cancer() if case.data == BUNDLED else load_csv_table(csv_file(case.data)[0])
    rows = [table.rows[place] for place in shuffled_order(len(table.rows), 1)[: case.records]]
    return DemoTable(table.name, table.columns, tuple(rows), table.sha256)


def _label(data: str) -> str:
    return BREAST_CANCER_LABEL if data == BUNDLED else csv_file(data)[1]


def _say(text: str) -> None:
    print(f"    {text}", file=sys.stderr, flush=True)
