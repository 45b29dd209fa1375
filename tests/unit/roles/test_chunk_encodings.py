"""A chunk carries what the tenant's models read, each encoding once; owners write and models read alike."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from doubles import seeded_coins
from msgspec import structs
from round_trips import random_records, vectors_of
from tenants import SmallTenant, small_schema, small_tenant, wide_schema

from crypto.dtpkc import Ciphertext
from crypto.errors import LayoutError, LocalProtocolError, PlaintextRangeError
from crypto.parameters import decode_ciphertexts
from crypto.plaintext_proof import PlaintextProof, Statement, verify_plaintexts
from crypto.service_key import finish_open, half_open
from roles.building_blocks.narrow_words import OFFSET
from roles.chunk_encodings import BITS, COUNTS, WORDS, ChunkEncodings
from roles.classifiers.hoeffding_tree import TreeLearner
from roles.classifiers.logistic_regression import LogisticLearner
from roles.client import make_query
from roles.data_owner import make_chunk
from roles.encoding import count_table, encode_bits, encode_label_bits
from roles.learners import learners_of
from roles.refusal import Refusal
from roles.tenant import statement_context
from roles.vectors import decode_vectors, encode_vectors, query_t2s
from schemas.chunks import EncodedVector
from schemas.data_schema import ClassLabel, DataSchema, NumericAttribute
from schemas.models import LogisticSpec, ModelSpec, NaiveBayesSpec, TreeSpec
from schemas.reasons import ReasonCode
from schemas.topics import TopicName

NB, LR, BINS, DT = (
    NaiveBayesSpec("nb"),
    LogisticSpec("lr"),
    LogisticSpec("bins", scaled=False),
    TreeSpec("dt"),
)

# The small schema has 3 + 3 columns of what is no number, 4 bins of what is one, and 3 classes.
CASES: list[tuple[str, tuple[ModelSpec, ...], tuple[str, ...], tuple[int, ...] | None, int, int]] = [
    ("nb", (NB,), (COUNTS,), None, 0, 0),
    ("two nb", (NB, NaiveBayesSpec("sharp", 16)), (COUNTS,), None, 0, 0),
    ("lr", (LR,), (WORDS, BITS), (0, 1), 1, 6 + 3),
    ("bins", (BINS,), (BITS,), (0, 1, 2), 0, 10 + 3),
    ("dt", (DT,), (BITS,), (0, 1, 2), 0, 10 + 3),
    ("nb and lr", (NB, LR), (COUNTS, WORDS, BITS), (0, 1), 1, 6 + 3),
    ("lr before nb", (LR, NB), (COUNTS, WORDS, BITS), (0, 1), 1, 6 + 3),
    ("lr and bins", (LR, BINS), (WORDS, BITS), (0, 1, 2), 1, 10 + 3),
    ("lr and dt", (LR, DT), (WORDS, BITS), (0, 1, 2), 1, 10 + 3),
    ("nb and dt", (NB, DT), (COUNTS, BITS), (0, 1, 2), 0, 10 + 3),
    ("all", (DT, BINS, LR, NB), (COUNTS, WORDS, BITS), (0, 1, 2), 1, 10 + 3),
]
every_case = pytest.mark.parametrize(
    ("models", "names", "attributes", "words", "bits"),
    [case[1:] for case in CASES],
    ids=[c[0] for c in CASES],
)


@every_case
def test_encodings_are_those_that_the_models_read(
    models: tuple[ModelSpec, ...],
    names: tuple[str, ...],
    attributes: tuple[int, ...] | None,
    words: int,
    bits: int,
) -> None:
    tenant = small_tenant(models=models).tenant
    encodings = ChunkEncodings(tenant)
    assert encodings.names == names
    assert encodings.bit_attributes == attributes
    assert (encodings.word_columns, encodings.bit_columns) == (words, bits)
    for records in (1, 7, 20):
        layouts = dict(zip(names, encodings.layouts(records), strict=True))
        values = {name: layout.values for name, layout in layouts.items()}
        # Counts are as many for any number of records; all else goes by records.
        expected = {COUNTS: (10 + 1) * 3, WORDS: records * words, BITS: records * bits}
        assert values == {name: expected[name] for name in names}
        assert {name: layout.meaning for name, layout in layouts.items()} == {name: name for name in names}
        if COUNTS in layouts:
            assert layouts[COUNTS].bound == 2 * records


def opened(small: SmallTenant, ciphertexts: Sequence[Ciphertext]) -> list[int]:
    """Open ciphertexts with everybody's keys."""
    parameters = small.tenant.parameters
    halves = half_open(parameters, ciphertexts, small.master.theta, [0] * len(ciphertexts))
    return list(finish_open(parameters, halves, [c.t2 for c in ciphertexts], small.secondary.theta))


