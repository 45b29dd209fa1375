"""The circuits of Priv-LR against integer oracles: the twin for the sigmoid and the update."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from doubles import seeded_coins
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_garbling import run_linked, to_bits, to_integers

from crypto.circuits.engine import Bits, PlainEngine
from crypto.circuits.logistic import LogisticAnswer, Sigmoid, WeightUpdate, sigmoid
from crypto.circuits.sigmoid_table import SIGMOID_SLOPES, SIGMOID_VALUES
from crypto.errors import LocalProtocolError
from roles.classifiers.logistic_regression_twin import sigmoid_fixed, sigmoid_segments

Ints = npt.NDArray[np.int64]


def integers(shape: tuple[int, ...], bits: int, seed: str) -> Ints:
    """Return signed integers of that many bits."""
    words = seeded_coins(seed).words(shape, np.uint64)
    return (words >> np.uint64(64 - bits)).astype(np.int64) - (1 << (bits - 1))


def shares(values: Ints, width: int, seed: str) -> tuple[Ints, Ints]:
    mask = seeded_coins(seed).words(values.shape, np.uint64).astype(np.int64) & ((1 << width) - 1)
    return mask, (values - mask) & ((1 << width) - 1)


def signed(bits: Bits) -> Ints:
    unsigned = to_integers(bits)
    return unsigned - ((unsigned >> (len(bits) - 1)) << len(bits))


def test_the_table_is_what_the_definition_gives() -> None:
    assert tuple(zip(SIGMOID_VALUES, SIGMOID_SLOPES, strict=True)) == sigmoid_segments()


def test_the_sigmoid_is_within_three_thousandths_and_unbiased() -> None:
    k = np.arange(-(1 << 15), 1 << 15)
    exact = 1 / (1 + np.exp(-(k + 0.5) / 1024))
    error = (sigmoid_fixed(k << 12) + 0.5) / 512 - exact
    assert np.abs(error).max() < 0.003
    assert abs(error.mean()) < 1e-12
    assert (sigmoid_fixed(k << 12) + sigmoid_fixed(~k << 12) == 511).all()
    # Where two segments meet, the lines, lifted by half the bow, may step down by one unit.
    assert np.diff(sigmoid_fixed(k << 12)).min() >= -1


def test_the_sigmoid_circuit_is_the_twins_function_everywhere() -> None:
    k = np.concatenate([np.arange(-9000, 9000), [-(1 << 19), (1 << 19) - 1, 1 << 13, 8191, -8192, -8193]])
    engine = PlainEngine(len(k))
    low = integers((len(k),), 12, "low bits") & 0xFFF
    m = sigmoid(engine, to_bits((k << 12) + low, 32))
    np.testing.assert_array_equal(to_integers(m), sigmoid_fixed(k << 12))
    assert engine.ands == 103 * len(k)


def test_the_sigmoid_of_shares_garbled() -> None:
    z = integers((64,), 32, "z")
    mu, su = shares(z, 32, "shares")
    circuit = Sigmoid()
    bits = {"scores_mu": to_bits(mu, 32), "scores_su": to_bits(su, 32)}
    (m,) = run_linked(circuit, 64, bits)
    np.testing.assert_array_equal(to_integers(m), sigmoid_fixed(z))
    assert circuit.and_gates(64) == 134 * 64


def update_oracle(
    circuit: WeightUpdate, gradient: Ints, state: Ints, overflow: int
) -> tuple[Ints | None, bool]:
    """Return the new state (None if it overflowed) and the overflow; `state` is (blocks, K, d+1)."""
    weights, ahead = state[0], state[-1]
    moved = ahead - (circuit.multiplier * gradient >> circuit.shift)
    if circuit.l2_shift:
        moved[:, :-1] -= ahead[:, :-1] >> circuit.l2_shift
    new = [moved]
    if circuit.momentum_16:
        new.append(moved + (circuit.momentum_16 * (moved - weights) >> 4))
    result = np.stack(new)
    raised = bool(overflow) or bool((np.abs(result * 2 + 1) > 1 << 24).any())
    sums = (np.where(result < 0, ~result, result) >> 12).sum(axis=2)
    raised = raised or bool((sums >= 1 << 14).any())
    return (None if raised else result), raised


def run_update(circuit: WeightUpdate, gradients: Ints, state: Ints, overflow: int, *, garbled: bool) -> None:
    mu, su = shares(gradients, circuit.gradient_bits, "gradient")
    bits = {
        "gradient_mu": to_bits(mu, circuit.gradient_bits)[..., np.newaxis],
        "gradient_su": to_bits(su, circuit.gradient_bits)[..., np.newaxis],
        "state": to_bits(state, 24)[..., np.newaxis],
        "overflow": np.full((1, 1), overflow, dtype=np.uint8),
    }
    mask = np.zeros(state.shape, dtype=np.int64)
    if circuit.sealed:
        mask = integers(state.shape, 40, "mask") & 0xFFFFFFFF
        bits["mask"] = to_bits(mask, 32)[..., np.newaxis]
    out, raised = run_linked(circuit, 1, bits) if garbled else circuit.evaluate_plain(1, bits)
    expected, expected_raised = update_oracle(circuit, gradients.sum(axis=0), state, overflow)
    assert bool(raised[0, 0]) == expected_raised
    if expected is not None:
        width = 32 if circuit.sealed else 24
        found = (to_integers(out[..., 0]) + mask) & ((1 << width) - 1)
        np.testing.assert_array_equal(found, expected & ((1 << width) - 1))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    features=st.integers(1, 12),
    problems=st.sampled_from([1, 3]),
    parts=st.integers(1, 3),
    multiplier=st.integers(64, 127),
    shift=st.integers(0, 30),
    l2_shift=st.integers(0, 23),
    momentum_16=st.integers(0, 15),
    sealed=st.booleans(),
    overflow=st.integers(0, 1),
    size=st.integers(2, 24),
)
def test_an_update_is_the_integer_function(
    seed: int,
    features: int,
    problems: int,
    parts: int,
    multiplier: int,
    shift: int,
    l2_shift: int,
    momentum_16: int,
    sealed: bool,
    overflow: int,
    size: int,
) -> None:
    circuit = WeightUpdate(features, problems, parts, 29, multiplier, shift, l2_shift, momentum_16, sealed)
    gradients = integers(
        (parts, problems, features), min(29, shift + size - 4) if shift + size > 6 else 2, f"g{seed}"
    )
    state = integers((circuit.blocks, problems, features), size, f"w{seed}")
    run_update(circuit, gradients, state, overflow, garbled=False)


@pytest.mark.parametrize("momentum_16", [0, 13])
@pytest.mark.parametrize("sealed", [False, True])
def test_an_update_garbled(momentum_16: int, sealed: bool) -> None:
    circuit = WeightUpdate(10, 1, 1, 29, 77, 12, 9, momentum_16, sealed)
    gradients = integers((1, 1, 10), 22, "g")
    state = integers((circuit.blocks, 1, 10), 20, "w")
    run_update(circuit, gradients, state, 0, garbled=True)


@pytest.mark.parametrize(
    ("weight", "step", "overflow"),
    [((1 << 23) - 1, 0, False), ((1 << 23) - 1, -1, True), (-(1 << 23), 0, False), (-(1 << 23), 1, True)],
)
def test_overflow_is_seen_at_the_very_edge(weight: int, step: int, overflow: bool) -> None:
    circuit = WeightUpdate(2, 1, 1, 29, 64, 6, 0, 0, sealed=False)
    state = np.array([[[weight, 5]]])
    assert update_oracle(circuit, np.array([[step, 0]]), state, 0)[1] is overflow
    run_update(circuit, np.array([[[step, 0]]]), state, 0, garbled=False)


@pytest.mark.parametrize(("magnitude", "overflow"), [((1 << 22) - 1, False), (1 << 22, True)])
def test_overflow_is_seen_in_the_sum_of_a_class(magnitude: int, overflow: bool) -> None:
    # 16 weights of 16 are 256; one ulp less is not, and another class may not hide it.
    circuit = WeightUpdate(16, 3, 1, 29, 64, 6, 0, 0, sealed=False)
    state = np.zeros((1, 3, 16), dtype=np.int64)
    state[0, 1] = magnitude
    state[0, 1, ::2] *= -1
    state[0, 1, ::2] -= magnitude == 1 << 22
    assert update_oracle(circuit, np.zeros((3, 16), dtype=np.int64), state, 0)[1] is overflow
    run_update(circuit, np.zeros((1, 3, 16), dtype=np.int64), state, 0, garbled=False)


def answer(circuit: LogisticAnswer, z: Ints, query: Bits | None) -> Ints:
    rows = z.shape[1]
    mu, su = shares(z, 32, "z")
    mask = integers((circuit.values, rows), 32, "mask") & 0xFFFF
    bits = {
        "scores_mu": to_bits(mu, 32),
        "scores_su": to_bits(su, 32),
        "mask": to_bits(mask, 16),
    }
    if query is not None:
        bits["query"] = query
    (out,) = run_linked(circuit, rows, bits)
    return (to_integers(out) + mask) & 0xFFFF


def test_answers_of_two_classes() -> None:
    z = integers((1, 40), 32, "scores")
    z[0, :3] = (0, -1, 1)
    found = answer(LogisticAnswer((), 1, 16, probabilities=True), z, None)
    np.testing.assert_array_equal(found[0], z[0] >= 0)
    np.testing.assert_array_equal(found[1], sigmoid_fixed(z[0]))


def test_answers_of_three_classes_and_invalid_rows() -> None:
    z = integers((3, 40), 31, "scores")
    z[:, 0] = 7
    query = np.zeros((5, 40), dtype=np.uint8)
    query[[1, 3]] = 1
    query[2, 5] = 1
    query[3, 6] = 0
    found = answer(LogisticAnswer((3, 2), 3, 16, probabilities=True), z, query)
    expected = z.argmax(axis=0)
    expected[[5, 6]] = 3
    np.testing.assert_array_equal(found[0], expected)
    probabilities = sigmoid_fixed(z)
    probabilities[:, [5, 6]] = 0
    np.testing.assert_array_equal(found[1:], probabilities)


def test_parameters_are_checked() -> None:
    with pytest.raises(LocalProtocolError):
        LogisticAnswer((), 2, 16, probabilities=False)
    with pytest.raises(LocalProtocolError):
        LogisticAnswer((3,), 1, 9, probabilities=False)
    with pytest.raises(LocalProtocolError):
        WeightUpdate(1, 1, 1, 33, 64, 0, 0, 0, sealed=False)
    with pytest.raises(LocalProtocolError):
        WeightUpdate(1, 1, 1, 32, 64, 0, 24, 0, sealed=False)


def test_the_sizes_of_an_update_are_those_of_the_documents() -> None:
    # 21 weights, gradients of 500 records, a factor of three digits.
    per_weight = WeightUpdate(21, 3, 1, 31, 67, 17, 0, 0, sealed=False).and_gates(1) / 63
    assert math.isclose(per_weight, 140, abs_tol=30)
    with_momentum = WeightUpdate(21, 3, 1, 31, 67, 17, 9, 14, sealed=False).and_gates(1) / 63
    assert math.isclose(with_momentum, 260, abs_tol=30)
