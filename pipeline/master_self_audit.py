"""MU re-checks itself: its journal, and every session with SU run again, every request compared.

Only MU's own keystore is opened; what SU said is taken from the topic. The programs are run by the
same code as in the service, on an exchange that looks a step up instead of asking it.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import NoReturn

from crypto.errors import LocalProtocolError
from pipeline.audit import SEALED_MODELS, SealedLessons
from pipeline.audit_report import AuditReport, Checked, audited_models, unkept_chunks
from pipeline.check_pool import CheckPool
from pipeline.errors import StorageError
from pipeline.journal_audit import GRACE_SECONDS, JournalAudit
from pipeline.journal_fold import stored_query
from pipeline.lessons import run_teaching
from pipeline.meter import Meter
from pipeline.recorded_exchange import NotRecordedError, RecordedExchange
from pipeline.rekeying_audit import RekeyingAudit
from pipeline.rounds import SecondaryRefusedError
from pipeline.rounds_record import RoundsRecord, body_hash
from pipeline.sessions import UNANSWERABLE, Sessions
from pipeline.signed_messages import signatures_seen
from pipeline.stored_chunks import stored_chunk
from pipeline.transport import Transport
from roles.auditor import ClosedQuery
from roles.building_blocks.base_transfers import TransferBases, base_master, base_plan, base_subject
from roles.classifiers.learner import Lesson, TaughtChunk, TaughtLearner, UnlearnableError
from roles.findings import FindingCode, Findings
from roles.journal_chain import Link
from roles.kept_model import KeptModel
from roles.master_unit import MasterUnit
from roles.model_state import Content
from roles.refusal import refusal_reason
from roles.session import Session, session_name
from roles.tenant import Tenant
from roles.unit_channels import UnitChannels
from roles.unit_keys import UnitKeys, keys_in
from schemas.codec import encode
from schemas.queries import Answer
from schemas.snapshots import WaitingChunk

PROOFS = "proofs"
SESSIONS_CUT_OFF = "sessions whose rounds are not kept"
UNEXPLAINED = "requests that the journal before the snapshot may explain"


async def audit_master(
    transport: Transport,
    tenant: Tenant,
    keys: UnitKeys,
    pool: ThreadPoolExecutor,
    *,
    grace_seconds: float = GRACE_SECONDS,
) -> AuditReport:
    """Fold MU's journal, run all of its sessions again, compare every request and every answer.

    The proofs in chunks and queries are left to the public audit.

    Args:
        transport: Where the topics are; only read.
        tenant: Public facts.
        keys: MU's; nothing is saved to its keystore.
        pool: Threads for the powers.
        grace_seconds: How long to wait for receipts of the last decisions.
    """
    findings, meter = Findings(), Meter()
    # Which versions are in force the journal says; what MU told of them is for the rounds alone.
    told = replace(tenant)
    record = RoundsRecord(transport, told, UnitChannels(told, "mu", keys), findings, meter)
    exchange = RecordedExchange(record, meter)
    # Before the journal: whatever was asked by now is journaled by the time that is read.
    await exchange.open()

    async def own_keys(tenant: Tenant) -> UnitKeys:
        own = keys_in(tenant, "mu", keys)
        bases = await _run_base_session(exchange, tenant, own, pool, findings)
        return replace(own, bases=own.bases or bases, save=_save_nothing)

    async def renewed(unit: MasterUnit) -> None:
        # What was begun before and not ended, in the secrets of then.
        await rekeyings.begin_next(unit)
        await lessons.begin_next(unit)
        began = tenant.roster.beginning_of(unit.key_epoch) or tenant.configuration
        following = tenant.in_key_epoch(began)
        sessions.go_on(following, await own_keys(following))

    async with asyncio.TaskGroup() as group:
        sessions = Sessions(exchange, tenant, await own_keys(tenant), pool, group)
        answers = _Answers(transport, tenant, sessions, findings)
        lessons = _Lessons(transport, sessions, findings, SealedLessons(transport, findings))
        rekeyings = RekeyingAudit(transport, sessions, findings)
        journal = JournalAudit(
            *(transport, tenant, findings, meter, CheckPool(processes=0)),
            lesson=lessons.learnt,
            rekeyed=rekeyings.rekeyed,
            proofs=False,
            closed=answers.check_all,
            renewed=renewed,
            grace_seconds=grace_seconds,
        )
        await journal.run()
        auditor = journal.auditor
        open_queries = [
            ClosedQuery(entry, model, auditor.unit.models[entry.model_id].learner, None)
            for entry, model in auditor.unit.open_queries.values()
            if auditor.knows(entry.model_id, entry.model_version)
        ]
        await answers.check_all(open_queries)
        await rekeyings.begin_next(auditor.unit)
        await lessons.begin_next(auditor.unit)
    lessons.sealed.end(auditor.unit)
    # Requests of sessions before the snapshot are explained by what is not read.
    explained_before = journal.start.snapshot is not None
    if auditor.knows_all and not explained_before:
        exchange.report_unexplained()
    return AuditReport(
        findings.found,
        Checked(
            signatures=signatures_seen(meter),
            journal_entries=auditor.counts.journal_entries,
            chunks_accepted=auditor.counts.chunks_accepted,
            chunks_rejected=auditor.counts.chunks_rejected,
            withdrawals=auditor.counts.withdrawals,
            receipts=journal.receipts.checked,
            snapshots=journal.snapshots.checked,
            sessions_recomputed=len(exchange.completed),
        ),
        audited_models(tenant, auditor),
        start=journal.start,
        last=journal.last_sequence,
        skipped=[
            PROOFS,
            *([SEALED_MODELS] if lessons.sealed.compacted else []),
            *unkept_chunks(auditor),
            *([UNEXPLAINED] if explained_before else []),
            *([SESSIONS_CUT_OFF] if answers.left_out or lessons.left_out or rekeyings.left_out else []),
            *map(str, journal.unreadable),
        ],
    )


async def _run_base_session(
    exchange: RecordedExchange, tenant: Tenant, keys: UnitKeys, pool: ThreadPoolExecutor, findings: Findings
) -> TransferBases | None:
    """Run the base transfers again if they are on the topic, and hold them against the keystore."""
    place = exchange.beginning_of(session_name(tenant, base_subject()))
    if place is None:
        return None
    session = Session(tenant, "mu", keys.seed, base_subject(), base_plan(tenant))
    program = base_master(session, keys.delta, pool)
    try:
        bases = await exchange.run(session, program, "base_transfers")
    except NotRecordedError:
        return None
    except UNANSWERABLE as error:
        detail = f"the base transfers cannot be run again on what SU replied ({error.code!s})"
        findings.add(FindingCode.BASES_DIFFER, place, detail)
        return None
    if keys.bases is not None and keys.bases != bases:
        detail = "the base transfers, run again, give other seeds than the keystore has"
        findings.add(FindingCode.BASES_DIFFER, place, detail)
    return bases


@dataclass(slots=True)
class _Answers:
    """Computes answers again and compares them with their hashes in the journal.

    Attributes:
        left_out: Whether an answer could not be computed because its rounds are not kept.
    """

    transport: Transport
    tenant: Tenant
    sessions: Sessions
    findings: Findings
    left_out: bool = False

    async def check_all(self, queries: Sequence[ClosedQuery]) -> None:
        """Check queries one after the other."""
        for query in queries:
            await self._check(query)

    async def _check(self, closed: ClosedQuery) -> None:
        asked, model = closed.asked, closed.model
        try:
            query = await stored_query(self.transport, self.tenant, asked)
        except StorageError:
            # Reported with the entry that accepted it.
            return
        try:
            answer = await self.sessions.answer(closed.learner, asked, model, query)
        except NotRecordedError:
            self.left_out |= closed.closing is not None
            return
        except UNANSWERABLE as error:
            reason = error.reason if isinstance(error, SecondaryRefusedError) else refusal_reason(error)
            answer = Answer(query.query_id, query.rows, model.version, reason, b"")
        if closed.closing is None:
            return
        if await asyncio.to_thread(lambda: body_hash(encode(answer))) != closed.closing.entry.result:
            detail = f"the answer to the query of entry {asked.sequence}, computed again, has another hash"
            self.findings.add(FindingCode.ANSWER_DIFFERS, closed.closing.place, detail)


@dataclass(slots=True)
class _Lessons:
    """Teaches models again and compares what they become with what the journal says.

    Attributes:
        sealed: What MU sealed, for lessons that cannot be run.
        left_out: Whether a lesson could not be run because its rounds are not kept.
    """

    transport: Transport
    sessions: Sessions
    findings: Findings
    sealed: SealedLessons
    left_out: bool = False

    async def learnt(self, link: Link, unit: MasterUnit) -> Content | None:
        """Return what a model became by an entry; None if it did not change, or that is not known."""
        entry, kept = link.entry, unit.models[link.entry.model_id]
        size = len(entry.invalid)
        if entry.reason:
            size = self._size(kept)
        try:
            lesson = await self._run(unit, kept, list(islice(kept.waiting, size)))
        except NotRecordedError:
            self.left_out = True
            return await self.sealed.learnt(link, unit)
        if lesson is None:
            if not entry.reason:
                detail = f"the lesson of entry {entry.sequence}, run again, fails"
                self.findings.add(FindingCode.MODEL_DIFFERS, link.place, detail)
            return None
        if entry.reason:
            detail = f"the lesson of entry {entry.sequence}, run again, passes no chunk over"
            self.findings.add(FindingCode.WRONG_DECISION, link.place, detail)
            return None
        if entry.invalid != tuple(lesson.invalid):
            detail = f"the lesson of entry {entry.sequence}, run again, has other invalid records"
            self.findings.add(FindingCode.WRONG_DECISION, link.place, detail)
        after = replace(kept.model, content=lesson.content)
        if await asyncio.to_thread(after.hash, unit.tenant) != entry.result:
            detail = f"the model of entry {entry.sequence}, taught again, has another hash"
            self.findings.add(FindingCode.MODEL_DIFFERS, link.place, detail)
        return lesson.content

    async def begin_next(self, unit: MasterUnit) -> None:
        """Run lessons that were begun and not journaled, as far as their rounds go."""
        for kept in unit.models.values():
            if kept.is_taught and (size := self._size(kept)):
                try:
                    await self._run(unit, kept, list(islice(kept.waiting, size)))
                except NotRecordedError:
                    continue

    @staticmethod
    def _size(kept: KeptModel) -> int:
        learner = kept.learner
        if not isinstance(learner, TaughtLearner):
            return 0
        return learner.lesson_size(kept.model, [chunk.records for chunk in kept.waiting])

    async def _run(self, unit: MasterUnit, kept: KeptModel, chunks: Sequence[WaitingChunk]) -> Lesson | None:
        learner = kept.learner
        if not isinstance(learner, TaughtLearner) or not chunks:
            return None
        if learner.model_id in self.sealed.unknown:
            raise NotRecordedError("the model before the lesson is not there")
        try:
            taught = [
                TaughtChunk(
                    chunk.owner,
                    chunk.records,
                    chunk.message_hash,
                    await stored_chunk(self.transport, unit, chunk),
                )
                for chunk in chunks
            ]
        except StorageError:
            # Reported with the entry that accepted it.
            raise NotRecordedError("a chunk is not there") from None
        try:
            return await run_teaching(learner.teach(kept.model, taught), self.sessions)
        except NotRecordedError:
            raise
        except (UnlearnableError, *UNANSWERABLE):
            return None


def _save_nothing(_: object) -> NoReturn:
    raise LocalProtocolError("a self-audit changes no keystore")
