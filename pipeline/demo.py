"""The demo: every role as its own process, from one CSV file to private answers.

This module starts processes and reads what they print; it holds nobody's keys. The report on
what came of it is `pipeline.demo_report`.
"""

import contextlib
import csv
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pipeline.demo_data import DemoSplit, DemoTable, csv_text, split_rows
from pipeline.demo_schema import demo_schema
from pipeline.errors import PipelineError
from pipeline.model_options import parse_models
from pipeline.settings import FILE_NAME
from schemas.data_schema import DataSchema
from schemas.models import ModelSpec
from schemas.reasons import ReasonCode
from schemas.schema_toml import dump_schema

CLIENT = "client"
READY_SECONDS = 60.0
STOP_SECONDS = 30.0
RECEIPT_SECONDS = 300.0
LEARNING_POLL_SECONDS = 2.0
CHUNK_RECORDS = 500
ANSWER_SECONDS = 120.0


class DemoStepError(PipelineError):
    """A role's process failed; its own message is above on stderr."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code or ReasonCode.INTERNAL_ERROR


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo was asked for; see `privml demo --help`."""

    label: str
    owners: int
    chunk_size: int | None
    classifier: str
    profile: str
    insecure: bool
    seed: int
    queries: int
    bins: int


@dataclass(slots=True)
class DemoRun:
    """What the processes printed.

    Attributes:
        folder: Working folder.
        schema: The public data schema.
        split: Training rows by owner, and test rows.
        asked: The test rows that were asked.
        model_spec: The model that is trained.
        chunk_size: Records per chunk.
        keygen_seconds: Set-up, all parties' keys included.
        published: One `publish/1` object per owner.
        single: `predict/1` lines of the questions asked one by one.
        batch: The same asked together.
        stopped: The units' `stopped/1` objects by role.
        model: The `inspect model/1` object.
        journal: The entries that `inspect journal` lists.
    """

    folder: Path
    schema: DataSchema
    split: DemoSplit
    asked: Sequence[tuple[str, ...]]
    model_spec: ModelSpec
    chunk_size: int = 0
    keygen_seconds: float = 0.0
    published: list[dict[str, Any]] = field(default_factory=list)
    single: list[dict[str, Any]] = field(default_factory=list)
    batch: list[dict[str, Any]] = field(default_factory=list)
    stopped: dict[str, dict[str, Any]] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    journal: list[dict[str, Any]] = field(default_factory=list)


def run_demo(table: DemoTable, options: DemoOptions, folder: Path, say: Callable[[str], None]) -> DemoRun:
    """Set a tenant up in a folder, train and ask, and return what was printed.

    Raises:
        DemoStepError: A process failed.
        InputFileError: The data cannot be used.
        ModelOptionError: The classifier is described in a way that means nothing.
    """
    run = _prepare(table, options, folder)
    say(
        f"data: {table.name}, {len(run.split.train)} training rows of {options.owners} owners, "
        f"{len(run.split.test)} test rows, {run.schema.onehot_columns} one-hot columns"
    )
    started = time.monotonic()
    owners = [_owner(i) for i in range(options.owners)]
    init = ["authority", "init", "--dir", str(folder), "--schema", str(folder / "schema.toml")]
    init += ["--passphrase-file", str(folder / "passphrase"), "--profile", options.profile]
    init += ["--min-owners", "1", "--min-records", "1", "--client", CLIENT]
    init += ["--classifier", options.classifier]
    init += [part for name in owners for part in ("--owner", name)]
    say("set-up: safe primes, then every party's keys in a process of its own")
    made = _call([*init, "--insecure"] if options.insecure else init, folder)[0]
    run.chunk_size = options.chunk_size or min(CHUNK_RECORDS, made["max_chunk_records"])
    run.keygen_seconds = time.monotonic() - started
    say(f"set-up done in {run.keygen_seconds:.1f} s; starting the units")
    with _unit("su", folder, run), _unit("mu", folder, run):
        say("training: owners publish encrypted chunks")
        processes = [_publish(folder, name, run.chunk_size) for name in owners]
        run.published = [_finish(process)[0] for process in processes]
        _await_learnt(folder, say)
        records = sum(published["records"] for published in run.published)
        say(f"trained on {records} records; asking {len(run.asked)} questions one by one")
        run.single = _ask(folder, rows_per_query=1)
        say("asking them again in batches")
        run.batch = _ask(folder, rows_per_query=None)
    run.model = _call(["inspect", "model"], folder)[0]
    run.journal = _call(["inspect", "journal"], folder)[0]["entries"]
    return run


