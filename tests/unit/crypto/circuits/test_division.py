"""Division against Python's integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_garbling import Text, run_linked, to_bits, to_integers

from crypto.circuits.division import at_least_one, divide
from crypto.circuits.engine import Engine, PlainEngine, Wires
from crypto.errors import LocalProtocolError


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    divisor_bits=st.integers(1, 16),
    quotient_bits=st.integers(1, 20),
    batch=st.sampled_from([1, 3, 130]),
)
def test_the_quotient_is_the_floor(seed: int, divisor_bits: int, quotient_bits: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(1, 1 << divisor_bits, batch)
    x = rng.integers(0, y << quotient_bits)
    # Exact multiples and one less are where a wrong sign shows.
    x[::3] = (x[::3] // y[::3]) * y[::3]
    x[1::3] = np.maximum(x[1::3] // y[1::3] * y[1::3] - 1, 0)
    engine = PlainEngine(batch)
    width = divisor_bits + quotient_bits
    result = divide(engine, to_bits(x, width), to_bits(y, divisor_bits), quotient_bits)
    np.testing.assert_array_equal(to_integers(result), x // y)
    assert engine.ands == batch * divisor_bits * quotient_bits


def test_every_pair_of_small_words() -> None:
    x, y = (part.reshape(-1) for part in np.mgrid[0:256, 1:16])
    fits = y > x >> 4
    quotients = divide(PlainEngine(int(fits.sum())), to_bits(x[fits], 8), to_bits(y[fits], 4), 4)
    np.testing.assert_array_equal(to_integers(quotients), x[fits] // y[fits])


def test_garbled() -> None:
    def quotient(engine: Engine, x: Wires, y: Wires) -> Wires:
        return divide(engine, x, at_least_one(engine, y), 9)

    rng = np.random.default_rng(1)
    y = rng.integers(0, 64, 50)
    x = rng.integers(0, np.maximum(y, 1) << 9)
    text = Text(quotient, ((15,), (6,)))
    (result,) = run_linked(text, 50, {"x0": to_bits(x, 15), "x1": to_bits(y, 6)})
    np.testing.assert_array_equal(to_integers(result), x // np.maximum(y, 1))


def test_a_zero_divisor_becomes_one() -> None:
    y = np.arange(8)
    np.testing.assert_array_equal(to_integers(at_least_one(PlainEngine(8), to_bits(y, 3))), np.maximum(y, 1))


def test_a_divisor_that_is_too_short_is_refused() -> None:
    with pytest.raises(LocalProtocolError):
        divide(PlainEngine(1), np.zeros((8, 1), np.uint8), np.zeros((3, 1), np.uint8), 4)
