"""The logarithm: its constants, its definition in integers, its table circuit."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_garbling import run_linked, to_bits, to_integers

from crypto.circuits.engine import CountingEngine, PlainEngine
from crypto.circuits.logarithm import NaiveBayesTable, log2
from crypto.circuits.logarithm_table import LOG2_TABLE
from crypto.errors import LocalProtocolError


def scaled_log2(numerator: int, *, round_up: bool) -> int:
    """Return a bound of 2^40 · log2(numerator/128), 1 ≤ numerator/128 < 2, by repeated squaring."""
    precision = 200
    y, result = numerator << (precision - 7), 0
    for _ in range(40):
        y = (y * y + (((1 << precision) - 1) if round_up else 0)) >> precision
        result *= 2
        if y >> (precision + 1):
            result += 1
            y = (y + round_up) >> 1
    return result + round_up


def test_table_is_the_rounded_logarithm() -> None:
    assert len(LOG2_TABLE) == 129
    assert LOG2_TABLE[128] == 1 << 20
    for index in range(128):
        low = scaled_log2(128 + index, round_up=False)
        high = scaled_log2(128 + index, round_up=True)
        assert (low + (1 << 19)) >> 20 == (high + (1 << 19)) >> 20 == LOG2_TABLE[index]


def defined_log2(x: int, zero_value: int) -> int:
    """The definition, on integers."""
    if x == 0:
        return zero_value
    e = x.bit_length() - 1
    f = ((x << 17) >> e) - 2**17
    i, t = f >> 10, f & 1023
    slope = (LOG2_TABLE[i + 1] - LOG2_TABLE[i]) // 16
    return e * 2**20 + LOG2_TABLE[i] + ((slope * t) >> 6)


def check(values: list[int], bits: int, output_bits: int, zero_value: int) -> None:
    expected = [defined_log2(value, zero_value) % (1 << output_bits) for value in values]
    engine = PlainEngine(len(values))
    result = log2(engine, to_bits(values, bits), output_bits, zero_value)
    np.testing.assert_array_equal(to_integers(result), expected)


@pytest.mark.parametrize("bits", range(1, 13))
def test_every_short_word(bits: int) -> None:
    check(list(range(1 << bits)), bits, 32, -5)


@given(data=st.data(), bits=st.integers(1, 60), zero_value=st.integers(-(2**30), 2**30))
@settings(max_examples=60, deadline=None)
def test_words_of_any_width(data: st.DataObject, bits: int, zero_value: int) -> None:
    sizes = data.draw(st.lists(st.integers(0, bits), min_size=1, max_size=50))
    values = [data.draw(st.integers(0, (1 << size) - 1)) for size in sizes]
    check([*values, (1 << bits) - 1, 1 << (bits - 1), 0], bits, 40, zero_value)


def test_it_is_close_to_the_logarithm() -> None:
    values = np.random.default_rng(3).integers(1, 1 << 27, 2000)
    result = to_integers(log2(PlainEngine(2000), to_bits(values, 27), 32, 0))
    worst = max(abs(r / 2**20 - math.log2(v)) for r, v in zip(result, values, strict=True))
    assert worst < 2**-14


def test_gates() -> None:
    engine = CountingEngine(2100)
    log2(engine, np.zeros((27, 1), np.uint8), 32, -1)
    assert engine.ands == 448 * 2100


def table_case(circuit: NaiveBayesTable, seed: int) -> tuple[dict[str, np.ndarray], list[int]]:
    rng = np.random.default_rng(seed)
    batch, digit = len(circuit.constants), 1 << (circuit.count_bits + 1)
    counts = rng.integers(0, 1 << circuit.count_bits, batch)
    counts[::3] = 0
    counts[-1] = (1 << circuit.count_bits) - 1
    mask = rng.integers(0, 1 << circuit.output_bits, batch)
    digits_mu = rng.integers(0, digit, batch)
    digits_su = (2 * counts + rng.integers(0, 2, batch) + digits_mu) % digit
    expected = [
        (defined_log2(256 * int(n) + c, circuit.zero_value) - int(r)) % (1 << circuit.output_bits)
        for n, c, r in zip(counts, circuit.constants, mask, strict=True)
    ]
    values = {
        "digits_su": to_bits(digits_su, circuit.count_bits + 1),
        "digits_mu": to_bits(digits_mu, circuit.count_bits + 1),
        "mask": to_bits(mask, circuit.output_bits),
    }
    return values, expected


@given(
    seed=st.integers(0, 2**32),
    count_bits=st.integers(1, 24),
    constant_bits=st.integers(0, 24),
    batch=st.sampled_from([1, 3, 130, 2100]),
    output_bits=st.sampled_from([32, 40]),
)
@settings(max_examples=30, deadline=None)
def test_table_entries(seed: int, count_bits: int, constant_bits: int, batch: int, output_bits: int) -> None:
    rng = np.random.default_rng(seed)
    constants = tuple(int(c) for c in rng.integers(0, 1 << constant_bits, batch))
    if max(constants).bit_length() + count_bits < 2:
        constants = (1,) * batch
    if ((((1 << count_bits) - 1) << 8) + max(constants)).bit_length() > 2 ** (output_bits - 21):
        output_bits = 40
    circuit = NaiveBayesTable(count_bits, constants, output_bits, zero_value=-(50 << 20))
    values, expected = table_case(circuit, seed)
    (result,) = circuit.evaluate_plain(batch, values)
    np.testing.assert_array_equal(to_integers(result), expected)


@pytest.mark.parametrize(("batch", "constant"), [(1, 256), (3, 256 * 10), (130, 256), (2100, 0)])
def test_table_garbled(batch: int, constant: int) -> None:
    circuit = NaiveBayesTable(7, (constant,) * (batch - 1) + (0,), 32, zero_value=-(50 << 20))
    values, expected = table_case(circuit, batch)
    (result,) = run_linked(circuit, batch, values)
    np.testing.assert_array_equal(to_integers(result), expected)


def test_table_gates() -> None:
    # α = 1: c = 2^8 for a value, 2^8·V for the class; c < 2^8 needs no adder.
    assert NaiveBayesTable(19, (255,) * 2100, 32, -1).and_gates(2100) == 2100 * (448 + 19 + 31)
    assert NaiveBayesTable(19, (256,) * 2100, 32, -1).and_gates(2100) == 2100 * (449 + 19 + 31 + 19)


def test_parameters_are_checked() -> None:
    for constants, output_bits in (((), 32), ((-1,), 32), ((1 << 24,), 32), ((1,), 20)):
        with pytest.raises(LocalProtocolError):
            NaiveBayesTable(19, constants, output_bits, -1)
    circuit = NaiveBayesTable(19, (1, 2), 32, -1)
    with pytest.raises(LocalProtocolError):
        circuit.and_gates(3)
