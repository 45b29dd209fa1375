"""MU as a process: folds its journal, then takes chunks in, teaches models and answers queries.

Every decision is written to the journal and read back before it is acted on; what follows a decision (a
model, a receipt, an answer) is computed from the journal and the log alone, so that a restarted
MU does the same again.
"""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor

from pipeline.chunk_desk import CHUNKS_AT_ONCE, ChunkDesk, HeldChunks
from pipeline.configuration_desk import ConfigurationDesk
from pipeline.heads import HeadBook
from pipeline.journal import Journal
from pipeline.journal_index_file import JournalIndexFile
from pipeline.lessons import Lessons
from pipeline.log_setup import get_logger
from pipeline.mailbox import Inbox, Publisher
from pipeline.master_epochs import MasterEpochs
from pipeline.meter import Meter
from pipeline.notices import JournalTail, Notices
from pipeline.query_desk import SESSIONS_AT_ONCE, QueryDesk
from pipeline.rekeying import Rekeying
from pipeline.session_gate import SessionGate
from pipeline.succession import tell_succession
from pipeline.transport import Transport
from roles.classifiers.learner import TaughtLearner
from roles.master_unit import MasterUnit
from roles.tenant import Tenant
from roles.unit_keys import UnitKeys
from schemas.topics import TopicName, topic_name

log = get_logger()

SNAPSHOT_LOOK_SECONDS = 0.5


class MasterService:
    """MU's loops around `roles.master_unit`.

    Attributes:
        inboxes: What it reads messages from that it decides.
    """

    def __init__(
        self,
        transport: Transport,
        tenant: Tenant,
        keys: UnitKeys,
        publisher: Publisher,
        index: JournalIndexFile,
        meter: Meter,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._publisher = publisher
        self._meter = meter
        self._keys = keys
        self._pool = pool
        self._gate = SessionGate()
        self._notices = Notices(transport, tenant, publisher, meter)
        self._heads = HeadBook(publisher)
        self._held = HeldChunks()
        # One message can push out several groups of parts, each an entry of its own.
        self._tail = JournalTail.holding(chunks=2 * CHUNKS_AT_ONCE, rejects=8, answered=2 * SESSIONS_AT_ONCE)
        self._journal = Journal(transport, tenant, publisher, index)
        self.inboxes: list[Inbox] = []

    @property
    def unit(self) -> MasterUnit:
        """MU's state."""
        return self._journal.unit

    async def recover(self) -> None:
        """Fold the journal; afterwards `unit` is as it was when MU stopped.

        Raises:
            StorageError: An entry of the chain is missing, or a message that it names.
            JournalRolledBackError: The journal is shorter than it was.
        """
        await self._journal.recover(self._tail.watch)
        log.info("recovered", sequence=self.unit.next_sequence)

    async def run(self, ready: asyncio.Event | None = None) -> None:
        """Work until cancelled. `recover` comes first.

        Raises:
            MissingKeysError: The keystore does not have the secrets of the key epoch in force.
        """
        epochs = MasterEpochs(self._transport, self._tenant, self._keys, self._publisher, self._meter)
        await epochs.exchange.open()
        unannounced = await self._notices.announce(self._tail)
        queries = QueryDesk(
            *(self._transport, self._tenant, self._journal, self._notices, self._heads, self._gate),
            self._meter,
        )
        configurations = ConfigurationDesk(
            self._transport, self._tenant, self._journal, self._publisher, self._meter
        )
        room = asyncio.Event()
        lessons = self._lessons(room)

        def rekeyed() -> None:
            room.set()
            for lesson in lessons:
                lesson.wake()

        rekeying = Rekeying(
            *(self._transport, self._journal, self._notices, self._publisher, self._held),
            rekeyed,
            self._gate,
        )

        def accepted() -> None:
            rekeying.wake()
            for lesson in lessons:
                lesson.wake()

        chunks = ChunkDesk(
            *(self._transport, self._journal, self._notices, self._meter, self._held),
            accepted,
            room,
        )
        await tell_succession(self._publisher, self._tenant)
        inboxes = await self._inbox(TopicName.CHUNKS), await self._inbox(TopicName.QUERIES)
        await configurations.open(*inboxes)
        for kept in self.unit.models.values():
            if kept.answering_at[0] >= 0:
                await self._heads.publish(kept.head(self._tenant))
        async with asyncio.TaskGroup() as group:
            group.create_task(epochs.exchange.read_replies())
            sessions = epochs.sessions(self._pool, group)
            for answered in unannounced:
                self._journal.owe(answered.closing.sequence)
                self._begin(group, queries.answer_again(answered, sessions))
            for entry, model in list(self.unit.open_queries.values()):
                queries.take_up(entry, model)
            group.create_task(rekeying.run(sessions))
            for lesson in lessons:
                group.create_task(lesson.run(sessions))
            group.create_task(chunks.run(inboxes[0]))
            group.create_task(queries.run(inboxes[1], group, sessions))
            # After whatever was begun before: a key epoch waits for it.
            group.create_task(configurations.run(self._gate, epochs, group))
            group.create_task(self._write_snapshots())
            if ready is not None:
                ready.set()

    def _begin(self, group: asyncio.TaskGroup, work: Coroutine[None, None, None]) -> None:
        """Go on with what MU had begun when it stopped."""
        self._gate.hold()
        group.create_task(work).add_done_callback(self._gate.leave)

    def _lessons(self, learnt: asyncio.Event) -> list[Lessons]:
        shared = self._transport, self._journal, self._notices, self._publisher, self._held
        return [
            Lessons(*shared, kept.learner, learnt, self._gate)
            for kept in self.unit.models.values()
            if isinstance(kept.learner, TaughtLearner)
        ]

    async def _write_snapshots(self) -> None:
        while True:
            await asyncio.sleep(SNAPSHOT_LOOK_SECONDS)
            async with self._journal.turn:
                captured = await self._journal.due_snapshot()
            if captured is not None:
                await self._journal.write_snapshot(captured)

    async def _inbox(self, topic: TopicName) -> Inbox:
        """Return where to go on reading a topic, parts of what is still incomplete taken in."""
        offset = self.unit.next_offset.get((topic, 0), 0)
        inbox = Inbox(self._transport, self._tenant, topic, offset=offset, meter=self._meter)
        await inbox.catch_up(await self._transport.beginning_offset(topic_name(self._tenant.name, topic), 0))
        self.inboxes.append(inbox)
        return inbox
