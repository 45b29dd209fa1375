"""The public schedule: batches, dyadic factors, parts."""

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roles.classifiers.logistic_regression_schedule import (
    FEATURE_ONE,
    MAX_PART_RECORDS,
    LogisticSchedule,
    dyadic,
    part_sizes,
)


def test_batches_cover_a_chunk_in_order_pass_by_pass() -> None:
    assert LogisticSchedule(passes=2).batches(5) == ((0, 5), (0, 5))
    assert LogisticSchedule(passes=2, batch_records=2).batches(3) == ((0, 2), (2, 3)) * 2
    assert LogisticSchedule().batches(1) == ((0, 1),)
    with pytest.raises(ValueError, match="a step takes"):
        LogisticSchedule().batches(0)


@given(records=st.integers(1, 50), size=st.integers(0, 60), passes=st.integers(1, 3))
def test_steps_are_counted_as_they_are_listed(records: int, size: int, passes: int) -> None:
    schedule = LogisticSchedule(passes=passes, batch_records=size)
    assert schedule.step_count(records) == len(schedule.batches(records))
    # Counting takes no time, however many there are.
    assert LogisticSchedule(passes=passes, batch_records=1).step_count(1 << 60) == passes << 60


@given(numerator=st.integers(1, 1 << 40), denominator=st.integers(1, 1 << 60))
# Just below a power of two, on either side of what rounds up to it.
@example(numerator=127, denominator=32767)
@example(numerator=255, denominator=256)
@example(numerator=511, denominator=512)
def test_dyadic_factors_are_near_and_have_seven_bits(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    if exact >= 127:
        return
    factor = dyadic(numerator, denominator)
    assert 64 <= factor.multiplier < 128
    assert factor.shift >= 0
    assert abs(Fraction(factor.multiplier, 2**factor.shift) / exact - 1) <= Fraction(1, 128)
    value = Fraction(factor.multiplier, 2**factor.shift)
    step = Fraction(1, 2**factor.shift)
    assert abs(value - exact) <= step / 2


def test_factors_follow_rate_and_decay() -> None:
    schedule = LogisticSchedule(rate_256=512, decay_steps=10)
    # η/(4n) = 2/(4·500) = 0.001.
    assert schedule.factor(0, 500) == dyadic(1, 1000)
    assert schedule.factor(30, 500) == dyadic(1, 4000)
    assert LogisticSchedule(rate_256=512).factor(30, 500) == dyadic(1, 1000)
    with pytest.raises(ValueError, match="positive"):
        dyadic(0, 1)
    with pytest.raises(ValueError, match="too large"):
        dyadic(200, 1)


def test_a_part_is_exact_in_32_bits_even_for_a_hostile_owner() -> None:
    assert part_sizes(5000) == (2047, 2047, 906)
    assert part_sizes(1) == (1,)
    assert MAX_PART_RECORDS * (2 * 511 + 1) * FEATURE_ONE < 1 << 31


@pytest.mark.parametrize(
    "wrong",
    [
        {"passes": 0},
        {"batch_records": -1},
        {"rate_256": 0},
        {"decay_steps": -1},
        {"momentum_16": 16},
        {"l2_shift": 24},
    ],
)
def test_numbers_without_a_circuit_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must lie between"):
        LogisticSchedule(**wrong)