def _prepare(table: DemoTable, options: DemoOptions, folder: Path) -> DemoRun:
    split = split_rows(table.rows, options.owners, options.seed)
    folder.mkdir(parents=True, exist_ok=True)
    passphrase = os.open(folder / "passphrase", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(passphrase, "w") as file:
        file.write(secrets.token_hex(16) + "\n")
    asked = split.test[: options.queries]
    files = {"train.csv": split.train, "test.csv": split.test, "asked.csv": asked}
    files |= {f"{_owner(i)}.csv": rows for i, rows in enumerate(split.owners)}
    for name, rows in files.items():
        (folder / name).write_text(csv_text(table.columns, rows), encoding="utf-8")
    whole = folder / "whole.csv"
    whole.write_text(csv_text(table.columns, table.rows), encoding="utf-8")
    schema = demo_schema(whole, folder / f"{_owner(0)}.csv", options.label, options.bins)
    whole.unlink()
    (folder / "schema.toml").write_text(dump_schema(schema), encoding="utf-8")
    (model_spec,) = parse_models([options.classifier], schema.class_count)
    return DemoRun(folder, schema, split, asked, model_spec)


def _await_learnt(folder: Path, say: Callable[[str], None]) -> None:
    """Wait until no chunk that can be learnt is left.

    Raises:
        DemoStepError: Nothing was learnt, since a first full window needs more records.
    """
    told = False
    while True:
        model = _call(["inspect", "model"], folder)[0]
        if not model["learning"]:
            break
        if not told:
            say(f"the units are learning {model['waiting']} more chunks")
            told = True
        time.sleep(LEARNING_POLL_SECONDS)
    if not model["records"]:
        raise DemoStepError(
            f"all {model['waiting']} chunks wait for more records; "
            "give more data, or a tree with a smaller grace (dt:grace=…)",
            ReasonCode.USAGE,
        )


def _owner(index: int) -> str:
    return f"owner-{index + 1}"


@contextlib.contextmanager
def _unit(role: str, folder: Path, run: DemoRun) -> Iterator[None]:
    """Run a unit around the block; afterwards its figures are in `run.stopped`."""
    process = _start([role], folder)
    try:
        _await_ready(process, role)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            printed, _ = process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            printed, _ = process.communicate()
        for line in printed.splitlines():
            parsed = json.loads(line)
            if parsed["schema"] == "privml.stopped/1":
                run.stopped[role] = parsed
    if role not in run.stopped:
        raise DemoStepError(f"{role} did not stop in an orderly way", ReasonCode.INTERNAL_ERROR)


def _await_ready(process: "subprocess.Popen[str]", role: str) -> None:
    output: IO[str] | None = process.stdout
    line = output.readline() if output is not None else ""
    parsed = json.loads(line) if line else {}
    if parsed.get("schema") != "privml.ready/1":
        raise DemoStepError(f"{role} did not start", parsed.get("code", ReasonCode.INTERNAL_ERROR))


def _publish(folder: Path, owner: str, chunk_size: int) -> "subprocess.Popen[str]":
    command = ["owner", "publish", str(folder / f"{owner}.csv"), "--owner", owner, "--wait"]
    command += ["--chunk-size", str(chunk_size), "--timeout", str(RECEIPT_SECONDS)]
    return _start(command, folder)


def _ask(folder: Path, *, rows_per_query: int | None) -> list[dict[str, Any]]:
    command = ["predict", str(folder / "asked.csv"), "--client", CLIENT, "--timeout", str(ANSWER_SECONDS)]
    if rows_per_query is not None:
        command += ["--rows-per-query", str(rows_per_query)]
    return _call(command, folder)


def _start(command: Sequence[str], folder: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PRIVML_CONFIG": str(folder / FILE_NAME)}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline", *command, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _call(command: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    return _finish(_start(command, folder))


def _finish(process: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    printed, _ = process.communicate()
    parsed = [json.loads(line) for line in printed.splitlines()]
    if process.returncode:
        code = next((line["code"] for line in parsed if line["schema"] == "privml.error/1"), "")
        raise DemoStepError(f"a step failed with exit code {process.returncode}", code)
    return parsed


def write_predictions(folder: Path, rows: Sequence[tuple[int, str, str, str, str]]) -> None:
    """Write predictions.csv: line of test.csv, truth, encrypted, twin and scikit-learn labels."""
    with (folder / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["line", "truth", "encrypted", "twin", "sklearn"])
        writer.writerows(rows)
