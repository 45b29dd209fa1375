"""Replaying a stream whose models learn in sessions: its records, encrypted anew for a tenant of their own.

The same ciphertexts are never learnt twice. Whoever has the owners' files encrypts them under fresh
keys, cut into the chunks and brought into the order that the journal tells of, and has fresh units
learn them, each a process of its own. This process holds the owners' records, their keys and the
client's; the units' keystores it does not open, and the recorded tenant it only reads.
"""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.client_service import ClientService
from pipeline.configurations import fetch_tenant
from pipeline.fresh_tenant import fresh_name, make_fresh_tenant
from pipeline.learning_watch import LearningWatch
from pipeline.meter import Meter
from pipeline.outbox import Outbox
from pipeline.owner_service import OwnerService, prepare_tables
from pipeline.parties import open_identity
from pipeline.record_cutting import RecordCutter, check_files, join_records, some_records
from pipeline.recorded_stream import RecordedStream, public_totals
from pipeline.replay_feed import Feed, check_target
from pipeline.replay_report import ReplayedModel, ReplayReport, Speed, UnitFigures
from pipeline.role_processes import StepFailedError, cpu_seconds, running_unit
from pipeline.settings import Settings
from pipeline.topic_urls import open_transport
from pipeline.transport import Message, Transport
from roles.chunk_encodings import ChunkEncodings
from roles.encoding import EncodedRecords
from roles.tenant import Tenant
from roles.twins import Twin, twin_of
from schemas.reasons import ReasonCode
from schemas.topics import Role, TopicName, topic_name

ASKED_ROWS = 100
ANSWER_SECONDS = 600.0

Files = Mapping[str, Sequence[Path]]
Say = Callable[[str], None]
Units = Mapping[str, "subprocess.Popen[str]"]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A chunk that is encrypted and waits in its owner's outbox."""

    owner: str
    sequence: int
    written_at: int


async def replay_reencrypted(
    recorded: RecordedStream, files: Files, target: str, folder: Path, speed: Speed, say: Say
) -> ReplayReport:
    """Have a fresh tenant learn the records of a recorded stream.

    Args:
        recorded: Which chunks of which owners, in which order.
        files: The owners' files, in the order in which they were published.
        target: URL of the fresh tenant's topics.
        folder: Where its settings, keys and state go.
        speed: As fast as it goes, or with the pauses that the stream had.
        say: Tells the person at the terminal.

    Raises:
        OtherRecordsError: The files are not those that the stream was made of.
        InputFileError: The first thing wrong with a file.
        TargetInUseError: The target has messages of the fresh tenant.
        StepFailedError: A unit failed.
        StalledError: The units learn no more.
    """
    await asyncio.to_thread(check_files, files, recorded.records_of(), recorded.tenant.schema)
    async with open_transport(target) as transport:
        await check_target(transport, fresh_name(recorded.tenant.name))
    chunks = [chunk for chunk in recorded.accepted if recorded.holds(chunk)]
    say("set-up: every party's keys in a process of its own")
    settings = await asyncio.to_thread(make_fresh_tenant, recorded.tenant, sorted(files), folder, target)
    run = _Run(recorded, settings, ReplayReport(recorded.stretch, speed, reencrypted=True))
    say(f"encrypting {sum(chunk.records for chunk in chunks)} records anew, in {len(chunks)} chunks")
    await run.encrypt(files)
    stopped: dict[str, dict[str, Any]] = {}
    say("the fresh units learn")
    with running_unit("su", folder, stopped) as su, running_unit("mu", folder, stopped) as mu:
        used = await run.learn({"mu": mu, "su": su}, say)
    report = run.report
    report.units = {
        role: UnitFigures(seconds, stopped[role]["peak_rss_bytes"]) for role, seconds in used.items()
    }
    return report


