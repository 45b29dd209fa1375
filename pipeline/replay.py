"""Feeding a recorded stream of chunks to a fresh master unit, to see how fast it learns.

Chunks are signed and proven for their tenant, and encrypted under its service key: they can be
replayed under the same configuration only, into topics of their own. The unit that takes them in
lives in memory and has no keys. It writes no journal (signed by the real MU that would be a second
truth about one tenant), talks to no SU, and answers nobody.
"""

import asyncio
import hashlib
import resource
import time
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from msgspec import structs

from pipeline.errors import PipelineError
from pipeline.journal_fold import fold_journal, stored_chunk
from pipeline.mailbox import Inbox
from pipeline.transport import Message, Transport
from pipeline.unit_process import prepare_tables
from roles.entry_content import NOTHING, EntryContent
from roles.judging import Judged, judge_messages
from roles.master_unit import MasterUnit
from roles.screening import ScreenedChunk
from roles.tenant import Tenant
from schemas.chunks import Withdrawal
from schemas.codec import encode
from schemas.journal import EntryKind, JournalEntry
from schemas.reasons import ReasonCode
from schemas.topics import Role, TopicName, topic_name, topic_specs

CHUNKS_AT_ONCE = 128
"""As the master unit takes them."""
IN_FLIGHT = 2 * CHUNKS_AT_ONCE
APPENDS_AT_ONCE = 64
# How long an end of the stream may go unnoticed.
_LOOK_SECONDS = 0.2


class Speed(StrEnum):
    """How fast the stream is fed."""

    FULL = "full"
    RECORDED = "recorded"


