"""Signed words against Python's integers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_garbling import to_bits, to_integers

from crypto.circuits.engine import Bits, PlainEngine
from crypto.circuits.opened import OpenedState, SlotCarries
from crypto.circuits.signed_words import (
    add_signed,
    any_of,
    leaves_range,
    magnitude,
    multiply_public,
    shift_right,
    sign_extend,
    signed_digits,
    subtract_signed,
    total,
    total_signed,
)
from crypto.errors import LocalProtocolError


def signed(bits: Bits) -> list[int]:
    unsigned = to_integers(bits)
    result: list[int] = (unsigned - ((unsigned >> (len(bits) - 1)) << len(bits))).tolist()
    return result


BYTES = st.lists(st.integers(-128, 127), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None)
@given(values=BYTES, factor=st.integers(1, 200), shift=st.integers(0, 30))
def test_public_multiples_and_shifts(values: list[int], factor: int, shift: int) -> None:
    engine = PlainEngine(len(values))
    word = to_bits(values, 8)
    assert signed(multiply_public(engine, word, factor)) == [factor * v for v in values]
    assert signed(shift_right(word, shift)) == [v >> shift for v in values]
    assert signed(sign_extend(word, 12)) == values


@settings(max_examples=40, deadline=None)
@given(values=BYTES)
def test_sums_differences_and_ranges(values: list[int]) -> None:
    engine = PlainEngine(len(values))
    x, y = to_bits(values, 8), to_bits([v >> 3 for v in values], 5)
    assert signed(add_signed(engine, x, y)) == [v + (v >> 3) for v in values]
    assert signed(subtract_signed(engine, y, x)) == [(v >> 3) - v for v in values]
    found = any_of(engine, np.concatenate([leaves_range(engine, x, 5), engine.zeros_like(x[:1])]))
    assert found.tolist() == [not -16 <= v < 16 for v in values]
    assert to_integers(magnitude(engine, x, 2)).tolist() == [max(v, ~v) >> 2 for v in values]
    column = PlainEngine(1)
    one = to_bits(np.array(values)[:, np.newaxis], 8)
    assert signed(total_signed(column, one)) == [sum(values)]
    sizes = to_bits(np.array([abs(v) for v in values])[:, np.newaxis], 8)
    assert to_integers(total(column, sizes)).tolist() == [sum(abs(v) for v in values)]


def test_signed_digits_are_sparse() -> None:
    for factor in range(1, 300):
        digits = signed_digits(factor)
        assert sum(d << p for p, d in digits) == factor
        assert all(b[0] - a[0] > 1 for a, b in pairwise(digits))
    with pytest.raises(LocalProtocolError):
        signed_digits(0)
    with pytest.raises(LocalProtocolError):
        sign_extend(to_bits([1], 4), 3)


@settings(max_examples=30, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 2047), st.integers(0, 2047)), min_size=1, max_size=50))
def test_carries_of_slots(pairs: list[tuple[int, int]]) -> None:
    d, r = zip(*pairs, strict=True)
    bits = {"digits_mu": to_bits(r, 11), "digits_su": to_bits(d, 11)}
    (carries,) = SlotCarries(11).evaluate_plain(len(pairs), bits)
    assert carries.tolist() == [int(a < b) for a, b in pairs]


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.integers(-(1 << 23), (1 << 23) - 1), min_size=1, max_size=50),
    mask=st.integers(0, (1 << 34) - 1),
    carry=st.integers(0, 1),
)
def test_opened_states(values: list[int], mask: int, carry: int) -> None:
    digits = [(2 * v + mask + carry) % (1 << 34) for v in values]
    circuit = OpenedState(24)
    bits = {"digits_mu": to_bits([mask] * len(values), 25), "digits_su": to_bits(digits, 25)}
    (found,) = circuit.evaluate_plain(len(values), bits)
    assert signed(found) == values
    with pytest.raises(LocalProtocolError):
        OpenedState(0)
