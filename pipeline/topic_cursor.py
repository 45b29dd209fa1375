"""Reading a topic beside the journal that decides its messages, each message once."""

from collections import deque
from dataclasses import dataclass

from pipeline.ahead_inbox import AheadInbox
from pipeline.check_pool import CheckPool
from pipeline.meter import Meter
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.tenant import Tenant
from schemas.journal import JournalEntry
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name

READ_MESSAGES = 128


@dataclass(frozen=True, slots=True)
class Taken:
    """What stands where an entry points.

    Attributes:
        message: The message of that id; None if it is not there, or was taken before.
        instead: What stands there instead, if anything does.
        passed: Messages before it that no entry decides.
    """

    message: Arrival | Refused | None
    instead: Arrival | Refused | None
    passed: tuple[Arrival | Refused, ...]


class TopicCursor:
    """One partition of a topic, from its oldest message on."""

    def __init__(
        self, transport: Transport, tenant: Tenant, topic: TopicName, meter: Meter, checks: CheckPool
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._topic = topic
        self._meter = meter
        self._checks = checks
        self._inbox: AheadInbox | None = None
        self._held: deque[Arrival | Refused] = deque()

    async def open(self, offset: int = 0) -> None:
        """Find the oldest message from an offset on; raises as the transport does if it cannot be read.

        Parts of messages that are incomplete there are taken in.
        """
        name = topic_name(self._tenant.name, self._topic)
        beginning = await self._transport.beginning_offset(name, 0)
        # Whoever may see the offsets may still not be allowed to read.
        await self._transport.read(name, 0, beginning, max_messages=1)
        self._inbox = AheadInbox(
            *(self._transport, self._tenant, self._topic, self._checks),
            await self._transport.end_offset(name, 0),
            offset=max(beginning, offset),
            meter=self._meter,
        )
        await self._inbox.catch_up(beginning)

    async def take(self, entry: JournalEntry) -> Taken:
        """Return the message that an entry decides, and those passed over on the way to it."""
        passed: list[Arrival | Refused] = []
        instead: Arrival | Refused | None = None
        while (front := await self._front()) is not None:
            found = arrival_of(front)
            if found.offset > entry.offset:
                break
            if found.offset == entry.offset and found.message_hash == entry.message_hash:
                self._held.popleft()
                return Taken(front, None, tuple(passed))
            self._held.popleft()
            if found.offset == entry.offset:
                instead = front
            elif not _may_be_lost(front):
                passed.append(front)
        return Taken(None, instead, tuple(passed))

    async def _front(self) -> Arrival | Refused | None:
        if self._inbox is None:
            return None
        while not self._held:
            before = self._inbox.next_offset
            self._held += await self._inbox.receive(0.0, max_messages=READ_MESSAGES)
            if self._inbox.next_offset == before:
                return None
        return self._held[0]


def arrival_of(message: Arrival | Refused) -> Arrival:
    """Return the message itself, whether it was refused or not."""
    return message.arrival if isinstance(message, Refused) else message


def _may_be_lost(message: Arrival | Refused) -> bool:
    # A group of parts that another one pushed out shares its offset with that one. MU, killed
    # between the two decisions, goes on behind both.
    return isinstance(message, Refused) and message.reason == ReasonCode.INCOMPLETE_PARTS
