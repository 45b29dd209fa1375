"""Where MU takes queries in, has them answered by the version that the journal fixes, and closes them.

They are accepted in the order of their topic, which takes milliseconds, and answered in turns of their
clients, which takes much longer: one that asks very much waits for itself.
"""

import asyncio
import hashlib
from dataclasses import dataclass

from crypto.errors import PrivMLError
from pipeline.fair_queue import FairQueue
from pipeline.heads import HeadBook
from pipeline.journal import Journal
from pipeline.journal_fold import stored_query
from pipeline.log_setup import get_logger
from pipeline.mailbox import Inbox
from pipeline.meter import Meter
from pipeline.notices import Answered, Notices, given_refusal
from pipeline.rounds import SecondaryRefusedError
from pipeline.sealed_models import AbsentContent
from pipeline.session_gate import SessionGate
from pipeline.sessions import UNANSWERABLE, Sessions
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.entry_content import EntryContent
from roles.model_state import ModelState
from roles.refusal import Refusal, refusal_reason
from roles.screening import ScreenedQuery, failing_proofs
from roles.tenant import Tenant
from schemas.codec import encode
from schemas.journal import EntryKind, JournalEntry
from schemas.queries import Answer, Query
from schemas.reasons import ReasonCode

log = get_logger()

WAIT_SECONDS = 5.0
SESSIONS_AT_ONCE = 4
QUERIES_HELD = 128
"""Accepted queries that wait or are being answered; `roles.head_watch` must remember their versions."""
HELD_BYTES = 64 << 20
"""Of the queries that wait; the rest is read again when its turn comes."""


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A query with the entry that accepted it and the version that answers it.

    Attributes:
        entry: The entry.
        model: The version.
        query: The query; None if it is to be read again.
        size: Its bytes, 0 of one that is not held.
    """

    entry: JournalEntry
    model: ModelState
    query: Query | None = None
    size: int = 0


class QueryDesk:
    """MU's loop over the queries topic.

    Args:
        transport: Where the topics are.
        tenant: Public facts.
        journal: MU's.
        notices: Who tells others.
        heads: Where MU's word on its models goes before SU is asked about them.
        gate: Through which whoever runs sessions goes.
        meter: Counts CPU and operations.
    """

    def __init__(
        self,
        transport: Transport,
        tenant: Tenant,
        journal: Journal,
        notices: Notices,
        heads: HeadBook,
        gate: SessionGate,
        meter: Meter,
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._journal = journal
        self._notices = notices
        self._heads = heads
        self._gate = gate
        self._meter = meter
        self._answering = asyncio.Semaphore(SESSIONS_AT_ONCE)
        # While SU is away queries wait on their topic, not here.
        self._held = 0
        self._held_bytes = 0
        self._room = asyncio.Event()
        self._waiting: FairQueue[_Accepted] = FairQueue()

    async def run(self, inbox: Inbox, group: asyncio.TaskGroup, sessions: Sessions) -> None:
        """Work until cancelled."""
        group.create_task(self._answer_all(group, sessions))
        while True:
            for arrival in await inbox.receive(WAIT_SECONDS, max_messages=SESSIONS_AT_ONCE):
                if isinstance(arrival, Refused):
                    await self._reject(arrival.arrival, ReasonCode(arrival.reason))
                    continue
                while self._held >= QUERIES_HELD:
                    self._room.clear()
                    await self._room.wait()
                await self._gate.enter()
                accepted = await self._accept(arrival)
                if accepted is None:
                    self._gate.leave()
                else:
                    self._hold(accepted)

    def take_up(self, entry: JournalEntry, model: ModelState) -> None:
        """Have a query answered that was open when MU stopped."""
        self._gate.hold()
        self._hold(_Accepted(entry, model))

    def _hold(self, accepted: _Accepted) -> None:
        self._held += 1
        self._held_bytes += accepted.size
        self._waiting.put(accepted.entry.sender, accepted)

    async def answer_again(self, answered: Answered, sessions: Sessions) -> None:
        """Hand out an answer that was journaled and then lost: the same bytes or none."""
        async with self._answering:
            await self._answer_again(answered, sessions)
        self._journal.told(answered.closing.sequence)

    async def _answer_again(self, answered: Answered, sessions: Sessions) -> None:
        asked, closing = answered.asked, answered.closing
        if asked.sequence < self._tenant.roster.renewed_at:
            # The secrets of its key epoch are past.
            log.warning("answer_lost", code=ReasonCode.WRONG_KEY_EPOCH.value, sequence=asked.sequence)
            return
        query = await stored_query(self._transport, self._tenant, asked)
        answer = given_refusal(answered, query)
        if answer is None:
            try:
                answer = await self._computed(asked, answered.model, query, sessions)
            except (Refusal, *UNANSWERABLE) as error:
                log.warning("answer_lost", code=str(error.code), sequence=asked.sequence)
                return
        if hashlib.sha256(encode(answer)).digest() != closing.result:
            log.warning("answer_lost", code=ReasonCode.CHECK_FAILED.value, sequence=asked.sequence)
            return
        await self._notices.answer(asked.sender, answer)

    # --- accepting

    async def _accept(self, arrival: Arrival) -> _Accepted | None:
        """Journal a query and return what answers it, or reject it."""
        try:
            with self._meter.activity("query"):
                screened = await asyncio.to_thread(self._screen, arrival)
        except PrivMLError as error:
            await self._reject(arrival, refusal_reason(error))
            return None
        journal, unit = self._journal, self._journal.unit
        async with journal.turn:
            entry = unit.decide_query(screened)
            content = EntryContent(query_id=screened.query.query_id)
            await asyncio.to_thread(journal.stage, entry, content)
            await journal.commit()
            if entry.kind == EntryKind.QUERY:
                size = len(arrival.body)
                held = (screened.query, size) if self._held_bytes + size <= HELD_BYTES else ()
                accepted = _Accepted(entry, unit.open_queries[arrival.message_hash][1], *held)
                head = unit.models[entry.model_id].head(self._tenant)
        if entry.kind != EntryKind.QUERY:
            await self._notices.refused_query(arrival, ReasonCode(entry.reason))
            journal.told(entry.sequence)
            return None
        await self._heads.publish(head)
        journal.told(entry.sequence)
        return accepted

    def _screen(self, arrival: Arrival) -> ScreenedQuery:
        screened = self._journal.unit.screen_query(arrival)
        if failing_proofs([screened.proven]):
            raise Refusal(ReasonCode.BAD_PROOF)
        return screened

    async def _reject(self, arrival: Arrival, reason: ReasonCode) -> None:
        async with self._journal.turn:
            entry = self._journal.unit.decide_reject(arrival, reason)
            await asyncio.to_thread(self._journal.stage, entry)
            await self._journal.commit()
        await self._notices.refused_query(arrival, reason)
        self._journal.told(entry.sequence)

    # --- answering

    async def _answer_all(self, group: asyncio.TaskGroup, sessions: Sessions) -> None:
        """Answer what waits, some at a time; works until cancelled."""
        while True:
            await self._answering.acquire()
            accepted = await self._waiting.take()
            group.create_task(self._answer(accepted, sessions)).add_done_callback(self._done)

    def _done(self, _: object) -> None:
        self._answering.release()
        self._gate.leave()
        self._held -= 1
        self._room.set()

    async def _answer(self, accepted: _Accepted, sessions: Sessions) -> None:
        entry, model, query = accepted.entry, accepted.model, accepted.query
        self._held_bytes -= accepted.size
        if query is None:
            query = await stored_query(self._transport, self._tenant, entry)
        try:
            answer = await self._computed(entry, model, query, sessions)
        except (Refusal, *UNANSWERABLE) as error:
            reason = error.reason if isinstance(error, SecondaryRefusedError) else refusal_reason(error)
            log.warning("query_failed", code=reason.value, sequence=entry.sequence)
            answer = Answer(query.query_id, query.rows, model.version, reason, b"")
        async with self._journal.turn:
            result = hashlib.sha256(encode(answer)).digest()
            closing = self._journal.unit.decide_answered(entry, result)
            await asyncio.to_thread(self._journal.stage, closing)
            await self._journal.commit()
        await self._notices.answer(entry.sender, answer)
        self._journal.told(closing.sequence)

    async def _computed(
        self, entry: JournalEntry, model: ModelState, query: Query, sessions: Sessions
    ) -> Answer:
        if isinstance(model.content, AbsentContent):
            raise Refusal(ReasonCode.VERSION_GONE)
        learner = self._journal.unit.models[entry.model_id].learner
        return await sessions.answer(learner, entry, model, query)
