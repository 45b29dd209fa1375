"""The tree in the clear: the public schedule, the split rule, labels, streams that misbehave."""

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from roles.classifiers.hoeffding_tree_growth import (
    MAX_STATISTICS,
    AttributeSizes,
    Growth,
    TreeSettings,
    bits_of_tests,
    count_tests,
    tie_records,
    words_of_tests,
)
from roles.classifiers.hoeffding_tree_twin import HoeffdingTreeTwin

Bits = npt.NDArray[np.uint8]

SIZES: AttributeSizes = ((2, False), (3, False), (4, True))


def onehot(sizes: AttributeSizes, indices: npt.NDArray[np.int64]) -> Bits:
    columns = [
        np.eye(size, dtype=np.uint8)[column] for (size, _), column in zip(sizes, indices.T, strict=True)
    ]
    return np.concatenate(columns, axis=1)


def records(size: int, seed: int, sizes: AttributeSizes = SIZES) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, width, size) for width, _ in sizes], axis=1)


def train(twin: HoeffdingTreeTwin, rows: Bits, labels: npt.NDArray[np.int64], chunk: int = 50) -> None:
    classes = np.eye(twin.classes, dtype=np.uint8)[labels]
    for start in range(0, len(rows), chunk):
        twin.learn_window([(rows[start : start + chunk], classes[start : start + chunk])])
        if twin.growth.attempt_is_due:
            twin.attempt()
    twin.refresh_labels()


def settings(**changes: Any) -> TreeSettings:
    return TreeSettings(
        **{"max_leaves": 8, "attempt_records": 50, "confidence_16": 74, "tie_records": 400} | changes
    )


def test_it_finds_the_rule_behind_the_labels() -> None:
    twin = HoeffdingTreeTwin.empty(SIZES, 2, settings())
    indices = records(3000, 1)
    # A numeric threshold first, and another attribute on one of its sides.
    labels = np.where(indices[:, 2] <= 1, 0, np.where(indices[:, 1] == 2, 0, 1))
    train(twin, onehot(SIZES, indices), labels)
    assert len(twin.growth.leaves) >= 3
    fresh = records(500, 2)
    expected = np.where(fresh[:, 2] <= 1, 0, np.where(fresh[:, 1] == 2, 0, 1))
    assert (twin.predict(onehot(SIZES, fresh)) == expected).all()


def test_tests_are_values_and_thresholds() -> None:
    rows = onehot(SIZES, np.array([[0, 2, 0], [1, 0, 2]]))
    expected = [[1, 0, 0, 0, 1, 1, 1, 1], [0, 1, 1, 0, 0, 0, 0, 1]]
    assert count_tests(SIZES) == 8
    assert bits_of_tests(rows, SIZES).tolist() == expected
    assert words_of_tests(rows.astype(np.uint32), SIZES).tolist() == expected
    mask = np.random.default_rng(1).integers(0, 2, rows.shape, dtype=np.uint8)
    assert (bits_of_tests(rows ^ mask, SIZES) ^ bits_of_tests(mask, SIZES)).tolist() == expected


def test_nothing_splits_where_all_tests_are_useless() -> None:
    twin = HoeffdingTreeTwin.empty(SIZES, 2, settings(tie_records=0))
    # One class only: every candidate has the same merit, and the null split has the lowest index.
    train(twin, onehot(SIZES, records(600, 3)), np.ones(600, dtype=np.int64))
    assert len(twin.growth.leaves) == 1
    assert twin.predict(onehot(SIZES, records(3, 4))).tolist() == [1, 1, 1]


def test_the_lowest_of_equal_tests_wins() -> None:
    sizes: AttributeSizes = ((2, False), (2, False))
    twin = HoeffdingTreeTwin.empty(sizes, 2, settings())
    indices = records(800, 5, sizes)
    indices[:, 1] = indices[:, 0]
    train(twin, onehot(sizes, indices), indices[:, 0])
    # All four tests say the same, and only the tie threshold lets the first of them split.
    assert twin.tests[0] == 0
    assert twin.growth.nodes[1].since > 400


def test_one_attribute_of_one_threshold() -> None:
    sizes: AttributeSizes = ((2, True),)
    twin = HoeffdingTreeTwin.empty(sizes, 2, settings())
    indices = records(500, 6, sizes)
    train(twin, onehot(sizes, indices), 1 - indices[:, 0])
    assert twin.tests == {0: 0}
    assert twin.predict(onehot(sizes, np.array([[0], [1]]))).tolist() == [1, 0]


