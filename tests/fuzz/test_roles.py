"""What the roles read: chunks and queries at MU, answers at a client; every envelope is a signed one.

The bodies of enrolled owners and clients who sign whatever they like. A mutant that passes the
screening must still fail the proof, unless nothing was changed.
"""

from functools import partial

import numpy as np
import pytest
from doubles import seeded_coins
from fuzz.drawing import Draws
from fuzz.mutants import Corpus, noise
from fuzz.verdicts import INPUTS, Tally
from round_trips import arrival_of, chunk_of, trained
from tenants import SmallTenant, small_tenant

from crypto.parameters import encode_ciphertexts
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.client import make_query, read_answer
from roles.master_unit import AcceptedChunk, MasterUnit, ScreenedChunk, ScreenedQuery
from roles.refusal import Refusal
from schemas.chunks import Withdrawal
from schemas.codec import decode, encode
from schemas.configuration import Limits
from schemas.data_schema import SCHEMA_VERSION, CategoricalAttribute, ClassLabel, DataSchema
from schemas.queries import Answer, Query
from schemas.topics import TopicName

# How many of the mutants that pass the screening are held to their proof.
PROVEN = 150


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    schema = DataSchema(
        SCHEMA_VERSION, (CategoricalAttribute("colour", ("red", "green")),), ClassLabel("kind", ("x", "y"))
    )
    return small_tenant(schema, limits=Limits(1000, 1 << 20, 8, 1, 1, 0))


def master(small: SmallTenant) -> MasterUnit:
    unit = MasterUnit.starting(small.tenant, small.tenant.model("m"))
    unit.model = trained(small)
    return unit


def rows_of(count: int, seed: int) -> np.ndarray:
    first = seeded_coins(f"rows {seed}").bits((count,))
    return np.stack([first, 1 - first], axis=1)


def body_of(draws: Draws, corpus: Corpus) -> tuple[bytes, bool]:
    if draws.chance(10):
        return noise(draws), False
    if draws.chance(40):
        return draws.pick(corpus.messages), False
    return corpus.mutant(draws)


def some_fails(
    small: SmallTenant, unit: MasterUnit, screened: list[ScreenedChunk] | list[ScreenedQuery]
) -> None:
    """Require that changed messages which passed the screening fail their proof, each of them."""
    assert len(screened) >= PROVEN
    for item in screened[:PROVEN]:
        assert unit.failing_proofs([item.statement]) == {0}


def test_any_signed_chunk_is_screened_or_refused(small: SmallTenant) -> None:
    draws, tally, unit = Draws("chunks"), Tally(), master(small)
    chunks = [chunk_of(small, sequence, 5 + sequence) for sequence in range(24)]
    bodies = [encode(chunk) for chunk in chunks]
    corpus = Corpus.of_msgpack([*bodies, *(encode(Withdrawal(i)) for i in (0, 7, 2**63))])
    # Two numbers are taken: one by the chunk that was made for it.
    for sequence in (3, 4):
        known = arrival_of(bodies[3], sequence=sequence).message_hash
        unit.accepted["a", sequence] = AcceptedChunk(known, 8, 0, sequence)
    changed: list[ScreenedChunk] = []
    withdrawals = 0
    for _ in range(INPUTS):
        body, mutated = body_of(draws, corpus)
        sequence = draws.pick((draws.below(24), 2**63 - 1))
        kind = "withdrawal" if len(body) < 12 or draws.chance(30) else "chunk"
        arrival = arrival_of(body, sequence=sequence, kind=kind if not draws.chance(50) else "gift")
        screened = tally.judge_call(partial(unit.screen_chunk, arrival), body, mutated=mutated)
        if isinstance(screened, Withdrawal):
            withdrawals += 1
            assert encode(screened) == body
            there = screened.owner_sequence in {3, 4}
            assert unit.decide_withdrawal(arrival, screened).reason == ("" if there else "not_withdrawable")
        elif screened is not None:
            parts = decode(type(chunks[0]), body)
            assert (
                encode_ciphertexts(small.tenant.parameters, screened.ciphertexts)
                == parts.vectors[0].ciphertexts
            )
            assert 1 <= screened.records <= 1000
            assert unit.decide_chunk(screened).kind == "accept"
            if body not in bodies:
                changed.append(screened)
    tally.check(reasons=["malformed", "wrong_schema", "too_many_rows", "invalid_ciphertext", "bad_proof"])
    assert "equivocation" in tally.refused
    with pytest.raises(Refusal) as refused:
        unit.screen_chunk(arrival_of(bodies[3], sequence=3))
    assert refused.value.reason == "duplicate"
    assert withdrawals > 100
    some_fails(small, unit, changed)


