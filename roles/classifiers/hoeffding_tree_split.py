"""Priv-DT, split: leaves that are due are tried together; those that split get children.

Three round trips for any number of leaves (docs/protocols.md §7):

1. *open*: the leaves' statistics and class counts become exact word shares;
2. *decide*: Σ L², Σ N·L and Σ N² by transfers, then a garbled circuit takes the best test and
   holds it against the Hoeffding bound. Which leaves split is the tree's shape, and public;
3. *grow*: the chosen tests' class counts are what the children start from; tests and counts
   are sealed. The fields have room for as many splits as leaves were tried.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from crypto.correlated_ot import receive_words, send_bit_products
from crypto.dtpkc import Ciphertext, decode_ciphertexts, encode_ciphertexts
from crypto.ot_extension import ReceivedRows, SentRows
from roles.building_blocks.garble_shares import evaluate_to_shares, garble_to_shares
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.building_blocks.square_sums import (
    SquareSums,
    count_choices,
)
from roles.building_blocks.transfers import choose, chosen_rows
from roles.building_blocks.vectors import ZERO, multiply_in
from roles.building_blocks.word_opening import (
    carry_choices,
    share_words_master,
    share_words_secondary,
)
from roles.classifiers.hoeffding_tree_attempt import AttemptShape
from roles.classifiers.hoeffding_tree_counts import (
    mask_counts,
    open_counts,
    squares_master,
    squares_secondary,
)
from roles.classifiers.hoeffding_tree_shape import TreeState
from roles.session import MasterProgram, SecondaryProgram, Session, array_bytes
from roles.unit_secrets import UnitSecrets

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]


def _bit_string(bits: Bits) -> bytes:
    return np.packbits(bits, bitorder="little").tobytes()


def _joined_splits(own: Bits, other: bytes) -> list[bool]:
    """Return the revealed outcomes from one unit's colours and the other's."""
    bits = np.unpackbits(np.frombuffer(other, dtype=np.uint8), count=len(own), bitorder="little")
    return [bool(bit) for bit in own ^ bits]


def _by_leaf(products: Words, leaves: int) -> Words:
    """Sum products (d·F, C) over the tests of each leaf."""
    sums: Words = products.reshape(leaves, -1, products.shape[1]).sum(axis=1, dtype=np.uint32)
    return sums


def split_master(
    session: Session,
    secrets: UnitSecrets,
    shape: AttemptShape,
    state: TreeState,
    pool: ThreadPoolExecutor | None = None,
) -> MasterProgram[TreeState]:
    """Run MU's half of an attempt and return the tree after it.

    Args:
        session: This attempt's.
        secrets: MU's.
        shape: Of the attempt.
        state: The tree before it, with all its windows sealed.
        pool: Threads for the powers.

    Security:
        MU learns which leaves split, and nothing of the counts.

    Cost:
        Per leaf 32·(F + 1)·C transfers, about 880·F gates at 16-bit counts and 2·F transfers with
        C words; opens the leaf's statistics; three round trips in all.
    """
    parameters, key = session.tenant.parameters, session.tenant.service_key
    due = len(shape.due)
    # 1: open.
    digits, sections = mask_counts(session, secrets, shape, state, pool)
    carries = choose(session, secrets, "carries", carry_choices(digits), b"".join(sections))
    salt, corrections, *transfer = yield (*sections, *carries.sections)
    rows = carries.rows.take(shape.words)
    words = share_words_master(digits, rows, corrections, session.reply_hash("carries", salt))
    counts, totals = shape.counts(words)
    # 2: squares, then the decision.
    squares, payload = squares_master(session, secrets, shape, counts, transfer)
    choices = shape.circuit.choices(due, shape.inputs(counts, totals, squares, "mu"))
    chosen = choose(session, secrets, "inputs", choices, b"".join(payload))
    salt, tables, peer_splits, *transfer = yield (*payload, *chosen.sections)
    decided, tests = evaluate_to_shares(session, shape.circuit, due, chosen.rows, (salt, tables))
    splits = _joined_splits(decided[0], peer_splits)
    bits = np.ascontiguousarray(tests.T)
    # 3: class counts of the children, one-hot × counts.
    flat = np.ascontiguousarray(counts[:, :-1]).reshape(shape.choices, -1)
    own_salt = session.salt("children", array_bytes(bits, flat))
    sent = chosen_rows(secrets, transfer, shape.choices).take(shape.choices)
    own_hash = session.request_hash("children", own_salt)
    passed, corrections = send_bit_products(sent, bits.reshape(-1), flat, own_hash)
    chosen = choose(session, secrets, "tests", bits.reshape(-1), corrections)
    reply = yield (_bit_string(decided[0]), own_salt, corrections, *chosen.sections)
    salt, corrections, sealed_tests, sealed_sums = reply
    peer_hash = session.reply_hash("children", salt)
    passed = passed + receive_words(
        chosen.rows.take(shape.choices), corrections, flat.shape[1], np.uint32, peer_hash
    )
    new_tests, new_sums = shape.shares(bits, _by_leaf(passed, due), counts, splits)
    coins = session.coins("seal", b"".join(reply), array_bytes(new_tests, new_sums))
    grown = []
    for segment, sealed, shares in (
        (shape.new_tests, sealed_tests, new_tests),
        (shape.new_sums, sealed_sums, new_sums),
    ):
        ciphertexts = decode_ciphertexts(parameters, sealed)
        grown.append(seal_master(key, segment.layout, ciphertexts, segment.placed(shares), coins, pool))
    return _grown_state(session, shape, state, splits, (grown[0], grown[1]))


def split_secondary(
    session: Session, secrets: UnitSecrets, shape: AttemptShape, pool: ThreadPoolExecutor | None = None
) -> SecondaryProgram[list[bool]]:
    """Run SU's half of an attempt and return which of the leaves that were due split."""
    parameters, key = session.tenant.parameters, session.tenant.service_key
    due = len(shape.due)
    # 1: open.
    *masked, nonce, message = yield ()
    digits = open_counts(session, secrets, shape, masked, pool)
    salt = session.salt("carries", array_bytes(digits))
    sent = chosen_rows(secrets, (nonce, message), shape.words).take(shape.words)
    words, corrections = share_words_secondary(digits, sent, session.reply_hash("carries", salt))
    counts, totals = shape.counts(words)
    # 2: squares, then the decision.
    squares: SquareSums | None = None
    if shape.by_entropy:
        transfer = list((yield (salt, corrections)))
    else:
        chosen = choose(session, secrets, "counts", count_choices(counts), corrections)
        *sums, nonce, message = yield (salt, corrections, *chosen.sections)
        squares = squares_secondary(session, shape, counts, chosen.rows, sums)
        transfer = [nonce, message]
    rows = chosen_rows(secrets, transfer, shape.circuit.choice_count(due))
    inputs = shape.inputs(counts, totals, squares, "su")
    garbled = garble_to_shares(session, shape.circuit, due, rows, inputs, secrets.sender.delta)
    decided, tests = garbled.shares
    bits = np.ascontiguousarray(tests.T)
    chosen = choose(session, secrets, "tests", bits.reshape(-1))
    # The colours of the outcomes, and of nothing else.
    peer_splits, peer_salt, corrections, *transfer = yield (
        *garbled.sections,
        _bit_string(decided[0]),
        *chosen.sections,
    )
    splits = _joined_splits(decided[0], peer_splits)
    # 3: class counts of the children.
    flat = np.ascontiguousarray(counts[:, :-1]).reshape(shape.choices, -1)
    peer_hash = session.request_hash("children", peer_salt)
    received: ReceivedRows = chosen.rows.take(shape.choices)
    passed = receive_words(received, corrections, flat.shape[1], np.uint32, peer_hash)
    salt = session.salt("children", array_bytes(bits, flat))
    own_rows_sent: SentRows = chosen_rows(secrets, transfer, shape.choices).take(shape.choices)
    own_hash = session.reply_hash("children", salt)
    products, corrections = send_bit_products(own_rows_sent, bits.reshape(-1), flat, own_hash)
    new_tests, new_sums = shape.shares(bits, _by_leaf(passed + products, due), counts, splits)
    coins = session.coins("seal", b"", array_bytes(new_tests, new_sums))
    sealed = [
        encode_ciphertexts(
            parameters, seal_secondary(key, segment.layout, segment.placed(shares), coins, pool)
        )
        for segment, shares in ((shape.new_tests, new_tests), (shape.new_sums, new_sums))
    ]
    yield (salt, corrections, *sealed)
    return splits


def _grown_state(
    session: Session,
    shape: AttemptShape,
    state: TreeState,
    splits: Sequence[bool],
    sealed: tuple[Sequence[Ciphertext], Sequence[Ciphertext]],
) -> TreeState:
    """Return the tree with the new nodes; what was sealed for leaves that stay is dropped."""
    parameters = session.tenant.parameters
    growth = state.growth.after_attempt(splits)
    if not any(splits):
        return replace(state, growth=growth)
    tests = multiply_in(parameters, state.tests, shape.new_tests.first, sealed[0])
    totals = multiply_in(parameters, state.totals, shape.new_sums.first, sealed[1])
    empty = (ZERO,) * shape.statistics.ciphertexts
    statistics = {leaf: state.statistics.get(leaf, empty) for leaf in growth.leaves}
    return TreeState(
        growth,
        tests[: shape.model.tests_layout(len(growth.inner)).ciphertexts],
        totals[: shape.model.totals_layout(len(growth.nodes)).ciphertexts],
        MappingProxyType(statistics),
    )
