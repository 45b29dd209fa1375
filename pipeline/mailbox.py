"""Signed messages in and out: what stands between a transport and the roles.

An `Inbox` reads a partition, opens envelopes, puts parts together and notes what was seen; a
`Publisher` signs, splits and appends. Neither knows what a message means.
"""

import asyncio
import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crypto.errors import SchemaError
from pipeline.meter import Meter
from pipeline.transport import Message, Position, Transport
from roles.arrival import Arrival, Refused
from roles.tenant import Tenant
from schemas.envelope import message_id, open_envelope
from schemas.parts import PartAssembler, seal_parts, whole_id
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name

PART_BUDGET_BYTES = 64 << 20
PART_GROUPS_PER_SENDER = 4


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
        for wire in wires:
            position = await self.transport.append(name, key, wire, partition=partition)
        if position is None:
            raise ValueError("a message has at least one part")
        return Published(whole_id([message_id(wire) for wire in wires]), position)


class Inbox:
    """Reads one partition of a topic, in order, from an offset on.

    Attributes:
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
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._topic = topic
        self._partition = partition
        self._meter = meter
        self._assembler = PartAssembler(PART_BUDGET_BYTES, PART_GROUPS_PER_SENDER)
        self.next_offset = offset

    async def receive(self, wait_seconds: float, max_messages: int = 128) -> list[Arrival | Refused]:
        """Return what came, verified or refused; empty after `wait_seconds` without a message."""
        messages = await self._transport.read(
            topic_name(self._tenant.name, self._topic),
            self._partition,
            self.next_offset,
            max_messages=max_messages,
            wait_seconds=wait_seconds,
        )
        if not messages:
            return []
        self.next_offset = messages[-1].offset + 1
        # Signatures are checked off the event loop.
        return await asyncio.to_thread(self._open_all, messages)

    def _open_all(self, messages: list[Message]) -> list[Arrival | Refused]:
        opened: list[Arrival | Refused] = []
        for message in messages:
            opened += self._open(message)
        return opened

    def _open(self, message: Message) -> list[Arrival | Refused]:
        try:
            envelope = open_envelope(
                message.value, self._topic, self._tenant.name, self._tenant.verifying.get
            )
            self._note(envelope.kind, len(message.value))
            offered = self._assembler.offer(envelope, message.offset)
        except SchemaError as error:
            self._note("refused", len(message.value))
            return [Refused(self._unread(message), ReasonCode(error.code))]
        refused: list[Arrival | Refused] = [
            Refused(
                Arrival(
                    dropped.topic,
                    message.partition,
                    message.offset,
                    b"",
                    dropped.sender,
                    dropped.sequence,
                    "",
                    b"",
                ),
                dropped.reason,
            )
            for dropped in offered.dropped
        ]
        if offered.whole is None:
            return refused
        whole = offered.whole
        return [
            *refused,
            Arrival(
                self._topic,
                message.partition,
                message.offset,
                whole.message_id,
                whole.envelope.sender,
                whole.envelope.sequence,
                whole.envelope.kind,
                whole.body,
            ),
        ]

    def _note(self, kind: str, size: int) -> None:
        if self._meter is not None:
            self._meter.saw(self._topic, kind, size)

    def _unread(self, message: Message) -> Arrival:
        digest = hashlib.sha256(message.value).digest()
        return Arrival(self._topic, message.partition, message.offset, digest, "", 0, "", b"")
