"""Reading a whole topic and decoding what it holds, for audits: what cannot be read is a finding."""

from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from crypto.errors import SchemaError
from pipeline.ahead_inbox import AheadInbox
from pipeline.check_pool import CheckPool
from pipeline.mailbox import PART_BUDGET_BYTES
from pipeline.meter import Meter
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.findings import FindingCode, Findings, Place
from roles.tenant import Tenant
from schemas.codec import decode
from schemas.topics import TopicName, topic_name

T = TypeVar("T")


class SignedMessages(Generic[T]):
    """The messages of one partition that are what their topic is for, in order.

    Args:
        transport: Where the topics are.
        tenant: Public facts.
        topic: Written by a unit or the authority: there nobody else has anything to say.
        kind: What its bodies are.
        findings: Where findings go.
        meter: Counts what was seen.
        checks: Checks signatures.
        partition: Of the topic.
        max_bytes: Longest body.
        passing: Kind of messages on the same topic that are read elsewhere.
    """

    def __init__(
        self,
        transport: Transport,
        tenant: Tenant,
        topic: TopicName,
        kind: type[T],
        findings: Findings,
        meter: Meter,
        checks: CheckPool,
        *,
        partition: int = 0,
        max_bytes: int = PART_BUDGET_BYTES,
        passing: str | None = None,
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._topic = topic
        self._kind = kind
        self._findings = findings
        self._meter = meter
        self._checks = checks
        self._partition = partition
        self._max_bytes = max_bytes
        self._passing = passing
        self._inbox: AheadInbox | None = None
        self.end = 0

    async def open(self) -> None:
        """Settle from where and up to where messages are read."""
        name = topic_name(self._tenant.name, self._topic)
        beginning = await self._transport.beginning_offset(name, self._partition)
        self.end = await self._transport.end_offset(name, self._partition)
        # Whoever may see the offsets may still not be allowed to read.
        await self._transport.read(name, self._partition, beginning, max_messages=1)
        self._inbox = AheadInbox(
            self._transport,
            self._tenant,
            self._topic,
            self._checks,
            self.end,
            partition=self._partition,
            offset=beginning,
            meter=self._meter,
            part_budget=self._max_bytes,
        )

    @property
    def at_end(self) -> bool:
        """Whether all that was there at `open` was read."""
        return self._inbox is None or self._inbox.next_offset >= self.end

    async def next(self, wait_seconds: float = 0.0) -> list[tuple[Arrival, T]] | None:
        """Return the next messages, also those that came after `open`; None if there are none."""
        if self._inbox is None:
            return None
        before = self._inbox.next_offset
        received = await self._inbox.receive(wait_seconds)
        if self._inbox.next_offset == before:
            return None
        decoded = [(message, self._decoded(message)) for message in received]
        return [
            (message, body) for message, body in decoded if isinstance(message, Arrival) and body is not None
        ]

    async def all(self) -> AsyncIterator[tuple[Arrival, T]]:
        """Yield all that was there at `open`."""
        while not self.at_end and (messages := await self.next()) is not None:
            for arrival, body in messages:
                if arrival.offset < self.end:
                    yield arrival, body

    def _decoded(self, message: Arrival | Refused) -> T | None:
        if isinstance(message, Refused):
            self._report(message.arrival, message.reason)
            return None
        if message.kind == self._passing:
            return None
        try:
            return decode(self._kind, message.body, max(len(message.body), 1))
        except SchemaError as error:
            self._report(message, error.code)
            return None

    def _report(self, arrival: Arrival, reason: str) -> None:
        detail = f"not a message that this topic is for ({reason!s})"
        self._findings.add(FindingCode.BAD_MESSAGE, place_of(arrival), detail)


def place_of(arrival: Arrival) -> Place:
    """Return where a message stands."""
    return Place(arrival.topic, arrival.partition, arrival.offset)


def signatures_seen(meter: Meter) -> int:
    """Return how many envelopes verified."""
    return sum(seen.messages for (_, kind), seen in meter.views.items() if kind != "refused")
