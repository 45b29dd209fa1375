"""MU as a process: folds its journal, then accepts chunks and answers queries until it is stopped.

Every decision is written to the journal before it is acted on; what follows a decision (the
model, a receipt, an answer) is computed from the journal and the log alone, so that a restarted
MU does the same again.
"""

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor

from crypto.errors import PrivMLError
from crypto.parameters import Ciphertext
from pipeline.journal_fold import fold_journal, stored_chunk, stored_query
from pipeline.log_setup import get_logger
from pipeline.mailbox import Inbox, Publisher
from pipeline.meter import Meter
from pipeline.notices import Answered, JournalTail, Notices, given_refusal
from pipeline.query_sessions import UNANSWERABLE, QuerySessions
from pipeline.rounds import RoundExchange, SecondaryRefusedError
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.master_unit import MasterUnit, ScreenedChunk, ScreenedQuery
from roles.model_state import ModelState
from roles.refusal import Refusal, refusal_reason
from roles.tenant import Tenant
from roles.unit_keys import UnitKeys
from schemas.chunks import Withdrawal
from schemas.codec import encode
from schemas.envelope import message_id
from schemas.journal import EntryKind, JournalEntry
from schemas.queries import Answer, Query
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name

log = get_logger()

Screened = ScreenedChunk | tuple[Arrival, Withdrawal] | Refused

WAIT_SECONDS = 5.0
CHUNKS_AT_ONCE = 128
SESSIONS_AT_ONCE = 4
QUERIES_HELD = 32


