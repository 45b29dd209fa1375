"""Circuits on signed words of different widths: extension, public multiples, magnitudes, sums.

Words are bundles (bits, …, batch), little-endian, in two's complement. Wherever a result must not
wrap, its width is chosen so that it cannot.
"""

import numpy as np

from crypto.circuits.arithmetic import add, add_with_carry, subtract
from crypto.circuits.engine import Engine, Wires
from crypto.circuits.one_hot import all_of
from crypto.errors import LocalProtocolError


def sign_extend(x: Wires, width: int) -> Wires:
    """Return the same number with `width` bits, at least as many as before; free."""
    if width < len(x):
        raise LocalProtocolError(f"{len(x)} bits do not extend to {width}")
    return np.concatenate([x, *[x[-1:]] * (width - len(x))])


def shift_right(x: Wires, shift: int) -> Wires:
    """Return ⌊x / 2^shift⌋, at least its sign bit; free."""
    return x[min(shift, len(x) - 1) :]


def add_signed(engine: Engine, x: Wires, y: Wires) -> Wires:
    """Return x + y without loss, one bit longer than the longer word."""
    width = max(len(x), len(y)) + 1
    return add(engine, sign_extend(x, width), sign_extend(y, width))


def subtract_signed(engine: Engine, x: Wires, y: Wires) -> Wires:
    """Return x − y without loss, one bit longer than the longer word."""
    width = max(len(x), len(y)) + 1
    return subtract(engine, sign_extend(x, width), sign_extend(y, width))


def signed_digits(factor: int) -> tuple[tuple[int, int], ...]:
    """Return the non-adjacent form of a positive integer as (position, ±1), ascending."""
    if factor < 1:
        raise LocalProtocolError("a public factor is positive")
    digits = []
    position = 0
    while factor:
        if factor & 1:
            digit = 2 - (factor & 3)
            digits.append((position, digit))
            factor -= digit
        factor >>= 1
        position += 1
    return tuple(digits)


def multiply_public(engine: Engine, x: Wires, factor: int) -> Wires:
    """Return factor · x without loss for a public factor ≥ 1.

    One adder for every digit of the factor's non-adjacent form but one.

    Cost:
        About (digits − 1)·(w + bits of the factor) gates; none for a power of two.
    """
    width = len(x) + (factor - 1).bit_length()
    digits = list(signed_digits(factor))
    # Starting with the lowest positive digit, the lower bits pass by every adder above it.
    first = next(entry for entry in digits if entry[1] > 0)
    digits.remove(first)
    word = sign_extend(x, width)
    low = [engine.zeros_like(x[:1])] * first[0]
    total = np.concatenate([*low, word[: width - first[0]]])
    for position, digit in digits:
        operation = add if digit > 0 else subtract
        upper = operation(engine, total[position:], word[: width - position])
        total = np.concatenate([total[:position], upper])
    return total


def leaves_range(engine: Engine, x: Wires, width: int) -> Wires:
    """Return the conditions, one of which is set iff x needs more than `width` bits; free.

    Returns:
        Shape (len(x) − width, …, batch); empty if x has no more bits.
    """
    return engine.xor(x[width:], x[width - 1 : -1])


def magnitude(engine: Engine, x: Wires, dropped: int) -> Wires:
    """Return the one's complement magnitude ⌊max(x, ¬x) / 2^dropped⌋, without sign bit; free."""
    return engine.xor(x[dropped:-1], x[-1:])


def total(engine: Engine, x: Wires) -> Wires:
    """Return the sum of unsigned words over their second axis, without loss, as a tree.

    Args:
        engine: The engine.
        x: Shape (bits, items, …, batch).

    Returns:
        Shape (bits + ⌈log2 items⌉, …, batch).

    Cost:
        About (bits + 1)·items gates.
    """
    while x.shape[1] > 1:
        pairs = x.shape[1] // 2
        sums = add_with_carry(engine, x[:, :pairs], x[:, pairs : 2 * pairs])
        rest = x[:, 2 * pairs :]
        if rest.shape[1]:
            rest = np.concatenate([rest, engine.zeros_like(rest[:1])])
            sums = np.concatenate([sums, rest], axis=1)
        x = sums
    return np.asarray(x[:, 0])


def total_signed(engine: Engine, x: Wires) -> Wires:
    """Return the sum of signed words over their second axis, without loss, as a tree."""
    while x.shape[1] > 1:
        pairs = x.shape[1] // 2
        sums = add_signed(engine, x[:, :pairs], x[:, pairs : 2 * pairs])
        rest = x[:, 2 * pairs :]
        if rest.shape[1]:
            sums = np.concatenate([sums, sign_extend(rest, len(sums))], axis=1)
        x = sums
    return np.asarray(x[:, 0])


def any_of(engine: Engine, x: Wires) -> Wires:
    """Return whether any wire along the first axis is set.

    Cost:
        w − 1 gates, ⌈log2 w⌉ layers.
    """
    return engine.not_(all_of(engine, engine.not_(x)))
