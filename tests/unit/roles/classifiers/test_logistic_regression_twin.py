"""The twin against the same algorithm in floats, and at its edges."""

import ast
import inspect

import numpy as np
import pytest
from logistic_reference import ScaledData, scaled_data

from benchmarks.float_logistic import FloatReference
from crypto.circuits import logistic
from roles.classifiers import logistic_regression_schedule, logistic_regression_twin
from roles.classifiers.logistic_regression_schedule import FEATURE_FRACTION_BITS, LogisticSchedule
from roles.classifiers.logistic_regression_twin import LogisticTwin, sigmoid_fixed

NESTEROV = LogisticSchedule(passes=7, momentum_16=14, rate_256=2048)
ONLINE = LogisticSchedule(passes=2, momentum_16=12, rate_256=512, decay_steps=40)


def learn_both(
    found: ScaledData, schedule: LogisticSchedule, chunk: int
) -> tuple[LogisticTwin, FloatReference, int]:
    """Learn from four fifths in chunks; return both models and where the last fifth starts."""
    twin = LogisticTwin.empty(found.features.shape[1], found.classes, schedule)
    reference = FloatReference(found.features.shape[1], found.classes, schedule)
    integers, end = found.integers, len(found.labels) * 4 // 5
    for start in range(0, end, chunk):
        part = slice(start, min(start + chunk, end))
        twin = twin.learn(integers[part], found.labels[part])
        reference.learn(found.features[part], found.labels[part])
    return twin, reference, end


@pytest.mark.parametrize("name", ["wdbc", "edin", "lbw", "pcs", "uis"])
def test_small_sets_differ_in_at_most_two_answers(name: str) -> None:
    found = scaled_data(name)
    twin, reference, end = learn_both(found, NESTEROV, 2000)
    differing = twin.predict(found.integers[end:]) != reference.predict(found.features[end:])
    assert differing.sum() <= 2
    assert np.abs(twin.weights / 2**18 - reference.weights).max() < 0.05


@pytest.mark.parametrize("name", ["adult", "nhanes3"])
def test_large_sets_are_within_half_a_point(name: str) -> None:
    found = scaled_data(name)
    twin, reference, end = learn_both(found, ONLINE, 500)
    labels = found.labels[end:]
    accuracy = (twin.predict(found.integers[end:]) == labels).mean()
    expected = (reference.predict(found.features[end:]) == labels).mean()
    assert abs(accuracy - expected) <= 0.005
    assert accuracy > max(labels.mean(), 1 - labels.mean()) + 0.03


def made_up(rows: int, features: int, classes: int) -> ScaledData:
    angles = np.outer(np.arange(1.0, rows + 1), np.arange(1.0, features + 1)) * 0.7548776662
    x = np.asarray(2 * (angles % 1) - 1, dtype=np.float64)
    signal = x @ np.cos(np.outer(np.arange(features), np.arange(1, classes + 1)))
    return ScaledData("made up", x, features, signal.argmax(axis=1))


def test_several_classes_decay_and_batches_follow_the_reference() -> None:
    found = made_up(600, 6, 4)
    schedule = LogisticSchedule(passes=2, batch_records=50, momentum_16=12, rate_256=1024, l2_shift=8)
    twin, reference, end = learn_both(found, schedule, 200)
    predicted = twin.predict(found.integers[end:])
    assert (predicted != reference.predict(found.features[end:])).mean() <= 0.01
    assert (predicted == found.labels[end:]).mean() > 0.8
    assert np.abs(twin.weights / 2**18 - reference.weights).max() < 0.05


def test_decay_shrinks_weights_but_not_the_constant() -> None:
    twin = LogisticTwin.empty(2, 2, LogisticSchedule(l2_shift=3, rate_256=1))
    weights = np.array([[1 << 18, -(1 << 18), 1 << 18]])
    started = LogisticTwin(twin.schedule, weights, weights)
    after = started.learn(np.zeros((1, 2), dtype=np.int64), [1]).weights
    assert (after[0, :2] == [7 << 15, -(7 << 15)]).all()
    assert after[0, 2] > 1 << 18


def test_overflow_leaves_the_model_as_it_was() -> None:
    schedule = LogisticSchedule(rate_256=1 << 16)
    twin = LogisticTwin.empty(1, 2, schedule)
    x = np.full((4, 1), 1000)
    with pytest.raises(OverflowError, match="32 or more"):
        twin.learn(x, [1, 1, 1, 1])
    assert (twin.weights == 0).all()
    wide = LogisticTwin.empty(200, 2, LogisticSchedule(rate_256=1024))
    with pytest.raises(OverflowError, match="256 or more"):
        wide.learn(np.full((4, 200), 1023), [1, 1, 1, 1])


def test_features_out_of_range_are_refused() -> None:
    twin = LogisticTwin.empty(1, 2, LogisticSchedule())
    with pytest.raises(ValueError, match="2\\^10"):
        twin.learn([[1025]], [0])
    with pytest.raises(ValueError, match="2\\^10"):
        twin.learn([3], [0])


def test_an_empty_model_is_undecided() -> None:
    twin = LogisticTwin.empty(2, 2, LogisticSchedule())
    assert twin.predict([[1, 2]]).tolist() == [1]
    assert twin.probabilities([[1, 2]]).tolist() == [[256]]
    assert LogisticTwin.empty(2, 3, LogisticSchedule()).predict([[1, 2]]).tolist() == [0]
    assert sigmoid_fixed([0, -1]).tolist() == [256, 255]


def test_the_twin_shares_nothing_with_the_protocol_but_the_schedule() -> None:
    for module in (logistic_regression_twin, logistic_regression_schedule):
        tree = ast.parse(inspect.getsource(module))
        imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not [name for name in imported if name.startswith(("crypto", "roles.building_blocks"))]
    # The circuits may not import upwards: their copies of the public numbers are held together here.
    assert logistic.WEIGHT_BITS == logistic_regression_schedule.WEIGHT_BITS
    assert logistic.FORWARD_SHIFT == logistic_regression_schedule.FORWARD_SHIFT
    assert logistic.WORD_BITS - logistic.FORWARD_WORD_BITS == FEATURE_FRACTION_BITS
    assert logistic.WORD_BITS - logistic.ERROR_WORD_BITS == FEATURE_FRACTION_BITS + 1
