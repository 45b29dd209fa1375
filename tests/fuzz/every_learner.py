"""A tenant with a model of every kind, and honest data of it: records, chunks, queries, lessons."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from doubles import seeded_coins
from round_trips import Rounds, random_records, secondary_unit, started, vectors_of
from tenants import SmallTenant, small_tenant

from crypto.parameters import encode_ciphertexts
from roles.classifiers.hoeffding_tree import TreeLearner
from roles.classifiers.learner import MasterCall, TaughtChunk, TaughtLearner
from roles.classifiers.logistic_regression import LogisticLearner
from roles.client import make_query
from roles.data_owner import make_chunk
from roles.encoding import EncodedRecords
from roles.learners import AnyLearner, learner_of
from roles.model_state import ModelState
from roles.word_encoding import WORD_LIMIT, numeric_columns
from schemas.chunks import Chunk
from schemas.codec import encode
from schemas.configuration import Limits
from schemas.data_schema import (
    SCHEMA_VERSION,
    CategoricalAttribute,
    ClassLabel,
    DataSchema,
    NumericAttribute,
)
from schemas.heads import Head
from schemas.models import LogisticSpec, ModelSpec, NaiveBayesSpec, TreeSpec
from schemas.queries import Query

Result = TypeVar("Result")

BAYES, LOGISTIC, BINS, TREE = "m", "l", "b", "t"
MODELS: tuple[ModelSpec, ...] = (
    NaiveBayesSpec(BAYES),
    LogisticSpec(LOGISTIC, passes=2, momentum_16=4),
    LogisticSpec(BINS, scaled=False),
    TreeSpec(TREE, max_leaves=4, max_depth=3, attempt_records=8, tie_records=8, chunks_per_seal=2),
)


def bayes_tenant(limits: Limits) -> SmallTenant:
    """Return a tenant with one naive-Bayes model on one attribute."""
    schema = DataSchema(
        SCHEMA_VERSION, (CategoricalAttribute("colour", ("red", "green")),), ClassLabel("kind", ("x", "y"))
    )
    return small_tenant(schema, limits=limits)


def every_learner_tenant(limits: Limits) -> SmallTenant:
    """Return a tenant whose chunks carry every encoding: bins, numbers and three classes."""
    schema = DataSchema(
        SCHEMA_VERSION,
        (CategoricalAttribute("colour", ("red", "green")), NumericAttribute("weight", ("5",), "0", "10")),
        ClassLabel("kind", ("x", "y", "z")),
    )
    return small_tenant(schema, limits=limits, models=MODELS)


def logistic(small: SmallTenant) -> LogisticLearner:
    """Return the tenant's logistic regression."""
    learner = learner_of(small.tenant, small.tenant.model(LOGISTIC))
    assert isinstance(learner, LogisticLearner)
    return learner


def tree(small: SmallTenant) -> TreeLearner:
    """Return the tenant's tree."""
    learner = learner_of(small.tenant, small.tenant.model(TREE))
    assert isinstance(learner, TreeLearner)
    return learner


def records_with_words(small: SmallTenant, size: int, seed: int | str) -> EncodedRecords:
    """Return records with everything that any model reads, the same for the same seed."""
    records = random_records(small, size, seed)
    shape = (size, len(numeric_columns(small.tenant.schema)))
    words = seeded_coins(f"words {seed}").words(shape, np.uint32) % np.uint32(2 * WORD_LIMIT + 1)
    return replace(records, words=words.astype(np.int32) - WORD_LIMIT)


def chunk_with_words(small: SmallTenant, sequence: int, size: int) -> Chunk:
    """Return a chunk of owner ``a`` in every encoding."""
    records = records_with_words(small, size, f"chunk {sequence}")
    return make_chunk(small.tenant, "a", sequence, records, seeded_coins(f"chunk {sequence}"))


def query_with_words(
    small: SmallTenant, learner: AnyLearner, rows: int, seed: int | str, *, scores: bool = False
) -> Query:
    """Return a query of client ``c``."""
    records = records_with_words(small, rows, f"query {seed}")
    return make_query(learner, "c", records, seeded_coins(f"query {seed}"), scores=scores)


def taught_chunk(small: SmallTenant, sequence: int, size: int) -> TaughtChunk:
    """Return such a chunk as a learner is taught it."""
    vectors = vectors_of(small, chunk_with_words(small, sequence, size))
    return TaughtChunk("a", size, seeded_coins(f"id {sequence}").bytes(32), vectors)


def run_call(small: SmallTenant, call: MasterCall[Result]) -> Result:
    """Run a session that needs no head against an SU of its own."""
    return Rounds(secondary_unit(small)).run(*started(small, call))


def taught(
    small: SmallTenant, learner: TaughtLearner[Any], model: ModelState, chunks: Sequence[TaughtChunk]
) -> tuple[list[Callable[[], MasterCall[Any]]], ModelState]:
    """Teach a model a lesson; return how to make each of its sessions again, and the version after it."""
    results: list[Any] = []

    def session(number: int) -> MasterCall[Any]:
        teaching = learner.teach(model, chunks)
        call = next(teaching)
        for result in results[:number]:
            call = teaching.send(result)
        return call

    try:
        while True:
            results.append(run_call(small, session(len(results))))
    except StopIteration as finished:
        lesson = finished.value
    learnt = model
    for chunk, invalid in zip(chunks, lesson.invalid, strict=True):
        learnt = learnt.taking(chunk.owner, chunk.records - invalid, lesson.content)
    return [partial(session, number) for number in range(len(results))], learnt


def answering(model: ModelState, records: int) -> ModelState:
    """Return a version that holds enough records to answer, whatever is in it."""
    return replace(model, records=records, records_of=MappingProxyType({"a": records}))


def head_about(small: SmallTenant, learner: AnyLearner, model: ModelState) -> Head:
    """Return what MU would sign about a version."""
    model_hash = model.hash(small.tenant)
    totals = (model.records, model.owners)
    return Head(learner.model_id, model.version, 0, bytes(32), *totals, model_hash, model.chunks)


def sealed_content(small: SmallTenant, model: ModelState) -> bytes:
    """Return a version's ciphertexts as they are sealed."""
    return encode_ciphertexts(small.tenant.parameters, model.ciphertexts)


def query_hash(query: Query) -> bytes:
    """Return what stands for the id of a query's message."""
    return seeded_coins(f"id {encode(query).hex()}").bytes(32)
