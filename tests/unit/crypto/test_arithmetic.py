from concurrent.futures import ThreadPoolExecutor
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.arithmetic import (
    FixedBase,
    fermat_passes,
    gcd,
    inverse,
    inverses,
    is_perfect_power,
    is_probable_prime,
    jacobi,
    power,
    powers,
    powers_of_base,
    product,
    products_pairwise,
)
from crypto.counting import counting

P, Q = 1000003, 998244353
N = P * Q
N_SQUARED = N * N

residues = st.integers(0, N_SQUARED - 1)
units = residues.filter(lambda x: x % P and x % Q)


@given(st.lists(residues, max_size=20), st.integers(0, 1 << 80))
def test_powers_agree_with_pow_in_order_and_are_plain_integers(bases: list[int], exponent: int) -> None:
    found = powers(bases, exponent, N_SQUARED)

    assert found == [pow(base, exponent, N_SQUARED) for base in bases]
    assert all(type(value) is int for value in found)


@pytest.mark.parametrize("amount", [0, 1, 2, 7, 8, 9, 33, 100])
def test_a_pool_changes_no_result(amount: int) -> None:
    bases = list(range(2, 2 + amount))
    with ThreadPoolExecutor(2) as pool:
        assert powers(bases, 12345, N_SQUARED, pool) == powers(bases, 12345, N_SQUARED)
        assert powers_of_base(7, bases, N_SQUARED, pool) == [pow(7, e, N_SQUARED) for e in bases]


def test_negative_exponents_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        power(3, -1, N)
    with pytest.raises(ValueError, match="negative"):
        powers_of_base(3, [1, -1], N)


@given(st.lists(units, max_size=20))
def test_batch_inverses_agree_with_single_ones(values: list[int]) -> None:
    found = inverses(values, N_SQUARED)

    assert found == [pow(value, -1, N_SQUARED) for value in values]
    assert found == [inverse(value, N_SQUARED) for value in values]
    assert all(type(value) is int for value in found)


def test_a_single_common_factor_refuses_the_batch() -> None:
    with pytest.raises(ValueError, match="not invertible"):
        inverses([2, 3, 5 * P, 7], N_SQUARED)
    with pytest.raises(ValueError, match="not invertible"):
        inverse(0, N_SQUARED)


@given(st.lists(st.tuples(residues, residues), max_size=10))
def test_products_agree_with_plain_integers(pairs: list[tuple[int, int]]) -> None:
    left, right = [a for a, _ in pairs], [b for _, b in pairs]

    assert product(left, N_SQUARED) == prod(left) % N_SQUARED
    assert products_pairwise(left, right, N_SQUARED) == [a * b % N_SQUARED for a, b in pairs]


def test_pairwise_products_need_equal_lengths() -> None:
    with pytest.raises(ValueError, match="zip"):
        products_pairwise([1, 2], [3], N)


def test_number_theory_on_small_known_values() -> None:
    assert [jacobi(a, 15) for a in range(6)] == [0, 1, 1, 0, 1, 0]
    assert gcd(84, 36) == 12
    # 561 is a Carmichael number, 341 a base-2 pseudoprime.
    assert not is_probable_prime(561)
    assert not is_probable_prime(341)
    assert not is_probable_prime(1)
    assert not is_probable_prime(-7)
    assert is_probable_prime(2**127 - 1)
    assert fermat_passes(341)
    assert not fermat_passes(343)
    assert is_perfect_power(3**7)
    assert not is_perfect_power(N)


@pytest.mark.parametrize(
    ("exponent_bits", "window_bits"), [(1, 8), (13, 4), (64, 8), (65, 8), (63, 1), (30, 11)]
)
def test_a_table_agrees_with_pow_at_every_edge(exponent_bits: int, window_bits: int) -> None:
    base = 123456789123456789 % N_SQUARED
    table = FixedBase(base, N_SQUARED, exponent_bits, window_bits)
    largest = (1 << exponent_bits) - 1
    exponents = [0, 1, largest, largest // 3, 1 << (exponent_bits - 1), largest ^ (1 << (exponent_bits // 2))]

    assert table.powers(exponents) == [pow(base, e, N_SQUARED) for e in exponents]
    assert type(table.power(largest)) is int


@given(units, st.integers(0, (1 << 40) - 1))
def test_a_table_agrees_with_pow_for_any_base(base: int, exponent: int) -> None:
    assert FixedBase(base, N_SQUARED, 40, 3).power(exponent) == pow(base, exponent, N_SQUARED)


def test_a_table_refuses_exponents_it_does_not_cover() -> None:
    table = FixedBase(2, N_SQUARED, 10)
    for exponent in (-1, 1 << 10):
        with pytest.raises(ValueError, match="outside"):
            table.power(exponent)


def test_a_table_refuses_what_it_cannot_represent() -> None:
    with pytest.raises(ValueError, match="square"):
        FixedBase(2, N_SQUARED + 1, 10)
    with pytest.raises(ValueError, match="not invertible"):
        FixedBase(P, N_SQUARED, 10)
    with pytest.raises(ValueError, match="window_bits"):
        FixedBase(2, N_SQUARED, 10, 0)


def test_a_power_counts_as_full_beyond_half_the_length_of_n() -> None:
    half = N.bit_length() // 2
    with counting() as tally:
        power(3, (1 << half) - 1, N_SQUARED)
        powers([3, 4, 5], 1 << half, N_SQUARED)
        powers_of_base(3, [1, 1 << half], N_SQUARED)
        FixedBase(2, N_SQUARED, 10).powers([1, 2, 3])

    assert (tally.powers_short, tally.powers_full, tally.fixed_base) == (2, 4, 3)
