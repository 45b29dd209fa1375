"""The client reads answers that fit its query and refuses everything else with a reason."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from doubles import seeded_coins
from linked_learners import MODELS
from round_trips import naive_bayes, query_for, random_records
from tenants import SmallTenant, small_schema, small_tenant

from crypto.errors import CryptoError, LocalProtocolError, RemoteProtocolError
from crypto.parameters import decode_ciphertexts, encode_ciphertexts
from crypto.plaintext_proof import PlaintextProof, Statement, verify_plaintexts
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.client import make_query, read_answer
from roles.learners import AnyLearner, learner_of
from roles.refusal import Refusal
from roles.tenant import statement_context
from schemas.data_schema import ClassLabel, DataSchema
from schemas.queries import Answer, Query
from schemas.reasons import ReasonCode
from schemas.topics import TopicName


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


@pytest.fixture(scope="module")
def learner(small: SmallTenant) -> AnyLearner:
    return naive_bayes(small)


@pytest.fixture(scope="module")
def query(small: SmallTenant) -> Query:
    return query_for(small, random_records(small, 3, "client"))


def sealed_values(small: SmallTenant, query: Query, values: list[int]) -> Answer:
    """Return an answer that holds these values, sealed by both units."""
    key, layout = small.client_key.public, small.tenant.label_layout(len(values))
    masks = seeded_coins("masks").words(len(values), np.uint16)
    shares = (np.array(values, dtype=np.uint16) - masks).tolist()
    sealed = seal_secondary(key, layout, masks.tolist(), seeded_coins("su"))
    published = seal_master(key, layout, sealed, shares, seeded_coins("mu"))
    data = encode_ciphertexts(small.tenant.parameters, published)
    return Answer(query.query_id, query.rows, 1, "", data)


@pytest.mark.parametrize("labels", [[0, 1, 2], [2, 2, 2], [3, 0, 3]])
def test_labels_and_the_index_of_invalid_rows_are_read(
    small: SmallTenant, learner: AnyLearner, query: Query, labels: list[int]
) -> None:
    opened = read_answer(learner, small.client_key, query, sealed_values(small, query, labels))
    assert list(opened.labels) == labels
    assert opened.scores is None


def test_a_refused_query_says_why(small: SmallTenant, learner: AnyLearner, query: Query) -> None:
    answer = Answer(query.query_id, query.rows, 0, "too_many_rows", b"")
    with pytest.raises(Refusal) as refused:
        read_answer(learner, small.client_key, query, answer)
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
    small: SmallTenant, learner: AnyLearner, query: Query, changes: dict[str, object]
) -> None:
    answer = msgspec.structs.replace(sealed_values(small, query, [0, 1, 2]), **changes)
    with pytest.raises((CryptoError, RemoteProtocolError)):
        read_answer(learner, small.client_key, query, answer)


def test_a_label_that_the_schema_does_not_know_is_refused(
    small: SmallTenant, learner: AnyLearner, query: Query
) -> None:
    with pytest.raises(RemoteProtocolError, match="label"):
        read_answer(learner, small.client_key, query, sealed_values(small, query, [0, 4, 0]))


def test_queries_about_the_same_rows_share_nothing_but_their_sizes(
    small: SmallTenant, learner: AnyLearner
) -> None:
    rows = random_records(small, 3, "client")
    first, second = (make_query(learner, "c", rows, seeded_coins(seed)) for seed in (1, 2))
    assert first.query_id != second.query_id
    assert [vector.encoding for vector in first.vectors] == [vector.encoding for vector in second.vectors]
    components = []
    for query in (first, second):
        data = b"".join(vector.ciphertexts for vector in query.vectors)
        ciphertexts = decode_ciphertexts(small.tenant.parameters, data)
        assert len(ciphertexts) == small.tenant.query_layout(3).ciphertexts
        components.append({number for c in ciphertexts for number in (c.t1, c.t2)})
    assert not components[0] & components[1]


# --- other learners

MIXED = small_tenant(models=MODELS)


def learner_named(name: str, small: SmallTenant = MIXED) -> AnyLearner:
    return learner_of(small.tenant, small.tenant.model(name))


@pytest.mark.parametrize(
    ("name", "encodings"), [("nb", ["bits"]), ("lr", ["words", "bits"]), ("bins", ["bits"]), ("dt", ["bits"])]
)
@pytest.mark.parametrize("scores", [False, True])
def test_a_query_has_the_encodings_of_the_model_and_one_proof_of_all(
    name: str, encodings: list[str], scores: bool
) -> None:
    learner, rows = learner_named(name), random_records(MIXED, 4, "asked")
    query = make_query(learner, "c", rows, seeded_coins("asked"), scores=scores)
    assert (query.model_id, query.rows, query.scores) == (name, 4, scores)
    assert [vector.encoding for vector in query.vectors] == encodings
    parameters = MIXED.tenant.parameters
    data = b"".join(vector.ciphertexts for vector in query.vectors)
    ciphertexts = tuple(decode_ciphertexts(parameters, data))
    layouts = learner.query_layouts(4)
    context = statement_context(MIXED.tenant, "client", "c", TopicName.QUERIES, query.query_id, layouts)
    proof = PlaintextProof.decode(parameters, len(ciphertexts), query.proof)
    verify_plaintexts(
        MIXED.tenant.service_key, [Statement(ciphertexts, proof, context)], seeded_coins("weights")
    )


def test_a_model_that_reads_numbers_is_not_asked_without_them() -> None:
    rows = replace(random_records(MIXED, 4, "asked"), words=None)
    with pytest.raises(LocalProtocolError, match="no words"):
        make_query(learner_named("lr"), "c", rows, seeded_coins("asked"))
    # The others do not read them.
    for name in ("nb", "bins", "dt"):
        make_query(learner_named(name), "c", rows, seeded_coins("asked"))


def test_scores_are_read_row_by_row_and_become_probabilities() -> None:
    learner, rows = learner_named("lr"), random_records(MIXED, 2, "asked")
    query = make_query(learner, "c", rows, seeded_coins("asked"), scores=True)
    # Labels first, then the first score of every row, and so on.
    answer = sealed_values(MIXED, query, [2, 0, 10, 500, 20, 4, 511, 0])
    opened = read_answer(learner, MIXED.client_key, query, answer)
    assert list(opened.labels) == [2, 0]
    assert opened.scores is not None
    assert [list(row) for row in opened.scores] == [[10, 20, 511], [500, 4, 0]]
    assert learner.readable_scores(opened.scores[0]) == {
        "x": 10.5 / 512,
        "y": 20.5 / 512,
        "z": 511.5 / 512,
    }


def test_the_two_classes_of_one_problem_share_one_score() -> None:
    schema = small_schema()
    two = DataSchema(schema.version, schema.attributes, ClassLabel("kind", ("no", "yes")))
    learner = learner_named("lr", small_tenant(two, models=MODELS))
    assert learner.answer_values(scores=True) == 2
    assert learner.readable_scores([127]) == {"no": 1 - 127.5 / 512, "yes": 127.5 / 512}


def test_an_answer_with_scores_that_were_not_asked_for_does_not_belong_to_the_query() -> None:
    learner, rows = learner_named("lr"), random_records(MIXED, 4, "asked")
    without, asked_for = (
        make_query(learner, "c", rows, seeded_coins("asked"), scores=scores) for scores in (False, True)
    )
    labels, everything = [0, 1, 2, 0], [0, 1, 2, 0] + [7] * 12
    for query, values in ((without, everything), (asked_for, labels)):
        with pytest.raises(RemoteProtocolError, match="belong"):
            read_answer(learner, MIXED.client_key, query, sealed_values(MIXED, query, values))


@pytest.mark.parametrize("name", ["nb", "dt"])
def test_models_without_scores_answer_with_labels_alone_whatever_is_asked(name: str) -> None:
    learner, rows = learner_named(name), random_records(MIXED, 3, "asked")
    query = make_query(learner, "c", rows, seeded_coins("asked"), scores=True)
    opened = read_answer(learner, MIXED.client_key, query, sealed_values(MIXED, query, [1, 3, 0]))
    assert (list(opened.labels), opened.scores) == ([1, 3, 0], None)
    with pytest.raises(LocalProtocolError, match="no scores"):
        learner.readable_scores([1])
