"""The split decision against integers written out anew, plain and garbled."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_garbling import run_linked, to_bits, to_integers

from crypto.circuits.engine import Bits, PlainEngine
from crypto.circuits.tree_split import GiniSplit, best_two
from crypto.errors import LocalProtocolError

Counts = npt.NDArray[np.int64]


def oracle(counts: Counts, total: int, circuit: GiniSplit) -> tuple[bool, list[int]]:
    """Decide for one leaf: counts (F + 1, C), the null split first."""
    merits = []
    for column in counts.tolist():
        other = [n - k for n, k in zip(counts[0].tolist(), column, strict=True)]
        merits.append(sum(16 * sum(k * k for k in side) // max(1, sum(side)) for side in (column, other)))
    best = merits.index(max(merits))
    second = max(merit for index, merit in enumerate(merits) if index != best)
    seen = int(counts[0].sum())
    # (Δq / 16n)² > ln(1/δ) / 2n_tot
    is_certain = (max(merits) - second) ** 2 * 2 * total * 16 > 256 * seen**2 * circuit.confidence_16
    splits = best > 0 and (is_certain or total > circuit.tie_records)
    return splits, [int(best == 1 + index) for index in range(circuit.tests)]


def inputs(counts: Counts, totals: Counts, circuit: GiniSplit, seed: int) -> dict[str, Bits]:
    """Share the sums over classes of every leaf; counts (leaves, F + 1, C)."""
    other = counts[:, :1] - counts
    sides = np.stack([counts, other], axis=1)
    values = {
        "sizes": (sides.sum(axis=3).transpose(1, 2, 0), circuit.count_bits),
        "squares": ((sides**2).sum(axis=3).transpose(1, 2, 0), 2 * circuit.count_bits),
        "total": (totals, circuit.total_bits),
    }
    rng = np.random.default_rng(seed)
    shares = {}
    for name, (value, width) in values.items():
        mask = rng.integers(0, 1 << width, value.shape)
        shares[f"{name}_mu"] = to_bits(value - mask, width)
        shares[f"{name}_su"] = to_bits(mask, width)
    return shares


def random_case(circuit: GiniSplit, leaves: int, classes: int, seed: int) -> tuple[Counts, Counts]:
    """Draw counts with ties, empty branches and good tests among them."""
    rng = np.random.default_rng(seed)
    largest = (1 << circuit.count_bits) // classes
    null = rng.integers(0, rng.integers(1, largest + 1), (leaves, 1, classes))
    shares = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], (leaves, circuit.tests, classes))
    tests = np.floor(null * shares).astype(np.int64)
    tests[:, ::4] = tests[:, :1]
    counts = np.concatenate([null, tests], axis=1)
    room = (1 << circuit.total_bits) - 1 - null.sum(axis=(1, 2))
    return counts, null.sum(axis=(1, 2)) + rng.integers(0, np.maximum(room, 0) + 1)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    tests=st.integers(1, 9),
    count_bits=st.integers(2, 16),
    extra_bits=st.integers(0, 6),
    classes=st.integers(2, 4),
    confidence=st.integers(1, 300),
    tie=st.sampled_from([0, 3, 1000, 1 << 30]),
    leaves=st.sampled_from([1, 5, 40]),
)
def test_the_decision(
    seed: int,
    tests: int,
    count_bits: int,
    extra_bits: int,
    classes: int,
    confidence: int,
    tie: int,
    leaves: int,
) -> None:
    circuit = GiniSplit(tests, count_bits, count_bits + extra_bits, confidence, tie)
    counts, totals = random_case(circuit, leaves, classes, seed)
    splits, chosen = circuit.evaluate_plain(leaves, inputs(counts, totals, circuit, seed))
    for leaf in range(leaves):
        expected = oracle(counts[leaf], int(totals[leaf]), circuit)
        assert (bool(splits[0, leaf]), chosen[:, leaf].tolist()) == expected


def test_the_decision_garbled() -> None:
    circuit = GiniSplit(tests=5, count_bits=9, total_bits=11, confidence_16=1000, tie_records=2000)
    counts, totals = random_case(circuit, 7, 3, 4)
    splits, chosen = run_linked(circuit, 7, inputs(counts, totals, circuit, 4))
    expected = [oracle(counts[k], int(totals[k]), circuit) for k in range(7)]
    assert [(bool(splits[0, k]), chosen[:, k].tolist()) for k in range(7)] == expected
    assert {splits for splits, _ in expected} == {True, False}


def test_the_largest_counts_do_not_overflow() -> None:
    circuit = GiniSplit(tests=2, count_bits=16, total_bits=31, confidence_16=4095, tie_records=(1 << 31) - 1)
    pure = [[65535, 0], [65535, 0], [0, 0]]
    split = [[32768, 32767], [32768, 0], [32768, 32767]]
    counts = np.array([pure, split], dtype=np.int64)
    totals = np.array([(1 << 31) - 1, (1 << 31) - 1])
    splits, chosen = circuit.evaluate_plain(2, inputs(counts, totals, circuit, 1))
    assert splits[0].tolist() == [0, 1]
    assert chosen.tolist() == [[0, 1], [0, 0]]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(2, 30), batch=st.sampled_from([1, 4, 60]))
def test_best_two(seed: int, count: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, rng.integers(2, 200), (count, batch))
    chosen, best, second = best_two(PlainEngine(batch), to_bits(scores, 8))
    first = scores.argmax(axis=0)
    np.testing.assert_array_equal(chosen, np.eye(count, dtype=np.uint8)[:, first])
    np.testing.assert_array_equal(to_integers(best), scores.max(axis=0))
    np.testing.assert_array_equal(to_integers(second), np.sort(scores, axis=0)[-2])


def test_gates_of_adult_and_nursery() -> None:
    # The figures of the protocol text: 0.12 M and 0.03 M gates per attempt.
    assert GiniSplit(140, 16, 16, 258, 3224).and_gates(16) < 16 * 125_000
    assert GiniSplit(27, 16, 16, 258, 3224).and_gates(16) < 16 * 30_000


def test_a_split_needs_tests() -> None:
    with pytest.raises(LocalProtocolError):
        GiniSplit(0, 8, 8, 1, 1)
    with pytest.raises(LocalProtocolError):
        best_two(PlainEngine(1), np.zeros((4, 1, 1), np.uint8))
