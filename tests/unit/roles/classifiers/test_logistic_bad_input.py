"""Awkward and wrong input of logistic regression, from the owner's file to the encrypted weights.

Whatever is taken in, the encrypted model is the twin's to the last bit; whatever is not, is refused
before anything leaves the owner.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from linked_learners import LinkedLearner, taught_chunk
from linked_logistic import Ints, opened_weights
from tenants import SmallTenant, small_tenant

from crypto.errors import LocalProtocolError
from pipeline.csv_input import read_training_file
from pipeline.csv_rows import InputFileError
from roles.classifiers.learner import TaughtLearner, UnlearnableError
from roles.classifiers.logistic_regression import LogisticLearner
from roles.classifiers.logistic_regression_shape import LogisticState
from roles.encoding import EncodedRecords
from roles.twins import PlainLogistic
from schemas.data_schema import Attribute, CategoricalAttribute, ClassLabel, DataSchema, NumericAttribute
from schemas.models import LogisticSpec
from schemas.reasons import ReasonCode

SPEC = LogisticSpec("m", passes=2, rate_256=700, momentum_16=9)
FAST = LogisticSpec("m", rate_256=1 << 10)
NUMBER = NumericAttribute("x", ("0",), "-5", "5")
COLOUR = CategoricalAttribute("colour", ("red", "green"))
CLASSES = ClassLabel("y", ("no", "yes"))


def tenant_of(*attributes: Attribute, label: ClassLabel = CLASSES, spec: LogisticSpec = SPEC) -> SmallTenant:
    return small_tenant(DataSchema(1, attributes, label), models=(spec,))


MIXED = tenant_of(NUMBER, COLOUR)


def records_of(small: SmallTenant, folder: Path, *rows: str) -> EncodedRecords:
    """Read rows as an owner does."""
    schema = small.tenant.schema
    header = ",".join((*(attribute.name for attribute in schema.attributes), schema.label.name))
    path = folder / "owner.csv"
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    (records,) = read_training_file(path, schema, words=True)
    return records


def learnt(small: SmallTenant, *chunks: EncodedRecords) -> Ints:
    """Learn chunks with both units, hold every weight and answer against the twin, return weights."""
    spec = small.tenant.model("m")
    assert isinstance(spec, LogisticSpec)
    linked, twin = LinkedLearner(small, "m"), PlainLogistic(spec, small.tenant.schema)
    learner, state = linked.learner, linked.learner.starting()
    assert isinstance(learner, LogisticLearner)
    for sequence, records in enumerate(chunks):
        state = linked.learn(state, [taught_chunk(small, sequence, records)])
        assert twin.learn(records)
    assert isinstance(state.content, LogisticState)
    weights = opened_weights(small, learner.training, state.content)
    np.testing.assert_array_equal(weights[0], twin.twin.weights)
    np.testing.assert_array_equal(weights[-1], twin.twin.lookahead)
    asked = chunks[-1]
    opened = linked.ask(state, None, linked.query(replace(asked, labels=None), scores=True))
    assert list(opened.labels) == twin.predict(asked).tolist()
    assert opened.scores is not None
    expected = twin.twin.probabilities(twin.features(asked))
    assert [list(scores) for scores in opened.scores] == expected.tolist()
    first: Ints = weights[0]
    return first


# --- features out of range


def test_numbers_out_of_range_count_as_its_ends(tmp_path: Path) -> None:
    outside = records_of(MIXED, tmp_path, "1e9,red,yes", "-5.1,green,no", "5,green,no")
    at_ends = records_of(MIXED, tmp_path, "5,red,yes", "-5,green,no", "5,green,no")
    assert outside.words is not None
    assert outside.words[:, 0].tolist() == [1023, -1023, 1023]
    np.testing.assert_array_equal(learnt(MIXED, outside), learnt(MIXED, at_ends))


@pytest.mark.parametrize("word", [1024, -1024, 1 << 20])
def test_words_that_nobody_clipped_do_not_leave_the_owner(tmp_path: Path, word: int) -> None:
    good = records_of(MIXED, tmp_path, "1,red,yes")
    bad = replace(good, words=np.array([[word]], dtype=np.int32))
    with pytest.raises(LocalProtocolError, match="outside its range"):
        taught_chunk(MIXED, 0, bad)
    with pytest.raises(LocalProtocolError, match="outside its range"):
        PlainLogistic(SPEC, MIXED.tenant.schema).learn(bad)
    with pytest.raises(LocalProtocolError, match="outside its range"):
        LinkedLearner(MIXED, "m").query(replace(bad, labels=None))


@pytest.mark.parametrize("cell", ["inf", "nan", "1e999999999", "ten", ""])
def test_what_is_no_number_is_refused_with_its_line(tmp_path: Path, cell: str) -> None:
    with pytest.raises(InputFileError) as refused:
        records_of(MIXED, tmp_path, "1,red,yes", f"{cell},red,yes")
    assert (refused.value.line, refused.value.column) == (3, "x")
    assert refused.value.code in {ReasonCode.NOT_A_NUMBER, ReasonCode.MISSING_VALUE}


# --- labels


@pytest.mark.parametrize("label", ["perhaps", "YES", "1", ""])
def test_a_label_outside_the_schema_is_refused_with_its_line(tmp_path: Path, label: str) -> None:
    with pytest.raises(InputFileError) as refused:
        records_of(MIXED, tmp_path, "1,red,yes", f"1,red,{label}")
    assert (refused.value.line, refused.value.column) == (3, "y")
    assert refused.value.code == (ReasonCode.UNKNOWN_CATEGORY if label else ReasonCode.MISSING_VALUE)


@pytest.mark.parametrize("label", [2, -1])
def test_a_class_that_is_not_there_is_refused_by_owner_and_twin(tmp_path: Path, label: int) -> None:
    good = records_of(MIXED, tmp_path, "1,red,yes")
    bad = replace(good, labels=np.array([label], dtype=np.int32))
    with pytest.raises(LocalProtocolError, match="one class index"):
        taught_chunk(MIXED, 0, bad)
    with pytest.raises(LocalProtocolError, match="one class index"):
        PlainLogistic(SPEC, MIXED.tenant.schema).learn(bad)


def test_a_chunk_without_labels_is_refused(tmp_path: Path) -> None:
    bare = replace(records_of(MIXED, tmp_path, "1,red,yes"), labels=None)
    with pytest.raises(LocalProtocolError, match="no labels"):
        taught_chunk(MIXED, 0, bare)
    with pytest.raises(LocalProtocolError, match="no labels"):
        PlainLogistic(SPEC, MIXED.tenant.schema).learn(bare)


# --- chunks that teach little


def test_constant_columns(tmp_path: Path) -> None:
    weights = learnt(MIXED, records_of(MIXED, tmp_path, "0,red,yes", "0,red,no", "0,red,yes"))
    # The middle of the range is 0 and a value that never occurs counts 0: their weights stay.
    assert weights[0, [0, 2]].tolist() == [0, 0]
    # One that always occurs goes with the constant.
    assert weights[0, 1] == weights[0, 3] != 0


@pytest.mark.parametrize("label", ["yes", "no"])
def test_a_chunk_of_one_class(tmp_path: Path, label: str) -> None:
    first = records_of(MIXED, tmp_path, "3,red,yes", "-3,green,no")
    alone = records_of(MIXED, tmp_path, *[f"{x},green,{label}" for x in (-4, 0, 4)])
    before, after = learnt(MIXED, first), learnt(MIXED, first, alone)
    assert (after[0, -1] > before[0, -1]) == (label == "yes")


def test_a_class_of_several_that_no_record_has(tmp_path: Path) -> None:
    three = tenant_of(NUMBER, label=ClassLabel("y", ("a", "b", "c")))
    weights = learnt(three, records_of(three, tmp_path, "1,a", "2,c", "-2,a"))
    assert weights.shape == (3, 2)
    assert weights[1, -1] < min(weights[0, -1], weights[2, -1])


def test_weights_that_are_all_zero_decide_for_the_class_at_the_threshold(tmp_path: Path) -> None:
    rows = records_of(MIXED, tmp_path, "5,red,yes", "-5,green,no")
    zero = LinkedLearner(MIXED, "m")
    assert isinstance(zero.learner, TaughtLearner)
    # Some version must hold records before SU helps to answer; its content is the empty one.
    state = zero.learner.starting()
    state = state.taking("a", 2, state.content)
    opened = zero.ask(state, None, zero.query(replace(rows, labels=None), scores=True))
    twin = PlainLogistic(SPEC, MIXED.tenant.schema)
    assert list(opened.labels) == twin.predict(rows).tolist() == [1, 1]
    assert opened.scores is not None
    assert [list(scores) for scores in opened.scores] == [[256], [256]]


# --- sizes


def test_one_record_of_one_number(tmp_path: Path) -> None:
    one = tenant_of(NUMBER)
    weights = learnt(one, records_of(one, tmp_path, "2.5,yes"))
    assert weights.shape == (1, 2)
    assert (weights > 0).all()


def test_one_record_of_one_category(tmp_path: Path) -> None:
    one = tenant_of(COLOUR)
    weights = learnt(one, records_of(one, tmp_path, "green,no"))
    assert weights[0, 0] == 0
    assert (weights[0, 1:] < 0).all()


def test_three_hundred_numbers(tmp_path: Path) -> None:
    numbers = (NumericAttribute(f"x{i}", ("0",), "-5", "5") for i in range(300))
    wide = tenant_of(*numbers, spec=LogisticSpec("m", rate_256=16))
    rows = [[str((row * 7 + i) % 11 - 5) for i in range(300)] for row in (0, 1)]
    records = records_of(wide, tmp_path, *(",".join((*rows[i], CLASSES.labels[i])) for i in (0, 1)))
    weights = learnt(wide, records)
    assert weights.shape == (1, 301)
    assert np.count_nonzero(weights) > 250


def test_a_rate_that_three_hundred_numbers_overflow_leaves_both_as_they_were(tmp_path: Path) -> None:
    numbers = (NumericAttribute(f"x{i}", ("0",), "-5", "5") for i in range(300))
    wide = tenant_of(*numbers, spec=FAST)
    records = records_of(wide, tmp_path, ",".join((*["5"] * 300, "yes")))
    linked, twin = LinkedLearner(wide, "m"), PlainLogistic(FAST, wide.tenant.schema)
    assert not twin.learn(records)
    assert not twin.twin.weights.any()
    with pytest.raises(UnlearnableError):
        linked.learn(linked.learner.starting(), [taught_chunk(wide, 0, records)])


def test_a_file_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError) as refused:
        records_of(MIXED, tmp_path)
    assert refused.value.code == ReasonCode.EMPTY_FILE
