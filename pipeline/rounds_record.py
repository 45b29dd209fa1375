"""What lies on the rounds topics, as an index: for a unit that re-runs its own side.

Bodies are large, so only their hashes and places are kept; one is read again when it is needed.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from crypto.errors import SchemaError
from crypto.unit_channel import UnsealedError
from pipeline.mailbox import Inbox
from pipeline.meter import Meter
from pipeline.rounds import MAX_BODY_BYTES, PARTITIONS, open_round
from pipeline.signed_messages import place_of
from pipeline.stored_message import stored_message
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.findings import FindingCode, Findings, Place
from roles.tenant import Tenant
from roles.unit_channels import UnitChannels
from schemas.codec import encode
from schemas.rounds import Reply, Request
from schemas.topics import TopicName, topic_name

T = TypeVar("T")

# A request or reply may be large: no more of them are held than needed.
_READ_MESSAGES = 8


@dataclass(frozen=True, slots=True)
class RecordedReply:
    """A reply of SU.

    Attributes:
        place: Where it stands.
        message_hash: Its id.
        body_hash: SHA-256 of its body.
        reason: Why it refuses; empty if it answers.
    """

    place: Place
    message_hash: bytes
    body_hash: bytes
    reason: str


@dataclass(slots=True)
class RoundsRecord:
    """The rounds topics of a tenant up to where they end at `open`.

    Attributes:
        transport: Where the topics are; only read.
        tenant: Public facts.
        channels: Of the unit that looks, which open what either of them sealed.
        findings: Where findings about what cannot be read go.
        meter: Counts what was seen.
        replies: By session, step and hash of the request, in the order in which they were given.
    """

    transport: Transport
    tenant: Tenant
    channels: UnitChannels
    findings: Findings
    meter: Meter
    replies: dict[tuple[bytes, int, bytes], list[RecordedReply]] = field(default_factory=dict)
    _ends: dict[tuple[TopicName, int], int] = field(default_factory=dict)

    async def open(self, partitions: Iterable[int] = PARTITIONS) -> None:
        """Settle where the topics end: replies first, so that each of them has its request."""
        chosen = tuple(partitions)
        for topic in (TopicName.ROUND_REPLIES, TopicName.ROUND_REQUESTS):
            for partition in chosen:
                name = topic_name(self.tenant.name, topic)
                self._ends[topic, partition] = await self.transport.end_offset(name, partition)

    async def is_whole(self, partition: int) -> bool:
        """Return whether a partition's requests are kept from the first one on."""
        name = topic_name(self.tenant.name, TopicName.ROUND_REQUESTS)
        return await self.transport.beginning_offset(name, partition) == 0

    def end(self, topic: TopicName, partition: int) -> int:
        """Return where a partition ended at `open`."""
        return self._ends[topic, partition]

    async def requests(
        self, partition: int, offset: int = 0
    ) -> AsyncIterator[tuple[Arrival, bytes, Request]]:
        """Yield the requests of a partition from an offset on, in order, each with the hash of its body."""
        async for arrival in self._messages(TopicName.ROUND_REQUESTS, partition, offset):
            request = await asyncio.to_thread(self._decoded, Request, arrival)
            if request is not None:
                yield arrival, await asyncio.to_thread(encoded_hash, request), request

    async def read_replies(self, partition: int, offset: int = 0) -> None:
        """Take a partition's replies from an offset on into the index."""
        async for arrival in self._messages(TopicName.ROUND_REPLIES, partition, offset):
            reply = await asyncio.to_thread(self._decoded, Reply, arrival)
            if reply is None:
                continue
            own_hash = await asyncio.to_thread(encoded_hash, reply)
            recorded = RecordedReply(place_of(arrival), arrival.message_hash, own_hash, reply.reason)
            key = (reply.session, reply.step, reply.request_hash)
            self.replies.setdefault(key, []).append(recorded)

    async def reply(self, recorded: RecordedReply) -> Reply | None:
        """Read a reply again; None if it is gone meanwhile."""
        place = recorded.place
        arrival = await stored_message(
            *(self.transport, self.tenant, TopicName.ROUND_REPLIES),
            place.partition,
            place.offset,
            recorded.message_hash,
        )
        return None if arrival is None else self._opened(Reply, arrival)

    async def _messages(self, topic: TopicName, partition: int, offset: int) -> AsyncIterator[Arrival]:
        name, end = topic_name(self.tenant.name, topic), self._ends[topic, partition]
        inbox = Inbox(
            *(self.transport, self.tenant, topic),
            partition=partition,
            offset=max(offset, await self.transport.beginning_offset(name, partition)),
            meter=self.meter,
            part_budget=MAX_BODY_BYTES,
        )
        while (before := inbox.next_offset) < end:
            for message in await inbox.receive(0.0, max_messages=_READ_MESSAGES):
                if isinstance(message, Refused):
                    self._report(message.arrival, message.reason)
                elif message.offset < end:
                    yield message
            if inbox.next_offset == before:
                return

    def _decoded(self, kind: type[T], arrival: Arrival) -> T | None:
        try:
            return self._opened(kind, arrival)
        except (SchemaError, UnsealedError) as error:
            self._report(arrival, error.code)
            return None

    def _opened(self, kind: type[T], arrival: Arrival) -> T:
        return open_round(self.channels.of(arrival.key_epoch), kind, arrival)

    def _report(self, arrival: Arrival, reason: str) -> None:
        detail = f"not a message of who writes this topic ({reason!s})"
        self.findings.add(FindingCode.BAD_MESSAGE, place_of(arrival), detail)


def encoded_hash(message: Request | Reply) -> bytes:
    """Return the hash of a round's body, before it was sealed."""
    return body_hash(encode(message))


def body_hash(body: bytes) -> bytes:
    """Return the SHA-256 of a body."""
    return hashlib.sha256(body).digest()
