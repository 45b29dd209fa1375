"""Classification as Bost et al. published it: right answers, and the operations that their protocols name."""

from collections.abc import Sequence

import numpy as np
import pytest
from doubles import seeded_coins

from benchmarks.baselines.bost import decision_tree, hyperplane, naive_bayes
from benchmarks.baselines.bost.argmax import argmax, shuffled
from benchmarks.baselines.bost.comparison import (
    Parties,
    at_most_encrypted,
    at_most_opened,
    less_than_plain,
)
from benchmarks.baselines.bost.decision_tree import Node
from crypto.counting import counting

BITS = 256
WIDTH = 8
COMPARED = {"QR.Enc": 3 * WIDTH - 1, "QR.Dec": WIDTH - 1}
"""A comparison of plain numbers."""
ENCRYPTED = {"QR.Enc": 3 * WIDTH, "QR.Dec": WIDTH - 1, "Paillier.Enc": 1, "Paillier.Dec": 1}
OPENED = {**ENCRYPTED, "QR.Enc": 3 * WIDTH + 1, "QR.Dec": WIDTH}
PAILLIER, RESIDUE = 2 * BITS // 8, BITS // 8


def parties(seed: str) -> Parties:
    return Parties.generate(BITS, seeded_coins(seed))


@pytest.fixture(scope="module")
def fixed() -> Parties:
    return parties("fixed")


@pytest.fixture
def found(fixed: Parties) -> Parties:
    transcript = fixed.transcript
    transcript.operations.clear()
    transcript.sent.clear()
    transcript.messages, transcript._last = 0, ""
    return fixed


@pytest.mark.parametrize("plaintext", [0, 1, -1, 1 << 100])
def test_paillier_opens_adds_and_multiplies(found: Parties, plaintext: int) -> None:
    paillier = found.paillier
    with counting() as tally:
        ciphertext = paillier.encrypt(plaintext)
    assert tally.powers_full == 1
    assert paillier.decrypt(ciphertext) == plaintext % paillier.n
    both = paillier.add(ciphertext, paillier.encrypt(5))
    assert paillier.decrypt(paillier.times(both, -3)) == -3 * (plaintext + 5) % paillier.n
    assert paillier.decrypt(paillier.negate(ciphertext)) == -plaintext % paillier.n
    assert paillier.refresh(ciphertext) != ciphertext


def test_quadratic_residues_hold_bits_and_add_them(found: Parties) -> None:
    residues = found.residues
    for a in (0, 1):
        assert residues.decrypt(residues.encrypt(a)) == a
        for b in (0, 1):
            assert residues.decrypt(residues.xor(residues.encrypt(a), residues.encrypt(b))) == a ^ b
            assert residues.decrypt(residues.xor_plain(residues.encrypt(a), b)) == a ^ b


PAIRS = [(0, 0), (1, 0), (0, 1), (255, 254), (254, 255), (128, 127), (127, 128), (77, 77)]


@pytest.mark.parametrize(("b", "a"), PAIRS)
def test_plain_numbers_compare_bit_by_bit(found: Parties, b: int, a: int) -> None:
    bit = less_than_plain(found, WIDTH, b, a)
    assert dict(found.transcript.operations) == COMPARED
    assert found.transcript.total_bytes == (3 * WIDTH - 2) * RESIDUE
    assert found.transcript.messages == 1 + 2 * (WIDTH - 1)
    assert found.residues.decrypt(bit) == (b < a)


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_encrypted_numbers_compare_under_a_mask(found: Parties, x: int, y: int) -> None:
    ciphertexts = found.paillier.encrypt(x), found.paillier.encrypt(y)
    found.transcript.operations.clear()
    bit = at_most_encrypted(found, WIDTH, *ciphertexts)
    assert dict(found.transcript.operations) == ENCRYPTED
    assert found.transcript.total_bytes == PAILLIER + (3 * WIDTH - 1) * RESIDUE
    assert found.transcript.round_trips == WIDTH
    assert found.residues.decrypt(bit) == (x <= y)
    found.transcript.operations.clear()
    assert at_most_opened(found, WIDTH, *ciphertexts) == (x <= y)
    assert dict(found.transcript.operations) == OPENED


@pytest.mark.parametrize("numbers", [[4], [1, 2, 3], [200, 7, 9, 250], [5, 3, 1]])
def test_the_greatest_is_found(found: Parties, numbers: Sequence[int]) -> None:
    ciphertexts = [found.paillier.encrypt(number) for number in numbers]
    found.transcript.operations.clear()
    assert argmax(found, WIDTH, ciphertexts) == int(np.argmax(numbers))
    steps = len(numbers) - 1
    # Per step a comparison, two masks, a refresh, the bit, and a power of it.
    expected = {name: steps * times for name, times in OPENED.items()}
    expected["Paillier.Enc"] = steps * (1 + 4)
    expected["Paillier.Exp"] = steps
    assert +found.transcript.operations == {name: times for name, times in expected.items() if times}


def test_an_order_has_every_place_once_and_differs() -> None:
    orders = [shuffled(6, seeded_coins(seed)) for seed in range(20)]
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert len(set(map(tuple, orders))) > 10


def test_naive_bayes_classifies(found: Parties) -> None:
    table, priors = [[9, 2], [1, 8], [5, 5], [0, 3]], [2, 1]
    encrypted = naive_bayes.publish(found, table, priors)
    assert found.transcript.total_bytes == 10 * PAILLIER
    for row in ([0, 2], [1, 3], [0, 3], [1, 2]):
        scores = [priors[c] + sum(table[place][c] for place in row) for c in (0, 1)]
        assert naive_bayes.classify(found, WIDTH, encrypted, row) == int(np.argmax(scores))


def test_a_hyperplane_classifies(found: Parties) -> None:
    weights = [3, -2, -4]
    encrypted = hyperplane.publish(found, weights)
    for row in ([5, 1], [1, 5], [2, 1], [0, 0], [4, 4]):
        found.transcript.operations.clear()
        score = 3 * row[0] - 2 * row[1] - 4
        assert hyperplane.classify(found, WIDTH, encrypted, row) == (score >= 0)
        assert found.transcript.operations["Paillier.Exp"] == len(row)
        assert found.transcript.operations["Paillier.Dec"] == 1


def test_a_tree_classifies_with_a_comparison_per_node(found: Parties) -> None:
    tree = Node(0, 100, Node(1, 10, 0, 1), Node(1, 200, 2, Node(0, 150, 3, 4)))
    rows = [([5, 5], 0), ([99, 10], 1), ([100, 199], 2), ([149, 200], 3), ([150, 255], 4)]
    for row, label in rows:
        found.transcript.operations.clear()
        before = found.transcript.messages
        assert decision_tree.classify(found, WIDTH, tree, row, 1000) == label
        done = found.transcript.operations
        assert done["Levelled.Enc"] == len(tree.nodes) == 4
        assert done["Levelled.Dec"] == 1
        # Every comparison, and the opening of its masked bit.
        assert done["QR.Enc"] == 4 * (COMPARED["QR.Enc"] + 1)
        assert done["QR.Dec"] == 4 * (COMPARED["QR.Dec"] + 1)
        # The nodes side by side: bits, rounds of a comparison, the masked bit and its answer, the class.
        assert found.transcript.messages - before == 1 + 2 * (WIDTH - 1) + 2 + 1
