import ast
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from datasets import data_table
from hypothesis import given, settings
from hypothesis import strategies as st
from schema_strategies import schemas_with_records

import roles.classifiers.naive_bayes_twin as twin_module
from pipeline.csv_input import read_training_file
from pipeline.demo_data import csv_text, split_rows
from pipeline.schema_inference import infer_schema
from roles.classifiers.naive_bayes_twin import (
    FRACTION_BITS,
    NaiveBayesTwin,
    log2_fixed,
    score_bits,
    segment_values,
)
from roles.encoding import Counts, EncodedRecords, count_table
from schemas.data_schema import DataSchema

UNIT = 1 << FRACTION_BITS


def counts_of(features: list[list[int]], classes: list[int]) -> Counts:
    return Counts(np.array(features, dtype=np.int64), np.array(classes, dtype=np.int64))


def model(
    features: list[list[int]], classes: list[int], sizes: tuple[int, ...], a: int = 256
) -> NaiveBayesTwin:
    width = score_bits(len(sizes), 31)
    return NaiveBayesTwin.empty(sizes, len(classes), width, a).learn(counts_of(features, classes))


# --- the logarithm -------------------------------------------------------------------------


def test_segment_values_are_rounded_logarithms() -> None:
    values = segment_values()
    assert len(values) == 129
    assert (values[0], values[64], values[128]) == (0, 613_378, UNIT)  # log2 1.5 = 0.584962500721…
    assert all(abs(v - UNIT * math.log2(1 + i / 128)) < 0.5001 for i, v in enumerate(values))


@pytest.mark.parametrize("exponent", range(60))
def test_powers_of_two_are_exact(exponent: int) -> None:
    assert log2_fixed(1 << exponent) == exponent * UNIT


def test_known_values_of_the_logarithm() -> None:
    # By hand: 3 = 2^1·1.5 is the start of segment 64. 257 = 2^8·(1 + 512/2^17): segment 0, t = 512,
    # V_1 = 11773, S_0 = 735, (735·512) >> 6 = 5880.
    assert log2_fixed(3) == UNIT + 613_378
    assert segment_values()[1] == 11_773
    assert log2_fixed(257) == 8 * UNIT + 5880
    assert log2_fixed(0, -77) == -77
    assert log2_fixed(0) == 0


def test_the_logarithm_of_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        log2_fixed(-1)


@given(st.integers(1, 1 << 60))
def test_the_logarithm_is_close_and_monotone(x: int) -> None:
    assert -48 < log2_fixed(x) - UNIT * math.log2(x) < 2
    assert log2_fixed(x) <= log2_fixed(x + 1)


def test_the_logarithm_is_monotone_across_every_segment() -> None:
    values = [log2_fixed(x) for x in range(1 << 17, 1 << 18)]
    assert all(a <= b for a, b in pairwise(values))


# --- widths --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "bits", "width"), [(1, 1, 32), (14, 15, 32), (30, 31, 34), (300, 31, 37)]
)
def test_widths(attributes: int, bits: int, width: int) -> None:
    assert score_bits(attributes, bits) == width


def test_the_width_is_the_smallest_that_the_argument_allows() -> None:
    for attributes in (1, 8, 30, 300, 4096):
        for bits in range(1, 41):
            bound = (attributes * (max(bits + 8, 12) + 1) + bits + 8) * UNIT
            width = score_bits(attributes, bits)
            assert 2 * bound < 1 << (width - 2)
            assert width == 32 or 2 * bound >= 1 << (width - 3)


