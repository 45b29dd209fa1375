"""Safe primes p = 2p' + 1, by a deep sieve over both p' and p, then a few hundred Fermat tests.

A test costs a millisecond at 1536 bits and a window's sieve a tenth of a second, while the
tests needed fall with the square of log B: hence millions of sieving primes. The sieve runs in
numpy, the tests in threads outside the interpreter lock.

Source:
    Wiener 2003, "Safe prime generation with a combined sieve"; docs/protocols.md §1.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import numpy.typing as npt

from crypto.arithmetic import fermat_passes, gcd, is_probable_prime
from crypto.coins import Coins

Progress = Callable[[int, float], None]
"""Called with the candidates tested so far and their expected number."""

MIN_PRIME_BITS = 16

# Candidates are 5 mod 6, as p' = 1 mod 3 makes 3 divide 2p' + 1.
STRIDE = 6

# Density of pairs (p', 2p' + 1) at x is 2·C2/ln²(x) of all integers, C2 the twin prime constant.
PAIRS_PER_INTEGER = 2 * 0.6601618158

TEST_BATCH = 16


def safe_prime(
    bits: int, coins: Coins, pool: ThreadPoolExecutor | None = None, progress: Progress | None = None
) -> int:
    """Return a random safe prime of exactly `bits` bits whose two top bits are set.

    So the product of two has exactly twice as many bits. The prime is a random survivor of
    a random window, tested in random order: it does not lean towards wide prime gaps.

    Args:
        bits: At least 16.
        coins: Fresh ones; the prime is as secret as they are.
        pool: Threads for the tests.
        progress: Hears of every batch of tests.

    Raises:
        ValueError: `bits` is too small.

    Security:
        p' passes Baillie–PSW and 16 random Miller–Rabin rounds; p is prime if p' is
        (Pocklington: 2^(p−1) = 1 mod p, gcd(2² − 1, p) = 1, and p' > √p).

    Cost:
        About (0.56 ln p / ln B)² Fermat tests: 1,400 for 1536 bits.
    """
    if bits < MIN_PRIME_BITS:
        raise ValueError(f"a safe prime here has at least {MIN_PRIME_BITS} bits")
    bound = sieve_bound(bits)
    # Positions per expected hit, in strides; four of them make a window that seldom fails.
    gap = (bits * math.log(2)) ** 2 / PAIRS_PER_INTEGER / STRIDE
    length = min(math.ceil(4 * gap), 1 << (bits - 6))
    low, high = 3 << (bits - 3), 1 << (bits - 1)
    tested = 0
    while True:
        start = low + coins.below(high - low - STRIDE * (length + 1))
        start += (5 - start) % STRIDE
        survivors = sieve(start, length, bound)
        order = np.argsort(coins.words(len(survivors), np.uint64))
        candidates = [start + STRIDE * int(position) for position in survivors[order]]
        expected = len(candidates) * gap / length
        for at in range(0, len(candidates), TEST_BATCH):
            batch = candidates[at : at + TEST_BATCH]
            verdicts = pool.map(_is_safe_half, batch) if pool is not None else map(_is_safe_half, batch)
            # Without a pool `next` stops at the first hit.
            found = next((half for half, passed in zip(batch, verdicts, strict=True) if passed), None)
            if found is not None:
                return 2 * found + 1
            tested += len(batch)
            if progress is not None:
                progress(tested, expected)


def sieve_bound(bits: int) -> int:
    """Return the sieve bound B that balances sieving and testing for primes of that length."""
    for limit, exponent in ((24, 7), (64, 9), (200, 12), (400, 14), (600, 17), (1200, 21), (1800, 23)):
        if bits <= limit:
            return 1 << exponent
    return 1 << 24


def sieve(start: int, length: int, bound: int) -> npt.NDArray[np.int64]:
    """Return the i in [0, length) for which neither h = start + 6i nor 2h + 1 has a factor below `bound`.

    Args:
        start: 5 mod 6, larger than `bound`.
        length: Size of the window.
        bound: Below 2^31.
    """
    struck = np.zeros(length, dtype=np.bool_)
    primes = primes_below(bound)[2:]
    inverse_six = np.where(primes % 6 == 5, primes + 1, 5 * primes + 1) // 6
    # h = 0 at i = −start/6; 2h + 1 = 0 at i = (−1/2 − start)/6
    roots_half = (primes - _residues(start, primes)) * inverse_six % primes
    roots_safe = (roots_half + primes // 2 * inverse_six) % primes
    split = int(np.searchsorted(primes, length))
    for roots in (roots_half, roots_safe):
        for prime, root in zip(primes[:split].tolist(), roots[:split].tolist(), strict=True):
            struck[root::prime] = True
        # A prime longer than the window strikes once at most.
        single = roots[split:]
        struck[single[single < length]] = True
    return np.flatnonzero(~struck)


def _residues(number: int, primes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    residues = np.zeros_like(primes)
    limbs = -(-number.bit_length() // 32)
    for index in reversed(range(limbs)):
        residues = ((residues << 32) + (number >> (32 * index) & 0xFFFFFFFF)) % primes
    return residues


@cache
def primes_below(bound: int) -> npt.NDArray[np.int64]:
    """Return all primes below `bound`, ascending."""
    flags = np.ones(max(bound, 2), dtype=np.bool_)
    flags[:2] = False
    for number in range(2, math.isqrt(max(bound, 2)) + 1):
        if flags[number]:
            flags[number * number :: number] = False
    return np.flatnonzero(flags[:bound])


def small_factor(number: int, bound: int) -> int | None:
    """Return the least prime below `bound` that divides `number` properly, or None.

    Cost:
        One gcd with the product of the primes below `bound`, which is kept.
    """
    common = gcd(number, _primorial(bound))
    if common == 1:
        return None
    divisors = (int(prime) for prime in primes_below(bound) if common % int(prime) == 0)
    return next((prime for prime in divisors if prime != number), None)


@cache
def _primorial(bound: int) -> int:
    return math.prod(primes_below(bound).tolist())


def _is_safe_half(half: int) -> bool:
    return fermat_passes(half) and fermat_passes(2 * half + 1) and is_probable_prime(half, rounds=40)
