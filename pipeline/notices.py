"""What MU tells others of its decisions: receipts, answers, dead letters.

Every notice is a function of the journal and the log, to the last byte of its wire form. So a
restarted MU can tell which of its last decisions it had no time to announce, and announces them.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from crypto.errors import SchemaError
from pipeline.dead_letters import DeadLetters
from pipeline.mailbox import Inbox, Publisher, sequence_of
from pipeline.meter import Meter
from pipeline.stored_message import stored_message
from pipeline.transport import Transport
from roles.arrival import Arrival
from roles.master_unit import MasterUnit
from roles.model_state import ModelState
from roles.receipts import receipts_due
from roles.tenant import Tenant
from schemas.codec import decode, encode
from schemas.journal import EntryKind, JournalEntry
from schemas.queries import Answer, Query
from schemas.reasons import ReasonCode
from schemas.snapshots import WaitingChunk
from schemas.topics import TopicName, topic_name

# The same query again is no news to the client: its answer is there or on its way.
UNANSWERED_REASONS = frozenset({ReasonCode.DUPLICATE, ReasonCode.EQUIVOCATION})
_LOOK_BACK_MESSAGES = 2048


@dataclass(frozen=True, slots=True)
class Answered:
    """A query with the entry that closed it."""

    asked: JournalEntry
    model: ModelState
    closing: JournalEntry


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision about chunks, with what its receipts need.

    Attributes:
        entry: The entry.
        entry_id: Its id.
        closed: For ``learnt`` and ``rekeyed`` the chunks that it closes.
    """

    entry: JournalEntry
    entry_id: bytes
    closed: Sequence[WaitingChunk] = ()


@dataclass(slots=True)
class JournalTail:
    """The last decisions: those that MU may not have announced when it stopped.

    Attributes:
        chunks: Decisions about chunks.
        rejects: Entries that refuse a query.
        answered: Queries that were closed.
    """

    chunks: deque[Decided]
    rejects: deque[JournalEntry]
    answered: deque[Answered]

    @classmethod
    def holding(cls, *, chunks: int, rejects: int, answered: int) -> "JournalTail":
        """Return an empty tail that keeps so many of each kind."""
        return cls(deque(maxlen=chunks), deque(maxlen=rejects), deque(maxlen=answered))

    def watch(self, unit: MasterUnit, entry: JournalEntry, entry_id: bytes) -> None:
        """Take an entry that is about to be folded."""
        if entry.kind == EntryKind.ANSWERED:
            asked = unit.open_queries.get(entry.message_hash)
            if asked is not None:
                self.answered.append(Answered(*asked, entry))
        elif entry.kind in {EntryKind.LEARNT, EntryKind.REKEYED}:
            self.chunks.append(Decided(entry, entry_id, unit.closed_chunks(entry)))
        elif entry.topic == TopicName.CHUNKS:
            self.chunks.append(Decided(entry, entry_id))
        elif entry.kind == EntryKind.REJECT:
            self.rejects.append(entry)


@dataclass(frozen=True, slots=True)
class _Notice:
    topic: TopicName
    key: bytes | None
    wires: Sequence[bytes] = field(repr=False)


