"""An inbox that reads ahead, for audits: whoever goes by it waits for no signature if others can check it."""

from pipeline.ahead_messages import AheadMessages, Opened
from pipeline.check_pool import CheckPool
from pipeline.mailbox import PART_BUDGET_BYTES, Inbox
from pipeline.meter import Meter
from pipeline.transport import Message, Transport
from roles.arrival import Arrival, Refused
from roles.tenant import Tenant
from schemas.envelope import Envelope
from schemas.topics import TopicName


class AheadInbox(Inbox):
    """Reads one partition of a topic as `Inbox` does, and ahead up to where it ended.

    Args:
        transport: Where the topics are.
        tenant: Public facts.
        topic: Which.
        checks: Checks the signatures.
        end: Nothing is read ahead from there on.
        partition: Of the topic.
        offset: Where to begin.
        meter: Counts what was seen.
        part_budget: Bytes of parts that wait for others.
    """

    def __init__(
        self,
        transport: Transport,
        tenant: Tenant,
        topic: TopicName,
        checks: CheckPool,
        end: int,
        *,
        partition: int = 0,
        offset: int = 0,
        meter: Meter | None = None,
        part_budget: int = PART_BUDGET_BYTES,
    ) -> None:
        super().__init__(
            *(transport, tenant, topic),
            partition=partition,
            offset=offset,
            meter=meter,
            part_budget=part_budget,
        )
        self._ahead = AheadMessages(
            *(transport, tenant, topic, checks, end), partition=partition, offset=offset
        )

    async def receive(self, wait_seconds: float, max_messages: int = 128) -> list[Arrival | Refused]:
        """See `Inbox.receive`; what was read ahead comes in the batches in which it was read."""
        if not (batch := await self._ahead.next()):
            return await super().receive(wait_seconds, max_messages)
        self.next_offset = batch[-1][0].offset + 1
        return [found for opened in batch for found in self._taken(opened)]

    def _taken(self, opened: Opened) -> list[Arrival | Refused]:
        message, envelope = opened

        def envelope_of(_: Message) -> Envelope:
            if isinstance(envelope, Envelope):
                return envelope
            raise envelope

        return self._open(message, envelope_of)
