"""Faults on real processes, drawn from a seed: what `make chaos` runs many of, and the suite a few.

The script is run with the number of faults and a seed; it prints what it did and how it ended.
`kafka/chaos.py` does the same on a Kafka broker, which it strikes as well.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from random import Random

from integration.deployment import COLUMNS, PATIENCE, Deployment, Ended, UnitProcess, rows, write_csv
from integration.full_disk import FULL_FILES, FULL_TOPIC

from pipeline.csv_input import read_training_file
from roles.tenant import Tenant
from roles.twins import twin_of
from schemas.topics import TopicName

CHUNK_RECORDS = 100
FAULTS_PER_CHUNK = 6
ASKED = 40
ASKED_MEANWHILE = 3
LONGEST_PAUSE_SECONDS = 0.4


class Blow(StrEnum):
    """What befalls the tenant."""

    KILL_MU = "kill -9 of MU"
    KILL_SU = "kill -9 of SU"
    PAUSE_MU = "SIGSTOP and SIGCONT of MU"
    PAUSE_SU = "SIGSTOP and SIGCONT of SU"
    CORRUPTED = "a corrupted message"
    REPEATED = "a repeated message"
    FULL_DISK = "no room for MU's journal"
    FULL_FILES = "no room for MU's own files"
    KILL_BROKER = "kill -9 of the broker"
    PAUSE_BROKER = "SIGSTOP and SIGCONT of the broker"
    PARTITION = "a network that lets nothing pass on some connections"
    SLOW = "a slow network"
    RESET = "broken connections"


ON_EMBEDDED_LOG = (
    Blow.KILL_MU,
    Blow.KILL_SU,
    Blow.PAUSE_MU,
    Blow.PAUSE_SU,
    Blow.CORRUPTED,
    Blow.REPEATED,
    Blow.FULL_DISK,
    Blow.FULL_FILES,
)


@dataclass
class Chaos:
    """A tenant under blows.

    Attributes:
        deployment: The tenant.
        random: Decides what comes next.
        blows: What may come; each comes once before any comes again.
        dealt: How often what came.
        published: Records that owners published, as many as a chunk each.
        queries: Queries that were asked.
    """

    deployment: Deployment
    random: Random
    blows: tuple[Blow, ...] = ON_EMBEDDED_LOG
    dealt: Counter[Blow] = field(default_factory=Counter)
    published: int = 0
    queries: int = 0
    _units: dict[str, UnitProcess] = field(default_factory=dict)
    _coming: list[Blow] = field(default_factory=list)

    def run(self, faults: int) -> None:
        """Deal so many blows while owners publish and a client asks, then see that all is right.

        Raises:
            AssertionError: Something was lost, or counted twice, or an audit has findings.
        """
        try:
            for role in ("mu", "su"):
                self._start(role)
            while self.dealt.total() < faults:
                before = self._labels(ASKED_MEANWHILE)
                # The first chunk must be in before anybody may ask.
                asking = self._ask() if self.published % (2 * CHUNK_RECORDS) else None
                publishing = self._publish()
                for _ in range(min(FAULTS_PER_CHUNK, faults - self.dealt.total())):
                    time.sleep(self.random.uniform(0, 0.1))
                    self._deal()
                done = self.deployment.finish(publishing)
                assert (done.code, done.object["rejected"]) == (0, 0), done
                if asking is not None:
                    self._is_answered(self.deployment.finish(asking), before)
            self._is_right()
        finally:
            for unit in self._units.values():
                unit.process.kill()
                unit.process.communicate()

    def _start(self, role: str) -> None:
        self._units[role] = self.deployment.start(role)
        self._units[role].await_ready()

    def _publish(self) -> "subprocess.Popen[str]":
        number = self.published // CHUNK_RECORDS
        owner = "ab"[number % 2]
        file = write_csv(self._file(number), rows(CHUNK_RECORDS, number))
        self.published += CHUNK_RECORDS
        return self.deployment.begin("owner", "publish", str(file), "--owner", owner, "--wait")

    def _file(self, number: int) -> Path:
        return self.deployment.folder / f"chunk-{number}.csv"

    def _ask(self) -> "subprocess.Popen[str]":
        self.queries += 1
        file = self.deployment.folder / "meanwhile.csv"
        write_csv(file, [row[:3] for row in rows(ASKED_MEANWHILE, 99)], COLUMNS[:3])
        return self.deployment.begin("predict", str(file), "--client", "c")

    def _is_answered(self, done: Ended, before: list[str]) -> None:
        """See that a query got the labels of the model before the chunk that came meanwhile, or after it."""
        assert done.code == 0, done
        labels = [line["label"] for line in done.objects[:-1]]
        assert labels in (before, self._labels(ASKED_MEANWHILE)), (labels, before)

    def _labels(self, count: int) -> list[str]:
        """Return the twin's labels for the first rows of those that are asked."""
        tenant = self._tenant
        (spec,) = tenant.configuration.models
        twin = twin_of(spec, tenant.schema, tenant.configuration.limits.max_total_records)
        for number in range(self.published // CHUNK_RECORDS):
            for batch in read_training_file(self._file(number), tenant.schema, CHUNK_RECORDS, words=True):
                twin.learn(batch)
        asked = write_csv(self.deployment.folder / "asked.csv", rows(count, 99), COLUMNS)
        (questions,) = read_training_file(asked, tenant.schema, count, words=True)
        return [tenant.schema.label.labels[label] for label in twin.predict(questions)]

    @cached_property
    def _tenant(self) -> Tenant:
        return self.deployment.tenant()

    def _deal(self) -> None:
        if not self._coming:
            self._coming = list(self.blows)
            self.random.shuffle(self._coming)
        blow = self._coming.pop()
        self._strike(blow)
        self.dealt[blow] += 1

    def _strike(self, blow: Blow) -> None:
        match blow:
            case Blow.KILL_MU | Blow.KILL_SU:
                self._kill("mu" if blow is Blow.KILL_MU else "su")
            case Blow.PAUSE_MU | Blow.PAUSE_SU:
                process = self._units["mu" if blow is Blow.PAUSE_MU else "su"].process
                process.send_signal(signal.SIGSTOP)
                time.sleep(self.random.uniform(0, LONGEST_PAUSE_SECONDS))
                process.send_signal(signal.SIGCONT)
            case Blow.CORRUPTED | Blow.REPEATED:
                self._write_to_a_topic(corrupted=blow is Blow.CORRUPTED)
            case Blow.FULL_DISK:
                room = str(self.deployment.pages(TopicName.JOURNAL))
                self._fill_the_disk("-c", FULL_TOPIC, str(TopicName.JOURNAL), room)
            case Blow.FULL_FILES:
                self._fill_the_disk("-c", FULL_FILES, str(self.random.randrange(4)))
            case _:
                raise AssertionError(f"nobody deals {blow}")

    def _kill(self, role: str) -> None:
        self._units[role].end(signal.SIGKILL)
        self._start(role)

    def _write_to_a_topic(self, *, corrupted: bool) -> None:
        # What is wrong on the units' own topics an audit finds, as it should.
        topic = self.random.choice((TopicName.CHUNKS, TopicName.QUERIES))
        values = self.deployment.values(topic) or [b"not a message"]
        value = self.random.choice(values)
        if corrupted:
            place = self.random.randrange(len(value))
            value = value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
        self.deployment.drop(topic, value)

    def _fill_the_disk(self, *wrapper: str) -> None:
        """Have MU live on a disk without room until it notices, and then on a larger one."""
        self._units["mu"].end(signal.SIGKILL)
        small = self.deployment.start("mu", wrapper=wrapper)
        self._units["mu"] = small
        # A page that is not full yet takes a few entries.
        self.deployment.drop(TopicName.CHUNKS, b"not a message" * 400)
        end = time.monotonic() + PATIENCE
        while small.process.poll() is None and time.monotonic() < end:
            self.deployment.drop(TopicName.CHUNKS, b"not a message")
            time.sleep(0.05)
        ended = small.ended()
        assert ended.objects[-1]["code"] == "storage_full", ended
        self._start("mu")

    def _is_right(self) -> None:
        """Compare the model with the twin, count the answers, and have everybody audit."""
        deployment = self.deployment
        assert deployment.predict(ASKED, 99) == self._labels(ASKED)
        self.queries += 1
        assert deployment.run("inspect", "model").object["records"] == self.published
        entries = deployment.run("inspect", "journal").object["entries"]
        accepted = [entry["sequence"] for entry in entries if entry.get("kind") == "query"]
        answered = [entry["about"] for entry in entries if entry.get("kind") == "answered"]
        assert len(accepted) == self.queries
        assert sorted(answered) == accepted
        for role in ("mu", "su"):
            assert self._units[role].end().code == 0
        audits = [
            deployment.run("audit"),
            deployment.run("mu", "self-audit"),
            deployment.run("su", "self-audit"),
        ]
        for audit in audits:
            assert (audit.code, audit.object["findings"]) == (0, []), audit


def report(chaos: Chaos, faults: int) -> None:
    """Run so many faults and print what came and how it ended."""
    began = time.monotonic()
    try:
        chaos.run(faults)
    finally:
        for blow, count in sorted(chaos.dealt.items()):
            print(f"  {count:5} {blow}")
    print(f"  {chaos.published} records published, each counted once")
    print(f"  {chaos.queries} queries, each answered once")
    print(f"  the audits have no findings; {time.monotonic() - began:.0f} s")


def main(faults: int, seed: int) -> None:
    """Run so many faults of a seed on the embedded log."""
    print(f"seed {seed}, {faults} faults on the embedded log")
    with tempfile.TemporaryDirectory() as folder:
        report(Chaos(Deployment.make(Path(folder)), Random(seed)), faults)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
