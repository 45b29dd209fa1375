"""Where MU takes queries in, has them answered by the version that the journal fixes, and closes them."""

import asyncio
import hashlib
from dataclasses import dataclass

from crypto.errors import PrivMLError
from pipeline.heads import HeadBook
from pipeline.journal import Journal
from pipeline.journal_fold import stored_query
from pipeline.log_setup import get_logger
from pipeline.mailbox import Inbox
from pipeline.meter import Meter
from pipeline.notices import Answered, Notices, given_refusal
from pipeline.rounds import SecondaryRefusedError
from pipeline.sealed_models import AbsentContent
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
QUERIES_HELD = 32


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A query with the entry that accepted it and the version that answers it."""

    entry: JournalEntry
    model: ModelState
    query: Query


class QueryDesk:
    """MU's loop over the queries topic.

    Args:
        transport: Where the topics are.
        tenant: Public facts.
        journal: MU's.
        notices: Who tells others.
        heads: Where MU's word on its models goes before SU is asked about them.
        meter: Counts CPU and operations.
    """

    def __init__(
        self,
        transport: Transport,
        tenant: Tenant,
        journal: Journal,
        notices: Notices,
        heads: HeadBook,
        meter: Meter,
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._journal = journal
        self._notices = notices
        self._heads = heads
        self._meter = meter
        self._answering = asyncio.Semaphore(SESSIONS_AT_ONCE)
        # While SU is away queries wait on their topic, not here.
        self._held = asyncio.Semaphore(QUERIES_HELD)

    async def run(self, inbox: Inbox, group: asyncio.TaskGroup, sessions: Sessions) -> None:
        """Work until cancelled."""
        while True:
            for arrival in await inbox.receive(WAIT_SECONDS, max_messages=SESSIONS_AT_ONCE):
                if isinstance(arrival, Refused):
                    await self._reject(arrival.arrival, ReasonCode(arrival.reason))
                    continue
                await self._held.acquire()
                accepted = await self._accept(arrival)
                if accepted is None:
                    self._held.release()
                else:
                    answering = group.create_task(self._answer(accepted, sessions))
                    answering.add_done_callback(lambda _: self._held.release())

    async def take_up(self, entry: JournalEntry, model: ModelState, sessions: Sessions) -> None:
        """Answer a query that was open when MU stopped."""
        query = await stored_query(self._transport, self._tenant, entry)
        await self._answer(_Accepted(entry, model, query), sessions)

    async def answer_again(self, answered: Answered, sessions: Sessions) -> None:
        """Hand out an answer that was journaled and then lost: the same bytes or none."""
        async with self._answering:
            await self._answer_again(answered, sessions)
        self._journal.told(answered.closing.sequence)

    async def _answer_again(self, answered: Answered, sessions: Sessions) -> None:
        asked, closing = answered.asked, answered.closing
        query = await stored_query(self._transport, self._tenant, asked)
        answer = given_refusal(answered, query)
        if answer is None:
            try:
                answer = await self._computed(_Accepted(asked, answered.model, query), sessions)
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
                accepted = _Accepted(entry, unit.open_queries[arrival.message_hash][1], screened.query)
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
        if failing_proofs(self._tenant, [screened.statement]):
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

    async def _answer(self, accepted: _Accepted, sessions: Sessions) -> None:
        async with self._answering:
            entry, query = accepted.entry, accepted.query
            try:
                answer = await self._computed(accepted, sessions)
            except (Refusal, *UNANSWERABLE) as error:
                reason = error.reason if isinstance(error, SecondaryRefusedError) else refusal_reason(error)
                log.warning("query_failed", code=reason.value, sequence=entry.sequence)
                answer = Answer(query.query_id, query.rows, accepted.model.version, reason, b"")
            async with self._journal.turn:
                result = hashlib.sha256(encode(answer)).digest()
                closing = self._journal.unit.decide_answered(entry, result)
                await asyncio.to_thread(self._journal.stage, closing)
                await self._journal.commit()
            await self._notices.answer(entry.sender, answer)
            self._journal.told(closing.sequence)

    async def _computed(self, accepted: _Accepted, sessions: Sessions) -> Answer:
        if isinstance(accepted.model.content, AbsentContent):
            raise Refusal(ReasonCode.VERSION_GONE)
        learner = self._journal.unit.models[accepted.entry.model_id].learner
        return await sessions.answer(learner, accepted.entry, accepted.model, accepted.query)
