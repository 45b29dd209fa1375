"""Where a test is placed: at the first free node above the leaf, or nowhere."""

import numpy as np
import numpy.typing as npt
import pytest
from linked_garbling import run_linked
from unit.crypto.circuits.test_tree_entropy import inputs as entropy_inputs
from unit.crypto.circuits.test_tree_entropy import random_case as entropy_case
from unit.crypto.circuits.test_tree_split import inputs, oracle, random_case

from crypto.circuits.tree_entropy import EntropySplit, entropy_range_32
from crypto.circuits.tree_padding import PaddedSplit
from crypto.circuits.tree_split import GiniSplit
from crypto.errors import LocalProtocolError

Bits = npt.NDArray[np.uint8]

GINI = GiniSplit(tests=5, count_bits=9, total_bits=11, confidence_16=200, tie_records=900)
LEAVES = 24


def taken_places(places: int) -> tuple[Bits, Bits]:
    """Return how many places of every leaf are taken, all numbers among them, and which."""
    number = np.arange(LEAVES, dtype=np.uint8) % np.uint8(places + 1)
    return number, (np.arange(places)[:, np.newaxis] < number).astype(np.uint8)


def expected(splits: Bits, chosen: Bits, number: Bits, places: int) -> tuple[Bits, Bits]:
    """Place tests one by one; chosen (F, leaves)."""
    placed = np.zeros((places, *chosen.shape), dtype=np.uint8)
    for leaf in range(chosen.shape[1]):
        if splits[leaf] and number[leaf] < places:
            placed[number[leaf], :, leaf] = chosen[:, leaf]
    return (splits & (number < places)).astype(np.uint8), placed


@pytest.mark.parametrize("places", [1, 2, 5])
def test_a_test_goes_to_the_first_free_place(places: int) -> None:
    counts, totals = random_case(GINI, LEAVES, 3, 4)
    number, taken = taken_places(places)
    given = inputs(counts, totals, GINI, 4)
    decided = [oracle(counts[leaf], int(totals[leaf]), GINI) for leaf in range(LEAVES)]
    splits = np.array([split for split, _ in decided], dtype=np.uint8)
    chosen = np.array([test for _, test in decided], dtype=np.uint8).T
    circuit = PaddedSplit(GINI, places)
    found = circuit.evaluate_plain(LEAVES, {**given, "taken": taken})
    whether, placed = expected(splits, chosen, number, places)
    np.testing.assert_array_equal(found[0][0], whether)
    np.testing.assert_array_equal(found[1], placed)
    # All three happen: a test placed, a leaf that does not split, one without a place.
    assert whether.any()
    assert not splits.all()
    assert (splits & ~whether & 1).any()
    garbled = run_linked(circuit, LEAVES, {**given, "taken": taken})
    np.testing.assert_array_equal(garbled[0], found[0])
    np.testing.assert_array_equal(garbled[1], placed)


def test_by_entropy_too() -> None:
    decision = EntropySplit(4, 3, 8, 10, 100, entropy_range_32(3), 300)
    counts, totals = entropy_case(decision, LEAVES, 4)
    given = entropy_inputs(counts, totals, decision, 4)
    splits, chosen = decision.evaluate_plain(LEAVES, given)
    number, taken = taken_places(3)
    found = PaddedSplit(decision, 3).evaluate_plain(LEAVES, {**given, "taken": taken})
    whether, placed = expected(splits[0], chosen, number, 3)
    np.testing.assert_array_equal(found[0][0], whether)
    np.testing.assert_array_equal(found[1], placed)


@pytest.mark.parametrize("places", [1, 4])
def test_placing_costs_a_gate_per_place_and_bit_and_a_name_of_its_own(places: int) -> None:
    circuit = PaddedSplit(GINI, places)
    assert circuit.and_gates(7) == GINI.and_gates(7) + 7 * places * (GINI.tests + 1)
    assert circuit.choice_count(7) == GINI.choice_count(7) + 7 * places
    other = GiniSplit(5, 9, 11, 200, 901)
    digests = {circuit.digest(), GINI.digest(), PaddedSplit(GINI, places + 1).digest()}
    assert len(digests | {PaddedSplit(other, places).digest()}) == 4


def test_a_test_needs_a_place() -> None:
    with pytest.raises(LocalProtocolError):
        PaddedSplit(GINI, 0)