class TargetInUseError(PipelineError):
    """The target has messages of the tenant; a replay goes into empty topics only."""

    code = ReasonCode.USAGE


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which messages of the chunks topic are replayed.

    Attributes:
        start: Offset of the first.
        stop: Offset behind the last.
        whole: Whether that is all that MU had decided.
    """

    start: int
    stop: int
    whole: bool


@dataclass(slots=True)
class ReplayReport:
    """What a replay did, and how long it took."""

    stretch: Stretch
    speed: Speed
    messages: int = 0
    bytes: int = 0
    accepted: int = 0
    rejected: int = 0
    withdrawn: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    model: dict[str, Any] = field(default_factory=dict)
    latencies: "array[float]" = field(default_factory=lambda: array("d"), repr=False)

    @property
    def differs(self) -> bool:
        """Whether the replayed model is not the recorded one."""
        return self.model["matches"] is False

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of `replay/1`."""
        ordered = sorted(self.latencies)
        decided = len(ordered)
        return {
            "speed": self.speed.value,
            "from_offset": self.stretch.start,
            "to_offset": self.stretch.stop,
            "messages": self.messages,
            "bytes": self.bytes,
            "chunks_accepted": self.accepted,
            "chunks_rejected": self.rejected,
            "withdrawals": self.withdrawn,
            "seconds": self.seconds,
            "chunks_per_second": decided / self.seconds if self.seconds else None,
            "chunk_seconds_median": ordered[decided // 2] if ordered else None,
            "chunk_seconds_p95": ordered[decided * 95 // 100] if ordered else None,
            "cpu_seconds": self.cpu_seconds,
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "model": self.model,
        }


async def replay(
    source: Transport,
    target: Transport,
    tenant: Tenant,
    chunks: tuple[int | None, int | None] = (None, None),
    speed: Speed = Speed.FULL,
) -> ReplayReport:
    """Copy configuration and chunks to empty topics and take them in there as MU would.

    Args:
        source: Where the tenant's topics are; only read.
        target: Where the copy goes.
        tenant: Public facts.
        chunks: First offset on the chunks topic, and the one behind the last; by default all that
            MU has decided.
        speed: As fast as it goes, or with the pauses that the stream had.

    Raises:
        TargetInUseError: The target has messages of this tenant.
        StorageError: The source's journal cannot be folded.
    """
    await _check_target(target, tenant)
    recorded = await fold_journal(source, tenant)
    stretch = await _stretch(source, tenant, recorded, chunks)
    await target.create_topics(topic_specs(tenant.name))
    await _copy_configuration(source, target, tenant)
    await asyncio.to_thread(prepare_tables, tenant, Role.MU)
    run = _Replay(source, target, _moved(tenant, stretch.start), ReplayReport(stretch, speed))
    cpu, started = time.process_time(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(run.feed())
        group.create_task(run.learn())
    report = run.report
    report.seconds, report.cpu_seconds = time.monotonic() - started, time.process_time() - cpu
    name = tenant.configuration.models[0].model_id
    model = run.unit.models[name].model
    recorded_hash = recorded.models[name].model.hash(tenant).hex() if stretch.whole else None
    replayed_hash = model.hash(tenant).hex()
    report.model = {
        "id": name,
        "version": model.version,
        "records": model.records,
        "sha256_recorded": recorded_hash,
        "sha256_replayed": replayed_hash,
        "matches": None if recorded_hash is None else recorded_hash == replayed_hash,
    }
    return report


async def _check_target(target: Transport, tenant: Tenant) -> None:
    own = {spec.topic for spec in topic_specs(tenant.name)}
    for info in await target.topics():
        if info.topic in own and any(info.next_offset):
            raise TargetInUseError(
                f"{info.topic} has messages at the target",
                hint="name an empty folder: a replay never adds to topics that are in use",
            )


async def _stretch(
    source: Transport, tenant: Tenant, recorded: MasterUnit, chunks: tuple[int | None, int | None]
) -> Stretch:
    beginning = await source.beginning_offset(topic_name(tenant.name, TopicName.CHUNKS), 0)
    # What MU has not decided yet is in no model to compare with.
    decided = max(beginning, recorded.next_offset.get((TopicName.CHUNKS, 0), 0))
    start = beginning if chunks[0] is None else min(max(chunks[0], beginning), decided)
    stop = decided if chunks[1] is None else min(max(chunks[1], start), decided)
    return Stretch(start, stop, whole=(start, stop) == (0, decided))


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
    """The two ends of one replay: what feeds the topic, and what takes in from it."""

    def __init__(self, source: Transport, target: Transport, tenant: Tenant, report: ReplayReport) -> None:
        self._source = source
        self._target = target
        self._tenant = tenant
        self._topic = topic_name(tenant.name, TopicName.CHUNKS)
        self.report = report
        self.unit = MasterUnit.starting(tenant)
        self._in_flight = asyncio.Semaphore(IN_FLIGHT)
        # Of what is in flight, in the order of the target's offsets.
        self._fed_at: deque[float] = deque()
        self._fed = False

    # --- feeding

    async def feed(self) -> None:
        """Copy the messages, no more at a time than the unit keeps up with."""
        stretch, offset = self.report.stretch, self.report.stretch.start
        started, first_written = time.monotonic(), None
        while offset < stretch.stop:
            wanted = min(APPENDS_AT_ONCE, stretch.stop - offset)
            messages = await self._source.read(self._topic, 0, offset, max_messages=wanted)
            messages = [message for message in messages if message.offset < stretch.stop]
            if not messages:
                break
            offset = messages[-1].offset + 1
            if self.report.speed is Speed.FULL:
                await self._append(messages)
                continue
            for message in messages:
                first_written = message.written_at if first_written is None else first_written
                due = started + (message.written_at - first_written) / 1e9
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await self._append([message])
        self._fed = True

    async def _append(self, messages: Sequence[Message]) -> None:
        for _ in messages:
            await self._in_flight.acquire()
        async with asyncio.TaskGroup() as group:
            # Called in order, so that they stand in order, and committed together.
            for message in messages:
                group.create_task(self._append_one(message))

    async def _append_one(self, message: Message) -> None:
        self._fed_at.append(time.monotonic())
        await self._target.append(self._topic, message.key, message.value, message.headers, partition=0)
        self.report.messages += 1
        self.report.bytes += len(message.value)

    # --- taking in

    async def learn(self) -> None:
        """Decide and fold what comes, as the master unit does, until all that was fed is decided."""
        inbox = Inbox(self._target, self._tenant, TopicName.CHUNKS)
        while not (self._fed and inbox.next_offset >= self.report.messages):
            before = inbox.next_offset
            arrivals = await inbox.receive(_LOOK_SECONDS, max_messages=CHUNKS_AT_ONCE)
            judged = await asyncio.to_thread(judge_messages, self.unit, arrivals)
            for item in judged:
                await self._decide(item)
            await self._note(range(before, inbox.next_offset), {item.arrival.offset for item in judged})

    async def _note(self, read: range, decided: set[int]) -> None:
        """Note how long messages took; of one in parts, since its last part."""
        now = time.monotonic()
        for offset in read:
            fed_at = self._fed_at.popleft()
            if offset in decided:
                self.report.latencies.append(now - fed_at)
            self._in_flight.release()

    async def _decide(self, judged: Judged) -> None:
        content = NOTHING
        entry = self._entry(judged)
        if entry.kind == EntryKind.ACCEPT and isinstance(judged.screened, ScreenedChunk):
            content = EntryContent(judged.screened.vectors)
            self.report.accepted += 1
        elif entry.kind == EntryKind.WITHDRAW:
            known = self.unit.index.chunk(entry.sender, entry.sender_sequence)
            if known is not None:
                place = known.partition, known.offset, known.message_hash
                content = EntryContent(await stored_chunk(self._target, self.unit, *place))
            self.report.withdrawn += 1
        else:
            self.report.rejected += 1
        entry_id = hashlib.sha256(encode(entry)).digest()
        await asyncio.to_thread(self.unit.apply, entry, entry_id, content)

    def _entry(self, judged: Judged) -> JournalEntry:
        if judged.reason is not None:
            return self.unit.decide_reject(judged.arrival, judged.reason)
        if isinstance(judged.screened, Withdrawal):
            return self.unit.decide_withdrawal(judged.arrival, judged.screened)
        if isinstance(judged.screened, ScreenedChunk):
            return self.unit.decide_chunk(judged.screened)
        return self.unit.decide_reject(judged.arrival, ReasonCode.MALFORMED)
