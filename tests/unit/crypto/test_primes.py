from concurrent.futures import ThreadPoolExecutor

import pytest
from doubles import seeded_coins

from crypto.arithmetic import is_probable_prime
from crypto.primes import primes_below, safe_prime, sieve, small_factor


@pytest.mark.parametrize("bits", [16, 17, 20, 24, 25, 32, 64, 65, 128, 256])
def test_a_safe_prime_has_its_exact_size_and_two_top_bits(bits: int) -> None:
    for seed in range(5):
        p = safe_prime(bits, seeded_coins(seed))

        assert p >> (bits - 2) == 0b11
        assert is_probable_prime(p, 64)
        assert is_probable_prime(p // 2, 64)


def test_a_pool_finds_the_same_prime() -> None:
    with ThreadPoolExecutor(2) as pool:
        assert safe_prime(128, seeded_coins("pool"), pool) == safe_prime(128, seeded_coins("pool"))


def test_other_coins_find_another_prime() -> None:
    assert safe_prime(128, seeded_coins(1)) != safe_prime(128, seeded_coins(2))


def test_progress_counts_tests_against_a_plausible_expectation() -> None:
    calls: list[tuple[int, float]] = []
    for seed in range(20):
        safe_prime(
            256, seeded_coins(seed), progress=lambda tested, expected: calls.append((tested, expected))
        )

    assert calls
    assert all(tested > 0 for tested, _ in calls)
    # (0.56 · ln 2^256 / ln 2^14)² = 105
    assert all(80 < expected < 130 for _, expected in calls)


def test_too_small_a_prime_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 bits"):
        safe_prime(15, seeded_coins(0))


@pytest.mark.parametrize("start", [10**9 + 7, 2**89 + 1, 12345678901234567890])
def test_the_sieve_strikes_exactly_the_multiples(start: int) -> None:
    start += (5 - start) % 6
    # The window is shorter than some of the primes and longer than others.
    length, bound = 300, 1000
    survivors = set(sieve(start, length, bound).tolist())

    by_division = {
        i
        for i in range(length)
        if all((start + 6 * i) % p and (2 * (start + 6 * i) + 1) % p for p in primes_below(bound).tolist())
    }
    assert survivors == by_division


def test_primes_below_a_bound() -> None:
    assert primes_below(30).tolist() == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
    assert primes_below(29).tolist()[-1] == 23
    assert primes_below(2).tolist() == []
    assert len(primes_below(10**6)) == 78498


def test_small_factors_are_proper_divisors() -> None:
    assert small_factor(7 * 10007 * 1000003, 100) == 7
    assert small_factor(97 * 1000003, 97) is None
    assert small_factor(97 * 1000003, 98) == 97
    assert small_factor(97, 1000) is None
