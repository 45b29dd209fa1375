"""What the roles ask of a learner; each kind of model answers in a module of its own.

A *call* is a session that is about to be run: its subject, its plan, and a unit's half of it. MU
runs the calls that a learner makes; SU finds the other half by the subject alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from crypto.dtpkc import Ciphertext, PublicKey
from crypto.errors import LocalProtocolError, PrivMLError
from crypto.packing import SlotLayout
from roles.chunk_encodings import BITS, Vectors
from roles.encoding import EncodedRecords, encode_bits
from roles.model_state import Content, ModelState
from roles.plan import Plan, PlanViolationError
from roles.session import MasterProgram, SecondaryProgram, Session
from roles.tenant import Tenant
from roles.unit_secrets import UnitSecrets
from schemas.models import ModelSpec
from schemas.queries import Query
from schemas.reasons import ReasonCode
from schemas.rounds import Subject

Result = TypeVar("Result")
Kept = TypeVar("Kept", bound=Content)


class UnlearnableError(PrivMLError):
    """A model cannot take a chunk in; nothing of it is sealed, the model is as it was."""


LEARN, GROW, REFRESH, QUERY = "learn", "grow", "refresh", "query"
"""Purposes of sessions; the base transfers have one of their own."""

FAULTS_OF_CHUNKS = frozenset(
    {
        ReasonCode.OUT_OF_RANGE,
        ReasonCode.NOT_OPENABLE,
        ReasonCode.OVERFLOW,
        ReasonCode.LAYOUT_OVERFLOW,
        ReasonCode.TOO_LARGE,
    }
)
"""Why a model cannot learn a chunk; anything else is between the units and may pass."""


def refresh_subject_of(subject: Subject) -> Subject:
    """Return the subject of the session that prepares the model which a session is about.

    It names the content (hash, records, owners) and not the version: the same content again, after
    a chunk came and went, has the same session, masks, shares and table.
    """
    return Subject(
        REFRESH,
        subject.model_id,
        model_hash=subject.model_hash,
        records=subject.records,
        owners=subject.owners,
        detail=subject.detail,
    )


def check_sufficiency(tenant: Tenant, subject: Subject) -> None:
    """Refuse a model that may not answer yet (SU; docs/security.md, rule 9).

    Raises:
        PlanViolationError: Too few records or owners, or more records than the limit.
    """
    limits = tenant.configuration.limits
    if not limits.min_records <= subject.records <= limits.max_total_records:
        raise PlanViolationError("the model holds too few or too many records to answer")
    if subject.owners < limits.min_owners:
        raise PlanViolationError("the model holds records of too few owners to answer")


@dataclass(frozen=True, slots=True)
class MasterCall(Generic[Result]):
    """A session that MU is to run.

    Attributes:
        subject: What it is about.
        plan: Its steps.
        program: MU's half, given session, secrets and threads.
    """

    subject: Subject
    plan: Plan
    program: Callable[[Session, UnitSecrets, ThreadPoolExecutor | None], MasterProgram[Result]]


@dataclass(frozen=True, slots=True)
class SecondaryCall:
    """A session that SU is asked to run.

    Attributes:
        plan: Its steps.
        program: SU's half, given session, secrets and threads.
    """

    plan: Plan
    program: Callable[[Session, UnitSecrets, ThreadPoolExecutor | None], SecondaryProgram[Any]]


@dataclass(frozen=True, slots=True)
class TaughtChunk:
    """A chunk that a model is to learn.

    Attributes:
        owner: Whose it is.
        records: Their number.
        message_hash: Its id.
        vectors: Its ciphertexts, their proof verified.
    """

    owner: str
    records: int
    message_hash: bytes
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class AskedQuery:
    """A query that is to be answered.

    Attributes:
        subject: Of its session.
        query: The client's message.
        vectors: Its ciphertexts, their proof verified.
    """

    subject: Subject
    query: Query
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Lesson:
    """What came of teaching a model some chunks.

    Attributes:
        content: The model's content after all of them.
        invalid: How many records of each chunk the model took for invalid.
    """

    content: Content
    invalid: tuple[int, ...]


Teaching: TypeAlias = Generator[MasterCall[Any], Any, Lesson]
"""Yields the sessions to be run one after the other, is sent their results, returns the lesson."""


class Learner(ABC, Generic[Kept]):
    """One model of a tenant, as far as it is public.

    Attributes:
        tenant: Public facts.
        spec: The model.
    """

    def __init__(self, tenant: Tenant, spec: ModelSpec) -> None:
        self.tenant = tenant
        self.spec = spec

    @property
    def model_id(self) -> str:
        """The model's name."""
        return self.spec.model_id

    # --- state

    @abstractmethod
    def empty(self) -> Kept:
        """Return the content before any chunk: public encryptions."""

    @abstractmethod
    def detail(self, content: Content) -> bytes:
        """Return what is public of a content beside its ciphertexts, in canonical form.

        It fixes, with the records, the plans of all sessions about the content.
        """

    @abstractmethod
    def restored(self, detail: bytes, records: int, ciphertexts: tuple[Ciphertext, ...]) -> Kept:
        """Return the content of a sealed model.

        Raises:
            SchemaError, LayoutError, ValueError: It does not hold together.
        """

    def starting(self) -> ModelState:
        """Return version 0."""
        return ModelState(self.spec, self.empty())

    @abstractmethod
    def check_room(self, state: ModelState, records: int, waiting: int) -> None:
        """Refuse a chunk that the model could not hold.

        Args:
            state: The current version.
            records: Records of the chunk.
            waiting: Records of the chunks before it that the model has not learnt yet.

        Raises:
            LayoutError: So many records are too many, in one chunk or altogether.
        """

    @abstractmethod
    def layout(self, state: ModelState) -> SlotLayout:
        """Return the layout of the first vector of a version: how its numbers lie."""

    def described(self, state: ModelState) -> dict[str, Any]:
        """Return what else is public of a version, for people: names and numbers."""
        del state
        return {}

    # --- answering

    @property
    @abstractmethod
    def query_encodings(self) -> tuple[str, ...]:
        """Encodings of a query, in the order of its vectors."""

    @abstractmethod
    def query_layouts(self, rows: int) -> tuple[SlotLayout, ...]:
        """Return the layouts of a query's vectors."""

    @abstractmethod
    def query_plaintexts(self, rows: EncodedRecords) -> dict[str, list[int]]:
        """Return the plaintexts of rows by encoding, in the order of `query_encodings` (client).

        Raises:
            LocalProtocolError: Words are missing, or an index is outside its attribute.
        """

    def answer_values(self, *, scores: bool) -> int:
        """Return how many values a row's answer has: the label, then scores if the model has any."""
        del scores
        return 1

    def readable_scores(self, scores: Sequence[int]) -> dict[str, float]:
        """Return a row's scores as a client shows them: a probability per class."""
        raise LocalProtocolError(f"model '{self.model_id}' has no scores: {len(scores)}")

    def answer_layout(self, rows: int, *, scores: bool) -> SlotLayout:
        """Return the layout of a sealed answer: all labels, then all first scores, and so on."""
        return self.tenant.label_layout(rows * self.answer_values(scores=scores))

    @abstractmethod
    def preparation(self, state: ModelState) -> MasterCall[Any] | None:
        """Return the session that must precede queries to that version; its result is kept by MU.

        None if there is nothing to prepare. Two versions of equal content have one preparation.
        """

    @abstractmethod
    def answering(
        self, state: ModelState, prepared: Any, asked: AskedQuery, client_key: PublicKey
    ) -> MasterCall[list[Ciphertext]]:
        """Return the session that answers a query; its result is sealed under the client's key.

        Args:
            state: The version that answers.
            prepared: The result of its `preparation`.
            asked: The query.
            client_key: Of the client.
        """

    def subject(self, purpose: str, state: ModelState, **about: Any) -> Subject:
        """Return the subject of a session about a version; `about` says what else it is about."""
        return Subject(
            purpose,
            self.model_id,
            state.version,
            state.hash(self.tenant),
            state.records,
            state.owners,
            detail=self.detail(state.content),
            **about,
        )

    # --- SU

    @abstractmethod
    def secondary(self, subject: Subject, query: Query | None, client_key: PublicKey | None) -> SecondaryCall:
        """Return SU's half of the session about a subject.

        Args:
            subject: As MU names it; nothing in it was checked but the model.
            query: For query sessions SU's own copy of the client's message.
            client_key: For query sessions the client's key.

        Raises:
            PlanViolationError: There is no such session.
        """

    # --- limits

    @abstractmethod
    def largest_plans(self) -> Iterator[Plan]:
        """Yield the plans whose messages are largest under the tenant's limits.

        Raises:
            LayoutError: Chunks or queries of the permitted size cannot be handled at all.
        """


