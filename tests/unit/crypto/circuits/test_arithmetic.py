"""Arithmetic circuits against integers, on plain bits; gate counts by formula."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_garbling import to_bits, to_integers

from crypto.circuits import arithmetic
from crypto.circuits.engine import CountingEngine, Engine, PlainEngine, Wires
from crypto.errors import LocalProtocolError

BATCHES = [1, 3, 130, 2100]
WIDE = 2100


def operands(seed: int, width: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 1 << width, (2, batch))
    x[0] = y[0] = (1 << width) - 1
    return x, y


BINARY: dict[str, tuple[Callable[..., Wires], Callable[..., np.ndarray]]] = {
    "add": (arithmetic.add, lambda x, y, w: (x + y) % (1 << w)),
    "add_with_carry": (arithmetic.add_with_carry, lambda x, y, w: x + y),
    "subtract": (arithmetic.subtract, lambda x, y, w: (x - y) % (1 << w)),
    "halve": (arithmetic.halve, lambda x, y, w: (x + y) % (1 << w) // 2),
    "halve_difference": (arithmetic.halve_difference, lambda x, y, w: (x - y) % (1 << w) // 2),
}


@pytest.mark.parametrize("name", BINARY)
@given(seed=st.integers(0, 2**32), width=st.integers(1, 40), batch=st.sampled_from(BATCHES))
@settings(max_examples=25, deadline=None)
def test_binary_words(name: str, seed: int, width: int, batch: int) -> None:
    circuit, oracle = BINARY[name]
    x, y = operands(seed, width, batch)
    result = circuit(PlainEngine(batch), to_bits(x, width), to_bits(y, width))
    np.testing.assert_array_equal(to_integers(result), oracle(x, y, width))


@given(seed=st.integers(0, 2**32), width=st.integers(1, 40), batch=st.sampled_from(BATCHES))
@settings(max_examples=25, deadline=None)
def test_unary_words(seed: int, width: int, batch: int) -> None:
    x, y = operands(seed, width, batch)
    x[-1] = 0
    engine = PlainEngine(batch)
    np.testing.assert_array_equal(
        to_integers(arithmetic.negate(engine, to_bits(x, width))), -x % (1 << width)
    )
    condition = (y & 1).astype(np.uint8)
    incremented = arithmetic.increment_if(engine, to_bits(x, width), condition)
    np.testing.assert_array_equal(to_integers(incremented), (x + condition) % (1 << width))
    ors = np.maximum.accumulate(to_bits(x, width), axis=0)
    np.testing.assert_array_equal(arithmetic.prefix_or(engine, to_bits(x, width)), ors)
    carries = arithmetic.carry_out(engine, to_bits(x, width), to_bits(y, width))
    np.testing.assert_array_equal(carries, (x + y) >> width)


@given(seed=st.integers(0, 2**32), count=st.integers(1, 40), batch=st.sampled_from(BATCHES))
@settings(max_examples=25, deadline=None)
def test_popcount(seed: int, count: int, batch: int) -> None:
    x = np.random.default_rng(seed).integers(0, 2, (count, batch), dtype=np.uint8)
    x[:, 0] = 1
    engine = PlainEngine(batch)
    np.testing.assert_array_equal(to_integers(arithmetic.popcount(engine, x)), x.sum(axis=0))
    assert engine.ands == batch * (count - count.bit_count())


@given(
    seed=st.integers(0, 2**32),
    m=st.integers(1, 12),
    n=st.integers(1, 12),
    batch=st.sampled_from(BATCHES),
)
@settings(max_examples=25, deadline=None)
def test_multiply(seed: int, m: int, n: int, batch: int) -> None:
    x, y = operands(seed, m, batch)[0], operands(seed + 1, n, batch)[1]
    engine = PlainEngine(batch)
    product = arithmetic.multiply(engine, to_bits(x, m), to_bits(y, n))
    assert len(product) == m + n
    np.testing.assert_array_equal(to_integers(product), x * y)
    if batch == WIDE:
        assert engine.ands == batch * (m * n + m * (n - 1) if min(m, n) > 1 else m * n)


@given(
    seed=st.integers(0, 2**32),
    bits=st.integers(1, 20),
    extra=st.integers(0, 5),
    constant_bits=st.integers(0, 24),
    batch=st.sampled_from(BATCHES),
)
@settings(max_examples=40, deadline=None)
def test_add_public(seed: int, bits: int, extra: int, constant_bits: int, batch: int) -> None:
    x, _ = operands(seed, bits, batch)
    constants = np.random.default_rng(seed).integers(0, 1 << constant_bits, batch)
    width = bits + extra
    engine = PlainEngine(batch)
    result = arithmetic.add_public(engine, to_bits(x, bits), constants, width)
    np.testing.assert_array_equal(to_integers(result), (x + constants) % (1 << width))
    if not constants.any():
        assert engine.ands == 0


def test_items_between_bits_and_batch() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 1 << 12, (2, 5, 7))
    result = arithmetic.add(PlainEngine(7), to_bits(x, 12), to_bits(y, 12))
    np.testing.assert_array_equal(to_integers(result), (x + y) % (1 << 12))


GATES: list[tuple[str, Callable[[Engine, Wires, Wires], Wires], int]] = [
    ("add", arithmetic.add, 31),
    ("add_with_carry", arithmetic.add_with_carry, 32),
    ("subtract", arithmetic.subtract, 31),
    ("halve", arithmetic.halve, 31),
    ("halve_difference", arithmetic.halve_difference, 31),
    ("carry_out", arithmetic.carry_out, 32),
    ("negate", lambda engine, x, y: arithmetic.negate(engine, x), 30),
    ("increment_if", lambda engine, x, y: arithmetic.increment_if(engine, x, y[0]), 31),
]


@pytest.mark.parametrize(("name", "circuit", "gates"), GATES, ids=[row[0] for row in GATES])
def test_gates_of_a_32_bit_ripple(
    name: str, circuit: Callable[[Engine, Wires, Wires], Wires], gates: int
) -> None:
    zeros = np.zeros((32, 1), dtype=np.uint8)
    counting = CountingEngine(WIDE)
    circuit(counting, zeros, zeros)
    assert counting.ands == gates * WIDE
    plain = PlainEngine(WIDE)
    wide = np.zeros((32, WIDE), dtype=np.uint8)
    circuit(plain, wide, wide)
    assert plain.ands == counting.ands


def test_narrow_batches_take_few_layers() -> None:
    for circuit in (arithmetic.add, arithmetic.subtract, arithmetic.carry_out):
        engine = PlainEngine(1)
        circuit(engine, np.zeros((32, 1), np.uint8), np.zeros((32, 1), np.uint8))
        assert engine.layers == 6


def test_words_of_unequal_width_are_refused() -> None:
    with pytest.raises(LocalProtocolError):
        arithmetic.add(PlainEngine(1), np.zeros((3, 1), np.uint8), np.zeros((4, 1), np.uint8))
