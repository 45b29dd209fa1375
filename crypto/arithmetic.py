"""Modular arithmetic on plain integers; the only module that knows gmpy2.

Everything here takes and returns `int`. `mpz` is exported for `crypto.multi_power`, which keeps
its accumulators in gmpy2's form; at run time an `mpz` is no `int`, so none may leave these two
modules. Powers are counted (`crypto.counting`) in the caller's context.

Security:
    gmpy2's sliding-window powers, and the table look-ups here, take time that depends on the
    exponent. The units compute on machines of their own and answer in rounds; docs/security.md
    says what a co-resident observer could still measure.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import gmpy2
from gmpy2 import mpz

from crypto.counting import count

__all__ = [
    "FixedBase",
    "fermat_passes",
    "gcd",
    "inverse",
    "inverses",
    "is_perfect_power",
    "is_probable_prime",
    "jacobi",
    "mpz",
    "power",
    "powers",
    "powers_of_base",
    "product",
    "products_pairwise",
    "remainder",
]

# One task per this many powers: a short power takes 1 to 3 ms, handing over a task some 50 µs.
POWERS_PER_TASK = 8


def power(base: int, exponent: int, modulus: int) -> int:
    """Return base^exponent mod modulus.

    Raises:
        ValueError: The exponent is negative.
    """
    return powers([base], exponent, modulus)[0]


def powers(
    bases: Sequence[int], exponent: int, modulus: int, pool: ThreadPoolExecutor | None = None
) -> list[int]:
    """Raise every base to the same power, in the threads of `pool` if there is one.

    Args:
        bases: Shape (n,), n >= 0.
        exponent: Not negative.
        modulus: Positive.
        pool: Threads to share the work; gmpy2 runs it outside the interpreter lock. Must not
            be a pool whose worker is the caller.

    Returns:
        Shape (n,), in the order of `bases`.

    Raises:
        ValueError: The exponent is negative.
    """
    _count_powers(len(bases), exponent, modulus)

    def raise_chunk(chunk: Sequence[int]) -> list[int]:
        return [int(value) for value in gmpy2.powmod_base_list(list(chunk), exponent, modulus)]

    return _spread(raise_chunk, bases, pool)


def powers_of_base(
    base: int, exponents: Sequence[int], modulus: int, pool: ThreadPoolExecutor | None = None
) -> list[int]:
    """Return base^e mod modulus for every exponent; otherwise as `powers`."""
    for exponent in exponents:
        _count_powers(1, exponent, modulus)

    def raise_chunk(chunk: Sequence[int]) -> list[int]:
        return [int(value) for value in gmpy2.powmod_exp_list(base, list(chunk), modulus)]

    return _spread(raise_chunk, exponents, pool)


def inverse(a: int, modulus: int) -> int:
    """Return a^-1 mod modulus.

    Raises:
        ValueError: `a` is not invertible.
    """
    try:
        return int(gmpy2.invert(a, modulus))
    except ZeroDivisionError:
        raise ValueError("not invertible") from None


def inverses(values: Sequence[int], modulus: int) -> list[int]:
    """Invert every value with a single inversion (Montgomery's trick).

    Raises:
        ValueError: One of the values is not invertible; nothing says which.

    Cost:
        One inversion and 3(n − 1) multiplications.
    """
    if not values:
        return []
    divisor = mpz(modulus)
    factors = [mpz(value) for value in values]
    prefixes = [factors[0]]
    for factor in factors[1:]:
        prefixes.append(prefixes[-1] * factor % divisor)
    running = mpz(inverse(int(prefixes[-1]), modulus))
    found = [0] * len(factors)
    for index in range(len(factors) - 1, 0, -1):
        found[index] = int(running * prefixes[index - 1] % divisor)
        running = running * factors[index] % divisor
    found[0] = int(running)
    return found


def product(values: Sequence[int], modulus: int) -> int:
    """Return the product of all values mod modulus; 1 mod modulus of none."""
    divisor = mpz(modulus)
    running = mpz(1) % divisor
    for value in values:
        running = running * value % divisor
    return int(running)


def products_pairwise(a: Sequence[int], b: Sequence[int], modulus: int) -> list[int]:
    """Return a_i · b_i mod modulus for every i.

    Raises:
        ValueError: The lengths differ.
    """
    divisor = mpz(modulus)
    return [int(mpz(x) * y % divisor) for x, y in zip(a, b, strict=True)]


def remainder(a: int, modulus: int) -> int:
    """Return a mod modulus; four times as fast as `%` for a component and its N."""
    return int(mpz(a) % modulus)


def jacobi(a: int, n: int) -> int:
    """Return the Jacobi symbol (a / n) for odd positive n: −1, 0 or 1; a need not be reduced."""
    return gmpy2.jacobi(a, n)


def gcd(a: int, b: int) -> int:
    """Return the greatest common divisor."""
    return int(gmpy2.gcd(a, b))


def is_probable_prime(n: int, rounds: int = 40) -> bool:
    """Return whether n passes a Baillie–PSW test and further Miller–Rabin rounds.

    GMP counts Baillie–PSW for 24 rounds, so at least `rounds` − 24 bases are random ones.
    """
    return n > 1 and gmpy2.is_prime(n, rounds)


def fermat_passes(n: int) -> bool:
    """Return whether 2^(n−1) = 1 mod n, computed outside the interpreter lock; n odd, n > 2.

    The cheap first test of a prime search. Not counted: it belongs to no protocol.
    """
    return gmpy2.powmod_base_list([2], n - 1, n)[0] == 1


def is_perfect_power(n: int) -> bool:
    """Return whether n = b^k for integers b and k >= 2."""
    return gmpy2.is_power(n)


class FixedBase:
    """A table that turns powers of one base mod N² into a few multiplications, no squarings.

    The table holds base^(j · 2^(wi)) for every window i and digit j. Entries are kept in the
    form a(1 + cN) with a, c < N: the factors (1 + cN) multiply by adding their c, and what is
    left, a product of half-width numbers modulo N², needs two half-width multiplications and
    divisions instead of one full-width pair (measured a third faster at 3072 bits).

    Args:
        base: Invertible mod N; public (the table of a secret base would be as secret).
        modulus: N², a perfect square.
        exponent_bits: Exponents lie in [0, 2^exponent_bits).
        window_bits: w. Memory is about exponent_bits/w · 2^w residues mod N²: 6 MB at w = 8,
            |N| = 3072 and 256-bit exponents; 0.8 MB at w = 4.

    Raises:
        ValueError: The modulus is no square, the base not invertible, or a size is out of range.

    Cost:
        About exponent_bits/w · 2^w multiplications to build, exponent_bits/w per power.
    """

    __slots__ = ("_root", "_table", "exponent_bits", "window_bits")

    def __init__(self, base: int, modulus: int, exponent_bits: int, window_bits: int = 8) -> None:
        if exponent_bits < 1 or not 1 <= window_bits <= 16:
            raise ValueError("exponent_bits must be positive, window_bits 1 to 16")
        self.exponent_bits = exponent_bits
        self.window_bits = window_bits
        self._root, remainder = gmpy2.isqrt_rem(modulus)
        if remainder or modulus <= 1:
            raise ValueError("the modulus of a table is the square of N")
        self._table: list[list[tuple[mpz, mpz]]] = []
        unit = mpz(base)
        for low in range(0, exponent_bits, window_bits):
            # The entry one past the row is the next row's unit; the last row may be narrower.
            row, unit = self._row(unit, 1 << min(window_bits, exponent_bits - low))
            self._table.append(row)

    def _row(self, unit: mpz, length: int) -> tuple[list[tuple[mpz, mpz]], mpz]:
        root = self._root
        high, a_unit = divmod(unit, root)
        inverse_unit = mpz(inverse(int(a_unit), int(root)))
        c_unit = high * inverse_unit % root
        row = [(mpz(1), mpz(0))]
        a, c, inverse_a = mpz(1), mpz(0), mpz(1)
        for _ in range(length):
            # a · a_unit = a' + quotient · N = a'(1 + quotient · a'^-1 · N) mod N²
            quotient, a = divmod(a * a_unit, root)
            inverse_a = inverse_a * inverse_unit % root
            c = (c + c_unit + quotient * inverse_a) % root
            row.append((a, c))
        a, c = row.pop()
        return row, a + a * c % root * root

    def __repr__(self) -> str:
        return f"FixedBase(exponent_bits={self.exponent_bits}, window_bits={self.window_bits})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("tables are rebuilt where they are needed, not pickled")

    def power(self, exponent: int) -> int:
        """Return base^exponent mod N².

        Raises:
            ValueError: The exponent is negative or longer than the table.
        """
        count(fixed_base=1)
        return self._power(exponent)

    def powers(self, exponents: Sequence[int], pool: ThreadPoolExecutor | None = None) -> list[int]:
        """Return base^e mod N² for every exponent, in order.

        `pool` is taken for symmetry with the module's `powers` and left alone: multiplications
        hold the interpreter lock, so threads would only add their cost.

        Raises:
            ValueError: An exponent is negative or longer than the table.
        """
        count(fixed_base=len(exponents))
        return [self._power(exponent) for exponent in exponents]

    def _power(self, exponent: int) -> int:
        if exponent < 0 or exponent.bit_length() > self.exponent_bits:
            raise ValueError(f"exponent outside [0, 2^{self.exponent_bits})")
        root, mask = self._root, (1 << self.window_bits) - 1
        # The power is (a + high · N)(1 + cN) mod N².
        a, c = self._table[0][exponent & mask]
        high = mpz(0)
        for row in self._table[1:]:
            exponent >>= self.window_bits
            digit = exponent & mask
            if digit:
                factor, shift = row[digit]
                quotient, a = divmod(a * factor, root)
                high = (high * factor + quotient) % root
                c += shift
        return int(a + (high + a * c) % root * root)


def _count_powers(amount: int, exponent: int, modulus: int) -> None:
    if exponent < 0:
        raise ValueError("negative exponent: invert the base instead")
    # More than |N²|/4 = |N|/2 bits is what the cost lines call a full power; N² may be a bit short.
    if exponent.bit_length() > (modulus.bit_length() + 1) // 4:
        count(powers_full=amount)
    else:
        count(powers_short=amount)


def _spread(
    task: Callable[[Sequence[int]], list[int]], values: Sequence[int], pool: ThreadPoolExecutor | None
) -> list[int]:
    if pool is None or len(values) <= 1:
        return task(values)
    # Few values are still worth one thread each; many go in chunks.
    size = min(POWERS_PER_TASK, -(-len(values) // 4))
    parts = pool.map(task, [values[low : low + size] for low in range(0, len(values), size)])
    return [value for part in parts for value in part]
