"""Circuits on one-hot encodings: decode a number, check a record.

Bundles have the encoding along their first axis, (values, …, batch).
"""

from collections.abc import Sequence

import numpy as np

from crypto.circuits.arithmetic import full_adders
from crypto.circuits.engine import Engine, Wires
from crypto.errors import LocalProtocolError


def all_of(engine: Engine, x: Wires) -> Wires:
    """Return whether all wires along the first axis are set.

    Cost:
        w − 1 gates, ⌈log2 w⌉ layers.
    """
    while len(x) > 1:
        pairs = len(x) // 2
        x = np.concatenate([engine.and_(x[:pairs], x[pairs : 2 * pairs]), x[2 * pairs :]])
    return np.asarray(x[0])


def decode(engine: Engine, x: Wires) -> Wires:
    """Return the one-hot of a k-bit number, 2^k wires.

    Halves are decoded apart and multiplied. The products of one row sum to the row's own wire,
    so the last row and column are free.

    Cost:
        2^k − k − 1 gates, ⌈log2 k⌉ layers: the fewest possible.
    """
    if len(x) == 0:
        raise LocalProtocolError("a number has at least one bit")
    if len(x) == 1:
        return np.concatenate([engine.not_(x), x])
    half = len(x) // 2
    low, high = decode(engine, x[:half]), decode(engine, x[half:])
    products = engine.and_(high[:-1, np.newaxis], low[np.newaxis, :-1])
    last_column = engine.xor(high[:-1], engine.xor_all(np.swapaxes(products, 0, 1)))
    rows = np.concatenate([products, last_column[:, np.newaxis]], axis=1)
    last_row = engine.xor(low, engine.xor_all(rows))
    return np.concatenate([rows.reshape(-1, *rows.shape[2:]), last_row])


def is_valid_one_hot(engine: Engine, x: Wires, sizes: Sequence[int]) -> Wires:
    """Return whether every attribute has exactly one bit set.

    Exactly one of V bits is set iff their parity is odd and no full adder of the chain that adds
    them carries. Parities are free, so all inputs of all full adders are there at once.

    Args:
        engine: The engine.
        x: Shape (Σ sizes, …, batch), the attributes one behind the other.
        sizes: Number of bits of every attribute, each at least 1.

    Returns:
        Shape (…, batch).

    Cost:
        Σ 2⌊(V − 1)/2⌋ + (number of attributes) − 1 gates: at most one per bit.

    Source:
        docs/protocols.md §4, §5.
    """
    if sum(sizes) != len(x) or not sizes or min(sizes) < 1:
        raise LocalProtocolError("the attributes' sizes add up to the encoding's bits")
    conditions: list[Wires] = []
    triples: list[tuple[Wires, Wires, Wires]] = []
    start = 0
    for size in sizes:
        parity = x[start]
        for offset in range(1, size - 1, 2):
            pair = x[start + offset], x[start + offset + 1]
            triples.append((parity, *pair))
            parity = engine.xor(parity, engine.xor(*pair))
        if size % 2 == 0:
            # The last bit needs no adder: with at most one bit before it, parity tells 1 from 2.
            parity = engine.xor(parity, x[start + size - 1])
        conditions.append(parity)
        start += size
    if triples:
        a, b, c = (np.stack(column) for column in zip(*triples, strict=True))
        _, carries = full_adders(engine, a, b, c)
        conditions.extend(engine.not_(carries))
    return all_of(engine, np.stack(conditions))
