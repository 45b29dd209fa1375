"""A tenant on disk as the command line makes it, and its commands as processes or in this one."""

import asyncio
import contextlib
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command_output import read_objects
from doubles import seeded_coins

from pipeline.commands.main import main
from pipeline.configurations import fetch_tenant
from pipeline.settings import load_settings
from pipeline.topic_urls import open_transport
from roles.tenant import Tenant
from schemas.topics import TopicName

COLUMNS = ("colour", "size", "weight", "class")
PATIENCE = 60.0
TENANT = "demo"


def rows(count: int, seed: int = 0) -> list[tuple[str, ...]]:
    """Return records of the test schema, the same for the same seed."""
    draws = seeded_coins(f"rows {seed}").bytes(4 * count)
    return [
        (
            ("red", "green", "blue")[draws[4 * i] % 3],
            ("s", "m")[draws[4 * i + 1] % 2],
            f"{draws[4 * i + 2] / 10:.1f}",
            ("x", "y", "z")[draws[4 * i + 3] % 3],
        )
        for i in range(count)
    ]


def write_csv(path: Path, records: Sequence[Sequence[str]], columns: Sequence[str] = COLUMNS) -> Path:
    """Write a CSV file."""
    lines = [",".join(row) for row in (columns, *records)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code.
        objects: What it printed on stdout, each held against its schema.
        err: What it printed on stderr.
    """

    code: int
    objects: list[dict[str, Any]]
    err: str

    @property
    def object(self) -> dict[str, Any]:
        """The one object."""
        (found,) = self.objects
        return found


class UnitProcess:
    """A unit as a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process = process
        self._log = log

    def await_ready(self) -> None:
        """Wait for the object that says that it listens."""
        output = self.process.stdout
        assert output is not None
        line = output.readline()
        assert line, self._log.read_text()
        (found,) = read_objects(line)
        assert found["schema"] == "privml.ready/1", found

    def end(self, by: signal.Signals = signal.SIGTERM) -> Ended:
        """Send a signal and wait for the end."""
        self.process.send_signal(by)
        return self.ended()

    def ended(self) -> Ended:
        """Wait for its end."""
        out, _ = self.process.communicate(timeout=PATIENCE)
        return Ended(self.process.returncode, read_objects(out), self._log.read_text())


class Deployment:
    """A folder with a tenant: owners ``a`` and ``b``, client ``c``, toy keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "T" / "privml.toml"
        self._logs = 0

    @classmethod
    def make(cls, folder: Path, *options: str, clients: Sequence[str] = ("c",)) -> "Deployment":
        """Set a tenant up."""
        made = cls(folder)
        write_csv(folder / "train.csv", rows(300))
        (folder / "passphrase").write_text("correct horse\n")
        schema = subprocess.run(
            made.command("schema", "infer", str(folder / "train.csv"), "--label", "class", "--yes"),
            check=True,
            capture_output=True,
            text=True,
        )
        (folder / "schema.toml").write_text(schema.stdout)
        init = ["authority", "init", "--dir", str(folder / "T"), "--schema", str(folder / "schema.toml")]
        init += ["--min-owners", "1", "--min-records", "100", "--profile", "toy", "--insecure"]
        init += ["--classifier", "nb", "--owner", "a", "--owner", "b"]
        init += [word for client in clients for word in ("--client", client)]
        init += ["--passphrase-file", str(folder / "T" / "passphrase"), *options]
        (folder / "T").mkdir()
        (folder / "passphrase").rename(folder / "T" / "passphrase")
        done = subprocess.run(made.command(*init), check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return made

    def copy(self, folder: Path) -> "Deployment":
        """Return the same tenant in another folder."""
        # Sockets of processes that are gone cannot be copied.
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".doorbells"))
        return Deployment(folder)

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """Return a command line of this installation."""
        return [sys.executable, "-P", "-m", "pipeline", *arguments]

    # --- processes

    @contextlib.contextmanager
    def unit(self, role: str, *options: str, wrapper: Sequence[str] = ()) -> Iterator[UnitProcess]:
        """Run a unit around the block; ended with it unless it has ended before."""
        started = self.start(role, *options, wrapper=wrapper)
        try:
            started.await_ready()
            yield started
        finally:
            if started.process.poll() is None:
                started.process.terminate()
            try:
                started.process.wait(PATIENCE)
            finally:
                started.process.kill()
                assert started.process.stdout is not None
                started.process.stdout.close()

    @contextlib.contextmanager
    def units(self) -> Iterator[tuple[UnitProcess, UnitProcess]]:
        """Run MU and SU around the block."""
        with self.unit("mu") as master, self.unit("su") as secondary:
            yield master, secondary

    def start(self, role: str, *options: str, wrapper: Sequence[str] = ()) -> UnitProcess:
        """Start a unit and return at once."""
        self._logs += 1
        log = self.folder / f"{role}-{self._logs}.log"
        arguments = [role, "--config", str(self.config), "--json", *options]
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, *wrapper, *arguments] if wrapper else self.command(*arguments),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        return UnitProcess(process, log)

    def begin(self, *arguments: str, wrapper: Sequence[str] = ()) -> "subprocess.Popen[str]":
        """Start a command as a process and return at once."""
        given = [*arguments, "--config", str(self.config), "--json"]
        return subprocess.Popen(
            [sys.executable, *wrapper, *given] if wrapper else self.command(*given),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @staticmethod
    def finish(process: "subprocess.Popen[str]") -> Ended:
        """Wait for a command to end."""
        out, err = process.communicate(timeout=PATIENCE)
        return Ended(process.returncode, read_objects(out), err)

    def run(self, *arguments: str) -> Ended:
        """Run a command as a process."""
        return self.finish(self.begin(*arguments))

    def wrapped(self, code: str, options: Sequence[str], *arguments: str) -> Ended:
        """Run a command by a piece of code that changes something before it."""
        return self.finish(self.begin(*arguments, wrapper=["-c", code, *options]))

    def publish(self, records: int, owner: str = "a", seed: int = 0) -> Ended:
        """Publish records and wait for the receipts, which must be acceptances."""
        file = write_csv(self.folder / f"{owner}-{seed}.csv", rows(records, seed))
        done = self.run("owner", "publish", str(file), "--owner", owner, "--chunk-size", "100", "--wait")
        assert (done.code, done.object["rejected"]) == (0, 0), done
        return done

    def predict(self, count: int = 5, seed: int = 99) -> list[str]:
        """Ask, and return the labels."""
        file = write_csv(self.folder / "q.csv", [row[:3] for row in rows(count, seed)], COLUMNS[:3])
        done = self.run("predict", str(file), "--client", "c")
        assert done.code == 0, done
        *lines, summary = done.objects
        assert summary["summary"]["answered"] == len(lines) == count
        return [line["label"] for line in lines]

    def predict_with_units(self) -> list[str]:
        """Ask with units that run for this question only."""
        with self.units():
            return self.predict()

    def model(self) -> str:
        """Return the hash of the model."""
        sha256: str = self.run("inspect", "model").object["sha256"]
        return sha256

    def tenant(self) -> Tenant:
        """Return the public facts as every command reads them."""
        settings = load_settings(self.config)

        async def fetch() -> Tenant:
            async with open_transport(settings.transport) as transport:
                return await fetch_tenant(settings, transport)

        return asyncio.run(fetch())

    # --- topics

    def file(self, topic: TopicName) -> Path:
        """Return the file of a topic."""
        return self.folder / "T" / "topics" / f"{TENANT}.{topic}.sqlite"

    @contextlib.contextmanager
    def edit(self, topic: TopicName) -> Iterator[sqlite3.Connection]:
        """Open a topic's file as anybody can who may write to the folder."""
        connection = sqlite3.connect(self.file(topic), timeout=PATIENCE)
        with contextlib.closing(connection), connection:
            yield connection

    def drop(self, topic: TopicName, value: bytes, partition: int = 0) -> int:
        """Add a row behind the last one; return its offset."""
        with self.edit(topic) as connection:
            # A unit may append at the same moment.
            connection.execute("BEGIN IMMEDIATE")
            (offset,) = connection.execute(
                'SELECT coalesce(max("offset") + 1, 0) FROM message WHERE partition = ?', (partition,)
            ).fetchone()
            connection.execute(
                "INSERT INTO message VALUES (?, ?, NULL, NULL, ?, 0)", (partition, offset, value)
            )
        return int(offset)

    def total(self, topic: TopicName) -> int:
        """Return how many messages lie on all partitions of a topic."""
        with self.edit(topic) as connection:
            (count,) = connection.execute("SELECT count(*) FROM message").fetchone()
        return int(count)

    def pages(self, topic: TopicName) -> int:
        """Return how many pages a topic's file has."""
        with self.edit(topic) as connection:
            (count,) = connection.execute("PRAGMA page_count").fetchone()
        return int(count)

    def values(self, topic: TopicName, partition: int = 0) -> list[bytes]:
        """Return the messages of a partition."""
        with self.edit(topic) as connection:
            found = connection.execute(
                'SELECT value FROM message WHERE partition = ? ORDER BY "offset"', (partition,)
            )
            return [bytes(value) for (value,) in found]


def in_process(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ended:
    """Run a command in this process."""
    capsys.readouterr()
    try:
        code = main([*arguments, "--json"])
    except SystemExit as ending:
        code = int(ending.code or 0)
    shown = capsys.readouterr()
    return Ended(code, read_objects(shown.out), shown.err)
