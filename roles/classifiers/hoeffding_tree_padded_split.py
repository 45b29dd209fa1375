"""Priv-DT, padded split: leaves that are due are tried together, and nobody learns which split.

Three round trips for any number of leaves (docs/protocols.md §7.8):

1. *open*: statistics, class counts and tests become shares;
2. *decide*: as `roles.classifiers.hoeffding_tree_split` does, but whether a leaf splits stays within the
   circuit, which places the best test at the first free node above the leaf, or nowhere;
3. *grow*: counts move to where records will arrive if a test was placed. Tests, class counts and
   statistics are sealed anew, whether they changed or not.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from crypto.block_hash import BlockHash
from crypto.correlated_ot import receive_words, send_bit_products
from crypto.dtpkc import decode_ciphertexts, encode_ciphertexts
from crypto.ot_extension import ReceiverRows, SenderRows
from crypto.packing import SlotLayout
from roles.building_blocks.garble_shares import evaluate_to_shares, garble_to_shares
from roles.building_blocks.opening import (
    bit_choices,
    mask_vector,
    open_masked,
    share_bits_master,
    share_bits_secondary,
)
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.building_blocks.square_sums import SquareSums, count_choices
from roles.building_blocks.transfers import choose, chosen_rows
from roles.building_blocks.vectors import ZERO, decode_t2s, encode_t2s, multiply_in
from roles.building_blocks.word_opening import (
    carry_choices,
    share_words_master,
    share_words_secondary,
)
from roles.classifiers.hoeffding_tree_counts import (
    mask_counts,
    open_counts,
    squares_master,
    squares_secondary,
)
from roles.classifiers.hoeffding_tree_padded_attempt import PaddedAttemptShape
from roles.classifiers.hoeffding_tree_shape import TreeState
from roles.plan import Sections
from roles.session import MasterProgram, SecondaryProgram, Session, array_bytes
from roles.unit_secrets import UnitSecrets

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One unit's shares of what an attempt found, and the words that it multiplies.

    Attributes:
        shape: Of the attempt.
        tests: Shape (I, F): before it.
        counts: Shape (d, F + 1, C).
        totals: Shape (d, C).
        placed: Shape (P, F): the tests placed.
        splits: Shape (d,): whether one was.
    """

    shape: PaddedAttemptShape
    tests: Bits = field(repr=False)
    counts: Words = field(repr=False)
    totals: Words = field(repr=False)
    placed: Bits = field(repr=False)
    splits: Bits = field(repr=False)

    @property
    def choices(self) -> Bits:
        """The bits in order: of the tests, then of the leaves."""
        return np.concatenate([self.placed.reshape(-1), self.splits])

    @property
    def passing(self) -> Words:
        """Shape (P·F, C): L_fc of the leaf below, for every bit placed."""
        passing = self.shape.on_leaves(self.counts[:, :-1])
        return np.ascontiguousarray(passing.reshape(-1, self.shape.model.classes))

    @property
    def moved(self) -> Words:
        """Shape (d, (F + 2)·C): what a leaf loses of its statistics, and gains in class counts."""
        statistics = self.counts.reshape(len(self.counts), -1)
        return np.concatenate([statistics, self.counts[:, -1] - self.totals], axis=1)

    @property
    def secrets(self) -> bytes:
        """Everything that the corrections hide."""
        return array_bytes(self.choices, self.passing, self.moved)

    def send(self, rows: SenderRows, block_hash: BlockHash) -> tuple[tuple[Words, Words], Sections]:
        """Multiply this unit's words by the shared bits, as `receive` does at the peer."""
        shape = self.shape
        placed, splits = rows.take(shape.placed_bits), rows.take(len(shape.due))
        passed, first = send_bit_products(placed, self.placed.reshape(-1), self.passing, block_hash)
        moved, second = send_bit_products(splits, self.splits, self.moved, block_hash)
        return (passed, moved), (first, second)

    def receive(
        self, rows: ReceiverRows, corrections: Sections, block_hash: BlockHash
    ) -> tuple[Words, Words]:
        """Return this unit's shares of the products with the peer's words."""
        shape = self.shape
        placed, splits = rows.take(shape.placed_bits), rows.take(len(shape.due))
        first, second = corrections
        return (
            receive_words(placed, first, shape.model.classes, np.uint32, block_hash),
            receive_words(splits, second, shape.moved_words, np.uint32, block_hash),
        )

    def vectors(self, passed: Words, moved: Words) -> list[tuple[SlotLayout, list[int]]]:
        """Return what is sealed: all tests, additions to all class counts, statistics of the leaves tried."""
        shape, leaves = self.shape, len(self.counts)
        by_node = passed.reshape(len(shape.spine_nodes), -1, shape.model.classes).sum(axis=1, dtype=np.uint32)
        lost, gained = np.split(moved, [moved.shape[1] - shape.model.classes], axis=1)
        sums = shape.grown_sums(self.totals, gained, by_node)
        statistics = self.counts.reshape(leaves, -1) - lost
        return [
            (shape.tests_after, shape.grown_tests(self.tests, self.placed).reshape(-1).tolist()),
            (shape.sums_after.layout, shape.sums_after.placed(sums.reshape(-1))),
            *((shape.statistics, row) for row in statistics.tolist()),
        ]


