"""Priv-LR as a learner: one session per chunk, one per query (docs/protocols.md §6)."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from crypto.dtpkc import Ciphertext, PublicKey
from crypto.errors import SchemaError
from crypto.packing import SlotLayout
from roles.building_blocks.narrow_words import pack_narrow
from roles.chunk_encodings import BITS, WORDS, ChunkEncodings, Vectors
from roles.classifiers.learner import (
    LEARN,
    QUERY,
    AskedQuery,
    Lesson,
    MasterCall,
    SecondaryCall,
    TaughtChunk,
    TaughtLearner,
    Teaching,
    check_sufficiency,
)
from roles.classifiers.logistic_regression_opening import EncryptedRecords
from roles.classifiers.logistic_regression_query import QueryShape, query_master, query_secondary
from roles.classifiers.logistic_regression_shape import LogisticRecords, LogisticShape, LogisticState
from roles.classifiers.logistic_regression_training import TrainingShape, learn_master, learn_secondary
from roles.encoding import EncodedRecords, encode_bits
from roles.model_settings import logistic_schedule
from roles.model_state import Content, ModelState
from roles.plan import Plan, PlanViolationError
from roles.session import MasterProgram, SecondaryProgram, Session
from roles.tenant import Tenant
from roles.unit_secrets import UnitSecrets
from roles.vectors import query_t2s
from roles.word_encoding import numeric_columns, words_of
from schemas.codec import WireStruct, decode, encode
from schemas.errors import MalformedMessageError
from schemas.models import LogisticSpec
from schemas.queries import Query
from schemas.rounds import Subject

MAX_STEPS = 1 << 32


class LogisticDetail(WireStruct):
    """What is public of a model beside its ciphertexts.

    Attributes:
        steps: Steps of gradient descent that it has made.
    """

    steps: int


class LogisticLearner(TaughtLearner[LogisticState]):
    """One logistic-regression model."""

    counts_invalid = False

    def __init__(self, tenant: Tenant, spec: LogisticSpec) -> None:
        super().__init__(tenant, spec)
        self._spec = spec
        self._schedule = logistic_schedule(spec)

    @cached_property
    def training(self) -> LogisticShape:
        """The model as chunks teach it: their bits may hold attributes that it leaves alone."""
        published = ChunkEncodings(self.tenant).bit_attributes
        records = LogisticRecords.of_schema(
            self.tenant.schema, scaled=self._spec.scaled, bit_attributes=published
        )
        return LogisticShape(self.tenant, records, self._schedule)

    @cached_property
    def asked(self) -> LogisticShape:
        """The model as clients ask it: their rows hold its features and nothing else."""
        records = LogisticRecords.of_schema(self.tenant.schema, scaled=self._spec.scaled)
        return LogisticShape(self.tenant, records, self._schedule)

    # --- state

    def empty(self) -> LogisticState:
        """Return a model with all weights 0, encrypted under public coins."""
        return LogisticState.empty(self.training, self.model_id)

    def detail(self, content: Content) -> bytes:
        """Return the number of steps made."""
        return encode(LogisticDetail(_weights(content).steps))

    def restored(self, detail: bytes, records: int, ciphertexts: tuple[Ciphertext, ...]) -> LogisticState:
        """Return the content of a sealed model."""
        del records
        steps = _steps(detail)
        if len(ciphertexts) != self.training.state.ciphertexts:
            raise ValueError("these are no weights of this model")
        return LogisticState(steps, ciphertexts)

    def check_room(self, state: ModelState, records: int, waiting: int) -> None:
        """Refuse nothing: a session that fits the largest permitted chunk fits every one."""
        del state, records, waiting

    def layout(self, state: ModelState) -> SlotLayout:
        """Return the layout of the weights."""
        del state
        return self.training.state

    def described(self, state: ModelState) -> dict[str, Any]:
        """Return the number of steps made."""
        return {"steps": _weights(state.content).steps}

    def lesson_size(self, state: ModelState, waiting: Sequence[int]) -> int:
        """Return 1 as soon as there is a chunk."""
        del state
        return min(1, len(waiting))

    def teach(self, state: ModelState, chunks: Sequence[TaughtChunk]) -> Teaching:
        """Teach the model one chunk.

        Raises:
            WeightOverflowError: A weight would leave its range; the model stays as it was.
        """
        (chunk,) = chunks
        content = _weights(state.content)
        shape = TrainingShape(self.training, chunk.records, content.steps)
        subject = self.subject(LEARN, state, message_hash=chunk.message_hash, rows=chunk.records)
        records = _encrypted(chunk.vectors)

        def program(
            session: Session, secrets: UnitSecrets, pool: ThreadPoolExecutor | None
        ) -> MasterProgram[LogisticState]:
            return learn_master(session, secrets, shape, content, records, pool)

        learnt = yield MasterCall(subject, shape.plan, program)
        return Lesson(learnt, (0,))

    def follows(self, state: ModelState, records: Sequence[int], content: Content) -> bool:
        """Return whether so many steps were made."""
        made = sum(self._schedule.step_count(size) for size in records)
        return _weights(content).steps == _weights(state.content).steps + made

    def culprit(self, step: str) -> int | None:
        """Return the one chunk."""
        del step
        return 0

    # --- answering

    @property
    def query_encodings(self) -> tuple[str, ...]:
        """Numbers, and one-hot bits of what is no number."""
        return tuple(name for name, layout in self._layouts(1) if layout is not None)

    def query_layouts(self, rows: int) -> tuple[SlotLayout, ...]:
        """Return the layouts of the rows' numbers and bits."""
        return tuple(layout for _, layout in self._layouts(rows) if layout is not None)

    def _layouts(self, rows: int) -> tuple[tuple[str, SlotLayout | None], ...]:
        return (
            (WORDS, self.asked.words_layout(rows)),
            (BITS, self.asked.bits_layout(rows, labelled=False)),
        )

    def query_plaintexts(self, rows: EncodedRecords) -> dict[str, list[int]]:
        """Return the rows' numbers and bits."""
        packed = {}
        for name, layout in zip(self.query_encodings, self.query_layouts(len(rows)), strict=True):
            if name == WORDS:
                packed[name] = pack_narrow(layout, words_of(rows))
            else:
                numeric = numeric_columns(self.tenant.schema) if self._spec.scaled else ()
                features = [a for a in range(len(self.tenant.schema.attributes)) if a not in numeric]
                packed[name] = layout.pack(encode_bits(self.tenant.schema, rows, features).reshape(-1))
        return packed

    def answer_values(self, *, scores: bool) -> int:
        """Return 1, and with scores one more per problem: m of σ(z) ≈ (m + ½)/512."""
        return 1 + self.asked.problems * scores

    def readable_scores(self, scores: Sequence[int]) -> dict[str, float]:
        """Return the probability of every class; of more than two classes each against all others."""
        likely = [(m + 0.5) / 512 for m in scores]
        if self.asked.problems == 1:
            likely = [1 - likely[0], likely[0]]
        return dict(zip(self.tenant.schema.label.labels, likely, strict=True))

    def preparation(self, state: ModelState) -> None:
        """Return nothing: weights are opened with each query."""
        del state

    def answering(
        self, state: ModelState, prepared: Any, asked: AskedQuery, client_key: PublicKey
    ) -> MasterCall[list[Ciphertext]]:
        """Return the query's session."""
        del prepared
        content = _weights(state.content)
        shape = QueryShape(self.asked, asked.query.rows, asked.query.scores)
        rows = _encrypted(asked.vectors)

        def program(
            session: Session, secrets: UnitSecrets, pool: ThreadPoolExecutor | None
        ) -> MasterProgram[list[Ciphertext]]:
            return query_master(session, secrets, shape, content, rows, client_key, pool)

        return MasterCall(asked.subject, shape.plan, program)

    # --- SU

    def secondary(self, subject: Subject, query: Query | None, client_key: PublicKey | None) -> SecondaryCall:
        """Return SU's half of a lesson or a query."""
        try:
            steps = _steps(subject.detail)
        except SchemaError as error:
            raise PlanViolationError("a model has no such number of steps") from error
        if subject.purpose == LEARN and query is None:
            if not 1 <= subject.rows <= self.tenant.configuration.limits.max_chunk_records:
                raise PlanViolationError("no chunk has so many records")
            training = TrainingShape(self.training, subject.rows, steps)
            return SecondaryCall(
                training.plan,
                lambda session, secrets, pool: learn_secondary(session, secrets, training, pool),
            )
        if subject.purpose != QUERY or query is None or client_key is None:
            raise PlanViolationError("no session of that purpose")
        check_sufficiency(self.tenant, subject)
        shape = QueryShape(self.asked, query.rows, query.scores)
        t2s = query_t2s(self.tenant, query, self.query_encodings, self.query_layouts(query.rows))

        def program(
            session: Session, secrets: UnitSecrets, pool: ThreadPoolExecutor | None
        ) -> SecondaryProgram[None]:
            return query_secondary(session, secrets, shape, t2s, client_key, pool)

        return SecondaryCall(shape.plan, program)

    def largest_plans(self) -> Iterator[Plan]:
        """Yield the lesson of the largest chunk and the largest query."""
        limits = self.tenant.configuration.limits
        yield TrainingShape(self.training, limits.max_chunk_records, 0).plan
        yield QueryShape(self.asked, limits.max_query_rows, probabilities=True).plan


def _weights(content: Content) -> LogisticState:
    if not isinstance(content, LogisticState):
        raise TypeError("the version is of another learner")
    return content


def _encrypted(vectors: Vectors) -> EncryptedRecords:
    return EncryptedRecords(vectors.get(WORDS, ()), vectors.get(BITS, ()))


def _steps(detail: bytes) -> int:
    steps = decode(LogisticDetail, detail).steps
    if not 0 <= steps < MAX_STEPS:
        raise MalformedMessageError("a model has no such number of steps")
    return steps
