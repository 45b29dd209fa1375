"""Where MU takes up new versions of the configuration while it runs."""

import asyncio
from collections.abc import Sequence

from crypto.errors import SchemaError
from pipeline.dead_letters import DeadLetters
from pipeline.journal import Journal
from pipeline.log_setup import get_logger
from pipeline.mailbox import Inbox, Publisher
from pipeline.meter import Meter
from pipeline.succession import is_in_force, tell_succession
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.enrolment import NotSuccessorError, decide_configured, next_change
from roles.entry_content import EntryContent
from roles.refusal import refusal_reason
from roles.tenant import Tenant
from schemas.topics import TopicName, topic_name

log = get_logger()

WAIT_SECONDS = 5.0


class ConfigurationDesk:
    """MU's loop over the config topic.

    Args:
        transport: Where the topics are.
        tenant: Public facts.
        journal: MU's.
        publisher: MU's.
        meter: Counts what was seen.
    """

    def __init__(
        self, transport: Transport, tenant: Tenant, journal: Journal, publisher: Publisher, meter: Meter
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._journal = journal
        self._publisher = publisher
        self._meter = meter
        self._dead_letters = DeadLetters(publisher, meter)
        self._inbox: Inbox | None = None
        self._reported = 0

    async def open(self, chunks: Inbox, queries: Inbox) -> None:
        """Take up what is there, before any message is judged that came while MU was away.

        Args:
            chunks: From which chunks will be taken in.
            queries: From which queries will be.
        """
        beginning = await self._transport.beginning_offset(topic_name(self._tenant.name, TopicName.CONFIG), 0)
        offset = max(beginning, self._journal.unit.next_offset.get((TopicName.CONFIG, 0), 0))
        self._judged = chunks, queries
        self._reported = await self._journal.reported(TopicName.CONFIG)
        self._inbox = Inbox(self._transport, self._tenant, TopicName.CONFIG, offset=offset, meter=self._meter)
        while messages := await self._inbox.receive(0.0):
            await self._take_all(messages)

    async def run(self) -> None:
        """Work until cancelled. `open` comes first."""
        while True:
            await self._take_all(await self._opened().receive(WAIT_SECONDS))

    def _opened(self) -> Inbox:
        if self._inbox is None:
            raise RuntimeError("open the desk first")
        return self._inbox

    async def _take_all(self, messages: Sequence[Arrival | Refused]) -> None:
        for message in messages:
            if isinstance(message, Refused):
                await self._report(message.arrival, message.reason)
            else:
                await self._take(message)

    async def _report(self, message: Arrival, reason: str) -> None:
        # Not into the journal: as long as no version follows it is looked at again after a restart.
        if message.offset >= self._reported:
            await self._dead_letters.report(message, reason)
            self._reported = message.offset + 1
            await self._journal.set_reported(TopicName.CONFIG, self._reported)

    async def _take(self, message: Arrival) -> None:
        if is_in_force(self._tenant, message):
            return
        unit = self._journal.unit
        try:
            change = await asyncio.to_thread(next_change, self._tenant, unit.configured, message)
        except (NotSuccessorError, SchemaError) as error:
            await self._report(message, refusal_reason(error))
            return
        async with self._journal.turn:
            # What was read was opened by the version before; no decision comes between this line and
            # the entry, and nothing is read and opened: `stage` does not yield.
            entry = decide_configured(unit, message, change, self._read_up_to())
            self._journal.stage(entry, EntryContent(change=change))
            await self._journal.commit()
            # Before the turn ends: SU must know whoever MU takes in.
            await tell_succession(self._publisher, self._tenant)
        self._journal.told(entry.sequence)
        log.info("configured", sequence=entry.sequence)

    def _read_up_to(self) -> tuple[int, int]:
        chunks, queries = self._judged
        return chunks.next_offset, queries.next_offset
