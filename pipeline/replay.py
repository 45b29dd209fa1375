"""Feeding a recorded stream of chunks to a fresh master unit as it is encrypted, to see how fast it learns.

Chunks are signed and proven for their tenant, and encrypted under its service key: they can be
replayed under the same configuration only, into topics of their own. The unit that takes them in
lives in memory and has no keys. It writes no journal (signed by the real MU that would be a second
truth about one tenant), talks to no SU, and answers nobody. A model that learns in sessions needs
an SU; `pipeline.reencrypted_replay` is for those.
"""

import asyncio
import hashlib
import time
from array import array
from collections.abc import AsyncIterator
from dataclasses import replace

from msgspec import structs

from pipeline.chunk_desk import CHUNKS_AT_ONCE
from pipeline.errors import PipelineError
from pipeline.journal_fold import fold_journal
from pipeline.mailbox import Inbox
from pipeline.meter import peak_rss_bytes
from pipeline.recorded_stream import Bounds, decided_stretch
from pipeline.replay_feed import Feed, check_target
from pipeline.replay_report import ReplayedModel, ReplayReport, Speed, Stretch, UnitFigures
from pipeline.stored_chunks import stored_chunk
from pipeline.transport import Message, Transport
from pipeline.unit_process import prepare_tables
from roles.classifiers.learner import TaughtLearner
from roles.entry_content import NOTHING, EntryContent
from roles.judging import Judged, judge_messages
from roles.learners import learners_of
from roles.master_unit import MasterUnit
from roles.screening import ScreenedChunk
from roles.tenant import Tenant
from schemas.chunks import Withdrawal
from schemas.codec import encode
from schemas.journal import EntryKind, JournalEntry
from schemas.reasons import ReasonCode
from schemas.topics import Role, TopicName, topic_name, topic_specs

# How long an end of the stream may go unnoticed.
_LOOK_SECONDS = 0.2


class NeedsPlaintextError(PipelineError):
    """The stream cannot be replayed as it is encrypted."""

    code = ReasonCode.USAGE


async def replay(
    source: Transport,
    target: Transport,
    tenant: Tenant,
    chunks: Bounds = (None, None),
    speed: Speed = Speed.FULL,
) -> ReplayReport:
    """Copy configuration and chunks to empty topics and take them in there as MU would.

    Args:
        source: Where the tenant's topics are; only read.
        target: Where the copy goes.
        tenant: Public facts.
        chunks: Which part of the stream.
        speed: As fast as it goes, or with the pauses that the stream had.

    Raises:
        NeedsPlaintextError: A model of the tenant learns in sessions, or owners have keys of their own.
        TargetInUseError: The target has messages of this tenant.
        StorageError: The source's journal cannot be folded.

    Security:
        Nothing here talks to an SU. The tenant's own answers every step of a session once, and no
        other has a key for these ciphertexts.
    """
    _check_models(tenant)
    await check_target(target, tenant.name)
    recorded = await fold_journal(source, tenant)
    stretch = await decided_stretch(source, recorded, chunks)
    await target.create_topics(topic_specs(tenant.name))
    await _copy_configuration(source, target, tenant)
    await asyncio.to_thread(prepare_tables, tenant, Role.MU)
    run = _Replay(target, _moved(tenant, stretch.start), ReplayReport(stretch, speed))
    cpu = time.process_time()
    async with asyncio.TaskGroup() as group:
        group.create_task(run.feed.run(_messages(source, tenant, stretch)))
        group.create_task(run.learn())
    report = run.report
    report.units = {"mu": UnitFigures(time.process_time() - cpu, peak_rss_bytes())}
    report.messages, report.bytes = run.feed.messages, run.feed.bytes
    for name, kept in run.unit.models.items():
        replayed = ReplayedModel(kept, replayed_hash=kept.model.hash(tenant).hex(), latencies=run.accepted)
        if stretch.whole:
            replayed.recorded_hash = recorded.models[name].model.hash(tenant).hex()
            replayed.matches = replayed.recorded_hash == replayed.replayed_hash
        report.models.append(replayed)
    return report


