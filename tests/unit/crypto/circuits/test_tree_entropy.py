"""The split decision by information gain against integers, and these against real logarithms."""

from math import log2

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_garbling import run_linked, to_bits

from crypto.circuits.engine import Bits
from crypto.circuits.tree_entropy import EntropySplit, entropy_range_32
from crypto.errors import LocalProtocolError
from roles.classifiers.naive_bayes_twin import log2_fixed

Counts = npt.NDArray[np.int64]


def weighed(x: int) -> int:
    return x * (log2_fixed(x) >> 10)


def oracle(counts: Counts, total: int, circuit: EntropySplit) -> tuple[bool, list[int]]:
    merits = []
    for column in counts.tolist():
        other = [n - k for n, k in zip(counts[0].tolist(), column, strict=True)]
        merits.append(sum(sum(weighed(k) for k in side) - weighed(sum(side)) for side in (column, other)))
    best = merits.index(max(merits))
    gap = max(merits) - max(merit for index, merit in enumerate(merits) if index != best)
    seen = int(counts[0].sum())
    # (gap / 2^10·n)² > log2(C)²·ln(1/δ) / 2n_tot
    is_certain = gap**2 * 2 * total * 16 * 32 > 2**20 * seen**2 * circuit.confidence_16 * circuit.range_32
    splits = best > 0 and (is_certain or total > circuit.tie_records)
    return splits, [int(best == 1 + index) for index in range(circuit.tests)]


def inputs(counts: Counts, totals: Counts, circuit: EntropySplit, seed: int) -> dict[str, Bits]:
    """Share the counts of every leaf; counts (leaves, F + 1, C)."""
    sides = np.stack([counts, counts[:, :1] - counts], axis=2)
    kinds = np.concatenate([sides, sides.sum(axis=3, keepdims=True)], axis=3)
    rng = np.random.default_rng(seed)
    shares = {}
    for name, value, width in (
        ("counts", kinds.transpose(3, 2, 1, 0), circuit.count_bits),
        ("total", totals, circuit.total_bits),
    ):
        mask = rng.integers(0, 1 << width, value.shape)
        shares[f"{name}_mu"] = to_bits(value - mask, width)
        shares[f"{name}_su"] = to_bits(mask, width)
    return shares


def random_case(circuit: EntropySplit, leaves: int, seed: int) -> tuple[Counts, Counts]:
    rng = np.random.default_rng(seed)
    largest = (1 << circuit.count_bits) // circuit.classes
    null = rng.integers(0, rng.integers(1, largest + 1), (leaves, 1, circuit.classes))
    shares = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], (leaves, circuit.tests, circuit.classes))
    tests = np.floor(null * shares).astype(np.int64)
    tests[:, ::4] = tests[:, :1]
    seen = null.sum(axis=(1, 2))
    room = np.maximum((1 << circuit.total_bits) - 1 - seen, 0)
    return np.concatenate([null, tests], axis=1), seen + rng.integers(0, room + 1)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    tests=st.integers(1, 6),
    count_bits=st.integers(2, 16),
    extra_bits=st.integers(0, 4),
    classes=st.integers(2, 4),
    confidence=st.integers(1, 300),
    tie=st.sampled_from([0, 1000, 1 << 28]),
)
def test_the_decision(
    seed: int, tests: int, count_bits: int, extra_bits: int, classes: int, confidence: int, tie: int
) -> None:
    squared = entropy_range_32(classes)
    circuit = EntropySplit(tests, classes, count_bits, count_bits + extra_bits, confidence, squared, tie)
    counts, totals = random_case(circuit, 5, seed)
    splits, chosen = circuit.evaluate_plain(5, inputs(counts, totals, circuit, seed))
    for leaf in range(5):
        expected = oracle(counts[leaf], int(totals[leaf]), circuit)
        assert (bool(splits[0, leaf]), chosen[:, leaf].tolist()) == expected


def test_the_decision_garbled() -> None:
    circuit = EntropySplit(3, 3, 8, 10, 100, entropy_range_32(3), 600)
    counts, totals = random_case(circuit, 6, 2)
    splits, chosen = run_linked(circuit, 6, inputs(counts, totals, circuit, 2))
    expected = [oracle(counts[k], int(totals[k]), circuit) for k in range(6)]
    assert [(bool(splits[0, k]), chosen[:, k].tolist()) for k in range(6)] == expected


def test_the_range_and_the_merit_are_those_of_the_entropy() -> None:
    assert [entropy_range_32(classes) for classes in (2, 4, 16, 256)] == [32, 128, 512, 2048]
    assert abs(entropy_range_32(5) - 32 * log2(5) ** 2) < 1
    for count in (1, 2, 3, 77, 4096, 65535):
        assert 0 <= count * log2(count) - weighed(count) / 1024 < count / 512


def test_bad_parameters_are_refused() -> None:
    for wrong in ((0, 2, 8), (3, 1, 8), (3, 2, 17)):
        with pytest.raises(LocalProtocolError):
            EntropySplit(*wrong, 20, 10, 32, 100)
