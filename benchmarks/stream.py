"""A long stream with real processes on the embedded log: memory, snapshots, recovery, audits.

One owner publishes Nursery records in small chunks, MU takes them in; then MU is killed and
started again a number of times while a client asks, and the whole log is audited.
"""

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.data_sets import BUNDLED, available, csv_file, data_set
from benchmarks.measure import Row
from pipeline.client_service import ClientService
from pipeline.configurations import fetch_tenant
from pipeline.demo_data import csv_text, load_breast_cancer, load_csv_table
from pipeline.errors import PipelineError
from pipeline.meter import Meter
from pipeline.parties import open_identity
from pipeline.settings import load_settings
from pipeline.topic_urls import open_transport
from roles.encoding import EncodedRecords
from roles.learners import learner_of
from schemas.schema_toml import dump_schema
from schemas.topics import Role, TopicName, topic_name

CHUNK_RECORDS = 50
FIRST_RECORDS = 10_000
ALL_RECORDS = 100_000
KILLS = 20
READY_SECONDS = 60.0
ANSWER_SECONDS = 60.0

RECOVERY_TARGET_SECONDS = 5.0
GROWTH_TARGET = 1.05
AUDIT_TARGET = 200
AUDIT_TARGET_WITHOUT_PROOFS = 1000


