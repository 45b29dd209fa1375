"""Circuits on words: addition, subtraction, halving, popcount, multiplication.

Words are bundles (bits, …, batch), little-endian, in two's complement where they are signed;
results are taken mod 2^w. Every adder exists as a ripple of w layers with one gate per bit and,
for narrow batches, as a parallel prefix (Sklansky) of ⌈log2 w⌉ + 1 layers with more gates.
"""

import numpy as np
import numpy.typing as npt

from crypto.circuits.engine import Engine, Wires, is_narrow
from crypto.errors import LocalProtocolError


def add(engine: Engine, x: Wires, y: Wires) -> Wires:
    """Return x + y mod 2^w.

    Cost:
        w − 1 gates per word as a ripple.
    """
    _same_width(x, y)
    return _sum(engine, x, y, carry_out=False)


def add_with_carry(engine: Engine, x: Wires, y: Wires) -> Wires:
    """Return x + y without loss, w + 1 bits.

    Cost:
        w gates per word as a ripple.
    """
    _same_width(x, y)
    return _sum(engine, x, y, carry_out=True)


def subtract(engine: Engine, x: Wires, y: Wires) -> Wires:
    """Return x − y mod 2^w.

    Cost:
        w − 1 gates per word as a ripple.
    """
    _same_width(x, y)
    # ¬(¬x + y) = x − y, which needs no carry in.
    return engine.not_(_sum(engine, engine.not_(x), y, carry_out=False))


def negate(engine: Engine, x: Wires) -> Wires:
    """Return −x mod 2^w.

    Cost:
        w − 2 gates per word as a ripple.
    """
    # −x = ¬(x − 1): bit i flips iff some lower bit is set.
    if len(x) == 1:
        return x
    lower = prefix_or(engine, x[:-1])
    return np.concatenate([x[:1], engine.xor(x[1:], lower)])


def increment_if(engine: Engine, x: Wires, condition: Wires) -> Wires:
    """Return x + c mod 2^w for a bit c of shape (…, batch).

    Cost:
        w − 1 gates per word, in a ripple.
    """
    result, carry = [], condition
    for index, bit in enumerate(x):
        result.append(engine.xor(bit, carry))
        if index + 1 < len(x):
            carry = engine.and_(bit, carry)
    return np.stack(result)


def add_public(engine: Engine, x: Wires, constants: npt.ArrayLike, width: int) -> Wires:
    """Return x + k mod 2^width for public constants k ≥ 0 of shape (batch,) or (1,).

    Args:
        engine: The engine.
        x: Shape (bits, batch), bits ≤ width.
        constants: What is added to every item.
        width: Bits of the result.

    Cost:
        None if all constants are 0, else width − 1 gates in a ripple, less one for every low
        bit that is 0 in all constants.
    """
    values = np.asarray(constants, dtype=np.int64) & ((1 << width) - 1)
    used = int(np.bitwise_or.reduce(values))
    word = np.concatenate([x, *[engine.zeros_like(x[:1])] * (width - len(x))])
    if used == 0:
        return word
    lowest = (used & -used).bit_length() - 1
    shifts = np.arange(lowest, width)[:, np.newaxis]
    public = engine.constant((values >> shifts & 1).astype(np.uint8))
    return np.concatenate([word[:lowest], add(engine, word[lowest:], public)])


def halve(engine: Engine, x: Wires, y: Wires) -> Wires:
    """Return v from shares x + y = 2v mod 2^w: the exact half, w − 1 bits.

    Where 2v is signed, the top bit of the result is the sign. Of an odd sum the floor is taken.

    Cost:
        w − 1 gates per word as a ripple.
    """
    return add(engine, x, y)[1:]


def halve_difference(engine: Engine, d: Wires, r: Wires) -> Wires:
    """Return ⌊((d − r) mod 2^w) / 2⌋, w − 1 bits: an opened slot with its carry bit dropped.

    Cost:
        w − 1 gates per word as a ripple.
    """
    return subtract(engine, d, r)[1:]


def popcount(engine: Engine, x: Wires) -> Wires:
    """Return how many of the k wires along the first axis are set, k.bit_length() bits.

    Cost:
        k − (number of ones in the binary form of k) gates; full adders of one weight that are
        independent share a layer.
    """
    columns: list[Wires] = [x]
    result = []
    width = len(x).bit_length()
    for weight in range(width):
        column = columns[weight]
        carries: list[Wires] = []
        while len(column) > 1:
            column, carry = _compress(engine, column)
            carries.append(carry)
        result.append(column[0])
        if weight + 1 < width:
            columns.append(np.concatenate(carries))
    return np.stack(result)


def _compress(engine: Engine, column: Wires) -> tuple[Wires, Wires]:
    """Replace triples of equal weight (or a last pair) by their sum and carry."""
    if len(column) == 2:
        return engine.xor(column[:1], column[1:]), engine.and_(column[:1], column[1:])
    triples = len(column) // 3
    a, b, c = (column[k * triples : (k + 1) * triples] for k in range(3))
    sums, carries = full_adders(engine, a, b, c)
    return np.concatenate([sums, column[3 * triples :]]), carries


def full_adders(engine: Engine, a: Wires, b: Wires, c: Wires) -> tuple[Wires, Wires]:
    """Return sum and carry of three bits each, one gate per adder."""
    with_c = engine.xor(b, c)
    # maj(a, b, c) = c ⊕ (a ⊕ c)(b ⊕ c)
    carry = engine.xor(c, engine.and_(engine.xor(a, c), with_c))
    return engine.xor(a, with_c), carry