def test_a_stream_whose_best_test_changes() -> None:
    twin = HoeffdingTreeTwin.empty(SIZES, 2, settings())
    indices = records(6000, 7)
    labels = np.where(np.arange(6000) < 1000, indices[:, 0], indices[:, 1] == 1)
    train(twin, onehot(SIZES, indices), labels)
    assert twin.tests[0] in (0, 1)
    fresh = records(400, 8)
    assert (twin.predict(onehot(SIZES, fresh)) == (fresh[:, 1] == 1)).mean() > 0.95


def test_invalid_records_and_rows() -> None:
    twin = HoeffdingTreeTwin.empty(SIZES, 2, settings())
    rows = onehot(SIZES, records(6, 9))
    labels = np.eye(2, dtype=np.uint8)[[0, 1, 0, 1, 0, 1]]
    rows[0] = 0
    rows[1, 1:4] = 1
    labels[2] = 1
    assert twin.learn_window([(rows, labels)]) == [3]
    assert twin.totals[0].sum() == 3
    twin.refresh_labels()
    assert (twin.predict(rows) == 2).tolist() == [True, True, False, False, False, False]


def test_children_start_from_the_class_counts_of_the_chosen_test() -> None:
    twin = HoeffdingTreeTwin.empty(SIZES, 3, settings())
    indices = records(50, 10)
    indices[:, 0] = np.arange(50) % 2
    classes = np.eye(3, dtype=np.uint8)[np.where(indices[:, 0] == 1, 2, np.arange(50) % 4 == 0)]
    for _ in range(9):
        twin.learn_window([(onehot(SIZES, indices), classes)])
    assert [decision.splits for decision in twin.attempt()] == [True]
    twin.refresh_labels()
    left, right = (twin.totals[node].tolist() for node in (1, 2))
    assert (np.add(left, right) == 9 * classes.sum(axis=0)).all()
    assert {left[2], right[2]} == {0, 225}


def test_capacity_and_depth_bound_what_is_due() -> None:
    growth = Growth(settings(max_leaves=3, max_depth=2))
    assert growth.due == (0,)
    assert not growth.attempt_is_due
    growth = growth.after_window(50)
    assert growth.attempt_is_due
    growth = growth.after_attempt([True])
    assert (growth.leaves, growth.inner, growth.routes) == ((1, 2), (0,), ((-1, -2),))
    # Two leaves could split, and there is room for one more: they take turns.
    assert growth.due == (1,)
    growth = growth.after_window(50).after_attempt([False])
    assert growth.due == (2,)
    growth = growth.after_window(50).after_attempt([True])
    assert growth.leaves == (1, 3, 4)
    assert not growth.is_growing
    assert growth.due == ()
    assert growth.window([50] * 9) == 8
    deep = Growth(settings(max_depth=0))
    assert not deep.is_growing


def test_a_window_ends_with_an_attempt_or_after_k_chunks() -> None:
    growth = Growth(settings(chunks_per_seal=3, attempt_records=50))
    assert growth.window([20, 20]) == 0
    assert growth.window([20, 20, 20, 20]) == 3
    assert growth.window([60, 20]) == 1
    assert growth.after_window(40).window([9, 1, 5]) == 2


def test_statistics_start_again_before_they_pass_16_bits() -> None:
    growth = Growth(settings()).after_window(MAX_STATISTICS - 10)
    assert growth.restarting(10, 100) == ()
    assert growth.restarting(11, 100) == (0,)
    assert growth.restarting(1, 1) == (0,)
    after = growth.after_window(11, (0,))
    assert (after.nodes[0].since, after.nodes[0].windows) == (MAX_STATISTICS - 10, 1)
    assert after.count_bits((0,)) == 4


def test_the_tie_threshold() -> None:
    # The bound √(ln(1/δ)/2n) falls below τ = 0.05 between these numbers of records.
    records_at = tie_records(258, Fraction(1, 20))
    assert records_at == 3225
    assert (258 / 16 / (2 * records_at)) ** 0.5 >= 0.05 > (258 / 16 / (2 * (records_at + 1))) ** 0.5
    assert tie_records(258, Fraction(0)) == (1 << 29) - 1
    # Four classes: the entropy ranges over [0, 2].
    assert tie_records(258, Fraction(1, 20), Fraction(4)) == 12900


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_leaves": 0},
        {"max_leaves": 1 << 40},
        {"attempt_records": 0},
        {"chunks_per_seal": 65},
        {"leaves_per_attempt": 65},
        {"confidence_16": 0},
        {"tie_records": -1},
    ],
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"between|range"):
        TreeSettings(**wrong)
