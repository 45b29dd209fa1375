"""Products of powers against the built-in pow, over every window and the odd corners."""

import math

import pytest
from doubles import seeded_coins
from hypothesis import given, settings
from hypothesis import strategies as st
from vector_keys import vector_case

from crypto import multi_power as module
from crypto.counting import counting
from crypto.multi_power import multi_power, multi_powers, window_bits

N = int(vector_case(256)["N"])
MODULUS = N * N


def expected(bases: list[int], exponents: list[int]) -> int:
    found = 1
    for base, exponent in zip(bases, exponents, strict=True):
        found = found * pow(base, exponent, MODULUS) % MODULUS
    return found


def draw(count: int, bits: int) -> tuple[list[int], list[int]]:
    coins = seeded_coins(f"{count} {bits}")
    return [coins.unit_below(MODULUS) for _ in range(count)], [coins.integer_bits(bits) for _ in range(count)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 2**500).filter(lambda x: math.gcd(x, N) == 1), st.integers(0, 2**90)),
        max_size=12,
    )
)
def test_agrees_with_single_powers(pairs: list[tuple[int, int]]) -> None:
    bases, exponents = [base for base, _ in pairs], [exponent for _, exponent in pairs]
    assert multi_power(bases, exponents, MODULUS) == expected(bases, exponents)


@pytest.mark.parametrize("bits", [1, 2, 7, 11, 128, 208])
@pytest.mark.parametrize("window", range(1, 9))
def test_every_window_gives_the_same_product(window: int, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bases, exponents = draw(9, bits)
    # All ones carries out of every digit; the lengths of the others differ.
    exponents[:3] = [(1 << bits) - 1, 1 << (bits - 1), 1]
    monkeypatch.setattr(module, "window_bits", lambda *_: window)
    assert multi_power(bases, exponents, MODULUS) == expected(bases, exponents)


@pytest.mark.parametrize(("count", "bits"), [(1, 128), (2, 128), (40, 128), (300, 128), (250, 208)])
def test_sizes_of_training(count: int, bits: int) -> None:
    bases, exponents = draw(count, bits)
    assert multi_power(bases, exponents, MODULUS) == expected(bases, exponents)


def test_exponents_of_mixed_lengths() -> None:
    bases, exponents = draw(30, 208)
    exponents = [exponent >> (7 * index) for index, exponent in enumerate(exponents)]
    assert multi_power(bases, exponents, MODULUS) == expected(bases, exponents)


def test_rows_share_exponents() -> None:
    bases, exponents = draw(10, 128)
    rows = [bases, bases[::-1], [1] * 10]
    assert multi_powers(rows, exponents, MODULUS) == [expected(row, exponents) for row in rows]


def test_bases_need_not_be_reduced() -> None:
    bases, exponents = draw(6, 128)
    bases = [-bases[0], *(base + 3 * MODULUS for base in bases[1:])]
    assert multi_power(bases, exponents, MODULUS) == expected(bases, exponents)


def test_powers_of_one_plus_n() -> None:
    assert multi_power([1 + N, 1 + 5 * N], [3, 7], MODULUS) == 1 + 38 * N


def test_repeated_bases_and_bases_of_small_order() -> None:
    bases = [MODULUS - 1, MODULUS - 1, 1, 5, 5]
    exponents = [3, 4, 9, 2**128 - 1, 2**127]
    assert multi_power(bases, exponents, MODULUS) == expected(bases, exponents)


def test_empty_products_are_one() -> None:
    assert multi_power([], [], MODULUS) == 1
    assert multi_power([N, 2], [0, 0], MODULUS) == 1
    assert multi_powers([], [1], MODULUS) == []
    assert multi_powers([[], []], [], MODULUS) == [1, 1]


def test_result_is_a_plain_int() -> None:
    assert type(multi_power([2, 3], [5, 7], MODULUS)) is int


def test_refuses_what_it_cannot_compute() -> None:
    with pytest.raises(ValueError, match="square"):
        multi_power([2], [3], MODULUS + 1)
    with pytest.raises(ValueError, match="square"):
        multi_power([2], [3], 1)
    with pytest.raises(ValueError, match="negative"):
        multi_power([2], [-3], MODULUS)
    with pytest.raises(ValueError, match="as many"):
        multi_power([2, 3], [3], MODULUS)
    with pytest.raises(ValueError, match="invertible"):
        multi_power([2, int(vector_case(256)["p"])], [3, 3], MODULUS)


def test_counts_bases_of_every_row() -> None:
    with counting() as tally:
        multi_powers([[2, 3], [5, 7]], [1, 2], MODULUS)
    assert tally.as_dict() == {name: 4 if name == "multi_bases" else 0 for name in tally.as_dict()}


def test_window_grows_with_the_number_of_bases() -> None:
    windows = [window_bits(count, 208) for count in (1, 10, 100, 1000, 10000)]
    assert windows == sorted(windows)
    assert windows[0] == 1
    assert 6 <= window_bits(600, 208) <= 8