def multiply(engine: Engine, x: Wires, y: Wires) -> Wires:
    """Return x · y for unsigned words of m and n ≥ 1 bits, m + n bits.

    An array multiplier with carries saved: its m − 1 rows are one layer each.

    Cost:
        mn + m(n − 1) gates with m = len(x) ≥ 2 and n = len(y) ≥ 2.
    """
    m, n = len(x), len(y)
    products = engine.and_(x[:, np.newaxis], y[np.newaxis])
    if m == 1 or n == 1:
        flat = products[0] if m == 1 else products[:, 0]
        return np.concatenate([flat, engine.zeros_like(flat[:1])])
    # In row k, weights k … k + n − 2 meet; the top product has nothing to meet yet.
    a, b = products[0, 1:], products[1, :-1]
    sums, carries = np.concatenate([engine.xor(a, b), products[1, -1:]]), engine.and_(a, b)
    result = [products[0, :1], sums[:1]]
    for row in products[2:]:
        low, carries = full_adders(engine, sums[1:], row[:-1], carries)
        sums = np.concatenate([low, row[-1:]])
        result.append(sums[:1])
    return np.concatenate([*result, add_with_carry(engine, sums[1:], carries)])


def prefix_or(engine: Engine, x: Wires) -> Wires:
    """Return y with y_i = x_0 ∨ … ∨ x_i.

    Cost:
        w − 1 gates per word as a ripple.
    """
    none = engine.not_(x)
    if is_narrow(engine, x):
        step = 1
        while step < len(x):
            low, high = _sklansky(len(x), step)
            none = none.copy()
            none[high] = engine.and_(none[high], none[low])
            step *= 2
        return engine.not_(none)
    rows = [none[0]]
    for row in none[1:]:
        rows.append(engine.and_(rows[-1], row))
    return engine.not_(np.stack(rows))


def carry_out(engine: Engine, x: Wires, y: Wires) -> Wires:
    """Return the carry of x + y out of the top bit.

    Cost:
        w gates per word as a ripple, about 3w as a tree.
    """
    _same_width(x, y)
    if not is_narrow(engine, x):
        return np.asarray(_ripple_carries(engine, x, y)[-1])
    generate, propagate = engine.and_(x, y), engine.xor(x, y)
    while len(generate) > 1:
        pairs = len(generate) // 2
        low, high = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
        # The lowest group needs no propagate: no carry comes in. Its place is kept all the same.
        left = np.concatenate([propagate[high], propagate[high][1:]])
        right = np.concatenate([generate[low], propagate[low][1:]])
        products = engine.and_(left, right)
        merged = engine.xor(generate[high], products[:pairs])
        kept = np.concatenate([propagate[:1], products[pairs:]])
        generate = np.concatenate([merged, generate[2 * pairs :]])
        propagate = np.concatenate([kept, propagate[2 * pairs :]])
    return np.asarray(generate[0])


def _same_width(x: Wires, y: Wires) -> None:
    if len(x) != len(y) or len(x) == 0:
        raise LocalProtocolError(f"words of equal width are needed, not {len(x)} and {len(y)} bits")


def _sum(engine: Engine, x: Wires, y: Wires, *, carry_out: bool) -> Wires:
    width = len(x)
    carries_needed = width if carry_out else width - 1
    propagate = engine.xor(x, y)
    if carries_needed == 0:
        return propagate
    a, b = np.broadcast_arrays(x[:carries_needed], y[:carries_needed])
    wide = not is_narrow(engine, propagate)
    carries = _ripple_carries(engine, a, b) if wide else _prefix_carries(engine, a, b)
    if carry_out:
        low = engine.xor(propagate[1:], carries[:-1])
        return np.concatenate([propagate[:1], low, carries[-1:]])
    return np.concatenate([propagate[:1], engine.xor(propagate[1:], carries)])


def _ripple_carries(engine: Engine, x: Wires, y: Wires) -> Wires:
    carries = [engine.and_(x[0], y[0])]
    for a, b in zip(x[1:], y[1:], strict=True):
        carry = carries[-1]
        # maj(a, b, c) = c ⊕ (a ⊕ c)(b ⊕ c)
        carries.append(engine.xor(carry, engine.and_(engine.xor(a, carry), engine.xor(b, carry))))
    return np.stack(carries)


def _prefix_carries(engine: Engine, x: Wires, y: Wires) -> Wires:
    width = len(x)
    generate = engine.and_(x, y)
    propagate = engine.xor(x, y)
    step = 1
    while step < width:
        low, high = _sklansky(width, step)
        # Groups that reach down to bit 0 need no propagate any more: no carry comes in.
        inner = [k for k, index in enumerate(low) if index >= step]
        left = np.concatenate([propagate[high], propagate[[high[k] for k in inner]]])
        right = np.concatenate([generate[low], propagate[[low[k] for k in inner]]])
        products = engine.and_(left, right)
        generate, propagate = generate.copy(), propagate.copy()
        # g and p exclude each other, so that ∨ is ⊕.
        generate[high] = engine.xor(generate[high], products[: len(high)])
        if inner:
            propagate[[high[k] for k in inner]] = products[len(high) :]
        step *= 2
    return generate


def _sklansky(width: int, step: int) -> tuple[list[int], list[int]]:
    """Return (source, target) positions of one level: upper halves of blocks take the lower's end."""
    high = [index for index in range(width) if index & step]
    return [(index & ~(2 * step - 1)) + step - 1 for index in high], high
