"""The encrypted learner against its twin: counts, table entries, answers, all exact."""

import numpy as np
import numpy.typing as npt
import pytest
from doubles import seeded_coins
from round_trips import naive_bayes, query_of_bits, refresh_subject, vectors_of
from tenants import WIDE_LIMITS, SmallTenant, small_tenant, wide_schema

from crypto.parameters import encode_ciphertexts
from roles.chunk_encodings import BITS
from roles.classifiers.naive_bayes_query import QueryShape, query_master, query_secondary
from roles.classifiers.naive_bayes_table import (
    TableShape,
    TableShare,
    refresh_master,
    refresh_secondary,
    table_share_secondary,
)
from roles.classifiers.naive_bayes_twin import NaiveBayesTwin, log2_fixed
from roles.client import read_answer
from roles.data_owner import make_chunk
from roles.encoding import EncodedRecords, count_table, encode_bits
from roles.model_state import ModelState
from roles.session import Session, run_linked
from roles.vectors import decode_vectors
from schemas.queries import Answer


def random_records(small: SmallTenant, size: int, seed: int) -> EncodedRecords:
    coins = seeded_coins(f"records {seed}")
    sizes = small.tenant.schema.attribute_sizes
    columns = [coins.words(size, np.uint32) % np.uint32(v) for v in sizes]
    labels = coins.words(size, np.uint32) % np.uint32(small.tenant.schema.class_count - 1)
    return EncodedRecords(np.stack(columns, axis=1).astype(np.int32), labels.astype(np.int32))


def train(small: SmallTenant, chunks: list[EncodedRecords]) -> ModelState:
    learner = naive_bayes(small)
    model = learner.starting()
    for sequence, records in enumerate(chunks):
        chunk = make_chunk(small.tenant, "a", sequence, records, seeded_coins(f"chunk {sequence}"))
        model = learner.learn(model, "a", chunk.records, vectors_of(small, chunk))
    return model


def twin_of(small: SmallTenant, shape: TableShape, chunks: list[EncodedRecords]) -> NaiveBayesTwin:
    schema = small.tenant.schema
    twin = NaiveBayesTwin.empty(
        schema.attribute_sizes, schema.class_count, shape.score_width, shape.alpha_256
    )
    for records in chunks:
        twin = twin.learn(count_table(schema, records))
    return twin


def refresh(small: SmallTenant, model: ModelState) -> tuple[TableShape, TableShare, TableShare]:
    subject = refresh_subject(small, model)
    shape = naive_bayes(small).table_shape(model.records)
    mu = Session(small.tenant, "mu", small.master.seed, subject, shape.plan)
    su = Session(small.tenant, "su", small.secondary.seed, subject, shape.plan)
    share = run_linked(
        refresh_master(mu, small.master, shape, model.ciphertexts),
        mu,
        refresh_secondary(su, small.secondary, shape),
        su,
    )
    return shape, share, table_share_secondary(small.secondary, shape, subject)


def signed_words(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic], width: int) -> npt.NDArray[np.int64]:
    total = (a.astype(object) + b.astype(object)) % (1 << width)
    signed: npt.NDArray[np.int64] = np.where(total >= 1 << (width - 1), total - (1 << width), total).astype(
        np.int64
    )
    return signed


def ask(
    small: SmallTenant,
    model: ModelState,
    rows: npt.NDArray[np.uint8],
    tables: tuple[TableShape, TableShare, TableShare],
) -> list[int]:
    shape, mu_table, su_table = tables
    query = query_of_bits(small, rows)
    layouts = (small.tenant.query_layout(len(rows)),)
    ciphertexts = decode_vectors(small.tenant, query.vectors, (BITS,), layouts)[BITS]
    learner = naive_bayes(small)
    subject = learner.subject("query", model, client="c", message_hash=query.query_id, rows=len(rows))
    queried = QueryShape(shape, len(rows))
    mu = Session(small.tenant, "mu", small.master.seed, subject, queried.plan)
    su = Session(small.tenant, "su", small.secondary.seed, subject, queried.plan)
    key = small.client_key.public
    t2s = tuple(c.t2 for c in ciphertexts)
    sealed = run_linked(
        query_master(mu, small.master, queried, ciphertexts, mu_table, key),
        mu,
        query_secondary(su, small.secondary, queried, t2s, su_table, key),
        su,
    )
    answer = Answer(
        query.query_id, len(rows), model.version, "", encode_ciphertexts(small.tenant.parameters, sealed)
    )
    return list(read_answer(naive_bayes(small), small.client_key, query, answer).labels)


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


