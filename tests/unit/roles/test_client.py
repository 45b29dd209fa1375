"""The client reads answers that fit its query and refuses everything else with a reason."""

import msgspec
import numpy as np
import pytest
from doubles import seeded_coins
from round_trips import query_for, random_records
from tenants import SmallTenant, small_tenant

from crypto.errors import CryptoError, RemoteProtocolError
from crypto.parameters import decode_ciphertexts, encode_ciphertexts
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.client import make_query, read_answer
from roles.encoding import encode_bits
from roles.refusal import Refusal
from schemas.queries import Answer, Query
from schemas.reasons import ReasonCode


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


@pytest.fixture(scope="module")
def query(small: SmallTenant) -> Query:
    return query_for(small, encode_bits(small.tenant.schema, random_records(small, 3, "client")))


def answer_of(small: SmallTenant, query: Query, labels: list[int]) -> Answer:
    key, layout = small.client_key.public, small.tenant.label_layout(query.rows)
    masks = seeded_coins("masks").words(len(labels), np.uint16)
    shares = (np.array(labels, dtype=np.uint16) - masks).tolist()
    sealed = seal_secondary(key, layout, masks.tolist(), seeded_coins("su"))
    published = seal_master(key, layout, sealed, shares, seeded_coins("mu"))
    data = encode_ciphertexts(small.tenant.parameters, published)
    return Answer(query.query_id, query.rows, 1, "", data)


@pytest.mark.parametrize("labels", [[0, 1, 2], [2, 2, 2], [3, 0, 3]])
def test_labels_and_the_index_of_invalid_rows_are_read(
    small: SmallTenant, query: Query, labels: list[int]
) -> None:
    assert list(read_answer(small.tenant, small.client_key, query, answer_of(small, query, labels))) == labels


def test_a_refused_query_says_why(small: SmallTenant, query: Query) -> None:
    answer = Answer(query.query_id, query.rows, 0, "too_many_rows", b"")
    with pytest.raises(Refusal) as refused:
        read_answer(small.tenant, small.client_key, query, answer)
    assert refused.value.reason == ReasonCode.TOO_MANY_ROWS


FAULTS: list[tuple[str, dict[str, object]]] = [
    ("unknown reason", {"reason": "because"}),
    ("query", {"query_id": bytes(16)}),
    ("rows", {"rows": 2}),
    ("no ciphertexts", {"ciphertexts": b""}),
    ("odd bytes", {"ciphertexts": b"1"}),
    ("zeros", {"ciphertexts": bytes(128)}),
    ("out of range", {"ciphertexts": b"\xff" * 128}),
]


@pytest.mark.parametrize("changes", [fault[1] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_an_answer_that_does_not_fit_is_refused(
    small: SmallTenant, query: Query, changes: dict[str, object]
) -> None:
    answer = msgspec.structs.replace(answer_of(small, query, [0, 1, 2]), **changes)
    with pytest.raises((CryptoError, RemoteProtocolError)):
        read_answer(small.tenant, small.client_key, query, answer)


def test_a_label_that_the_schema_does_not_know_is_refused(small: SmallTenant, query: Query) -> None:
    with pytest.raises(RemoteProtocolError, match="label"):
        read_answer(small.tenant, small.client_key, query, answer_of(small, query, [0, 4, 0]))


def test_queries_about_the_same_rows_share_nothing_but_their_sizes(small: SmallTenant) -> None:
    bits = encode_bits(small.tenant.schema, random_records(small, 3, "client"))
    first, second = (make_query(small.tenant, "c", "m", bits, seeded_coins(seed)) for seed in (1, 2))
    assert first.query_id != second.query_id
    assert len(first.ciphertexts) == len(second.ciphertexts)
    components = [
        {
            number
            for c in decode_ciphertexts(small.tenant.parameters, q.ciphertexts)
            for number in (c.t1, c.t2)
        }
        for q in (first, second)
    ]
    assert not components[0] & components[1]
