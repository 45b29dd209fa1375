"""What the roles read: chunks and queries at MU, answers at a client; every envelope is a signed one.

The bodies of enrolled owners and clients who sign whatever they like, in a tenant with one model and
in one whose chunks carry every encoding. A mutant that passes the screening must still fail the
proof, unless nothing was changed.
"""

from functools import partial

import pytest
from doubles import seeded_coins
from fuzz.drawing import Draws
from fuzz.every_learner import (
    BAYES,
    LOGISTIC,
    TREE,
    answering,
    bayes_tenant,
    chunk_with_words,
    every_learner_tenant,
    query_with_words,
)
from fuzz.mutants import WIRE_INTEGERS, Corpus, mutate_bytes, noise
from fuzz.verdicts import INPUTS, Tally
from msgspec import structs
from round_trips import arrival_of
from tenants import SmallTenant

from crypto.parameters import encode_ciphertexts
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.chunk_encodings import ChunkEncodings
from roles.client import Opened, read_answer
from roles.entry_content import chunk_vectors
from roles.journal_index import AcceptedChunk, MemoryIndex
from roles.learners import AnyLearner, learner_of, learners_of
from roles.master_unit import MasterUnit
from roles.refusal import Refusal
from roles.screening import ScreenedChunk, ScreenedQuery, failing_proofs
from roles.vectors import encode_vectors
from schemas.chunks import Chunk, EncodedVector, Withdrawal
from schemas.codec import decode, encode
from schemas.configuration import Limits
from schemas.journal import EntryKind
from schemas.queries import Answer, Query
from schemas.topics import TopicName

# How many of the mutants that pass the screening are held to their proof.
PROVEN = 150
LIMITS = Limits(1000, 1 << 20, 8, 1, 1, 0)
TENANTS = {"one model": bayes_tenant, "every model": every_learner_tenant}


@pytest.fixture(scope="module", params=list(TENANTS))
def small(request: pytest.FixtureRequest) -> SmallTenant:
    return TENANTS[request.param](LIMITS)


def master(small: SmallTenant, index: MemoryIndex | None = None) -> MasterUnit:
    """Return MU with models that may answer."""
    unit = MasterUnit.starting(small.tenant, index)
    for kept in unit.models.values():
        kept.model = answering(kept.model, 20)
    return unit


def body_of(draws: Draws, corpus: Corpus) -> tuple[bytes, bool]:
    if draws.chance(10):
        return noise(draws), False
    if draws.chance(40):
        return draws.pick(corpus.messages), False
    return corpus.mutant(draws)


def other_vectors(
    draws: Draws, vectors: tuple[EncodedVector, ...], others: tuple[EncodedVector, ...]
) -> tuple[EncodedVector, ...]:
    """Return the vectors of a message with some changed, moved, renamed, doubled or from another one."""
    at, to = draws.below(len(vectors)), draws.below(len(vectors))
    changed = list(vectors)
    match draws.below(7):
        case 0:
            changed[at], changed[to] = changed[to], changed[at]
        case 1:
            name = draws.pick(("counts", "words", "bits", "", "x", vectors[to].encoding))
            changed[at] = structs.replace(changed[at], encoding=name)
        case 2:
            del changed[at]
        case 3:
            changed.insert(to, changed[at])
        case 4:
            changed[at] = structs.replace(changed[at], ciphertexts=vectors[to].ciphertexts)
        case 5:
            changed[at] = others[min(at, len(others) - 1)]
        case _:
            content = mutate_bytes(draws, changed[at].ciphertexts, vectors[to].ciphertexts)
            changed[at] = structs.replace(changed[at], ciphertexts=content)
    return tuple(changed)


def some_fails(small: SmallTenant, screened: list[ScreenedChunk] | list[ScreenedQuery]) -> None:
    """Require that changed messages which passed the screening fail their proof, each of them."""
    assert len(screened) >= PROVEN
    for item in screened[:PROVEN]:
        assert failing_proofs([item.proven]) == {0}


def hostile_chunk(draws: Draws, chunks: list[Chunk], corpus: Corpus) -> tuple[bytes, bool]:
    """Return a body for the chunks topic, and whether it is a valid one, changed."""
    if not draws.chance(4):
        return body_of(draws, corpus)
    chunk, other = draws.pick(chunks), draws.pick(chunks)
    changed = structs.replace(chunk, vectors=other_vectors(draws, chunk.vectors, other.vectors))
    return encode(changed), changed != chunk


