"""Where MU takes up new versions of the configuration while it runs."""

import asyncio
from dataclasses import dataclass

from crypto.errors import SchemaError
from pipeline.dead_letters import DeadLetters
from pipeline.journal import Journal
from pipeline.log_setup import get_logger
from pipeline.mailbox import Inbox, Publisher
from pipeline.master_epochs import MasterEpochs
from pipeline.meter import Meter
from pipeline.session_gate import SessionGate
from pipeline.succession import is_in_force, tell_succession
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.enrolment import NotSuccessorError, decide_configured, next_change
from roles.entry_content import EntryContent
from roles.refusal import refusal_reason
from roles.roster import Change
from roles.tenant import Tenant
from schemas.topics import TopicName, topic_name

log = get_logger()

WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Renewal:
    """What is needed to begin a key epoch: the gate, MU's sessions, and where their first one runs."""

    gate: SessionGate
    epochs: MasterEpochs
    group: asyncio.TaskGroup


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
        # Versions that are taken up later: sessions must end before a key epoch does.
        self._waiting: list[Arrival | Refused] = []

    async def open(self, chunks: Inbox, queries: Inbox) -> None:
        """Take up what is there, before any message is judged that came while MU was away.

        What comes with a new key epoch, or after it, waits for `run`.

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
            self._waiting += messages
        await self._take_waiting(None)

    async def run(self, gate: SessionGate, epochs: MasterEpochs) -> None:
        """Work until cancelled. `open` comes first.

        Args:
            gate: Behind which sessions run.
            epochs: MU's.
        """
        async with asyncio.TaskGroup() as group:
            while True:
                await self._take_waiting(_Renewal(gate, epochs, group))
                self._waiting += await self._opened().receive(WAIT_SECONDS)

    def _opened(self) -> Inbox:
        if self._inbox is None:
            raise RuntimeError("open the desk first")
        return self._inbox

    async def _take_waiting(self, renewal: "_Renewal | None") -> None:
        while self._waiting:
            message = self._waiting[0]
            if isinstance(message, Refused):
                await self._report(message.arrival, message.reason)
            elif not await self._take(message, renewal):
                return
            del self._waiting[0]

    async def _report(self, message: Arrival, reason: str) -> None:
        # Not into the journal: as long as no version follows it is looked at again after a restart.
        if message.offset >= self._reported:
            await self._dead_letters.report(message, reason)
            self._reported = message.offset + 1
            await self._journal.set_reported(TopicName.CONFIG, self._reported)

    async def _take(self, message: Arrival, renewal: "_Renewal | None") -> bool:
        """Take up a version, or report it; return whether that is done."""
        if is_in_force(self._tenant, message):
            return True
        configured = self._journal.unit.configured
        try:
            change = await asyncio.to_thread(next_change, self._tenant, configured, message)
        except (NotSuccessorError, SchemaError) as error:
            await self._report(message, refusal_reason(error))
            return True
        if not change.renews:
            await self._enter(message, change)
            return True
        if renewal is None:
            return False
        # Before sessions are held up, and before the entry: without its secrets MU stops here.
        prepared = renewal.epochs.prepared(change.configuration)
        async with renewal.gate.closed():
            await self._enter(message, change)
            renewal.epochs.go_on(prepared)
            renewal.gate.hold()
        renewal.group.create_task(renewal.epochs.meet()).add_done_callback(renewal.gate.leave)
        log.info("key_epoch_begun", key_epoch=change.configuration.key_epoch)
        return True

    async def _enter(self, message: Arrival, change: Change) -> None:
        """Bring a version into force, and tell SU."""
        unit = self._journal.unit
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