@every_case
def test_a_chunk_holds_its_records_in_every_encoding(
    models: tuple[ModelSpec, ...],
    names: tuple[str, ...],
    attributes: tuple[int, ...] | None,
    words: int,
    bits: int,
) -> None:
    small = small_tenant(models=models)
    schema, encodings = small.tenant.schema, ChunkEncodings(small.tenant)
    records = random_records(small, 7, "held")
    chunk = make_chunk(small.tenant, "a", 0, records, seeded_coins("held"))
    assert tuple(vector.encoding for vector in chunk.vectors) == names
    vectors = vectors_of(small, chunk)
    plaintexts = encodings.plaintexts(records)
    assert list(plaintexts) == list(vectors) == list(names)
    for name, layout in zip(names, encodings.layouts(7), strict=True):
        plain = opened(small, vectors[name])
        assert plain == plaintexts[name]
        values: npt.NDArray[np.int64] = np.array(layout.unpack(plain), dtype=np.int64)
        if name == COUNTS:
            counts = count_table(schema, records)
            whole = np.concatenate([counts.feature_counts.reshape(-1), counts.class_counts])
            assert values.tolist() == (2 * whole).tolist()
        elif name == WORDS:
            assert records.words is not None
            assert (values - OFFSET).reshape(7, words).tolist() == records.words.tolist()
        else:
            found = values.reshape(7, bits)
            shown = encode_bits(schema, records, attributes)
            assert found[:, :-3].tolist() == (2 * shown.astype(np.int64)).tolist()
            assert found[:, -3:].tolist() == (2 * encode_label_bits(schema, records).astype(int)).tolist()


@every_case
def test_one_proof_is_about_all_encodings_in_order(
    models: tuple[ModelSpec, ...],
    names: tuple[str, ...],
    attributes: tuple[int, ...] | None,
    words: int,
    bits: int,
) -> None:
    del attributes, words, bits
    small = small_tenant(models=models)
    tenant, encodings = small.tenant, ChunkEncodings(small.tenant)
    chunk = make_chunk(tenant, "a", 4, random_records(small, 7, "held"), seeded_coins("held"))
    data = b"".join(vector.ciphertexts for vector in chunk.vectors)
    ciphertexts = tuple(decode_ciphertexts(tenant.parameters, data))
    proof = PlaintextProof.decode(tenant.parameters, len(ciphertexts), chunk.proof)
    context = statement_context(tenant, "owner", "a", TopicName.CHUNKS, 4, encodings.layouts(7))
    verify_plaintexts(tenant.service_key, [Statement(ciphertexts, proof, context)], seeded_coins("weights"))
    assert len(names) == len(chunk.vectors)


@pytest.mark.parametrize("models", [(NB, LR, BINS, DT), (LR, DT), (LR, NB), (BINS,), (DT,)])
def test_learners_read_the_layouts_that_owners_write(models: tuple[ModelSpec, ...]) -> None:
    tenant = small_tenant(models=models).tenant
    encodings = ChunkEncodings(tenant)
    layouts = dict(zip(encodings.names, encodings.layouts(7), strict=True))
    for learner in learners_of(tenant).values():
        if isinstance(learner, LogisticLearner):
            # Of the bits it takes its own columns and leaves the others alone.
            assert learner.training.bits_layout(7, labelled=True) == layouts[BITS]
            if learner.training.records.words:
                assert learner.training.words_layout(7) == layouts[WORDS]
        elif isinstance(learner, TreeLearner):
            assert learner.model.records_layout(7) == layouts[BITS]


def test_a_model_reads_the_same_features_whatever_is_published_beside_them() -> None:
    alone, beside = (small_tenant(models=models).tenant for models in ((LR,), (LR, DT)))
    shapes = []
    for tenant in (alone, beside):
        learner = learners_of(tenant)["lr"]
        assert isinstance(learner, LogisticLearner)
        shapes.append(learner)
    for learner in shapes:
        # Whoever asks sends features and nothing else, and weights lie as training leaves them.
        assert learner.asked.records.features == learner.training.records.features == 7
        assert learner.asked.state == learner.training.state
        assert learner.asked.records.query_bits == 6
    assert [learner.training.records.query_bits for learner in shapes] == [6, 10]
    assert [learner.training.records.label_columns for learner in shapes] == [(6, 7, 8), (10, 11, 12)]


def test_a_schema_without_numbers_has_no_words() -> None:
    encodings = ChunkEncodings(small_tenant(wide_schema(), models=(LR,)).tenant)
    assert encodings.names == (BITS,)
    assert (encodings.word_columns, encodings.bit_columns) == (0, 80 + 3)