def test_any_signed_chunk_is_screened_or_refused(small: SmallTenant) -> None:
    draws, tally, index = Draws("chunks"), Tally(), MemoryIndex()
    unit, names = master(small, index), ChunkEncodings(small.tenant).names
    chunks = [chunk_with_words(small, sequence, 5 + sequence) for sequence in range(24)]
    bodies = [encode(chunk) for chunk in chunks]
    corpus = Corpus.of_msgpack([*bodies, *(encode(Withdrawal(i)) for i in (0, 7, 2**63))])
    # Two numbers are taken: one by the chunk that was made for it.
    for sequence in (3, 4):
        known = arrival_of(bodies[3], sequence=sequence).message_hash
        index.chunks["a", sequence] = AcceptedChunk(sequence, known, 8, 0, sequence)
    changed: list[ScreenedChunk] = []
    withdrawals = 0
    for _ in range(INPUTS):
        body, mutated = hostile_chunk(draws, chunks, corpus)
        sequence = draws.pick((draws.below(24), 2**63 - 1))
        kind = "withdrawal" if len(body) < 12 or draws.chance(30) else "chunk"
        arrival = arrival_of(body, sequence=sequence, kind=kind if not draws.chance(50) else "gift")
        screened = tally.judge_call(partial(unit.screen_chunk, arrival), body, mutated=mutated)
        if isinstance(screened, Withdrawal):
            withdrawals += 1
            assert encode(screened) == body
            # What was learnt in steps stays in.
            there = screened.owner_sequence in {3, 4} and len(unit.models) == 1
            assert unit.decide_withdrawal(arrival, screened).reason == ("" if there else "not_withdrawable")
        elif screened is not None:
            assert tuple(screened.vectors) == names
            assert encode_vectors(small.tenant, screened.vectors) == decode(Chunk, body).vectors
            assert 1 <= screened.records <= 1000
            assert unit.decide_chunk(screened).kind == EntryKind.ACCEPT
            if body not in bodies:
                changed.append(screened)
    tally.check(reasons=["malformed", "wrong_schema", "too_many_rows", "invalid_ciphertext", "bad_proof"])
    assert "equivocation" in tally.refused
    with pytest.raises(Refusal) as refused:
        unit.screen_chunk(arrival_of(bodies[3], sequence=3))
    assert refused.value.reason == "duplicate"
    assert withdrawals > 100
    some_fails(small, changed)


def test_any_stored_chunk_has_vectors_or_none(small: SmallTenant) -> None:
    # An auditor folds what MU accepted, also where it should not have.
    draws, tally, encodings = Draws("stored chunks"), Tally(), ChunkEncodings(small.tenant)
    chunks = [chunk_with_words(small, sequence, 5 + sequence) for sequence in range(12)]
    corpus = Corpus.of_msgpack([encode(chunk) for chunk in chunks])
    found = 0
    for _ in range(INPUTS):
        body, mutated = hostile_chunk(draws, chunks, corpus)
        if draws.chance(4):
            records = draws.pick((*WIRE_INTEGERS, 0, 1, 2, 1001))
            body, mutated = encode(structs.replace(draws.pick(chunks), records=records)), True
        vectors = tally.judge_call(partial(chunk_vectors, encodings, arrival_of(body)), body, mutated=mutated)
        if vectors is not None:
            found += 1
            assert tuple(vectors) == encodings.names
            assert encode_vectors(small.tenant, vectors) == decode(Chunk, body).vectors
    tally.check()
    assert found > 200
    assert not tally.refused


def queries_of(small: SmallTenant) -> list[Query]:
    """Return queries to every model of the tenant, with scores and without."""
    learners = list(learners_of(small.tenant).values())
    return [
        query_with_words(small, learners[i % len(learners)], 1 + i % 4, i, scores=i % 3 == 0)
        for i in range(24)
    ]


def hostile_query(draws: Draws, queries: list[Query], corpus: Corpus) -> tuple[bytes, bool]:
    """Return a body for the queries topic, and whether it is a valid one, changed."""
    if not draws.chance(4):
        return body_of(draws, corpus)
    query, other = draws.pick(queries), draws.pick(queries)
    match draws.below(4):
        case 0:
            changed = structs.replace(query, model_id=other.model_id)
        case 1:
            changed = structs.replace(query, rows=other.rows, vectors=other.vectors)
        case 2:
            changed = structs.replace(query, proof=other.proof, scores=not query.scores)
        case _:
            changed = structs.replace(query, vectors=other_vectors(draws, query.vectors, other.vectors))
    return encode(changed), changed != query


def proven(query: Query) -> tuple[object, ...]:
    """Return what of a query its proof is about: not who is asked, nor for what."""
    return query.query_id, query.rows, query.vectors, query.proof