def pad_master(
    session: Session,
    secrets: UnitSecrets,
    shape: PaddedAttemptShape,
    state: TreeState,
    pool: ThreadPoolExecutor | None = None,
) -> MasterProgram[TreeState]:
    """Run MU's half of a padded attempt and return the tree after it.

    Args:
        session: This attempt's.
        secrets: MU's.
        shape: Of the attempt.
        state: The tree before it, with all its windows sealed.
        pool: Threads for the powers.

    Security:
        MU learns nothing: shares, and ciphertexts under the service key.

    Cost:
        As `split_master`, and P·F gates, I·F bits opened, transfers with (F + 2)·C words per leaf,
        seals of the leaves' statistics; P·F transfers with C words instead of F per leaf.
    """
    parameters, key = session.tenant.parameters, session.tenant.service_key
    due = len(shape.due)
    # 1: open.
    digits, sections = mask_counts(session, secrets, shape, state, pool)
    test_digits = np.zeros((0, 2), dtype=np.uint8)
    if shape.inner:
        coins = session.coins("mask tests", encode_ciphertexts(parameters, state.tests))
        nodes = mask_vector(parameters, shape.tests, state.tests, secrets.theta, coins, pool)
        test_digits = nodes.digits[:, :2]
        sections += (nodes.masked, encode_t2s(parameters, state.tests))
    own = np.concatenate([carry_choices(digits), bit_choices(test_digits)])
    carries = choose(session, secrets, "carries", own, b"".join(sections))
    salt, corrections, *transfer = yield (*sections, *carries.sections)
    peer_hash = session.reply_hash("carries", salt)
    words = share_words_master(digits, carries.rows.take(shape.words), corrections, peer_hash)
    counts, totals = shape.counts(words)
    tests = np.zeros((0, shape.model.tests), dtype=np.uint8)
    if shape.inner:
        corrections, *transfer = transfer
        rows = carries.rows.take(shape.node_bits)
        bits = share_bits_master(test_digits, rows, corrections, session.reply_hash("test carries", salt))
        tests = bits.reshape(shape.inner, -1)
    # 2: squares, then the decision.
    squares, payload = squares_master(session, secrets, shape, counts, transfer)
    inputs = shape.inputs(counts, totals, squares, "mu") | {"taken": shape.taken(tests, is_master=True)}
    chosen = choose(session, secrets, "inputs", shape.circuit.choices(due, inputs), b"".join(payload))
    salt, tables, *transfer = yield (*payload, *chosen.sections)
    splits, placed = evaluate_to_shares(session, shape.circuit, due, chosen.rows, (salt, tables))
    outcome = Outcome(shape, tests, counts, totals, shape.on_spines(placed), splits[0])
    # 3: bits × counts.
    own_salt = session.salt("children", outcome.secrets)
    sent = chosen_rows(secrets, transfer, shape.choices)
    own_products, payload = outcome.send(sent, session.request_hash("children", own_salt))
    chosen = choose(session, secrets, "placed", outcome.choices, b"".join(payload))
    reply = yield (own_salt, *payload, *chosen.sections)
    salt, first, second, *sealed = reply
    peer_hash = session.reply_hash("children", salt)
    products = outcome.receive(chosen.rows, (first, second), peer_hash)
    vectors = outcome.vectors(own_products[0] + products[0], own_products[1] + products[1])
    coins = session.coins("seal", b"".join(reply), array_bytes(*(np.array(v) for _, v in vectors)))
    ciphertexts = decode_ciphertexts(parameters, b"".join(sealed))
    fresh = []
    for layout, shares in vectors:
        part, ciphertexts = ciphertexts[: layout.ciphertexts], ciphertexts[layout.ciphertexts :]
        fresh.append(tuple(seal_master(key, layout, part, shares, coins, pool)))
    empty = (ZERO,) * shape.statistics.ciphertexts
    statistics = {leaf: state.statistics.get(leaf, empty) for leaf in shape.after.leaves}
    return TreeState(
        shape.after,
        fresh[0],
        multiply_in(parameters, state.totals, 0, fresh[1]),
        MappingProxyType(statistics | dict(zip(shape.ends, fresh[2:], strict=True))),
    )