def test_a_schema_of_numbers_alone_still_publishes_classes() -> None:
    schema = small_schema()
    numbers = tuple(a for a in schema.attributes if isinstance(a, NumericAttribute))
    small = small_tenant(DataSchema(schema.version, numbers, ClassLabel("kind", ("no", "yes"))), models=(LR,))
    encodings = ChunkEncodings(small.tenant)
    assert encodings.names == (WORDS, BITS)
    assert encodings.bit_attributes == ()
    assert (encodings.word_columns, encodings.bit_columns) == (1, 2)
    records = random_records(small, 5, "numbers")
    packed = encodings.plaintexts(records)
    labels = dict(zip(encodings.names, encodings.layouts(5), strict=True))[BITS].unpack(packed[BITS])
    expected = 2 * encode_label_bits(small.tenant.schema, records).astype(int)
    assert np.array(labels).reshape(5, 2).tolist() == expected.tolist()
    # Rows of a query have no bits at all.
    assert learners_of(small.tenant)["lr"].query_encodings == (WORDS,)


@pytest.mark.parametrize("models", [(NB,), (LR,), (BINS,), (DT,)])
def test_records_without_what_is_read_are_refused(models: tuple[ModelSpec, ...]) -> None:
    small = small_tenant(models=models)
    encodings, records = ChunkEncodings(small.tenant), random_records(small, 5, "whole")
    with pytest.raises(LocalProtocolError, match="no labels"):
        encodings.plaintexts(replace(records, labels=None))
    without = replace(records, words=None)
    if WORDS in encodings.names:
        with pytest.raises(LocalProtocolError, match="no words"):
            encodings.plaintexts(without)
    else:
        assert encodings.plaintexts(without) == encodings.plaintexts(records)


def test_records_with_another_number_of_words_are_refused() -> None:
    small = small_tenant(models=(LR,))
    records = random_records(small, 5, "whole")
    with pytest.raises(PlaintextRangeError):
        ChunkEncodings(small.tenant).plaintexts(replace(records, words=np.zeros((5, 2), dtype=np.int32)))


def test_counts_of_too_many_records_have_no_layout() -> None:
    encodings = ChunkEncodings(small_tenant(models=(NB, LR)).tenant)
    with pytest.raises(LayoutError):
        encodings.layouts(1 << 47)


# --- on the wire


@pytest.mark.parametrize(
    "fault",
    ["none", "one less", "one more", "another order", "another name", "a byte less", "a ciphertext more"],
)
def test_vectors_of_another_shape_are_malformed(fault: str) -> None:
    small = small_tenant(models=(NB, LR))
    encodings = ChunkEncodings(small.tenant)
    chunk = make_chunk(small.tenant, "a", 0, random_records(small, 5, "wire"), seeded_coins("wire"))
    vectors = chunk.vectors
    first = vectors[0]
    hostile: dict[str, tuple[EncodedVector, ...]] = {
        "none": (),
        "one less": vectors[:-1],
        "one more": (*vectors, first),
        "another order": vectors[::-1],
        "another name": (structs.replace(first, encoding="count"), *vectors[1:]),
        "a byte less": (structs.replace(first, ciphertexts=first.ciphertexts[:-1]), *vectors[1:]),
        "a ciphertext more": (
            structs.replace(first, ciphertexts=first.ciphertexts + bytes(128)),
            *vectors[1:],
        ),
    }
    with pytest.raises(Refusal) as refused:
        decode_vectors(small.tenant, hostile[fault], encodings.names, encodings.layouts(5))
    assert refused.value.reason == ReasonCode.MALFORMED


def test_vectors_come_back_from_the_wire_as_they_were() -> None:
    small = small_tenant(models=(NB, LR))
    chunk = make_chunk(small.tenant, "a", 0, random_records(small, 5, "wire"), seeded_coins("wire"))
    assert encode_vectors(small.tenant, vectors_of(small, chunk)) == chunk.vectors


def test_su_takes_the_second_component_of_every_encoding() -> None:
    small = small_tenant(models=(LR,))
    learner = learners_of(small.tenant)["lr"]
    query = make_query(learner, "c", random_records(small, 5, "asked"), seeded_coins("asked"))
    layouts = learner.query_layouts(5)
    vectors = decode_vectors(small.tenant, query.vectors, learner.query_encodings, layouts)
    t2s = query_t2s(small.tenant, query, learner.query_encodings, layouts)
    assert t2s == {name: tuple(c.t2 for c in vector) for name, vector in vectors.items()}
    assert list(t2s) == [WORDS, BITS]