def test_any_signed_query_is_screened_or_refused(small: SmallTenant) -> None:
    draws, tally, index = Draws("queries"), Tally(), MemoryIndex()
    unit, queries = master(small, index), queries_of(small)
    bodies = [encode(query) for query in queries]
    corpus = Corpus.of_msgpack(bodies)
    index.queries["c", queries[0].query_id] = arrival_of(bodies[0], sender="c", kind="query").message_hash
    honest = [proven(query) for query in queries]
    changed: list[ScreenedQuery] = []
    asked = set()
    for _ in range(INPUTS):
        body, mutated = hostile_query(draws, queries, corpus)
        kind = "query" if not draws.chance(50) else "riddle"
        arrival = arrival_of(body, sender="c", kind=kind, topic=TopicName.QUERIES)
        screened = tally.judge_call(partial(unit.screen_query, arrival), body, mutated=mutated)
        if screened is not None:
            query = screened.query
            assert encode(query) == body
            assert tuple(screened.vectors) == unit.models[query.model_id].learner.query_encodings
            assert encode_vectors(small.tenant, screened.vectors) == query.vectors
            assert unit.decide_query(screened).kind == EntryKind.QUERY
            asked.add(query.model_id)
            if proven(query) not in honest:
                changed.append(screened)
    tally.check(
        reasons=[
            *("malformed", "unknown_model", "wrong_schema", "too_many_rows", "invalid_ciphertext"),
            *("bad_proof", "duplicate", "equivocation"),
        ]
    )
    assert asked == set(unit.models)
    some_fails(small, changed)


def asked_model(small: SmallTenant, model_id: str) -> tuple[AnyLearner, Query]:
    """Return a learner and a query of eight rows to it, with scores if it has any."""
    learner = learner_of(small.tenant, small.tenant.model(model_id))
    return learner, query_with_words(small, learner, 8, "asked", scores=model_id == LOGISTIC)


def answers_to(small: SmallTenant, learner: AnyLearner, query: Query) -> list[Answer]:
    """Return answers of honest units, of units that made up the values, and refusals."""
    tenant, key = small.tenant, small.client_key
    layout = learner.answer_layout(query.rows, scores=query.scores)
    coins = seeded_coins("fuzz answers")

    def answered(bound: int) -> Answer:
        values = [coins.below(bound) for _ in range(layout.values)]
        shares = [coins.below(1 << 16) for _ in values]
        own = [(value - share) % (1 << 16) for value, share in zip(values, shares, strict=True)]
        sealed = seal_secondary(key.public, layout, shares, coins)
        sealed = seal_master(key.public, layout, sealed, own, coins)
        return Answer(query.query_id, query.rows, 3, "", encode_ciphertexts(tenant.parameters, sealed))

    good = [answered(tenant.schema.class_count + 1) for _ in range(24)]
    wrong = [answered(1 << 16) for _ in range(4)]
    refusals = [
        Answer(query.query_id, query.rows, 0, reason, b"") for reason in ("bad_proof", "because", "x" * 99)
    ]
    return [*good, *wrong, *refusals]


@pytest.mark.parametrize("model_id", [BAYES, LOGISTIC, TREE])
def test_any_answer_is_labels_or_a_reason(model_id: str) -> None:
    small = TENANTS["one model" if model_id == BAYES else "every model"](LIMITS)
    draws, tally = Draws("answers"), Tally()
    classes = small.tenant.schema.class_count
    learner, query = asked_model(small, model_id)
    corpus = Corpus.of_msgpack([encode(answer) for answer in answers_to(small, learner, query)])

    def read(data: bytes) -> Opened:
        return read_answer(learner, small.client_key, query, decode(Answer, data))

    for _ in range(INPUTS):
        body, mutated = body_of(draws, corpus)
        opened = tally.judge(read, body, mutated=mutated)
        if opened is not None:
            assert len(opened.labels) == 8
            assert max(opened.labels) <= classes
            check_scores(learner, query, opened)
    tally.check(reasons=["malformed", "protocol_error", "not_openable", "invalid_ciphertext", "bad_proof"])


def check_scores(learner: AnyLearner, query: Query, opened: Opened) -> None:
    """Require a number per class of every row if scores were asked for, and else none."""
    assert (opened.scores is None) == (not query.scores)
    for scores in opened.scores or ():
        shown = learner.readable_scores(scores)
        assert list(shown) == list(learner.tenant.schema.label.labels)
        assert all(isinstance(value, float) for value in shown.values())


@pytest.mark.parametrize("model_id", [BAYES, LOGISTIC])
def test_hostile_numbers_in_an_answer(model_id: str) -> None:
    small, tally = TENANTS["one model" if model_id == BAYES else "every model"](LIMITS), Tally()
    parameters = small.tenant.parameters
    n, n_squared, width = parameters.n, parameters.n_squared, parameters.component_bytes
    learner, query = asked_model(small, model_id)
    count = learner.answer_layout(query.rows, scores=query.scores).ciphertexts
    numbers = (0, 1, 2, n - 1, n, n + 1, n_squared - 1, n_squared, n_squared + 1, (1 << 8 * width) - 1)

    def read(data: bytes) -> object:
        return read_answer(learner, small.client_key, query, Answer(query.query_id, 8, 1, "", data))

    for t1 in numbers:
        for t2 in numbers:
            data = t1.to_bytes(width, "big") + t2.to_bytes(width, "big")
            tally.judge(read, data * count, mutated=False)
    assert tally.inputs == len(numbers) ** 2
    assert set(tally.refused) <= {"invalid_ciphertext", "not_openable", "protocol_error", "bad_proof"}