def pad_secondary(
    session: Session, secrets: UnitSecrets, shape: PaddedAttemptShape, pool: ThreadPoolExecutor | None = None
) -> SecondaryProgram[None]:
    """Run SU's half of a padded attempt.

    Security:
        SU sees the masked plaintexts, which are 2^-80-close to uniform, and shares.
    """
    parameters, key = session.tenant.parameters, session.tenant.service_key
    due = len(shape.due)
    # 1: open.
    *masked, nonce, message = yield ()
    digits = open_counts(session, secrets, shape, masked[:4], pool)
    test_digits = np.zeros((0, 2), dtype=np.uint8)
    if shape.inner:
        nodes = decode_t2s(parameters, masked[5])
        opened = open_masked(parameters, shape.tests, masked[4], nodes, secrets.theta, pool)
        test_digits = np.ascontiguousarray(opened[:, :2])
    salt = session.salt("carries", array_bytes(digits, test_digits))
    rows = chosen_rows(secrets, (nonce, message), shape.words + shape.node_bits)
    own_hash = session.reply_hash("carries", salt)
    words, corrections = share_words_secondary(digits, rows.take(shape.words), own_hash)
    counts, totals = shape.counts(words)
    reply: Sections = (salt, corrections)
    tests = np.zeros((0, shape.model.tests), dtype=np.uint8)
    if shape.inner:
        own_hash = session.reply_hash("test carries", salt)
        bits, corrections = share_bits_secondary(test_digits, rows.take(shape.node_bits), own_hash)
        tests = bits.reshape(shape.inner, -1)
        reply += (corrections,)
    # 2: squares, then the decision.
    squares: SquareSums | None = None
    if shape.by_entropy:
        transfer = list((yield reply))
    else:
        chosen = choose(session, secrets, "counts", count_choices(counts), b"".join(reply))
        *sums, nonce, message = yield (*reply, *chosen.sections)
        squares = squares_secondary(session, shape, counts, chosen.rows, sums)
        transfer = [nonce, message]
    input_rows = chosen_rows(secrets, transfer, shape.circuit.choice_count(due))
    inputs = shape.inputs(counts, totals, squares, "su") | {"taken": shape.taken(tests, is_master=False)}
    garbled = garble_to_shares(session, shape.circuit, due, input_rows, inputs, secrets.sender.delta)
    splits, placed = garbled.shares
    outcome = Outcome(shape, tests, counts, totals, shape.on_spines(placed), splits[0])
    chosen = choose(session, secrets, "placed", outcome.choices)
    peer_salt, first, second, *transfer = yield (*garbled.sections, *chosen.sections)
    # 3: bits × counts.
    products = outcome.receive(chosen.rows, (first, second), session.request_hash("children", peer_salt))
    salt = session.salt("children", outcome.secrets)
    sent = chosen_rows(secrets, transfer, shape.choices)
    own_products, payload = outcome.send(sent, session.reply_hash("children", salt))
    vectors = outcome.vectors(own_products[0] + products[0], own_products[1] + products[1])
    coins = session.coins("seal", b"", array_bytes(*(np.array(v) for _, v in vectors)))
    sealed = [
        encode_ciphertexts(parameters, seal_secondary(key, layout, shares, coins, pool))
        for layout, shares in vectors
    ]
    yield (salt, *payload, sealed[0], sealed[1], b"".join(sealed[2:]))
