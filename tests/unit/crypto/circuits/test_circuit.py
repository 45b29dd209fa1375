"""Circuits as values: counting without running, choices in declared order, a pinned format."""

import hashlib

import numpy as np
import pytest
from linked_garbling import TRANSCRIPT, link

from crypto.circuits.circuit import Circuit
from crypto.circuits.engine import PlainEngine
from crypto.circuits.logarithm import NaiveBayesTable
from crypto.circuits.selection import NaiveBayesArgmax
from crypto.errors import LocalProtocolError
from crypto.garbling import GarblingStreams, garble

# Where a text, a digest or the order of tables and tweaks changes, two builds no longer understand
# each other: raise the circuit's VERSION (or the domain in `Circuit.digest`), then these constants.
PINNED = [
    (NaiveBayesArgmax((3, 2, 4), 3, 32, 8), 2, "0740c41caf5c336b8cdf275f930a0a97"),
    (NaiveBayesTable(19, tuple(range(250, 550)), 32, -1), 300, "96e40a313915f0a2f9cf7d4f9c178baa"),
]


def zeros(circuit: Circuit, batch: int) -> dict[str, np.ndarray]:
    return {item.name: np.zeros((*item.shape, batch), np.uint8) for item in circuit.inputs()}


@pytest.mark.parametrize(("circuit", "batch", "expected"), PINNED, ids=["argmax", "table"])
def test_the_format_is_pinned(circuit: Circuit, batch: int, expected: str) -> None:
    pair = link(circuit, batch, zeros(circuit, batch), "pinned")
    streams = GarblingStreams(bytes(range(16)), TRANSCRIPT)
    tables = garble(circuit, batch, pair.rows_su, pair.bits_su, delta=pair.delta, streams=streams).tables
    assert hashlib.sha256(circuit.digest() + tables).hexdigest()[:32] == expected


@pytest.mark.parametrize("batch", [1, 2, 3, 31, 32, 130])
def test_counting_is_what_evaluation_takes(batch: int) -> None:
    for circuit in (
        NaiveBayesArgmax((3, 2, 4), 5, 32, 8),
        NaiveBayesTable(19, tuple(range(250, 250 + batch)), 32, -1),
    ):
        engine = PlainEngine(batch)
        circuit.evaluate(engine, *zeros(circuit, batch).values())
        assert engine.ands == circuit.and_gates(batch)


def test_choices_are_joined_in_declared_order() -> None:
    circuit = NaiveBayesArgmax((2,), 2, score_bits=3, label_bits=2)
    scores = np.arange(12, dtype=np.uint8).reshape(3, 2, 2) % 2
    query = np.ones((2, 2), np.uint8)
    joined = circuit.choices(2, {"query": query, "scores_mu": scores})
    assert joined.tolist() == [*scores.reshape(-1).tolist(), 1, 1, 1, 1]
    assert circuit.choice_count(2) == len(joined)
    with pytest.raises(LocalProtocolError):
        circuit.choices(2, {"query": query})
