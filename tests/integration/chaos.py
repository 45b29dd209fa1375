"""Faults on real processes, drawn from a seed: what `make chaos` runs many of, and the suite a few.

The script is run with the number of faults and a seed; it prints what it did and how it ended.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random

from integration.deployment import COLUMNS, PATIENCE, Deployment, UnitProcess, rows, write_csv
from integration.full_disk import FULL_TOPIC

from pipeline.csv_input import read_training_file
from roles.twins import twin_of
from schemas.topics import TopicName

CHUNK_RECORDS = 100
FAULTS_PER_CHUNK = 4
ASKED = 40
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


@dataclass
class Chaos:
    """A tenant under blows.

    Attributes:
        deployment: The tenant.
        random: Decides what comes next.
        dealt: How often what came.
        published: Records that owners published, as many as a chunk each.
    """

    deployment: Deployment
    random: Random
    dealt: Counter[Blow] = field(default_factory=Counter)
    published: int = 0
    _units: dict[str, UnitProcess] = field(default_factory=dict)

    def run(self, faults: int) -> None:
        """Deal so many blows while owners publish and a client asks, then see that all is right.

        Raises:
            AssertionError: Something was lost, or counted twice, or an audit has findings.
        """
        try:
            for role in ("mu", "su"):
                self._start(role)
            while self.dealt.total() < faults:
                publishing = self._publish()
                for _ in range(min(FAULTS_PER_CHUNK, faults - self.dealt.total())):
                    time.sleep(self.random.uniform(0, 0.1))
                    self._deal()
                done = self.deployment.finish(publishing)
                assert (done.code, done.object["rejected"]) == (0, 0), done
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

    def _deal(self) -> None:
        blow = self.random.choice(tuple(Blow))
        self.dealt[blow] += 1
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
                self._fill_the_disk()

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

    def _fill_the_disk(self) -> None:
        """Have MU live on a disk with no room for its journal, until it notices, and then on a larger one."""
        self._units["mu"].end(signal.SIGKILL)
        room = str(self.deployment.pages(TopicName.JOURNAL))
        small = self.deployment.start("mu", wrapper=["-c", FULL_TOPIC, str(TopicName.JOURNAL), room])
        self._units["mu"] = small
        self.deployment.drop(TopicName.CHUNKS, b"not a message" * 400)
        small.await_ready()
        # A page that is not full yet takes a few entries.
        end = time.monotonic() + PATIENCE
        while small.process.poll() is None and time.monotonic() < end:
            self.deployment.drop(TopicName.CHUNKS, b"not a message")
            time.sleep(0.05)
        ended = small.ended()
        assert ended.object["code"] == "storage_full", ended
        self._start("mu")

    def _is_right(self) -> None:
        """Compare the model with the twin, and have everybody audit."""
        deployment, tenant = self.deployment, self.deployment.tenant()
        (spec,) = tenant.configuration.models
        twin = twin_of(spec, tenant.schema, tenant.configuration.limits.max_total_records)
        for number in range(self.published // CHUNK_RECORDS):
            for batch in read_training_file(self._file(number), tenant.schema, CHUNK_RECORDS, words=True):
                twin.learn(batch)
        asked = write_csv(deployment.folder / "asked.csv", rows(ASKED, 99), COLUMNS)
        (questions,) = read_training_file(asked, tenant.schema, ASKED, words=True)
        expected = [tenant.schema.label.labels[label] for label in twin.predict(questions)]
        assert deployment.predict(ASKED, 99) == expected
        assert deployment.run("inspect", "model").object["records"] == self.published
        for role in ("mu", "su"):
            assert self._units[role].end().code == 0
        audits = [
            deployment.run("audit"),
            deployment.run("mu", "self-audit"),
            deployment.run("su", "self-audit"),
        ]
        for audit in audits:
            assert (audit.code, audit.object["findings"]) == (0, []), audit


def main(faults: int, seed: int) -> None:
    """Run so many faults of a seed and print a report."""
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(Deployment.make(Path(folder)), Random(seed))
        began = time.monotonic()
        print(f"seed {seed}, {faults} faults")
        try:
            chaos.run(faults)
        finally:
            for blow, count in sorted(chaos.dealt.items()):
                print(f"  {count:5} {blow}")
        print(f"  {chaos.published} records published, each counted once; the audits have no findings")
        print(f"  {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
