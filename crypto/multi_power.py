"""Products of many powers mod N², the arithmetic of proof verification.

Three things make it cheap, compared with one power per base:

- The squarings are shared. Exponents are cut into windows of w bits, most significant first; in
  a window every base is multiplied into the bucket of its digit, and the buckets are combined by
  running products (Pippenger, Straus for w = 1).
- Numbers stand as a + bN with a, b < N. A product mod N² is then three half-width
  multiplications and two half-width divisions, a squaring one multiplication less: 0.6 of the
  full-width price at 3072 bits, where division dominates.
- A base x = a(1 + tN) enters buckets as the half-width a alone, and x^-1 as a^-1 mod N, which
  need a multiplication less again. What that leaves out is a power of 1 + N, and exponents of
  1 + N add: they are gathered in one sum. Inverses cost next to nothing then, so digits are
  signed, which halves the buckets.

Everything runs under the interpreter lock. A single multiplication is too short to be worth a
thread's hand-over, so the two components of a proof are computed one after the other.
"""

from collections.abc import Sequence
from math import isqrt

from crypto.arithmetic import inverses, mpz
from crypto.counting import count

# Relative price of a squaring, of a bucket taking in a base, and of a general multiplication in
# the form a + bN, measured from 2048 to 4096 bits.
_SQUARING, _INSERTION, _MULTIPLICATION = 1.0, 1.0, 1.25

_WIDEST_WINDOW = 12


def multi_power(bases: Sequence[int], exponents: Sequence[int], modulus: int) -> int:
    """Return the product of all bases[i]^exponents[i] mod N².

    Args:
        bases: Shape (n,), n >= 0; invertible mod N, not necessarily reduced.
        exponents: Shape (n,), none negative. Those of value 0 cost nothing.
        modulus: N², a perfect square.

    Raises:
        ValueError: The modulus is no square, a base is not invertible, an exponent is negative,
            or the lengths differ.

    Security:
        Time depends on the exponents: for public ones only.

    Cost:
        Counted as `multi_bases`. About 20 full-width multiplications mod N² per base for 600
        bases and 208-bit exponents, 15 for 300 bases and 128-bit exponents.

    Source:
        Pippenger, "On the evaluation of powers and monomials", 1980; docs/protocols.md §1.
    """
    return multi_powers([bases], exponents, modulus)[0]


def multi_powers(rows: Sequence[Sequence[int]], exponents: Sequence[int], modulus: int) -> list[int]:
    """Return one product of powers per row of bases; all rows have the same exponents.

    The digits of the exponents and the single inversion are shared, nothing else can be.

    Args:
        rows: Shape (k, n): the first components of ciphertexts and the second ones, say.
        exponents: Shape (n,), none negative.
        modulus: N², a perfect square.

    Returns:
        Shape (k,), each in [0, N²).

    Raises:
        ValueError: As for `multi_power`.
    """
    n = isqrt(modulus)
    if n < 2 or n * n != modulus:
        raise ValueError("the modulus of a multi-exponentiation is the square of N")
    if any(exponent < 0 for exponent in exponents):
        raise ValueError("negative exponent: invert the base instead")
    if any(len(row) != len(exponents) for row in rows):
        raise ValueError("as many bases as exponents, in every row")
    count(multi_bases=len(rows) * len(exponents))
    used = [index for index, exponent in enumerate(exponents) if exponent]
    if not used or not rows:
        return [1] * len(rows)
    recoded = _Recoding([exponents[index] for index in used])
    split = [divmod(mpz(row[index]), n) for row in rows for index in used]
    # divmod leaves the multiple of N unreduced when a base exceeds N²; all uses below reduce it.
    inverted = [mpz(value) for value in inverses([int(low) for _, low in split], n)]
    products = []
    for start in range(0, len(split), len(used)):
        stop = start + len(used)
        products.append(recoded.product(split[start:stop], inverted[start:stop], mpz(n)))
    return products