def _check_models(tenant: Tenant) -> None:
    taught = [name for name, learner in learners_of(tenant).items() if isinstance(learner, TaughtLearner)]
    why = f"{', '.join(taught)}: such a model learns in sessions of both units" if taught else ""
    if tenant.has_owner_keys:
        why = "owners encrypt under keys of their own: chunks are re-keyed in sessions of both units"
    if why:
        owners = sorted(name for name, party in tenant.verifying.items() if party.role is Role.OWNER)
        raise NeedsPlaintextError(
            f"{why}, which never take the same ciphertexts twice",
            hint="give the files that were published, to be encrypted anew for a tenant of their own: "
            + " ".join(f"--data {owner}=FILE" for owner in owners),
        )


async def _messages(source: Transport, tenant: Tenant, stretch: Stretch) -> AsyncIterator[Message]:
    offset = stretch.start
    while offset < stretch.stop:
        messages = await source.read(topic_name(tenant.name, TopicName.CHUNKS), 0, offset)
        if not messages:
            return
        offset = messages[-1].offset + 1
        for message in messages:
            if message.offset < stretch.stop:
                yield message


def _moved(tenant: Tenant, start: int) -> Tenant:
    """Return the tenant as the target needs it, where chunks stand that much earlier."""
    moved = replace(tenant)
    for entered, change in zip(tenant.roster.in_force, tenant.roster.changes, strict=True):
        chunks, queries = entered.judges_from
        moved.roster.enter(structs.replace(entered, judges_from=(max(0, chunks - start), queries)), change)
    return moved


async def _copy_configuration(source: Transport, target: Transport, tenant: Tenant) -> None:
    name = topic_name(tenant.name, TopicName.CONFIG)
    offset = await source.beginning_offset(name, 0)
    while messages := await source.read(name, 0, offset):
        offset = messages[-1].offset + 1
        for message in messages:
            await target.append(name, message.key, message.value, message.headers)


class _Replay:
    """What takes in from the target, and the feed whose places it frees."""

    def __init__(self, target: Transport, tenant: Tenant, report: ReplayReport) -> None:
        self._target = target
        self._tenant = tenant
        self.report = report
        self.feed = Feed(target, tenant.name, report.speed)
        self.unit = MasterUnit.starting(tenant)
        self.accepted = array("d")

    async def learn(self) -> None:
        """Decide and fold what comes, as the master unit does, until all that was fed is decided."""
        inbox = Inbox(self._target, self._tenant, TopicName.CHUNKS)
        while not (self.feed.ended and inbox.next_offset >= self.feed.messages):
            before = inbox.next_offset
            arrivals = await inbox.receive(_LOOK_SECONDS, max_messages=CHUNKS_AT_ONCE)
            judged = await asyncio.to_thread(judge_messages, self.unit, arrivals)
            kinds = {item.arrival.offset: await self._decide(item) for item in judged}
            self._note(range(before, inbox.next_offset), kinds)

    def _note(self, read: range, decided: dict[int, str]) -> None:
        """Note how long messages took; of one in parts, since its last part."""
        now = time.monotonic()
        for offset in read:
            fed_at = self.feed.taken()
            if offset in decided:
                self.report.latencies.append(now - fed_at)
                if decided[offset] == EntryKind.ACCEPT:
                    self.accepted.append(now - fed_at)
            self.report.seconds = now - self.feed.started

    async def _decide(self, judged: Judged) -> str:
        """Decide and fold a message; return the kind of the entry."""
        content = NOTHING
        entry = self._entry(judged)
        if entry.kind == EntryKind.ACCEPT and isinstance(judged.screened, ScreenedChunk):
            content = EntryContent(judged.screened.vectors)
            self.report.accepted += 1
            self.report.records += entry.records
        elif entry.kind == EntryKind.WITHDRAW:
            known = self.unit.index.chunk(entry.sender, entry.sender_sequence)
            if known is not None:
                content = EntryContent(await stored_chunk(self._target, self.unit, known))
            self.report.withdrawn += 1
        else:
            self.report.rejected += 1
        entry_id = hashlib.sha256(encode(entry)).digest()
        await asyncio.to_thread(self.unit.apply, entry, entry_id, content)
        return entry.kind

    def _entry(self, judged: Judged) -> JournalEntry:
        if judged.reason is not None:
            return self.unit.decide_reject(judged.arrival, judged.reason)
        if isinstance(judged.screened, Withdrawal):
            return self.unit.decide_withdrawal(judged.arrival, judged.screened)
        if isinstance(judged.screened, ScreenedChunk):
            return self.unit.decide_chunk(judged.screened)
        return self.unit.decide_reject(judged.arrival, ReasonCode.MALFORMED)
