"""One model as MU keeps it: the version that is, the one that answers, and what it has yet to learn."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from crypto.errors import LocalProtocolError
from roles.classifiers.learner import TaughtLearner
from roles.learners import AnyLearner
from roles.model_state import ModelState
from roles.tenant import Tenant
from schemas.configuration import Limits
from schemas.heads import Head
from schemas.journal import EntryKind, JournalEntry
from schemas.snapshots import SealedPlace, WaitingChunk


@dataclass(slots=True)
class KeptModel:
    """One model at MU.

    Attributes:
        learner: What kind of model it is.
        model: Its current version.
        answering: The version that answers queries (rule 9: it moves in steps).
        answering_at: Sequence and id of the entry since which it does; (−1, empty) before the first.
        answering_lost: Records that were withdrawn from the version that answered before it.
        withdrawn: Records that were withdrawn from the version that answers.
        waiting: Accepted chunks that it has not learnt yet; always none where learning needs no SU.
    """

    learner: AnyLearner
    model: ModelState
    answering: ModelState
    answering_at: tuple[int, bytes] = (-1, b"")
    answering_lost: int = 0
    withdrawn: int = 0
    waiting: deque[WaitingChunk] = field(default_factory=deque)

    @property
    def is_taught(self) -> bool:
        """Whether it learns by sessions with SU."""
        return isinstance(self.learner, TaughtLearner)

    def lesson_size(self) -> int:
        """Return how many of the waiting chunks are learnt together now; 0 while none are."""
        if not isinstance(self.learner, TaughtLearner):
            return 0
        # A list first: entries are folded in another thread than this is asked in.
        return self.learner.lesson_size(self.model, [chunk.records for chunk in list(self.waiting)])

    def closed_chunks(self, entry: JournalEntry) -> list[WaitingChunk]:
        """Return the chunks that a ``learnt`` entry closes, in order.

        Raises:
            LocalProtocolError: It closes chunks that do not wait, or not the next ones, or with more
                invalid records than they have.
        """
        if entry.reason:
            closed = [chunk for chunk in self.waiting if chunk.sequence == entry.about]
        else:
            closed = list(islice(self.waiting, len(entry.invalid)))
        if not closed or len(closed) != len(entry.invalid) or closed[-1].sequence != entry.about:
            raise LocalProtocolError(f"journal entry {entry.sequence} closes no chunks that wait")
        if any(not 0 <= n <= c.records for c, n in zip(closed, entry.invalid, strict=True)):
            raise LocalProtocolError(f"journal entry {entry.sequence} has impossible invalid records")
        return closed

    def learnt_entry(
        self,
        sequence: int,
        head: bytes,
        chunks: Sequence[WaitingChunk],
        place: tuple[str, int, int, bytes],
        *,
        invalid: tuple[int, ...] = (0,),
        reason: str = "",
        result: bytes = b"",
    ) -> JournalEntry:
        """Return the journal entry that closes chunks, learnt together or, one alone, passed over.

        Args:
            sequence: Of the entry.
            head: Id of the entry before.
            chunks: Which.
            place: Topic, partition, offset and id of the message that it names.
            invalid: Invalid records of each chunk.
            reason: Why a chunk is passed over.
            result: Hash of the model.
        """
        last = chunks[-1]
        return JournalEntry(
            sequence,
            head,
            EntryKind.LEARNT,
            *place,
            last.owner,
            last.owner_sequence,
            sum(chunk.records for chunk in chunks),
            reason,
            self.learner.model_id,
            self.model.version + len(chunks),
            last.sequence,
            invalid,
            result,
        )

    def answer_by(self, model: ModelState, sequence: int, entry_id: bytes) -> None:
        """Answer by a version from now on; note since which entry."""
        if model.version != self.answering.version or self.answering_at[0] < 0:
            self.answering, self.answering_at = model, (sequence, entry_id)
            self.answering_lost, self.withdrawn = self.withdrawn, 0

    def head(self, tenant: Tenant) -> Head:
        """Return the head about the version that answers: what SU must have seen before it helps."""
        model, (sequence, entry_id) = self.answering, self.answering_at
        model_hash = model.hash(tenant)
        return Head(
            self.learner.model_id,
            model.version,
            sequence,
            entry_id,
            model.records,
            model.owners,
            model_hash,
            self.answering_lost,
        )

    def next_answering(self) -> ModelState | None:
        """Return the version that a query asked now is answered by; None if none may answer."""
        old, new = self.answering, self.model
        if self.answering_at[0] < 0:
            return new
        limits = self.learner.tenant.configuration.limits
        if may_follow(limits, old.records, new.records, self.withdrawn):
            return new
        # What was withdrawn must not go on answering.
        return None if self.withdrawn else old

    def lose(self, model: ModelState, records: int, accepted_at: int) -> None:
        """Go on without a chunk.

        Args:
            model: The version without it.
            records: Its records.
            accepted_at: Sequence of the entry that accepted it.
        """
        self.model = model
        if accepted_at < self.answering_at[0]:
            self.withdrawn += records


def move_on(asked: KeptModel, models: Iterable[KeptModel], sequence: int, entry_id: bytes) -> None:
    """Let the model that a query asks go on to the version that answers it.

    All models that count go on together: two of them at different places of the stream would tell of
    the few records in between.

    Args:
        asked: The model asked.
        models: All of the tenant's.
        sequence: Of the entry that accepts the query.
        entry_id: Its id.

    Raises:
        LocalProtocolError: No version may answer.
    """
    for kept in [asked] if asked.is_taught else [kept for kept in models if not kept.is_taught]:
        answering = kept.next_answering()
        if answering is None:
            raise LocalProtocolError(f"journal entry {sequence}: no version may answer")
        kept.answer_by(answering, sequence, entry_id)


def may_follow(limits: Limits, before: int, after: int, withdrawn: int) -> bool:
    """Return whether a version may answer after another one (rule 9).

    The difference between the two must tell of enough records, or of withdrawn ones alone: whoever
    withdraws a chunk knows it, and could else read off the few that came meanwhile.

    Args:
        limits: The tenant's.
        before: Records in the version that answered so far.
        after: Records in the later version.
        withdrawn: Records of the former that were withdrawn.
    """
    added = after - (before - withdrawn)
    return added >= max(1, limits.min_new_records) or (withdrawn > 0 and added == 0)


def waiting_chunk(entry: JournalEntry) -> WaitingChunk:
    """Return the chunk that an entry accepts as a model waits for it."""
    return WaitingChunk(
        entry.sequence,
        entry.sender,
        entry.sender_sequence,
        entry.records,
        entry.partition,
        entry.offset,
        entry.message_hash,
    )


def sealed_place(entry: JournalEntry) -> SealedPlace:
    """Return where the model lies that a ``learnt`` entry names."""
    return SealedPlace(entry.partition, entry.offset, entry.message_hash, entry.result)