@pytest.mark.parametrize(("attributes", "bits"), [(0, 5), (5, 0)])
def test_an_empty_model_has_no_width(attributes: int, bits: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        score_bits(attributes, bits)


@settings(max_examples=200)
@given(
    st.sampled_from([1, 30, 300, 4096]),
    st.integers(1, 40),
    st.sampled_from([1, 2, 256, 65535]),
    st.sampled_from([1, 2, 4096]),
    st.data(),
)
def test_no_score_leaves_its_width(
    attributes: int, bits: int, a: int, size: int, data: st.DataObject
) -> None:
    # Counts at their extremes, consistent or not: the sums that a unit could ever be made to form.
    top = (1 << bits) - 1
    extreme = st.one_of(st.sampled_from([0, 1, top]), st.integers(0, top))
    n_c, n, n_fc = (data.draw(extreme) for _ in range(3))
    width = score_bits(attributes, bits)
    half, sentinel = 1 << (width - 1), -(1 << (width - 2))
    entry = log2_fixed(256 * n_fc + a) - log2_fixed(256 * n_c + a * size)
    lowest = log2_fixed(a) - log2_fixed(256 * top + a * 4096)
    highest = log2_fixed(256 * top + a) - log2_fixed(a)
    assert lowest <= entry <= highest
    prior = log2_fixed(256 * n_c) - log2_fixed(256 * n)
    worst = attributes * lowest - log2_fixed(256 * top)
    best_empty = sentinel + attributes * highest
    assert worst <= prior + attributes * entry < half
    assert best_empty < worst, "an empty class could win"
    assert sentinel + worst >= -half, "an empty class could wrap around"
    largest = attributes * highest + log2_fixed(256 * top)
    assert largest - (sentinel + worst) < half, "comparing two scores could wrap around"


def test_an_empty_class_never_wins_at_the_extremes() -> None:
    top = (1 << 31) - 1
    sizes = (2,) * 300
    # Class 0 is empty; class 1 holds all records, none of which has value 0 anywhere.
    twin = model([[0, 0], [0, top]] * 300, [0, top], sizes, a=1)
    worst_case = np.zeros((1, 300), dtype=np.int64)
    scores = twin.scores(worst_case)
    assert twin.predict(worst_case).tolist() == [1]
    assert (np.abs(scores) < 1 << (twin.width - 1)).all()


# --- the model -----------------------------------------------------------------------------


def test_a_table_by_hand() -> None:
    # One attribute with two values, classes of 1 and 2 records, α = 1.
    table = model([[1, 0], [0, 2]], [1, 2], (2,)).log_table()
    log3 = log2_fixed(3 * 256) - 8 * UNIT
    assert table.entries.tolist() == [[UNIT - log3, -2 * UNIT], [-log3, log3 - 2 * UNIT]]
    assert table.priors.tolist() == [-log3, UNIT - log3]


def test_ties_go_to_the_lowest_index() -> None:
    assert model([[2, 2], [1, 1]], [3, 3], (2,)).predict(np.array([[0], [1]])).tolist() == [0, 0]


def test_a_model_without_records_answers_the_first_label() -> None:
    twin = NaiveBayesTwin.empty((2, 3), 3, 32)
    assert twin.predict(np.array([[1, 2]])).tolist() == [0]
    assert len(set(twin.scores(np.array([[1, 2]]))[0].tolist())) == 1


@settings(max_examples=60)
@given(schemas_with_records(), st.integers(1, 65535))
def test_scores_are_the_formula_one_by_one(case: tuple[DataSchema, EncodedRecords], a: int) -> None:
    schema, records = case
    counts = count_table(schema, records)
    width = score_bits(len(schema.attributes), 5)
    twin = NaiveBayesTwin.empty(schema.attribute_sizes, schema.class_count, width, a).learn(counts)
    features, classes = counts.feature_counts.tolist(), counts.class_counts.tolist()
    for row, scores, answer in zip(
        records.indices.tolist(),
        twin.scores(records.indices).tolist(),
        twin.predict(records.indices),
        strict=True,
    ):
        expected = []
        for c, n_c in enumerate(classes):
            score = log2_fixed(256 * n_c, -(1 << (width - 2))) - log2_fixed(256 * len(records))
            for x, first, size in zip(row, schema.attribute_offsets, schema.attribute_sizes, strict=True):
                score += log2_fixed(256 * features[first + x][c] + a) - log2_fixed(256 * n_c + a * size)
            expected.append(score)
        assert scores == expected
        assert answer == expected.index(max(expected))
        assert classes[answer] > 0


@settings(max_examples=60)
@given(schemas_with_records(), st.data())
def test_withdrawal_undoes_learning_exactly(
    case: tuple[DataSchema, EncodedRecords], data: st.DataObject
) -> None:
    schema, records = case
    cut = data.draw(st.integers(0, len(records)))
    assert records.labels is not None
    parts = [
        count_table(schema, EncodedRecords(records.indices[part], records.labels[part]))
        for part in (slice(cut), slice(cut, None))
    ]
    empty = NaiveBayesTwin.empty(schema.attribute_sizes, schema.class_count, 32)
    both = empty.learn(parts[0]).learn(parts[1])
    whole = empty.learn(count_table(schema, records))
    assert (both.feature_counts == whole.feature_counts).all()
    assert both.records == len(records)
    left = both.withdraw(parts[0])
    assert (left.feature_counts == parts[1].feature_counts).all()
    assert (left.class_counts == parts[1].class_counts).all()
    assert empty.records == 0, "learning must not change the model it starts from"


def test_withdrawing_what_is_not_in_is_refused() -> None:
    twin = model([[1, 0], [0, 2]], [1, 2], (2,))
    with pytest.raises(ValueError, match="not in the model"):
        twin.withdraw(counts_of([[2, 0], [0, 0]], [0, 0]))
    with pytest.raises(ValueError, match="not in the model"):
        twin.withdraw(counts_of([[0, 0], [0, 0]], [2, 0]))


@pytest.mark.parametrize("a", [0, -1, 65536])
def test_smoothing_outside_its_bounds_is_refused(a: int) -> None:
    with pytest.raises(ValueError, match="smoothing"):
        NaiveBayesTwin.empty((2,), 2, 32, a)


@pytest.mark.parametrize("sizes", [(), (0,), (4097,)])
def test_sizes_outside_their_bounds_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="values"):
        NaiveBayesTwin.empty(sizes, 2, 32)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        NaiveBayesTwin.empty((2,), 2, 32).learn(counts_of([[1, 1, 1]] * 2, [1, 1, 1]))
    with pytest.raises(ValueError, match="int64"):
        NaiveBayesTwin((2,), 32, 256, np.zeros((2, 2)), np.zeros(2))  # type: ignore[arg-type]  # the point
    with pytest.raises(ValueError, match="outside"):
        NaiveBayesTwin.empty((2,), 2, 32).predict(np.array([[2]]))


