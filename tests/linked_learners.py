"""Both units linked in memory for a learner of any kind: SU finds its half by the subject alone."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from doubles import seeded_coins
from round_trips import vectors_of
from tenants import SmallTenant

from crypto.parameters import encode_ciphertexts
from roles.classifiers.learner import (
    QUERY,
    AskedQuery,
    CountingLearner,
    Lesson,
    MasterCall,
    TaughtChunk,
    TaughtLearner,
    Teaching,
)
from roles.client import Opened, make_query, read_answer
from roles.data_owner import make_chunk
from roles.encoding import EncodedRecords
from roles.learners import AnyLearner, learner_of
from roles.model_state import ModelState
from roles.session import Session, run_linked
from roles.vectors import decode_vectors
from schemas.codec import decode, encode
from schemas.models import LogisticSpec, ModelSpec, NaiveBayesSpec, TreeSpec
from schemas.queries import Answer, Query
from schemas.rounds import Subject

Result = TypeVar("Result")

MODELS: tuple[ModelSpec, ...] = (
    NaiveBayesSpec("nb"),
    LogisticSpec("lr", rate_256=1024, passes=2, momentum_16=8, decay_steps=4),
    LogisticSpec("bins", scaled=False, rate_256=1024, batch_records=8),
    TreeSpec("dt", max_leaves=4, attempt_records=20, confidence_16=1, tie_records=20, chunks_per_seal=3),
)
"""One model of every kind; the tree tries its root after 20 records, and splits it on its best test."""


def taught_chunk(small: SmallTenant, sequence: int, records: EncodedRecords, owner: str = "a") -> TaughtChunk:
    """Return an owner's chunk as a model is taught it."""
    chunk = make_chunk(small.tenant, owner, sequence, records, seeded_coins(f"{owner} {sequence} taught"))
    message_hash = hashlib.sha256(encode(chunk)).digest()
    return TaughtChunk(owner, chunk.records, message_hash, vectors_of(small, chunk))


@dataclass
class LinkedLearner:
    """One model with both units in one process, which share nothing but the subjects of the sessions.

    Attributes:
        small: The tenant.
        model_id: Which model.
        ran: Subjects of the sessions so far.
    """

    small: SmallTenant
    model_id: str
    ran: list[Subject] = field(default_factory=list)

    def __post_init__(self) -> None:
        spec = self.small.tenant.model(self.model_id)
        self.learner: AnyLearner = learner_of(self.small.tenant, spec)
        self.at_secondary: AnyLearner = learner_of(self.small.tenant, spec)

    @property
    def taught(self) -> TaughtLearner[Any]:
        """The learner, of those that learn by sessions."""
        assert isinstance(self.learner, TaughtLearner)
        return self.learner

    def run(self, call: MasterCall[Result], query: Query | None = None) -> Result:
        """Run a session; SU knows its subject as it travelled, and the client's own message."""
        small, subject = self.small, decode(Subject, encode(call.subject))
        key = None if query is None else small.client_key.public
        half = self.at_secondary.secondary(subject, query, key)
        assert half.plan.digest == call.plan.digest
        self.ran.append(subject)
        mu = Session(small.tenant, "mu", small.master.seed, call.subject, call.plan)
        su = Session(small.tenant, "su", small.secondary.seed, subject, half.plan)
        master = call.program(mu, small.master, None)
        return run_linked(master, mu, half.program(su, small.secondary, None), su)

    def teach(self, teaching: Teaching) -> Lesson:
        """Run the sessions of a lesson."""
        try:
            call = next(teaching)
            while True:
                call = teaching.send(self.run(call))
        except StopIteration as finished:
            lesson: Lesson = finished.value
            return lesson

    def learn(self, state: ModelState, chunks: Sequence[TaughtChunk]) -> ModelState:
        """Return the version after some chunks, together in one lesson where there are lessons."""
        if isinstance(self.learner, CountingLearner):
            for chunk in chunks:
                state = self.learner.learn(state, chunk.owner, chunk.records, chunk.vectors)
            return state
        lesson = self.teach(self.taught.teach(state, chunks))
        for chunk, invalid in zip(chunks, lesson.invalid, strict=True):
            state = state.taking(chunk.owner, chunk.records - invalid, lesson.content)
        return state

    def prepare(self, state: ModelState) -> Any:
        """Run what must precede queries; None if nothing must."""
        call = self.learner.preparation(state)
        return None if call is None else self.run(call)

    def query(self, rows: EncodedRecords, seed: str = "query", *, scores: bool = False) -> Query:
        """Return the client's message about rows."""
        return make_query(self.learner, "c", rows, seeded_coins(seed), scores=scores)

    def asking(self, state: ModelState, prepared: Any, query: Query) -> MasterCall[Any]:
        """Return the session that answers a query."""
        layouts = self.learner.query_layouts(query.rows)
        vectors = decode_vectors(self.small.tenant, query.vectors, self.learner.query_encodings, layouts)
        message_hash = hashlib.sha256(encode(query)).digest()
        subject = self.learner.subject(QUERY, state, client="c", message_hash=message_hash, rows=query.rows)
        asked = AskedQuery(subject, query, vectors)
        return self.learner.answering(state, prepared, asked, self.small.client_key.public)

    def ask(self, state: ModelState, prepared: Any, query: Query) -> Opened:
        """Have a query answered, and open the answer as its client does."""
        sealed = self.run(self.asking(state, prepared, query), query)
        encoded = encode_ciphertexts(self.small.tenant.parameters, sealed)
        answer = Answer(query.query_id, query.rows, state.version, "", encoded)
        return read_answer(self.learner, self.small.client_key, query, answer)