class _Run:
    """One replay, from the files to the answers."""

    def __init__(self, recorded: RecordedStream, settings: Settings, report: ReplayReport) -> None:
        self._recorded = recorded
        self._settings = settings
        self._prepared: list[_Prepared] = []
        self._sample: list[EncodedRecords] = []
        configuration, schema = recorded.tenant.configuration, recorded.tenant.schema
        self._twins: dict[str, Twin] = {
            spec.model_id: twin_of(spec, schema, configuration.limits.max_total_records)
            for spec in configuration.models
        }
        self._to_ask = min(ASKED_ROWS, configuration.limits.max_query_rows)
        self.report = report

    # --- owners

    async def encrypt(self, files: Files) -> None:
        """Cut the files as the stream was cut, teach the twins, and fill the owners' outboxes."""
        schema, meter = self._recorded.tenant.schema, Meter()
        words = ChunkEncodings(self._recorded.tenant).word_columns > 0
        cutters = {owner: RecordCutter(paths, schema, words=words) for owner, paths in files.items()}
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            async with open_transport(self._settings.transport) as target:
                tenant = await fetch_tenant(self._settings, target)
                await asyncio.to_thread(prepare_tables, tenant, tenant.service_key)
                owners = {owner: self._owner(owner, tenant, target, meter, pool) for owner in files}
                for chunk in self._recorded.accepted:
                    batch = await asyncio.to_thread(cutters[chunk.owner].take, chunk.records)
                    if not self._recorded.holds(chunk):
                        continue
                    with meter.activity("encrypt"):
                        stored = await asyncio.to_thread(owners[chunk.owner].prepare, batch)
                    self._prepared.append(_Prepared(chunk.owner, stored.sequence, chunk.written_at))
                    await asyncio.to_thread(self._teach_twins, batch)
        self.report.encrypt_seconds = sum(a.cpu_seconds for a in meter.activities.values())

    def _owner(
        self, name: str, tenant: Tenant, target: Transport, meter: Meter, pool: ThreadPoolExecutor
    ) -> OwnerService:
        identity = open_identity(self._settings, tenant, name, Role.OWNER)
        outbox = Outbox(self._outbox(name))
        return OwnerService(target, tenant, identity.publisher(tenant, target), outbox, meter, pool)

    def _outbox(self, owner: str) -> Path:
        return self._settings.state / f"outbox-{owner}"

    def _teach_twins(self, batch: EncodedRecords) -> None:
        for twin in self._twins.values():
            twin.learn(batch)
        if sum(map(len, self._sample)) < self._to_ask:
            self._sample.append(batch)

    async def _messages(self) -> AsyncIterator[Message]:
        outboxes = {owner: Outbox(self._outbox(owner)) for owner in {p.owner for p in self._prepared}}
        for prepared in self._prepared:
            stored = await asyncio.to_thread(outboxes[prepared.owner].message, prepared.sequence)
            for wire in stored.wires:
                yield Message("", 0, 0, prepared.owner.encode(), {}, wire, prepared.written_at)

    # --- units

    async def learn(self, units: Units, say: Say) -> dict[str, float]:
        """Feed the stream until all is learnt, then ask; return the CPU that each unit used to learn."""
        before = {role: cpu_seconds(process) for role, process in units.items()}
        async with open_transport(self._settings.transport) as target:
            tenant = await fetch_tenant(self._settings, target)
            feed = Feed(target, tenant.name, self.report.speed)
            watch = LearningWatch(target, tenant, feed, self.report)
            async with asyncio.TaskGroup() as group:
                group.create_task(feed.run(self._messages()))
                group.create_task(watch.run(lambda: _check_units(units)))
            used = {role: cpu_seconds(process) - before[role] for role, process in units.items()}
            self.report.messages, self.report.bytes = feed.messages, feed.bytes
            self.report.bytes_mu_su = await _bytes_of_rounds(target, tenant)
            say(f"all learnt in {self.report.seconds:.1f} s; comparing every model with its plaintext twin")
            for name, kept in watch.totals.models.items():
                model = ReplayedModel(kept, latencies=watch.latencies[name])
                known = self._recorded.models[name]
                if self._recorded.stretch.whole and known is not None:
                    model.matches = public_totals(kept) == known
                self.report.models.append(model)
            await self._ask(tenant, target)
        return used

    async def _ask(self, tenant: Tenant, target: Transport) -> None:
        """Ask every model that holds a record, and hold its answers against the twin's."""
        if not self._sample:
            return
        rows = some_records(join_records(self._sample), slice(0, self._to_ask))
        (client,) = tenant.client_keys
        identity = open_identity(self._settings, tenant, client, Role.CLIENT)
        service = ClientService(
            target, tenant, identity.weak_key(tenant), identity.publisher(tenant, target), Meter()
        )
        for model in self.report.models:
            learner = model.kept.learner
            if model.kept.model.records:
                await service.open(learner.model_id)
                answered = await service.ask(learner, rows, ANSWER_SECONDS)
                expected = self._twins[learner.model_id].predict(rows)
                model.twin_agreement = float(np.mean(np.asarray(answered.labels) == expected))


def _check_units(units: Units) -> None:
    for role, process in units.items():
        if process.poll() is not None:
            raise StepFailedError(f"{role} ended while it learnt", ReasonCode.INTERNAL_ERROR)


async def _bytes_of_rounds(target: Transport, tenant: Tenant) -> int | None:
    """Return how much the units have sent each other; None where the topics do not tell."""
    rounds = {topic_name(tenant.name, name) for name in (TopicName.ROUND_REQUESTS, TopicName.ROUND_REPLIES)}
    sizes = [info.bytes for info in await target.topics() if info.topic in rounds]
    return None if None in sizes else sum(size for size in sizes if size is not None)