def window_bits(bases: int, exponent_bits: int) -> int:
    """Return the window with the fewest multiplications for that many bases and bits.

    Only a matter of speed: every window gives the same product.
    """

    def cost(window: int) -> float:
        if window == 1:
            # Non-adjacent form: a third of the digits is not zero.
            return exponent_bits * (_SQUARING + _INSERTION * bases / 3 + _MULTIPLICATION - _INSERTION)
        buckets = 1 << (window - 1)
        inserted = bases * (1 - 1 / (1 << window))
        # The first base in a bucket costs nothing.
        filled = min(buckets, inserted)
        combined = filled + buckets
        per_window = _INSERTION * (inserted - filled) + _MULTIPLICATION * combined
        return exponent_bits * _SQUARING + -(-(exponent_bits + 1) // window) * per_window

    return min(range(1, _WIDEST_WINDOW + 1), key=cost)


class _Recoding:
    """The signed digits of a list of exponents, window by window from the top."""

    __slots__ = ("_buckets", "_columns", "_exponents", "_negative", "_window")

    def __init__(self, exponents: Sequence[int]) -> None:
        bits = max(exponents).bit_length()
        self._window = window_bits(len(exponents), bits)
        self._buckets = 1 << (self._window - 1)
        self._exponents = exponents
        windows = -(-(bits + 1) // self._window)
        recode = self._non_adjacent if self._window == 1 else self._balanced
        digits = [recode(exponent, windows) for exponent in exponents]
        # exponent = (sum of positive digits) − (sum of the others): the latter, per exponent.
        self._negative = [
            sum(-digit << (self._window * place) for place, digit in enumerate(row) if digit < 0)
            for row in digits
        ]
        self._columns = list(zip(*digits, strict=True))[::-1]

    @staticmethod
    def _non_adjacent(exponent: int, windows: int) -> list[int]:
        # Carry-free: the digits of 3e/2 and e/2 differ where the non-adjacent form is not zero.
        triple = 3 * exponent
        plus, minus = (triple & ~exponent) >> 1, (exponent & ~triple) >> 1
        return [(plus >> place & 1) - (minus >> place & 1) for place in range(windows)]

    def _balanced(self, exponent: int, windows: int) -> list[int]:
        # Half a window added at every place makes the balanced digits plain ones.
        half, mask = self._buckets, 2 * self._buckets - 1
        exponent += half * (((1 << (self._window * windows)) - 1) // mask)
        digits = []
        for _ in range(windows - 1):
            digits.append((exponent & mask) - half)
            exponent >>= self._window
        # The topmost digit may be +half, by a carry; the others lie in [−half, half).
        return [*digits, exponent - half]

    def product(self, bases: Sequence[tuple[mpz, mpz]], inverted: Sequence[mpz], n: mpz) -> int:
        """Return the product of the powers of bases given as (b, a) for a + bN, with a^-1 mod N."""
        lows = [low for _, low in bases]
        shift = mpz(0)
        for (high, low), inverse, exponent, negative in zip(
            bases, inverted, self._exponents, self._negative, strict=True
        ):
            # a + bN = a(1 + tN), and for a' = a^-1 mod N, a·a' = 1 + kN, so 1/x = a'(1 − (t + k)N).
            shift += high * inverse % n * exponent
            if negative:
                shift -= low * inverse // n * negative
        a, b = mpz(1), mpz(0)
        for column in self._columns:
            if a != 1 or b:
                for _ in range(self._window):
                    quotient, square = divmod(a * a, n)
                    b = (2 * a * b + quotient) % n
                    a = square
            factor = self._combine(*self._fill(column, lows, inverted, n), n)
            if factor is not None:
                low, high = factor
                quotient, product = divmod(a * low, n)
                b = (a * high + b * low + quotient) % n
                a = product
        return int(a + (b + a * (shift % n)) % n * n)

    def _fill(
        self, column: Sequence[int], lows: Sequence[mpz], inverted: Sequence[mpz], n: mpz
    ) -> tuple[list[mpz | None], list[mpz]]:
        bucket_lows: list[mpz | None] = [None] * (self._buckets + 1)
        bucket_highs = [mpz(0)] * (self._buckets + 1)
        for signed, positive, negative in zip(column, lows, inverted, strict=True):
            if signed > 0:
                digit, factor = signed, positive
            elif signed:
                digit, factor = -signed, negative
            else:
                continue
            held = bucket_lows[digit]
            if held is None:
                bucket_lows[digit] = factor
            else:
                quotient, bucket_lows[digit] = divmod(held * factor, n)
                bucket_highs[digit] = (bucket_highs[digit] * factor + quotient) % n
        return bucket_lows, bucket_highs

    @staticmethod
    def _combine(lows: Sequence[mpz | None], highs: Sequence[mpz], n: mpz) -> tuple[mpz, mpz] | None:
        """Return the product of bucket[d]^d: the product of all suffix products."""
        run: tuple[mpz, mpz] | None = None
        total: tuple[mpz, mpz] | None = None
        for digit in range(len(lows) - 1, 0, -1):
            low = lows[digit]
            if low is not None:
                run = (low, highs[digit]) if run is None else _multiply(run, (low, highs[digit]), n)
            if run is not None:
                total = run if total is None else _multiply(total, run, n)
        return total


def _multiply(x: tuple[mpz, mpz], y: tuple[mpz, mpz], n: mpz) -> tuple[mpz, mpz]:
    quotient, low = divmod(x[0] * y[0], n)
    return low, (x[0] * y[1] + x[1] * y[0] + quotient) % n