class BitQueries(Learner[Kept]):
    """A learner whose queries are the one-hot bits of all attributes."""

    @property
    def query_encodings(self) -> tuple[str, ...]:
        """One-hot bits."""
        return (BITS,)

    def query_layouts(self, rows: int) -> tuple[SlotLayout, ...]:
        """Return the layout of the rows' bits."""
        return (self.tenant.query_layout(rows),)

    def query_plaintexts(self, rows: EncodedRecords) -> dict[str, list[int]]:
        """Return the rows' bits."""
        bits = encode_bits(self.tenant.schema, rows)
        return {BITS: self.tenant.query_layout(len(rows)).pack(bits.reshape(-1))}


class CountingLearner(Learner[Kept]):
    """A learner that takes chunks in without SU, and can lose them again."""

    @abstractmethod
    def learn(self, state: ModelState, owner: str, records: int, vectors: Vectors) -> ModelState:
        """Return the version with one more chunk in it.

        Raises:
            LayoutError: It does not fit; nothing changed.
        """

    @abstractmethod
    def withdraw(self, state: ModelState, owner: str, records: int, vectors: Vectors) -> ModelState:
        """Return the version without a chunk that is in it.

        Raises:
            LayoutError: More would be taken out than is in; nothing changed.
        """


class TaughtLearner(Learner[Kept]):
    """A learner that takes chunks in by sessions with SU.

    Attributes:
        counts_invalid: Whether a lesson tells how many records were none.
    """

    counts_invalid: ClassVar[bool] = True

    @abstractmethod
    def lesson_size(self, state: ModelState, waiting: Sequence[int]) -> int:
        """Return how many of the waiting chunks, by their records, are learnt together now; 0 to wait."""

    @abstractmethod
    def teach(self, state: ModelState, chunks: Sequence[TaughtChunk]) -> Teaching:
        """Teach the model some chunks: sessions one after the other.

        Raises:
            UnlearnableError: The model cannot take them in; it stays as it was.
        """

    @abstractmethod
    def follows(self, state: ModelState, records: Sequence[int], content: Content) -> bool:
        """Return whether a lesson of chunks can lead from a version to a content, as far as is public.

        Args:
            state: Before the lesson.
            records: Records of its chunks, as many as a lesson takes.
            content: After it.
        """

    @abstractmethod
    def culprit(self, step: str) -> int | None:
        """Return which chunk of a lesson a session failed over, by the name of the step.

        None where no chunk is to blame. An empty name stands for the end of the session.
        """