class MasterService:
    """MU's loops around `roles.master_unit`."""

    def __init__(
        self,
        transport: Transport,
        tenant: Tenant,
        keys: UnitKeys,
        publisher: Publisher,
        meter: Meter,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._publisher = publisher
        self._meter = meter
        self._exchange = RoundExchange(transport, tenant, publisher, meter)
        self._keys = keys
        self._pool = pool
        self._notices = Notices(transport, tenant, publisher, meter)
        self._journal_lock = asyncio.Lock()
        self._answering = asyncio.Semaphore(SESSIONS_AT_ONCE)
        # While SU is away queries wait on their topic, not here.
        self._held = asyncio.Semaphore(QUERIES_HELD)
        # One message can push out several groups of parts, each an entry of its own.
        self._tail = JournalTail.holding(chunks=2 * CHUNKS_AT_ONCE, rejects=8, answered=2 * SESSIONS_AT_ONCE)
        self.unit = MasterUnit.starting(tenant, tenant.configuration.models[0])

    async def recover(self) -> None:
        """Fold the journal; afterwards `unit` is as it was when MU stopped.

        Raises:
            StorageError: An entry of the chain is missing, or a message that it names.
        """
        self.unit = await fold_journal(self._transport, self._tenant, self._tail.watch)
        log.info("recovered", sequence=self.unit.next_sequence, model_version=self.unit.model.version)

    async def run(self, ready: asyncio.Event | None = None) -> None:
        """Work until cancelled. `recover` comes first."""
        await self._exchange.open()
        unannounced = await self._notices.announce(self._tail)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._exchange.read_replies())
            sessions = QuerySessions(self._exchange, self._tenant, self._keys, self._pool, group)
            for answered in unannounced:
                group.create_task(self._answer_again(answered, sessions))
            for entry, model in list(self.unit.open_queries.values()):
                group.create_task(self._answer_journaled(entry, model, sessions))
            group.create_task(self._read_chunks())
            group.create_task(self._read_queries(group, sessions))
            if ready is not None:
                ready.set()

    # --- chunks

    async def _read_chunks(self) -> None:
        inbox = await self._inbox(TopicName.CHUNKS)
        while True:
            arrivals = await inbox.receive(WAIT_SECONDS, max_messages=CHUNKS_AT_ONCE)
            if arrivals:
                with self._meter.activity("chunk", times=len(arrivals)):
                    screened, failing = await asyncio.to_thread(self._screen_chunks, arrivals)
                    await self._decide_chunks(screened, failing)

    def _screen_chunks(self, arrivals: list[Arrival | Refused]) -> tuple[list[Screened], frozenset[int]]:
        """Screen what came and check all proofs together; failing are positions in the list."""
        screened: list[Screened] = []
        for arrival in arrivals:
            if isinstance(arrival, Refused):
                screened.append(arrival)
                continue
            try:
                result = self.unit.screen_chunk(arrival)
            except PrivMLError as error:
                screened.append(Refused(arrival, refusal_reason(error)))
            else:
                screened.append((arrival, result) if isinstance(result, Withdrawal) else result)
        proofs = [i for i, item in enumerate(screened) if isinstance(item, ScreenedChunk)]
        statements = [item.statement for item in screened if isinstance(item, ScreenedChunk)]
        failing = self.unit.failing_proofs(statements)
        return screened, frozenset(proofs[i] for i in failing)

    async def _decide_chunks(self, screened: list[Screened], failing: frozenset[int]) -> None:
        """Journal a batch of decisions together, then act on them.

        The entries are chained and folded in order and appended in one go (group commit); what
        others can see, receipts and dead letters, waits until all of them are durable. If an
        append fails MU dies, and its next life folds what was written.
        """
        decided: list[tuple[Arrival, JournalEntry, bytes]] = []
        entries: list[list[bytes]] = []
        async with self._journal_lock:
            for position, item in enumerate(screened):
                arrival, entry, ciphertexts = await self._decide(item, failed=position in failing)
                wires, entry_id = await asyncio.to_thread(self._fold, entry, ciphertexts)
                decided.append((arrival, entry, entry_id))
                entries.append(wires)
            async with asyncio.TaskGroup() as group:
                # All are called before the first can fail, so that none comes after a missing one.
                for wires in entries:
                    group.create_task(self._publisher.append(TopicName.JOURNAL, wires))
        async with asyncio.TaskGroup() as group:
            for arrival, entry, entry_id in decided:
                group.create_task(self._notices.decided(arrival, entry, entry_id))

    def _fold(self, entry: JournalEntry, ciphertexts: tuple[Ciphertext, ...]) -> tuple[list[bytes], bytes]:
        """Sign an entry and fold it; return its wire forms and its id."""
        wires = self._publisher.seal(TopicName.JOURNAL, "entry", entry.sequence, encode(entry))
        entry_id = message_id(wires[0])
        self.unit.apply(entry, entry_id, ciphertexts)
        return wires, entry_id

    async def _decide(
        self, item: Screened, *, failed: bool
    ) -> tuple[Arrival, JournalEntry, tuple[Ciphertext, ...]]:
        """Return the message, its journal entry, and the ciphertexts that the entry moves."""
        if isinstance(item, ScreenedChunk):
            if failed:
                return item.arrival, self.unit.decide_reject(item.arrival, ReasonCode.BAD_PROOF), ()
            return item.arrival, self.unit.decide_chunk(item), item.ciphertexts
        if isinstance(item, Refused):
            return item.arrival, self.unit.decide_reject(item.arrival, ReasonCode(item.reason)), ()
        arrival, withdrawal = item
        entry = self.unit.decide_withdrawal(arrival, withdrawal)
        if entry.kind != EntryKind.WITHDRAW:
            return arrival, entry, ()
        known = self.unit.accepted[arrival.sender, withdrawal.owner_sequence]
        return (
            arrival,
            entry,
            await stored_chunk(
                self._transport, self._tenant, known.partition, known.offset, known.message_hash
            ),
        )

    # --- queries

    async def _read_queries(self, group: asyncio.TaskGroup, sessions: QuerySessions) -> None:
        inbox = await self._inbox(TopicName.QUERIES)
        while True:
            for arrival in await inbox.receive(WAIT_SECONDS, max_messages=SESSIONS_AT_ONCE):
                if isinstance(arrival, Refused):
                    await self._reject_query(arrival.arrival, ReasonCode(arrival.reason))
                else:
                    await self._held.acquire()
                    accepted = await self._accept_query(arrival)
                    if accepted is None:
                        self._held.release()
                    else:
                        answering = group.create_task(self._answer(*accepted, sessions))
                        answering.add_done_callback(lambda _: self._held.release())

    async def _accept_query(self, arrival: Arrival) -> tuple[JournalEntry, ModelState, Query] | None:
        """Journal a query and return what answers it, or reject it."""
        try:
            with self._meter.activity("query"):
                screened = await asyncio.to_thread(self._screen_query, arrival)
        except PrivMLError as error:
            await self._reject_query(arrival, refusal_reason(error))
            return None
        async with self._journal_lock:
            entry = self.unit.decide_query(screened)
            entry_id = await self._write(entry)
            self.unit.apply(entry, entry_id, query_id=screened.query.query_id)
        if entry.kind != EntryKind.QUERY:
            await self._notices.refused_query(arrival, ReasonCode(entry.reason))
            return None
        _, model = self.unit.open_queries[arrival.message_hash]
        return entry, model, screened.query

    def _screen_query(self, arrival: Arrival) -> ScreenedQuery:
        screened = self.unit.screen_query(arrival)
        if self.unit.failing_proofs([screened.statement]):
            raise Refusal(ReasonCode.BAD_PROOF)
        return screened

    async def _reject_query(self, arrival: Arrival, reason: ReasonCode) -> None:
        async with self._journal_lock:
            entry = self.unit.decide_reject(arrival, reason)
            entry_id = await self._write(entry)
            self.unit.apply(entry, entry_id)
        await self._notices.refused_query(arrival, reason)

    async def _answer(
        self, entry: JournalEntry, model: ModelState, query: Query, sessions: QuerySessions
    ) -> None:
        async with self._answering:
            await self._answer_and_close(entry, model, query, sessions)

    async def _answer_journaled(
        self, entry: JournalEntry, model: ModelState, sessions: QuerySessions
    ) -> None:
        """Answer a query that was open when MU stopped."""
        async with self._answering:
            query = await stored_query(self._transport, self._tenant, entry)
            await self._answer_and_close(entry, model, query, sessions)

    async def _answer_and_close(
        self, entry: JournalEntry, model: ModelState, query: Query, sessions: QuerySessions
    ) -> None:
        try:
            answer = await sessions.answer(entry, model, query)
        except UNANSWERABLE as error:
            reason = error.reason if isinstance(error, SecondaryRefusedError) else refusal_reason(error)
            log.warning("query_failed", code=reason.value, sequence=entry.sequence)
            answer = Answer(query.query_id, query.rows, model.version, reason, b"")
        async with self._journal_lock:
            closing = self.unit.decide_answered(entry, hashlib.sha256(encode(answer)).digest())
            self.unit.apply(closing, await self._write(closing))
        await self._notices.answer(entry.sender, answer)

    async def _answer_again(self, answered: Answered, sessions: QuerySessions) -> None:
        """Hand out an answer that was journaled and then lost: the same bytes or none."""
        async with self._answering:
            query = await stored_query(self._transport, self._tenant, answered.asked)
            answer = given_refusal(answered, query)
            try:
                answer = answer or await sessions.answer(answered.asked, answered.model, query)
            except UNANSWERABLE as error:
                log.warning("answer_lost", code=str(error.code), sequence=answered.asked.sequence)
                return
            if hashlib.sha256(encode(answer)).digest() != answered.closing.message_hash:
                log.warning(
                    "answer_lost", code=ReasonCode.CHECK_FAILED.value, sequence=answered.asked.sequence
                )
                return
            await self._notices.answer(answered.asked.sender, answer)

    # --- topics

    async def _inbox(self, topic: TopicName) -> Inbox:
        """Return where to go on reading a topic, parts of what is still incomplete taken in."""
        offset = self.unit.next_offset.get((topic, 0), 0)
        inbox = Inbox(self._transport, self._tenant, topic, offset=offset, meter=self._meter)
        await inbox.catch_up(await self._transport.beginning_offset(topic_name(self._tenant.name, topic), 0))
        return inbox

    async def _write(self, entry: JournalEntry) -> bytes:
        """Append a journal entry and return its id."""
        published = await self._publisher.publish(TopicName.JOURNAL, "entry", entry.sequence, encode(entry))
        return published.message_hash
