"""One model as MU keeps it: the version that is, the one that answers, and what it has yet to learn."""

from collections import deque
from dataclasses import dataclass, field

from roles.classifiers.learner import TaughtLearner
from roles.learners import AnyLearner
from roles.model_state import ModelState
from roles.tenant import Tenant
from schemas.configuration import Limits
from schemas.heads import Head
from schemas.journal import JournalEntry
from schemas.snapshots import SealedPlace, WaitingChunk


@dataclass(slots=True)
class KeptModel:
    """One model at MU.

    Attributes:
        learner: What kind of model it is.
        model: Its current version.
        answering: The version that answers queries (rule 9: it moves in steps).
        answering_at: Sequence and id of the entry since which it does; (−1, empty) before the first.
        waiting: Accepted chunks that it has not learnt yet; always none where learning needs no SU.
    """

    learner: AnyLearner
    model: ModelState
    answering: ModelState
    answering_at: tuple[int, bytes] = (-1, b"")
    waiting: deque[WaitingChunk] = field(default_factory=deque)

    @property
    def is_taught(self) -> bool:
        """Whether it learns by sessions with SU."""
        return isinstance(self.learner, TaughtLearner)

    def lesson_size(self) -> int:
        """Return how many of the waiting chunks are learnt together now; 0 while none are."""
        if not isinstance(self.learner, TaughtLearner):
            return 0
        return self.learner.lesson_size(self.model, [chunk.records for chunk in self.waiting])

    def answer_by(self, model: ModelState, sequence: int, entry_id: bytes) -> None:
        """Answer by a version from now on; note since which entry."""
        if model.version != self.answering.version or self.answering_at[0] < 0:
            self.answering, self.answering_at = model, (sequence, entry_id)

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
            model.chunks,
        )

    def next_answering(self) -> ModelState:
        """Return the version that a query asked now is answered by."""
        old, new = self.answering, self.model
        limits = self.learner.tenant.configuration.limits
        moves = old.version == 0 or may_follow(
            limits, old.records, new.records, lost=self.learner.loses_chunks(old, new)
        )
        return new if moves else old


def may_follow(limits: Limits, before: int, after: int, *, lost: bool) -> bool:
    """Return whether a version may answer after another one (rule 9).

    Args:
        limits: The tenant's.
        before: Records in the version that answered so far.
        after: Records in the later version.
        lost: Whether a chunk was withdrawn between them: what was taken out must not go on answering.
    """
    return lost or after - before >= max(1, limits.min_new_records)


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