def test_table_and_answers_equal_the_twin(small: SmallTenant) -> None:
    chunks = [random_records(small, size, seed) for seed, size in enumerate((30, 7, 1))]
    model = train(small, chunks)
    tables = refresh(small, model)
    shape, mu, su = tables
    twin = twin_of(small, shape, chunks)
    expected = twin.log_table()
    assert (signed_words(mu.entries, su.entries, shape.score_width) == expected.entries).all()
    whole = log2_fixed(256 * twin.records)
    assert (signed_words(mu.priors, su.priors, shape.score_width) - whole == expected.priors).all()
    asked = random_records(small, 9, 99)
    labels = ask(small, model, encode_bits(small.tenant.schema, asked), tables)
    assert labels == twin.predict(asked.indices).tolist()


@pytest.mark.parametrize("alpha_256", [1, 16, 65535])
def test_another_smoothing_is_another_table(small: SmallTenant, alpha_256: int) -> None:
    other = small_tenant(alpha_256=alpha_256)
    chunks = [random_records(other, 30, 1)]
    model = train(other, chunks)
    tables = refresh(other, model)
    shape, mu, su = tables
    twin = twin_of(other, shape, chunks)
    expected = twin.log_table().entries
    assert (signed_words(mu.entries, su.entries, shape.score_width) == expected).all()
    mild = twin_of(small, naive_bayes(small).table_shape(30), chunks).log_table().entries
    assert (expected != mild).any()
    asked = random_records(other, 9, 99)
    labels = ask(other, model, encode_bits(other.tenant.schema, asked), tables)
    assert labels == twin.predict(asked.indices).tolist()


def test_rows_that_are_not_one_hot_get_the_label_invalid(small: SmallTenant) -> None:
    chunks = [random_records(small, 30, 1)]
    model = train(small, chunks)
    tables = refresh(small, model)
    rows = encode_bits(small.tenant.schema, random_records(small, 4, 2)).copy()
    rows[1, :3] = (1, 1, 0)
    rows[2, :3] = 0
    labels = ask(small, model, rows, tables)
    assert [label == 3 for label in labels] == [False, True, True, False]


def test_scores_of_more_than_32_bits_equal_the_twin() -> None:
    wide = small_tenant(wide_schema(), limits=WIDE_LIMITS)
    chunks = [random_records(wide, 60, 5)]
    model = train(wide, chunks)
    tables = refresh(wide, model)
    shape, mu, su = tables
    assert shape.score_width > 32
    twin = twin_of(wide, shape, chunks)
    expected = twin.log_table()
    assert (signed_words(mu.entries, su.entries, shape.score_width) == expected.entries).all()
    asked = random_records(wide, 6, 6)
    assert (
        ask(wide, model, encode_bits(wide.tenant.schema, asked), tables)
        == twin.predict(asked.indices).tolist()
    )


def test_a_query_session_knows_the_refresh_it_rests_on(small: SmallTenant) -> None:
    # The same counts again after a chunk came and went: one session, one table, no second refresh.
    learner, schema = naive_bayes(small), small.tenant.schema
    first, second = (random_records(small, size, size) for size in (20, 9))
    model = train(small, [first])
    chunk = make_chunk(small.tenant, "a", 1, second, seeded_coins("chunk 1"))
    vectors = vectors_of(small, chunk)
    back = learner.withdraw(learner.learn(model, "a", 9, vectors), "a", 9, vectors)
    assert back.version == model.version + 2
    assert refresh_subject(small, back) == refresh_subject(small, model)
    assert learner.preparation(back).subject == learner.preparation(model).subject
    tables = refresh(small, model)
    asked = random_records(small, 5, 77)
    labels = ask(small, back, encode_bits(schema, asked), tables)
    assert labels == twin_of(small, tables[0], [first]).predict(asked.indices).tolist()
