"""Reading back one message of which the place and the id are known, whole, whatever lies around it."""

import asyncio
from dataclasses import dataclass, field

from crypto.errors import SchemaError
from pipeline.errors import OffsetOutOfRangeError, UnknownTopicError
from pipeline.meter import Meter
from pipeline.transport import Message, Transport
from roles.arrival import Arrival
from roles.tenant import Tenant
from schemas.envelope import Envelope, open_envelope
from schemas.parts import whole_id
from schemas.topics import TOPICS, TopicName, topic_name

# Messages looked at together on the way back to a first part.
_BLOCK_MESSAGES = 32
_MAX_OFFSET = (1 << 63) - 1


async def stored_message(
    transport: Transport,
    tenant: Tenant,
    topic: TopicName,
    partition: int,
    offset: int,
    message_hash: bytes,
    meter: Meter | None = None,
) -> Arrival | None:
    """Return the message of that id whose last part stands at an offset; None if it is not there.

    Parts may lie any distance apart, among parts of other messages and among others of the same
    number: only those that give the id are taken. The place may come from a peer.

    Cost:
        One read for a message in one part; else everything back to its first part, once.
    """
    place = _Place(transport, tenant, topic, partition, meter)
    last = await place.envelope_at(offset)
    if last is None:
        return None
    bodies = [last.body]
    if last.parts > 1:
        parts = await _parts_of(place, last, offset, message_hash)
        if parts is None:
            return None
        # Only ids were kept on the way: the contents are read now, once.
        found = [last if at == offset else await place.envelope_at(at) for at, _ in parts]
        bodies = [part.body for part in found if part is not None]
        if len(bodies) < last.parts:
            return None
    elif last.message_id() != message_hash:
        return None
    body = b"".join(bodies)
    where, told = (topic, partition, offset, message_hash), (last.sender, last.sequence, last.kind)
    return Arrival(*where, *told, body, last.key_epoch)


@dataclass(frozen=True, slots=True)
class _Place:
    """One partition, and how to open what lies there."""

    transport: Transport
    tenant: Tenant
    topic: TopicName
    partition: int
    meter: Meter | None

    async def read(self, offset: int, count: int) -> list[Message]:
        if not (0 <= self.partition < TOPICS[self.topic].partitions and 0 <= offset <= _MAX_OFFSET):
            return []
        name = topic_name(self.tenant.name, self.topic)
        try:
            return await self.transport.read(name, self.partition, offset, max_messages=count)
        except (OffsetOutOfRangeError, UnknownTopicError):
            return []

    async def beginning(self) -> int:
        return await self.transport.beginning_offset(topic_name(self.tenant.name, self.topic), self.partition)

    async def envelope_at(self, offset: int) -> Envelope | None:
        messages = await self.read(offset, 1)
        if not messages or messages[0].offset != offset:
            return None
        envelope = await asyncio.to_thread(self.open, messages[0])
        if envelope is not None and self.meter is not None:
            self.meter.saw(self.topic, envelope.kind, len(messages[0].value))
        return envelope

    def open(self, message: Message) -> Envelope | None:
        try:
            sender = self.tenant.roster.sender(self.topic, message.offset)
            return open_envelope(message.value, self.topic, self.tenant.name, sender)
        except SchemaError:
            return None


@dataclass(slots=True)
class _Candidate:
    """The earliest part under every number, as far back as was looked: (offset, id)."""

    parts: int
    found: dict[int, tuple[int, bytes]] = field(default_factory=dict)

    def has_id(self, message_hash: bytes) -> bool:
        if len(self.found) < self.parts:
            return False
        return whole_id([self.found[part][1] for part in range(self.parts)]) == message_hash


async def _parts_of(
    place: _Place, last: Envelope, offset: int, message_hash: bytes
) -> list[tuple[int, bytes]] | None:
    """Return (offset, id) of every part in order; None if no parts up to `offset` give that id."""
    beginning = await place.beginning()
    candidate = _Candidate(last.parts, {last.part: (offset, last.message_id())})
    end = offset
    while end > beginning:
        start = max(beginning, end - _BLOCK_MESSAGES)
        for part, at, part_id in reversed(await _parts_between(place, last, start, end)):
            # Of two under one number the earlier one counts: with it the group was opened.
            candidate.found[part] = (at, part_id)
            if candidate.has_id(message_hash):
                return [candidate.found[number] for number in range(last.parts)]
        end = start
    return None


async def _parts_between(place: _Place, last: Envelope, start: int, end: int) -> list[tuple[int, int, bytes]]:
    """Return (part, offset, id) of the parts of one group in a range of offsets, in order."""

    def matching(messages: list[Message]) -> list[tuple[int, int, bytes]]:
        opened = [(message.offset, place.open(message)) for message in messages if message.offset < end]
        return [
            (envelope.part, at, envelope.message_id())
            for at, envelope in opened
            if envelope is not None
            and (envelope.sender, envelope.sequence, envelope.kind, envelope.parts)
            == (last.sender, last.sequence, last.kind, last.parts)
        ]

    found: list[tuple[int, int, bytes]] = []
    while start < end and (messages := await place.read(start, end - start)):
        start = messages[-1].offset + 1
        found += await asyncio.to_thread(matching, messages)
    return found
