"""The demo: every role as its own process, from one CSV file to private answers.

This module has processes started and reads what they print; it holds nobody's keys. The report
on what came of it is `pipeline.demo_report`.
"""

import csv
import secrets
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.demo_data import DemoSplit, DemoTable, csv_text, split_rows
from pipeline.demo_schema import demo_schema
from pipeline.model_options import parse_models
from pipeline.private_file import write_private
from pipeline.role_processes import StepFailedError, call, finish, running_unit, start
from schemas.data_schema import DataSchema
from schemas.models import ModelSpec
from schemas.reasons import ReasonCode
from schemas.schema_toml import dump_schema

CLIENT = "client"
RECEIPT_SECONDS = 300.0
LEARNING_POLL_SECONDS = 2.0
CHUNK_RECORDS = 500
ANSWER_SECONDS = 120.0


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
        StepFailedError: A process failed.
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
    made = call([*init, "--insecure"] if options.insecure else init, folder)[0]
    run.chunk_size = options.chunk_size or min(CHUNK_RECORDS, made["max_chunk_records"])
    run.keygen_seconds = time.monotonic() - started
    say(f"set-up done in {run.keygen_seconds:.1f} s; starting the units")
    with running_unit("su", folder, run.stopped), running_unit("mu", folder, run.stopped):
        say("training: owners publish encrypted chunks")
        processes = [_publish(folder, name, run.chunk_size) for name in owners]
        run.published = [finish(process)[0] for process in processes]
        _await_learnt(folder, say)
        records = sum(published["records"] for published in run.published)
        say(f"trained on {records} records; asking {len(run.asked)} questions one by one")
        run.single = _ask(folder, rows_per_query=1)
        say("asking them again in batches")
        run.batch = _ask(folder, rows_per_query=None)
    run.model = call(["inspect", "model"], folder)[0]
    run.journal = call(["inspect", "journal"], folder)[0]["entries"]
    return run


def _prepare(table: DemoTable, options: DemoOptions, folder: Path) -> DemoRun:
    split = split_rows(table.rows, options.owners, options.seed)
    folder.mkdir(parents=True, exist_ok=True)
    write_private(folder / "passphrase", secrets.token_hex(16).encode(), exclusive=True)
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
        StepFailedError: Nothing was learnt, since a first full window needs more records.
    """
    told = False
    while True:
        model = call(["inspect", "model"], folder)[0]
        if not model["learning"]:
            break
        if not told:
            say(f"the units are learning {model['waiting']} more chunks")
            told = True
        time.sleep(LEARNING_POLL_SECONDS)
    if not model["records"]:
        raise StepFailedError(
            f"all {model['waiting']} chunks wait for more records; "
            "give more data, or a tree with a smaller grace (dt:grace=…)",
            ReasonCode.USAGE,
        )


def _owner(index: int) -> str:
    return f"owner-{index + 1}"


def _publish(folder: Path, owner: str, chunk_size: int) -> "subprocess.Popen[str]":
    command = ["owner", "publish", str(folder / f"{owner}.csv"), "--owner", owner, "--wait"]
    command += ["--chunk-size", str(chunk_size), "--timeout", str(RECEIPT_SECONDS)]
    return start(command, folder)


def _ask(folder: Path, *, rows_per_query: int | None) -> list[dict[str, Any]]:
    command = ["predict", str(folder / "asked.csv"), "--client", CLIENT, "--timeout", str(ANSWER_SECONDS)]
    if rows_per_query is not None:
        command += ["--rows-per-query", str(rows_per_query)]
    return call(command, folder)


def write_predictions(folder: Path, rows: Sequence[tuple[int, str, str, str, str]]) -> None:
    """Write predictions.csv: line of test.csv, truth, encrypted, twin and scikit-learn labels."""
    with (folder / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["line", "truth", "encrypted", "twin", "sklearn"])
        writer.writerows(rows)
