"""A tenant's log written by a test that holds everybody's keys: as MU would write it, or otherwise."""

import hashlib
from typing import TypeVar

from msgspec import structs
from round_trips import chunk_of, head_of, query_for, random_records
from tenants import NAMES, SmallTenant

from pipeline.mailbox import Publisher, sequence_of
from pipeline.memory_transport import MemoryBroker, MemoryTransport
from roles.arrival import Arrival
from roles.chunk_encodings import Vectors
from roles.entry_content import NOTHING, EntryContent
from roles.judging import Judged, judge_messages
from roles.master_unit import MasterUnit
from roles.model_state import ModelState
from roles.screening import ScreenedChunk, ScreenedQuery
from schemas.chunks import Withdrawal
from schemas.codec import WireStruct, encode
from schemas.heads import Head
from schemas.journal import EntryKind, JournalEntry, Receipt
from schemas.parts import seal_parts
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name, topic_specs

T = TypeVar("T", bound=WireStruct)


class WrittenLog:
    """The log so far, and MU's state after it.

    Attributes:
        small: The tenant.
        broker: Where the topics are.
        unit: MU's state.
    """

    def __init__(self, small: SmallTenant) -> None:
        self.small = small
        self.tenant = small.tenant
        self.broker = MemoryBroker()
        self.transport = MemoryTransport(self.broker)
        for spec in topic_specs(self.tenant.name):
            self.broker.create(spec)
        self.unit = MasterUnit.starting(self.tenant)
        self.chunks: dict[int, Vectors] = {}

    def seal(self, role: str, topic: TopicName, kind: str, sequence: int, body: bytes) -> list[bytes]:
        """Sign a message as somebody."""
        return self._publisher(role).seal(topic, kind, sequence, body)

    # --- what owners and clients write

    async def put(
        self,
        role: str,
        topic: TopicName,
        kind: str,
        sequence: int,
        body: bytes,
        part_bytes: int | None = None,
    ) -> Arrival:
        """Put a signed message on a topic, in parts if asked for."""
        publisher = self._publisher(role)
        wires = publisher.seal(topic, kind, sequence, body)
        if part_bytes is not None:
            wires = seal_parts(
                tenant=self.tenant.name,
                topic=topic,
                sender=publisher.sender,
                key_epoch=1,
                sequence=sequence,
                kind=kind,
                body=body,
                signing_key=publisher.signing_key,
                limit=part_bytes,
            )
        sent = await publisher.append(topic, wires)
        offset = sent.position.offset
        return Arrival(topic, 0, offset, sent.message_hash, publisher.sender, sequence, kind, body)

    async def put_chunk(self, sequence: int, *, part_bytes: int | None = None, **changes: object) -> Arrival:
        """Put an owner's chunk on its topic, with other fields if asked for."""
        chunk = changed(chunk_of(self.small, sequence), **changes)
        return await self.put("owner", TopicName.CHUNKS, "chunk", sequence, encode(chunk), part_bytes)

    async def put_garbage(self, topic: TopicName, value: bytes) -> Arrival:
        """Put unsigned bytes on a topic."""
        position = await self.transport.append(topic_name(self.tenant.name, topic), None, value)
        return Arrival(topic, 0, position.offset, hashlib.sha256(value).digest(), "", 0, "", b"")

    async def put_query(self, seed: str) -> Arrival:
        """Put a client's query of two rows on its topic."""
        body = encode(query_for(self.small, random_records(self.small, 2, seed), seed))
        return await self.put("client", TopicName.QUERIES, "query", sequence_of(body), body)

    # --- what MU writes

    async def decide(self, arrival: Arrival, *, receipt: bool = True) -> JournalEntry:
        """Write the entry that the rules give for a message, fold it, and give the receipt."""
        (judged,) = judge_messages(self.unit, [arrival])
        entry = self._entry(judged)
        await self.write(entry, arrival, judged, receipt=receipt)
        return entry

    async def refuse(self, arrival: Arrival, reason: ReasonCode) -> JournalEntry:
        """Write the entry that refuses a message, whatever the rules say of it."""
        entry = self.unit.decide_reject(arrival, reason)
        await self.write(entry, arrival)
        return entry

    async def write(
        self,
        entry: JournalEntry,
        arrival: Arrival,
        judged: Judged | None = None,
        *,
        receipt: bool = True,
        fold: bool = True,
    ) -> None:
        """Write any entry, fold it, and give the receipt that goes with it."""
        sent = await self._publisher("mu").publish(TopicName.JOURNAL, "entry", entry.sequence, encode(entry))
        if fold:
            self._fold(entry, sent.message_hash, judged)
        if receipt and entry.topic == TopicName.CHUNKS and arrival.sender:
            await self.receipt(
                Receipt(
                    arrival.message_hash, arrival.sequence, entry.reason, entry.sequence, sent.message_hash
                )
            )

    async def receipt(self, receipt: Receipt) -> None:
        """Give a receipt."""
        body = encode(receipt)
        await self._publisher("mu").publish(TopicName.RECEIPTS, "receipt", sequence_of(body), body)

    async def learn(self, sequence: int, *, part_bytes: int | None = None) -> JournalEntry:
        """Publish a chunk and accept it."""
        return await self.decide(await self.put_chunk(sequence, part_bytes=part_bytes))

    async def withdraw(self, sequence: int, number: int) -> JournalEntry:
        """Publish the wish to take a chunk out again, and decide it."""
        body = encode(Withdrawal(sequence))
        return await self.decide(await self.put("owner", TopicName.CHUNKS, "withdrawal", number, body))

    async def ask(self, seed: str) -> JournalEntry:
        """Publish a query and decide it."""
        return await self.decide(await self.put_query(seed))

    async def answer(self, asked: JournalEntry) -> JournalEntry:
        """Close a query; with what answer is nobody's business here."""
        entry = self.unit.decide_answered(asked, bytes(32))
        await self.write(entry, Arrival(TopicName.QUERIES, 0, 0, b"", "", 0, "", b""))
        return entry

    def head(self, **changes: object) -> Head:
        """Return the head of the state so far, with other fields if asked for."""
        own = structs.replace(head_of(self.small, self.model), journal_sequence=self.unit.next_sequence - 1)
        return changed(structs.replace(own, journal_head=self.unit.head), **changes)

    @property
    def model(self) -> ModelState:
        """The model so far."""
        return self.unit.models["m"].model

    async def put_head(self, head: Head, role: str = "mu") -> None:
        """Put a signed head on its topic."""
        body = encode(head)
        await self._publisher(role).publish(TopicName.HEADS, "head", sequence_of(body), body)

    def _fold(self, entry: JournalEntry, entry_id: bytes, judged: Judged | None) -> None:
        content = NOTHING
        number = entry.sender_sequence
        if (
            entry.kind == EntryKind.ACCEPT
            and judged is not None
            and isinstance(judged.screened, ScreenedChunk)
        ):
            self.chunks[number] = judged.screened.vectors
            content = EntryContent(judged.screened.vectors)
        elif entry.kind == EntryKind.WITHDRAW:
            content = EntryContent(self.chunks[number])
        elif judged is not None and isinstance(judged.screened, ScreenedQuery):
            content = EntryContent(query_id=judged.screened.query.query_id)
        self.unit.apply(entry, entry_id, content)

    def _entry(self, judged: Judged) -> JournalEntry:
        arrival, screened = judged.arrival, judged.screened
        if judged.reason is not None or screened is None:
            return self.unit.decide_reject(arrival, judged.reason or ReasonCode.MALFORMED)
        if isinstance(screened, Withdrawal):
            return self.unit.decide_withdrawal(arrival, screened)
        if isinstance(screened, ScreenedQuery):
            return self.unit.decide_query(screened)
        return self.unit.decide_chunk(screened)

    def _publisher(self, role: str) -> Publisher:
        key = self.small.signing[role]
        return Publisher(self.transport, self.tenant.name, NAMES[role], 1, key)


def changed(struct: T, **changes: object) -> T:
    """Return a wire struct with other fields."""
    return structs.replace(struct, **changes)