def test_shares_no_code_with_the_protocol() -> None:
    tree = ast.parse(Path(twin_module.__file__).read_text())
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not {name for name in imported if name.split(".")[0] in {"crypto", "roles", "schemas", "pipeline"}}


# --- against the textbook ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nursery", "adult", "wdbc"])
def test_agrees_with_scikit_learn(name: str, tmp_path: Path) -> None:
    from sklearn.naive_bayes import CategoricalNB

    table = data_table(name)
    split = split_rows(table.rows, owners=2, seed=1, test_fraction=0.3)
    train_path, test_path = tmp_path / "train.csv", tmp_path / "test.csv"
    # The schema is of all records: a value seen only in the test part is no error here.
    whole_path = tmp_path / "whole.csv"
    for path, rows in ((train_path, split.train), (test_path, split.test), (whole_path, table.rows)):
        path.write_text(csv_text(table.columns, rows))
    schema = infer_schema(whole_path, table.columns[-1]).schema
    twin = NaiveBayesTwin.empty(
        schema.attribute_sizes, schema.class_count, score_bits(len(schema.attributes), 31)
    )
    batches = list(read_training_file(train_path, schema))
    for batch in batches:
        twin = twin.learn(count_table(schema, batch))
    train_x = np.concatenate([batch.indices for batch in batches])
    train_y = np.concatenate([batch.labels for batch in batches if batch.labels is not None])
    (test,) = read_training_file(test_path, schema, batch_records=len(split.test))

    textbook = CategoricalNB(alpha=1.0, min_categories=list(schema.attribute_sizes)).fit(train_x, train_y)
    theirs, ours = textbook.predict(test.indices), twin.predict(test.indices)
    agreement = float((theirs == ours).mean())
    difference = abs(float((theirs == test.labels).mean()) - float((ours == test.labels).mean()))
    print(f"{table.name}: accuracy {float((ours == test.labels).mean()):.4f}, agreement {agreement:.4f}")
    assert twin.records == len(split.train)
    assert agreement >= 0.995
    assert difference <= 0.005
