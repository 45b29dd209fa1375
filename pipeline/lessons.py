"""Where a model is taught: the chunks that wait for it go through sessions with SU, one lesson at a time."""

import asyncio
from itertools import islice
from typing import Any

from crypto.errors import PrivMLError
from pipeline.chunk_desk import HeldChunks
from pipeline.journal import Journal
from pipeline.log_setup import get_logger
from pipeline.mailbox import Publisher
from pipeline.notices import Decided, Notices
from pipeline.rounds import SecondaryRefusedError
from pipeline.sealed_models import seal_model
from pipeline.session_gate import SessionGate
from pipeline.sessions import UNANSWERABLE, Sessions
from pipeline.stored_chunks import stored_chunk
from pipeline.transport import Transport
from roles.classifiers.learner import (
    FAULTS_OF_CHUNKS,
    Lesson,
    MasterCall,
    TaughtChunk,
    TaughtLearner,
    Teaching,
    UnlearnableError,
)
from roles.entry_content import EntryContent
from roles.kept_model import KeptModel
from roles.refusal import refusal_reason
from schemas.reasons import ReasonCode
from schemas.snapshots import WaitingChunk

log = get_logger()

LONGEST_WAIT_SECONDS = 30.0


class Lessons:
    """MU's loop over the chunks that wait for one model.

    Args:
        transport: Where the topics are.
        journal: MU's.
        notices: Who tells others.
        publisher: MU's.
        held: Where accepted chunks are held.
        learner: Of the model.
        learnt: Set after every lesson.
        gate: Through which whoever runs sessions goes.
    """

    def __init__(
        self,
        transport: Transport,
        journal: Journal,
        notices: Notices,
        publisher: Publisher,
        held: HeldChunks,
        learner: TaughtLearner[Any],
        learnt: asyncio.Event,
        gate: SessionGate,
    ) -> None:
        self._transport = transport
        self._journal = journal
        self._notices = notices
        self._publisher = publisher
        self._held = held
        self._learner = learner
        self._learnt = learnt
        self._gate = gate
        self._wake = asyncio.Event()
        self._failures = 0

    @property
    def _kept(self) -> KeptModel:
        return self._journal.unit.models[self._learner.model_id]

    def wake(self) -> None:
        """Look again whether there is something to learn."""
        self._wake.set()

    async def run(self, sessions: Sessions) -> None:
        """Work until cancelled."""
        while True:
            self._wake.clear()
            async with self._gate.inside():
                size = self._kept.lesson_size()
                if size:
                    await self._teach(list(islice(self._kept.waiting, size)), sessions)
            if size:
                self._learnt.set()
            else:
                await self._wake.wait()

    async def _teach(self, chunks: list[WaitingChunk], sessions: Sessions) -> None:
        model = self._kept.model
        taught = [await self._taught(chunk) for chunk in chunks]
        try:
            lesson = await run_teaching(self._learner.teach(model, taught), sessions)
        except (UnlearnableError, *UNANSWERABLE) as error:
            await self._fail(chunks, error)
            return
        self._failures = 0
        learnt = model
        for chunk, invalid in zip(chunks, lesson.invalid, strict=True):
            learnt = learnt.taking(chunk.owner, chunk.records - invalid, lesson.content)
        # Sealed before the entry that names it: whatever an entry names is there.
        sealed = await seal_model(self._publisher, self._learner, learnt)
        async with self._journal.turn:
            entry = self._journal.unit.decide_learnt(self._learner.model_id, lesson.invalid, sealed)
            closed = self._journal.unit.closed_chunks(entry)
            content = EntryContent(learnt=lesson.content)
            entry_id = await asyncio.to_thread(self._journal.stage, entry, content)
            await self._journal.commit()
        await self._notices.learnt(Decided(entry, entry_id, closed))
        self._journal.told(entry.sequence)

    async def _taught(self, chunk: WaitingChunk) -> TaughtChunk:
        vectors = self._held.get(chunk.message_hash)
        if vectors is None:
            vectors = await stored_chunk(self._transport, self._journal.unit, chunk)
        return TaughtChunk(chunk.owner, chunk.records, chunk.message_hash, vectors)

    async def _fail(self, chunks: list[WaitingChunk], error: PrivMLError) -> None:
        """Pass over the chunk that is to blame; where none is, try again later."""
        reason = error.reason if isinstance(error, SecondaryRefusedError) else refusal_reason(error)
        step = error.step if isinstance(error, SecondaryRefusedError) else ""
        culprit = self._learner.culprit(step) if reason in FAULTS_OF_CHUNKS else None
        if culprit is not None and culprit < len(chunks):
            self._failures = 0
            await self._pass_over(chunks[culprit], reason)
            return
        self._failures += 1
        seconds = min(LONGEST_WAIT_SECONDS, 2.0 ** (self._failures - 1))
        model = self._learner.model_id
        log.error("lesson_failed", model=model, code=reason.value, attempt=self._failures, seconds=seconds)
        await asyncio.sleep(seconds)

    async def _pass_over(self, chunk: WaitingChunk, reason: ReasonCode) -> None:
        model = self._learner.model_id
        log.warning("chunk_not_learnt", model=model, code=reason.value, sequence=chunk.sequence)
        async with self._journal.turn:
            unit = self._journal.unit
            entry = unit.decide_passed_over(model, chunk.sequence, reason)
            closed = unit.closed_chunks(entry)
            entry_id = await asyncio.to_thread(self._journal.stage, entry)
            await self._journal.commit()
        await self._notices.learnt(Decided(entry, entry_id, closed))
        self._journal.told(entry.sequence)


async def run_teaching(teaching: Teaching, sessions: Sessions) -> Lesson:
    """Run the sessions of a lesson one after the other and return what came of it.

    Raises:
        UnlearnableError: The model cannot take in what it was taught.
        SecondaryRefusedError, PlanTooLargeError, RemoteProtocolError, CryptoError: A session failed.
    """
    step = await asyncio.to_thread(_advance, teaching, None)
    while not isinstance(step, Lesson):
        step = await asyncio.to_thread(_advance, teaching, await sessions.teach(step))
    return step


def _advance(teaching: Teaching, result: object) -> MasterCall[Any] | Lesson:
    """Send a session's result (none at the start); return the next session or the lesson."""
    try:
        return teaching.send(result)
    except StopIteration as finished:
        # No such exception crosses from a thread.
        lesson: Lesson = finished.value
        return lesson
