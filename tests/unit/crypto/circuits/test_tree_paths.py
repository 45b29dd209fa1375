"""Paths, labels and answers of trees against a walk in plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_garbling import run_linked, to_bits, to_integers

from crypto.circuits.engine import Bits, PlainEngine
from crypto.circuits.tree_paths import Routes, TreeAnswer, TreeLabels, TreeRoute, levels, reached_leaf
from crypto.errors import LocalProtocolError


def random_tree(inner: int, seed: int) -> Routes:
    """Grow a tree by splitting leaves at random; leaves are numbered anew at the end."""
    rng = np.random.default_rng(seed)
    children: list[list[int]] = []
    open_ends: list[tuple[int, int]] = []
    for node in range(inner):
        if open_ends:
            parent, side = open_ends.pop(int(rng.integers(len(open_ends))))
            children[parent][side] = node
        children.append([-1, -1])
        open_ends += [(node, 0), (node, 1)]
    for leaf, (parent, side) in enumerate(open_ends):
        children[parent][side] = -leaf - 1
    return tuple((left, right) for left, right in children)


def walk(routes: Routes, outcomes: list[int]) -> int:
    node = 0
    while node >= 0 and routes:
        node = routes[node][0 if outcomes[node] else 1]
    return -node - 1 if routes else 0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), inner=st.integers(1, 20), batch=st.sampled_from([1, 3, 50]))
def test_the_leaf_reached(seed: int, inner: int, batch: int) -> None:
    routes = random_tree(inner, seed)
    outcomes = np.random.default_rng(seed).integers(0, 2, (inner, batch), dtype=np.uint8)
    engine = PlainEngine(batch)
    leaves = reached_leaf(engine, outcomes, routes)
    expected = [walk(routes, row) for row in outcomes.T.tolist()]
    np.testing.assert_array_equal(leaves, np.eye(inner + 1, dtype=np.uint8)[:, expected])
    assert engine.ands == (inner - 1) * batch


@pytest.mark.parametrize("inner", [0, 1, 6])
def test_what_records_count_for(inner: int) -> None:
    routes, batch, classes = random_tree(inner, inner), 60, 3
    rng = np.random.default_rng(inner)
    circuit = TreeRoute(routes, classes, 5)
    labels = np.eye(classes, dtype=np.uint8)[:, rng.integers(0, classes, batch)]
    checks = np.zeros((5, batch), dtype=np.uint8)
    checks[rng.integers(0, 5, 20), np.arange(20)] = 1
    # What an invalid record says of its class does not matter.
    labels[:, :10] = rng.integers(0, 2, (classes, 10))
    values = {"labels": labels, "checks": checks}
    if inner:
        values["outcomes"] = rng.integers(0, 2, (inner, batch), dtype=np.uint8)
    (counted,) = run_linked(circuit, batch, values)
    outcomes = values.get("outcomes", np.zeros((0, batch), dtype=np.uint8)).T.tolist()
    expected = np.zeros((inner + 1, classes, batch), dtype=np.uint8)
    for record in range(20, batch):
        expected[walk(routes, outcomes[record]), labels[:, record].argmax(), record] = 1
    np.testing.assert_array_equal(counted, expected)
    gates = 4 + max(inner - 1, 0) + (classes - 1) + inner * classes
    assert circuit.and_gates(batch) == gates * batch


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), classes=st.integers(2, 6), leaves=st.sampled_from([1, 2, 40]))
def test_majority_labels(seed: int, classes: int, leaves: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, rng.integers(1, 200), (classes, leaves))
    masks, carries = rng.integers(0, 512, counts.shape), rng.integers(0, 2, counts.shape)
    circuit = TreeLabels(classes, 8, 3)
    digits = {"digits_su": to_bits(masks + 2 * counts + carries, 9), "digits_mu": to_bits(masks, 9)}
    (labels,) = circuit.evaluate_plain(leaves, digits)
    np.testing.assert_array_equal(to_integers(labels), counts.argmax(axis=0))


@pytest.mark.parametrize("inner", [0, 1, 7])
def test_answers(inner: int) -> None:
    routes, rows, sizes, classes = random_tree(inner, inner), 40, (3, 2, 4), 5
    circuit = TreeAnswer(rows, routes, sizes, classes, label_bits=8)
    rng = np.random.default_rng(inner)
    query = np.concatenate([np.eye(size, dtype=np.uint8)[:, rng.integers(0, size, rows)] for size in sizes])
    query[rng.integers(0, 9, 8), np.arange(8)] ^= 1
    labels, mask = rng.integers(0, classes, inner + 1), rng.integers(0, 256, rows)
    values: dict[str, Bits] = {
        "query": query[..., np.newaxis],
        "labels": to_bits(labels, 3)[..., np.newaxis],
        "mask": to_bits(mask, 8)[..., np.newaxis],
    }
    outcomes = rng.integers(0, 2, (inner, rows), dtype=np.uint8)
    if inner:
        values["outcomes"] = outcomes[..., np.newaxis]
    (answers,) = run_linked(circuit, 1, values)
    expected = [
        classes if row < 8 else int(labels[walk(routes, outcomes[:, row].tolist())]) for row in range(rows)
    ]
    np.testing.assert_array_equal((to_integers(answers)[:, 0] + mask) % 256, expected)


def test_routes_that_are_no_tree_are_refused() -> None:
    for routes in (((0, -1),), ((1, -1), (1, -2)), ((-1, -1),), ((1, -1), (-3, -4))):
        with pytest.raises(LocalProtocolError):
            levels(routes)