def test_any_signed_query_is_screened_or_refused(small: SmallTenant) -> None:
    draws, tally, unit = Draws("queries"), Tally(), master(small)
    bodies = [
        encode(make_query(small.tenant, "c", "m", rows_of(1 + i % 4, i), seeded_coins(f"fuzz query {i}")))
        for i in range(24)
    ]
    corpus = Corpus.of_msgpack(bodies)
    first = decode(Query, bodies[0])
    unit.queries["c", first.query_id] = arrival_of(bodies[0], sender="c", kind="query").message_hash
    changed: list[ScreenedQuery] = []
    for _ in range(INPUTS):
        body, mutated = body_of(draws, corpus)
        kind = "query" if not draws.chance(50) else "riddle"
        arrival = arrival_of(body, sender="c", kind=kind, topic=TopicName.QUERIES)
        screened = tally.judge_call(partial(unit.screen_query, arrival), body, mutated=mutated)
        if screened is not None:
            assert encode(screened.query) == body
            assert unit.decide_query(screened).kind == "query"
            if body not in bodies:
                changed.append(screened)
    tally.check(
        reasons=[
            *("malformed", "unknown_model", "wrong_schema", "too_many_rows", "invalid_ciphertext"),
            *("bad_proof", "duplicate", "equivocation"),
        ]
    )
    some_fails(small, unit, changed)


def test_any_answer_is_labels_or_a_reason(small: SmallTenant) -> None:
    draws, tally = Draws("answers"), Tally()
    tenant, key = small.tenant, small.client_key
    classes = tenant.schema.class_count
    query = make_query(tenant, "c", "m", rows_of(8, 0), seeded_coins("fuzz asked"))
    layout = tenant.label_layout(query.rows)
    coins = seeded_coins("fuzz answers")

    def answered(labels: list[int]) -> Answer:
        shares = [coins.below(1 << 16) for _ in labels]
        own = [(label - share) % (1 << 16) for label, share in zip(labels, shares, strict=True)]
        sealed = seal_secondary(key.public, layout, shares, coins)
        sealed = seal_master(key.public, layout, sealed, own, coins)
        return Answer(query.query_id, query.rows, 3, "", encode_ciphertexts(tenant.parameters, sealed))

    good = [answered([coins.below(classes + 1) for _ in range(8)]) for _ in range(24)]
    wrong = [answered([coins.below(1 << 16) for _ in range(8)]) for _ in range(4)]
    refusals = [
        Answer(query.query_id, query.rows, 0, reason, b"") for reason in ("bad_proof", "because", "x" * 99)
    ]
    corpus = Corpus.of_msgpack([encode(answer) for answer in (*good, *wrong, *refusals)])

    def read(data: bytes) -> list[int]:
        return list(read_answer(tenant, key, query, decode(Answer, data)))

    for _ in range(INPUTS):
        body, mutated = body_of(draws, corpus)
        labels = tally.judge(read, body, mutated=mutated)
        assert labels is None or (len(labels) == 8 and max(labels) <= classes)
    tally.check(reasons=["malformed", "protocol_error", "not_openable", "invalid_ciphertext", "bad_proof"])


def test_hostile_numbers_in_an_answer(small: SmallTenant) -> None:
    tenant, tally = small.tenant, Tally()
    n, n_squared, width = tenant.parameters.n, tenant.parameters.n_squared, tenant.parameters.component_bytes
    query = make_query(tenant, "c", "m", rows_of(2, 0), seeded_coins("fuzz asked"))
    numbers = (0, 1, 2, n - 1, n, n + 1, n_squared - 1, n_squared, n_squared + 1, (1 << 8 * width) - 1)

    def read(data: bytes) -> object:
        return read_answer(tenant, small.client_key, query, Answer(query.query_id, 2, 1, "", data))

    for t1 in numbers:
        for t2 in numbers:
            tally.judge(read, t1.to_bytes(width, "big") + t2.to_bytes(width, "big"), mutated=False)
    assert tally.inputs == len(numbers) ** 2