class Stream:
    """A tenant on this host with both units running.

    Args:
        folder: Where everything goes.
        profile: Which sizes.
        clients: Who may ask.
    """

    tenant_name = "demo"

    def __init__(self, folder: Path, profile: str, clients: Sequence[str] = ("c",)) -> None:
        self._folder = folder
        name = available()[0]
        self._data = data_set(name)
        self._table = load_breast_cancer() if name == BUNDLED else load_csv_table(csv_file(name)[0])
        self._environment = {**os.environ, "PRIVML_CONFIG": str(folder / "tenant" / "privml.toml")}
        (folder / "schema.toml").write_text(dump_schema(self._data.schema), encoding="utf-8")
        passphrase = folder / "passphrase"
        passphrase.touch(0o600)
        passphrase.write_text("for this run alone\n", encoding="utf-8")
        init = ["--schema", str(folder / "schema.toml"), "--passphrase-file", str(passphrase)]
        init += [word for client in clients for word in ("--client", client)]
        init += ["--owner", "a", "--min-owners", "1", "--profile", profile, "--insecure"]
        self.run("authority", "init", "--dir", str(folder / "tenant"), *init)

    def rows(self, *, timing: bool = True) -> Iterator[Row]:
        """Do everything once and yield the figures.

        Args:
            timing: False for a trial of the program: few records and kills.
        """
        first, records, kills = (FIRST_RECORDS, ALL_RECORDS, KILLS) if timing else (500, 2000, 2)
        what = f"{self._data.name}, chunks of {CHUNK_RECORDS} records"
        with self.unit("su"), self.unit("mu") as unit:
            self.publish(first)
            small = _peak_bytes(unit)
            started = time.perf_counter()
            self.publish(records - first)
            rate = (records - first) / CHUNK_RECORDS / (time.perf_counter() - started)
            large = _peak_bytes(unit)
        growth = f"Peak memory of MU after {records:,} records, by that after {first:,}"
        note = f"{what}; {small / 1e6:.0f} MB and {large / 1e6:.0f} MB"
        yield Row("stream.memory", growth, "", large / small, "", GROWTH_TARGET, note=note)
        what_rate = "Owner and MU together, from file to receipts, one owner on the same cores"
        yield Row("stream.chunks", what_rate, "second", rate, "chunks", note=what)
        sizes = asyncio.run(self._snapshot_bytes())
        if len(sizes) > 1:
            growth = "Size of MU's last snapshot, by that of its first"
            note = f"{sizes[0]:,} and {sizes[-1]:,} bytes"
            yield Row("stream.snapshot", growth, "", sizes[-1] / sizes[0], "", GROWTH_TARGET, note=note)
        seconds = asyncio.run(self._recoveries(kills))
        note = f"median of {kills}; {min(seconds):.2f} s to {max(seconds):.2f} s; {what}"
        title = "From kill -9 of MU, started again at once, to the first new answer"
        yield Row("stream.recovery", title, "kill", median(seconds), "s", RECOVERY_TARGET_SECONDS, note=note)
        for name, options in (("audit", ()), ("audit_without_proofs", ("--skip-proofs",))):
            yield self.audit(f"stream.{name}", options, what)

    def audit(self, name: str, options: Sequence[str], what: str) -> Row:
        """Audit the whole log and return the row."""
        cpu, started = _children_cpu(), time.perf_counter()
        (report,) = self.run("audit", *options)
        taken, cpu = time.perf_counter() - started, _children_cpu() - cpu
        chunks = report["checked"]["chunks_accepted"]
        title = "`privml audit" + "".join(f" {option}" for option in options) + "`"
        note = f"{chunks:,} chunks in {taken:.1f} s, {cpu:.1f} s of CPU, process start included; {what}"
        target = AUDIT_TARGET_WITHOUT_PROOFS if options else AUDIT_TARGET
        return Row(name, title, "second", chunks / taken, "chunks", target, at_least=True, note=note)

    def run(self, *command: str) -> list[dict[str, Any]]:
        """Run a command of PrivML and return what it printed.

        Raises:
            RuntimeError: It failed.
        """
        done = subprocess.run(
            [*_privml(*command), "--json"],
            capture_output=True,
            text=True,
            check=False,
            env=self._environment,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[:2])} ended with {done.returncode}: {done.stderr[-2000:]}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def publish(self, records: int) -> None:
        """Publish that many records and wait for MU."""
        rows = list(islice(cycle(self._table.rows), records))
        file = self._folder / f"records-{records}.csv"
        file.write_text(csv_text(self._table.columns, rows), encoding="utf-8")
        size = str(CHUNK_RECORDS)
        self.run("owner", "publish", str(file), "--owner", "a", "--chunk-size", size, "--wait")

    @contextlib.contextmanager
    def unit(self, role: str, *options: str) -> "Iterator[subprocess.Popen[str]]":
        """Run a unit around the block."""
        process = self._start(role, *options)
        try:
            _await_ready(process)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()

    def ask(self, client: str, queries: int) -> None:
        """Ask that many queries of one row each."""
        file = self._folder / "asked.csv"
        file.write_text(
            csv_text(self._table.columns, list(islice(self._table.rows, queries))), encoding="utf-8"
        )
        self.run("predict", str(file), "--client", client, "--rows-per-query", "1")

    def _start(self, role: str, *options: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*_privml(role, *options), "--json"], stdout=subprocess.PIPE, text=True, env=self._environment
        )

    async def _snapshot_bytes(self) -> list[int]:
        """Return the sizes of MU's snapshots, as far as they are kept, in order."""
        settings = load_settings(Path(self._environment["PRIVML_CONFIG"]))
        sizes = []
        async with open_transport(settings.transport) as transport:
            tenant = await fetch_tenant(settings, transport)
            topic, offset = topic_name(tenant.name, TopicName.SNAPSHOTS), 0
            while messages := await transport.read(topic, 0, offset):
                sizes += [len(message.value) for message in messages]
                offset = messages[-1].offset + 1
        return sizes

    async def _recoveries(self, kills: int) -> list[float]:
        """Kill and start MU while a client asks; return the seconds from each kill to an answer."""
        settings = load_settings(Path(self._environment["PRIVML_CONFIG"]))
        seconds = []
        async with open_transport(settings.transport) as transport:
            tenant = await fetch_tenant(settings, transport)
            learner = learner_of(tenant, tenant.configuration.models[0])
            identity = open_identity(settings, tenant, "c", Role.CLIENT)
            publisher = identity.publisher(tenant, transport)
            client = ClientService(transport, tenant, identity.weak_key(tenant), publisher, Meter())
            await client.open(learner.model_id)
            batch = self._data.batch(1)
            row = EncodedRecords(batch.indices, None)
            with self.unit("su"):
                unit = self._start("mu")
                try:
                    await asyncio.to_thread(_await_ready, unit)
                    await client.ask(learner, row, ANSWER_SECONDS)
                    for _ in range(kills):
                        unit.kill()
                        killed = time.perf_counter()
                        unit.communicate()
                        unit = self._start("mu")
                        await client.ask(learner, row, ANSWER_SECONDS)
                        seconds.append(time.perf_counter() - killed)
                finally:
                    unit.terminate()
                    unit.communicate()
        return seconds


def stream_rows(profile: str, *, quick: bool = False) -> list[Row]:
    """Run the stream in a temporary folder and return its rows.

    Raises:
        RuntimeError, PipelineError: Something failed.
    """
    with tempfile.TemporaryDirectory(prefix="privml-stream-") as folder:
        return list(Stream(Path(folder), profile).rows(timing=not quick))


def _privml(*command: str) -> list[str]:
    return [sys.executable, "-P", "-m", "pipeline", *command]


def _children_cpu() -> float:
    """Return the CPU time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _await_ready(process: "subprocess.Popen[str]") -> None:
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line or json.loads(line)["schema"] != "privml.ready/1":
        raise PipelineError("a unit did not start")


def _peak_bytes(process: "subprocess.Popen[str]") -> int:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
