"""Signed messages in and out: what stands between a transport and the roles.

An `Inbox` reads a partition, opens envelopes, puts parts together and notes what was seen; a
`Publisher` signs, splits and appends. Neither knows what a message means.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crypto.errors import SchemaError
from pipeline.meter import Meter
from pipeline.off_loop import off_loop
from pipeline.transport import Message, Position, Transport
from roles.arrival import Arrival, Refused
from roles.tenant import Tenant
from schemas.envelope import Envelope, message_id, open_envelope
from schemas.parts import PartAssembler, seal_parts, whole_id
from schemas.reasons import ReasonCode
from schemas.topics import TOPICS, Kept, TopicName, topic_name

PART_BUDGET_BYTES = 64 << 20
PART_GROUPS_PER_SENDER = 4
SIGNATURE_AS_BYTES = 4096
"""What takes as long as checking a signature, about."""


def sequence_of(body: bytes) -> int:
    """Return a number for a message that has none of its own: the same body, the same number.

    62 bits of its hash, so that two bodies of one sender do not share a group of parts.
    """
    return int.from_bytes(hashlib.sha256(body).digest()[:8], "big") >> 2


@dataclass(frozen=True, slots=True)
class Published:
    """A message that is on its topic: its id and where its last part lies."""

    message_hash: bytes
    position: Position


@dataclass(frozen=True, slots=True)
class Publisher:
    """Signs and appends as one party."""

    transport: Transport
    tenant: str
    sender: str
    key_epoch: int
    signing_key: Ed25519PrivateKey = field(repr=False)

    def seal(self, topic: TopicName, kind: str, sequence: int, body: bytes) -> list[bytes]:
        """Return the signed wire forms, one per part; the same call gives the same bytes."""
        return seal_parts(
            tenant=self.tenant,
            topic=topic,
            sender=self.sender,
            key_epoch=self.key_epoch,
            sequence=sequence,
            kind=kind,
            body=body,
            signing_key=self.signing_key,
        )

    async def publish(
        self,
        topic: TopicName,
        kind: str,
        sequence: int,
        body: bytes,
        *,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> Published:
        """Sign a body, append it and return where it stands."""
        wires = await asyncio.to_thread(self.seal, topic, kind, sequence, body)
        return await self.append(topic, wires, key=key, partition=partition)

    async def append(
        self, topic: TopicName, wires: list[bytes], *, key: bytes | None = None, partition: int | None = None
    ) -> Published:
        """Append wire forms that were signed before, in order."""
        name = topic_name(self.tenant, topic)
        position = None
        for part, wire in enumerate(wires):
            # Of one key a compacted topic keeps the last message alone.
            apart = key is not None and len(wires) > 1 and TOPICS[topic].kept is Kept.COMPACTED
            own = b"%s/%d" % (key, part) if apart else key
            position = await self.transport.append(name, own, wire, partition=partition)
        if position is None:
            raise ValueError("a message has at least one part")
        return Published(whole_id([message_id(wire) for wire in wires]), position)


class Inbox:
    """Reads one partition of a topic, in order, from an offset on.

    Attributes:
        topic: Its name within the tenant.
        partition: Which of its partitions.
        next_offset: Where the next read starts.
    """

    def __init__(
        self,
        transport: Transport,
        tenant: Tenant,
        topic: TopicName,
        *,
        partition: int = 0,
        offset: int = 0,
        meter: Meter | None = None,
        part_budget: int = PART_BUDGET_BYTES,
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self.topic = topic
        self.partition = partition
        self._meter = meter
        self._assembler = PartAssembler(part_budget, PART_GROUPS_PER_SENDER)
        self.next_offset = offset

    async def receive(self, wait_seconds: float, max_messages: int = 128) -> list[Arrival | Refused]:
        """Return what came, verified or refused; empty after `wait_seconds` without a message."""
        messages = await self._transport.read(
            topic_name(self._tenant.name, self.topic),
            self.partition,
            self.next_offset,
            max_messages=max_messages,
            wait_seconds=wait_seconds,
        )
        if not messages:
            return []
        self.next_offset = messages[-1].offset + 1
        # Each of them has a signature to be checked, whatever its length.
        size = sum(len(message.value) + SIGNATURE_AS_BYTES for message in messages)
        return await off_loop(size, self._open_all, messages)

    async def catch_up(self, beginning: int) -> None:
        """Take in the parts of messages that are still incomplete where reading goes on.

        What lies before `next_offset` was decided; an incomplete message was not, and its parts
        will not come again. Afterwards the inbox is as if it had read from `beginning` on.

        Args:
            beginning: Where this partition was first read.
        """
        offset = beginning
        while offset < self.next_offset:
            messages = await self._transport.read(
                topic_name(self._tenant.name, self.topic), self.partition, offset
            )
            earlier = [message for message in messages if message.offset < self.next_offset]
            if not earlier:
                return
            offset = earlier[-1].offset + 1
            await asyncio.to_thread(self._remember_parts, earlier)

    def _remember_parts(self, messages: list[Message]) -> None:
        for message in messages:
            try:
                self._assembler.offer(self._envelope(message), message.offset)
            except SchemaError:
                continue

    def _envelope(self, message: Message) -> Envelope:
        sender = self._tenant.roster.sender(self.topic, message.offset)
        return open_envelope(message.value, self.topic, self._tenant.name, sender)

    def _open_all(self, messages: list[Message]) -> list[Arrival | Refused]:
        opened: list[Arrival | Refused] = []
        for message in messages:
            opened += self._open(message, self._envelope)
        return opened

    def _open(self, message: Message, envelope_of: Callable[[Message], Envelope]) -> list[Arrival | Refused]:
        try:
            envelope = envelope_of(message)
            self._note(envelope.kind, len(message.value))
            offered = self._assembler.offer(envelope, message.offset)
        except SchemaError as error:
            self._note("refused", len(message.value))
            return [Refused(self._unread(message), ReasonCode(error.code))]
        opened: list[Arrival | Refused] = []
        if (whole := offered.whole) is not None:
            opened.append(
                Arrival(
                    self.topic,
                    message.partition,
                    message.offset,
                    whole.message_id,
                    whole.envelope.sender,
                    whole.envelope.sequence,
                    whole.envelope.kind,
                    whole.body,
                    whole.envelope.key_epoch,
                )
            )
        # After the whole, as both stand at one offset: whoever stops between two decisions goes on
        # behind that offset, and must not lose the message.
        for dropped in offered.dropped:
            group = Arrival(
                dropped.topic,
                message.partition,
                message.offset,
                b"",
                dropped.sender,
                dropped.sequence,
                "",
                b"",
            )
            opened.append(Refused(group, dropped.reason))
        return opened

    def _note(self, kind: str, size: int) -> None:
        if self._meter is not None:
            self._meter.saw(self.topic, kind, size)

    def _unread(self, message: Message) -> Arrival:
        digest = hashlib.sha256(message.value).digest()
        return Arrival(self.topic, message.partition, message.offset, digest, "", 0, "", b"")