class Notices:
    """Writes notices as MU."""

    def __init__(self, transport: Transport, tenant: Tenant, publisher: Publisher, meter: Meter) -> None:
        self._transport = transport
        self._tenant = tenant
        self._publisher = publisher
        self._meter = meter
        self._dead_letters = DeadLetters(publisher, meter)

    async def decided(self, arrival: Arrival, entry: JournalEntry, entry_id: bytes) -> None:
        """Tell of a decision on a message of the chunks topic."""
        what = "withdrawal" if entry.kind == EntryKind.WITHDRAW else "chunk"
        self._meter.outcome(what, entry.reason)
        if entry.reason:
            await self._dead_letters.report(arrival, entry.reason)
        for receipt in await asyncio.to_thread(self._receipts, Decided(entry, entry_id), arrival.sequence):
            await self._send(receipt)

    async def learnt(self, decided: Decided) -> None:
        """Tell the owners what became of their chunks in a lesson."""
        entry = decided.entry
        self._meter.outcome("lesson", entry.reason, model=entry.model_id, times=len(decided.closed))
        if decided.entry.reason:
            await self._dead_letters.report(await self._arrival(decided.entry), decided.entry.reason)
        for receipt in await asyncio.to_thread(self._receipts, decided, 0):
            await self._send(receipt)

    async def rekeyed(self, decided: Decided) -> None:
        """Tell the owner that models can learn a chunk now."""
        for receipt in await asyncio.to_thread(self._receipts, decided, 0):
            await self._send(receipt)

    async def refused_query(self, arrival: Arrival, reason: ReasonCode) -> None:
        """Tell of a query that was not accepted."""
        self._meter.outcome("query", reason)
        await self._dead_letters.report(arrival, reason)
        refusal = _refusal(arrival, reason)
        if refusal is not None:
            await self._send(await asyncio.to_thread(self._answer, arrival.sender, refusal))

    async def answer(self, client: str, answer: Answer) -> None:
        """Hand the answer to an accepted query to its client; it may say why there is none."""
        self._meter.outcome("query", answer.reason)
        await self._send(await asyncio.to_thread(self._answer, client, answer))

    async def announce(self, tail: JournalTail) -> list[Answered]:
        """Send what is missing of the notices of the last decisions.

        Returns:
            The queries whose answer is not on its topic: they must be computed again.
        """
        expected: list[_Notice] = []
        for decided in tail.chunks:
            arrival = await self._arrival(decided.entry)
            if decided.entry.reason:
                expected.append(self._letter(arrival, decided.entry.reason))
            expected += self._receipts(decided, arrival.sequence)
        for entry in tail.rejects:
            arrival = await self._arrival(entry)
            expected.append(self._letter(arrival, entry.reason))
            refusal = _refusal(arrival, ReasonCode(entry.reason))
            if refusal is not None:
                expected.append(self._answer(entry.sender, refusal))
        for topic in sorted({notice.topic for notice in expected}):
            there = await self._last_values(topic)
            for notice in expected:
                if notice.topic == topic and not there.issuperset(notice.wires):
                    await self._send(notice)
        return await self._missing_answers(list(tail.answered))

    async def _missing_answers(self, answered: list[Answered]) -> list[Answered]:
        if not answered:
            return []
        start, end = await self._last_offsets(TopicName.ANSWERS)
        inbox = Inbox(self._transport, self._tenant, TopicName.ANSWERS, offset=start)
        there: set[bytes] = set()
        while inbox.next_offset < end and (arrivals := await inbox.receive(wait_seconds=0.0)):
            there |= {hashlib.sha256(a.body).digest() for a in arrivals if isinstance(a, Arrival)}
        return [query for query in answered if query.closing.result not in there]

    async def _last_values(self, topic: TopicName) -> set[bytes]:
        offset, end = await self._last_offsets(topic)
        name = topic_name(self._tenant.name, topic)
        there: set[bytes] = set()
        while offset < end and (messages := await self._transport.read(name, 0, offset)):
            there |= {message.value for message in messages}
            offset = messages[-1].offset + 1
        return there

    async def _last_offsets(self, topic: TopicName) -> tuple[int, int]:
        name = topic_name(self._tenant.name, topic)
        end = await self._transport.end_offset(name, 0)
        return max(await self._transport.beginning_offset(name, 0), end - _LOOK_BACK_MESSAGES), end

    async def _arrival(self, entry: JournalEntry) -> Arrival:
        """Return the message that an entry is about, without a body where it could not be verified."""
        place = entry.partition, entry.offset, entry.message_hash
        if entry.sender and (entry.kind == EntryKind.WITHDRAW or entry.topic == TopicName.QUERIES):
            # Of a withdrawal the entry does not hold the own number, of a query not the id.
            stored = await stored_message(self._transport, self._tenant, TopicName(entry.topic), *place)
            if stored is not None:
                return stored
        return Arrival(entry.topic, *place, entry.sender, entry.sender_sequence, "", b"")

    def _receipts(self, decided: Decided, owner_sequence: int) -> list[_Notice]:
        due = receipts_due(decided.entry, decided.entry_id, owner_sequence, decided.closed)
        return [
            self._notice(TopicName.RECEIPTS, "receipt", owner.encode(), encode(receipt))
            for owner, receipt in due
        ]

    def _answer(self, client: str, answer: Answer) -> _Notice:
        return self._notice(TopicName.ANSWERS, "answer", client.encode(), encode(answer))

    def _letter(self, arrival: Arrival, reason: str) -> _Notice:
        body = self._dead_letters.body(arrival, reason)
        return self._notice(TopicName.DEAD_LETTERS, "deadletter", None, body)

    def _notice(self, topic: TopicName, kind: str, key: bytes | None, body: bytes) -> _Notice:
        return _Notice(topic, key, self._publisher.seal(topic, kind, sequence_of(body), body))

    async def _send(self, notice: _Notice) -> None:
        await self._publisher.append(notice.topic, list(notice.wires), key=notice.key)


def _refusal(arrival: Arrival, reason: ReasonCode) -> Answer | None:
    """Return the answer that says why there is none; None for what is no readable query."""
    if reason in UNANSWERED_REASONS or not arrival.sender:
        return None
    try:
        query = decode(Query, arrival.body, len(arrival.body))
    except SchemaError:
        return None
    return Answer(query.query_id, query.rows, 0, reason, b"")


def given_refusal(answered: Answered, query: Query) -> Answer | None:
    """Return the refusal that closed a query, found by its journaled hash; None if it was answered."""
    for reason in ReasonCode:
        refusal = Answer(query.query_id, query.rows, answered.model.version, reason, b"")
        if hashlib.sha256(encode(refusal)).digest() == answered.closing.result:
            return refusal
    return None
