"""Comparing and choosing against integers, and the answer to a naive-Bayes query."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_garbling import run_linked, to_bits, to_integers

from crypto.circuits import selection
from crypto.circuits.engine import PlainEngine
from crypto.circuits.selection import NaiveBayesArgmax
from crypto.errors import LocalProtocolError

BATCHES = st.sampled_from([1, 3, 130, 2100])


@given(seed=st.integers(0, 2**32), width=st.integers(1, 40), batch=BATCHES)
@settings(max_examples=40, deadline=None)
def test_comparisons(seed: int, width: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-(1 << (width - 1)), 1 << (width - 1), (2, batch))
    y[::2] = x[::2]
    a, b, engine = to_bits(x, width), to_bits(y, width), PlainEngine(batch)
    ux, uy = x % (1 << width), y % (1 << width)
    np.testing.assert_array_equal(selection.less_than(engine, a, b), ux < uy)
    np.testing.assert_array_equal(selection.less_than_signed(engine, a, b), x < y)
    np.testing.assert_array_equal(selection.equal(engine, a, b), x == y)
    np.testing.assert_array_equal(selection.is_zero(engine, a), x == 0)
    condition = rng.integers(0, 2, batch, dtype=np.uint8)
    chosen = selection.mux(engine, condition, a, b)
    np.testing.assert_array_equal(to_integers(chosen), np.where(condition == 1, ux, uy))


@pytest.mark.parametrize("classes", range(1, 25))
@pytest.mark.parametrize("batch", [3, 130])
def test_argmax_takes_the_lowest_of_equals(classes: int, batch: int) -> None:
    rng = np.random.default_rng(classes)
    scores = rng.integers(-3, 3, (classes, batch))
    index, one_hot = selection.argmax(PlainEngine(batch), to_bits(scores, 6), 5)
    winners = scores.argmax(axis=0)
    np.testing.assert_array_equal(to_integers(index), winners)
    np.testing.assert_array_equal(one_hot, np.eye(classes, dtype=np.uint8)[:, winners])


def test_argmax_gates() -> None:
    for classes in range(2, 25):
        engine = PlainEngine(130)
        selection.argmax(engine, np.zeros((32, classes, 130), np.uint8), 5)
        assert engine.ands == 130 * ((classes - 1) * 32 + (classes - 2) * 33)


def naive_bayes_case(
    circuit: NaiveBayesArgmax, batch: int, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return inputs and the masked label that the integers give."""
    rng = np.random.default_rng(seed)
    width, words = circuit.score_bits, 1 << circuit.score_bits
    scores = rng.integers(-(1 << (width - 1)), 1 << (width - 1), (circuit.classes, batch))
    scores[:, ::3] = scores[:1, ::3]
    shares = rng.integers(0, words, scores.shape)
    columns = [
        np.eye(size, dtype=np.uint8)[:, rng.integers(0, size, batch)] for size in circuit.attribute_sizes
    ]
    query = np.concatenate(columns)
    query[rng.integers(0, len(query)), ::4] ^= 1
    mask = rng.integers(0, 1 << circuit.label_bits, batch)
    starts = np.cumsum([0, *circuit.attribute_sizes])
    valid = np.logical_and.reduce([query[a:b].sum(axis=0) == 1 for a, b in pairwise(starts)])
    label = np.where(valid, scores.argmax(axis=0), circuit.classes)
    values = {
        "scores_mu": to_bits((scores - shares) % words, width),
        "scores_su": to_bits(shares, width),
        "query": query,
        "mask": to_bits(mask, circuit.label_bits),
    }
    return values, (label - mask) % (1 << circuit.label_bits)


@given(
    seed=st.integers(0, 2**32),
    classes=st.integers(1, 24),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    batch=BATCHES,
)
@settings(max_examples=25, deadline=None)
def test_naive_bayes_answer(seed: int, classes: int, sizes: list[int], batch: int) -> None:
    circuit = NaiveBayesArgmax(tuple(sizes), classes, score_bits=24, label_bits=8)
    values, expected = naive_bayes_case(circuit, batch, seed)
    (result,) = circuit.evaluate_plain(batch, values)
    np.testing.assert_array_equal(to_integers(result), expected)


@pytest.mark.parametrize("batch", [1, 3, 130, 2100])
def test_naive_bayes_answer_garbled(batch: int) -> None:
    circuit = NaiveBayesArgmax((2, 5, 3), 5, score_bits=10, label_bits=4)
    values, expected = naive_bayes_case(circuit, batch, batch)
    (result,) = run_linked(circuit, batch, values)
    np.testing.assert_array_equal(to_integers(result), expected)


def test_naive_bayes_gates() -> None:
    # Nursery: 8 attributes, 27 bits, 5 classes.
    circuit = NaiveBayesArgmax((3, 5, 4, 4, 3, 2, 3, 3), 5, score_bits=32, label_bits=8)
    validity = sum(2 * ((size - 1) // 2) for size in circuit.attribute_sizes) + 7
    assert circuit.and_gates(2100) == 2100 * (5 * 31 + 4 * 32 + 3 * 32 + 4 + validity + 7)
    assert circuit.and_gates(2100) == 2100 * 413


def test_the_label_needs_room() -> None:
    with pytest.raises(LocalProtocolError):
        NaiveBayesArgmax((2,), 4, score_bits=8, label_bits=2)
