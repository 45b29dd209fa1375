"""Priv-DT, predict: encrypted one-hot rows become labels sealed under the client's key.

Three round trips, shared by all rows of a query (docs/protocols.md §7):

1. *open*: the rows' bits, the nodes' tests and the leaves' labels become XOR shares;
2. *test*: S·z mod 2 says which tests each row passes;
3. *decide*: a garbled circuit checks that each row is one-hot, follows its path and takes the
   leaf's label; SU's share of it leaves encrypted under the client's key, and MU adds its own.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from crypto.block_hash import SALT_BYTES
from crypto.circuits.tree_paths import TreeAnswer
from crypto.dtpkc import Ciphertext, PublicKey, decode_ciphertexts, encode_ciphertexts
from crypto.packing import SlotLayout, bits_of_words, words_of_bits
from roles.building_blocks.bit_matrices import own_product, receive_columns, send_columns, string_bytes
from roles.building_blocks.garble import evaluate_garbled, garble_reply, garbled_sections
from roles.building_blocks.opening import (
    bit_choices,
    mask_vector,
    open_masked,
    share_bits_master,
    share_bits_secondary,
)
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.building_blocks.transfers import choose, chosen_rows, transfer_sections
from roles.building_blocks.vectors import decode_t2s, encode_t2s
from roles.classifiers.hoeffding_tree_growth import Growth, bits_of_tests
from roles.classifiers.hoeffding_tree_shape import TreeModel, TreeState
from roles.plan import Plan, Section, Sections, Step
from roles.session import MasterProgram, SecondaryProgram, Session, array_bytes
from roles.tenant import LABEL_BITS
from roles.unit_secrets import UnitSecrets

Bits = npt.NDArray[np.uint8]

VERSION = 1


@dataclass(frozen=True)
class TreeQueryShape:
    """The public shape of a query session.

    Attributes:
        model: The learner.
        growth: Of the tree that answers.
        rows: n, rows of the query.
    """

    model: TreeModel
    growth: Growth
    rows: int

    @cached_property
    def layout(self) -> SlotLayout:
        """Of the rows' bits."""
        return self.model.tenant.query_layout(self.rows)

    @cached_property
    def inner(self) -> int:
        """I."""
        return len(self.growth.inner)

    @property
    def node_bits(self) -> int:
        """I·F."""
        return self.inner * self.model.tests

    @property
    def opened_bits(self) -> int:
        """Bits of rows, tests and labels."""
        return self.layout.values + self.node_bits + self.leaf_labels.values

    @cached_property
    def tests(self) -> SlotLayout:
        """Of the nodes' tests."""
        return self.model.tests_layout(self.inner)

    @cached_property
    def leaf_labels(self) -> SlotLayout:
        """Of the leaves' labels."""
        return self.model.labels_layout(len(self.growth.leaves))

    @cached_property
    def answers(self) -> SlotLayout:
        """Of the sealed answers."""
        return self.model.tenant.label_layout(self.rows)

    @cached_property
    def circuit(self) -> TreeAnswer:
        """Validity, path, masked label; the batch is 1."""
        return TreeAnswer(
            self.rows,
            self.growth.routes,
            self.model.tenant.schema.attribute_sizes,
            self.model.classes,
            LABEL_BITS,
        )

    @cached_property
    def sealed_vectors(self) -> tuple[SlotLayout, ...]:
        """Layouts of the tree's vectors that are opened."""
        return (self.tests, self.leaf_labels) if self.inner else (self.leaf_labels,)

    @cached_property
    def plan(self) -> Plan:
        """The query session: open, test, decide; a tree of one leaf skips the test."""
        parameters = self.model.tenant.parameters
        tree = parameters.component_bytes * sum(layout.ciphertexts for layout in self.sealed_vectors)
        salt, columns = Section("salt", SALT_BYTES), Section("columns", self._string_bytes)
        test = Step(
            "test", ("multiply",), (salt, columns, *transfer_sections(self.node_bits)), (salt, columns)
        )
        steps = (
            Step(
                "open",
                ("open",),
                (
                    Section("masked", parameters.component_bytes * self.layout.ciphertexts),
                    Section("masked tree", tree),
                    Section("t2 of tree", tree),
                    *transfer_sections(self.opened_bits, "carries"),
                ),
                (
                    salt,
                    Section("carries", -(-self.opened_bits // 8)),
                    *(transfer_sections(self.node_bits) if self.inner else ()),
                ),
            ),
            *((test,) if self.inner else ()),
            Step(
                "decide",
                ("garble", "seal"),
                transfer_sections(self.circuit.choice_count(1), "inputs"),
                (
                    *garbled_sections(self.circuit, 1, LABEL_BITS * self.rows),
                    Section("sealed", parameters.ciphertext_bytes * self.answers.ciphertexts),
                ),
            ),
        )
        statements = tuple(layout.statement for layout in (self.layout, *self.sealed_vectors, self.answers))
        numbers = (self.rows, self.growth.fields, self.circuit.digest(), statements)
        return Plan("hoeffding_tree.query", VERSION, numbers, steps)

    @property
    def _string_bytes(self) -> int:
        return self.node_bits * string_bytes(self.rows)

    def parts(self, bits: Bits) -> "OpenedBits":
        """Cut one unit's opened bits into rows, tests and labels."""
        rows, tests, labels = np.split(bits, [self.layout.values, self.layout.values + self.node_bits])
        return OpenedBits(
            rows.reshape(self.rows, -1),
            tests.reshape(self.inner, self.model.tests),
            labels.reshape(-1, self.model.label_bits),
        )


@dataclass(frozen=True, slots=True)
class OpenedBits:
    """One unit's shares.

    Attributes:
        rows: Shape (n, F_onehot).
        tests: Shape (I, F).
        labels: Shape (L, label bits).
    """

    rows: Bits = field(repr=False)
    tests: Bits = field(repr=False)
    labels: Bits = field(repr=False)

    def inputs(self, outcomes: Bits | None) -> dict[str, Bits]:
        """Return them as the circuit takes them; its batch is 1."""
        inputs = {"query": self.rows.T, "labels": self.labels.T}
        if outcomes is not None:
            inputs["outcomes"] = outcomes
        return {name: np.ascontiguousarray(bits)[..., np.newaxis] for name, bits in inputs.items()}


def query_master(
    session: Session,
    secrets: UnitSecrets,
    shape: TreeQueryShape,
    ciphertexts: tuple[Ciphertext, ...],
    state: TreeState,
    client_key: PublicKey,
    pool: ThreadPoolExecutor | None = None,
) -> MasterProgram[list[Ciphertext]]:
    """Run MU's half of a query and return the sealed labels.

    Args:
        session: This query's.
        secrets: MU's.
        shape: Of the query.
        ciphertexts: The query's, its proof verified.
        state: The tree that answers, with its labels.
        client_key: h_C.
        pool: Threads for the powers.

    Cost:
        Per ciphertext of rows, tests and labels one short power at each unit; 2·I·F transfers
        with a bit per row; about F_onehot + I + L·⌈log2 C⌉ gates per row; three round trips.
    """
    parameters, model = session.tenant.parameters, shape.model
    # 1: open. The tree's bits lie in wider slots, of which two bits matter.
    coins = session.coins("mask", encode_ciphertexts(parameters, ciphertexts))
    opened = mask_vector(parameters, shape.layout, ciphertexts, secrets.theta, coins, pool)
    sealed = (state.tests, state.labels) if shape.inner else (state.labels,)
    tree = [ciphertext for vector in sealed for ciphertext in vector]
    coins = session.coins("mask tree", encode_ciphertexts(parameters, tree))
    vectors = [
        mask_vector(parameters, layout, vector, secrets.theta, coins, pool)
        for layout, vector in zip(shape.sealed_vectors, sealed, strict=True)
    ]
    digits = np.concatenate([opened.digits, *(vector.digits[:, :2] for vector in vectors)])
    masked = b"".join(vector.masked for vector in vectors)
    sections: Sections = (opened.masked, masked, encode_t2s(parameters, tree))
    carries = choose(session, secrets, "carries", bit_choices(digits), b"".join(sections))
    salt, corrections, *transfer = yield (*sections, *carries.sections)
    rows = carries.rows.take(shape.opened_bits)
    bits = share_bits_master(digits, rows, corrections, session.reply_hash("carries", salt))
    parts = shape.parts(bits)
    # 2: test.
    outcomes: Bits | None = None
    if shape.inner:
        tested = bits_of_tests(parts.rows, model.attributes)
        peer_rows = chosen_rows(secrets, transfer, shape.node_bits).take(shape.node_bits)
        own_salt = session.salt("columns", array_bytes(tested))
        own_hash = session.request_hash("columns", own_salt)
        added, columns = send_columns(peer_rows, tested, shape.inner, own_hash)
        chosen = choose(session, secrets, "tests", parts.tests.reshape(-1), columns)
        salt, columns = yield (own_salt, columns, *chosen.sections)
        peer_hash = session.reply_hash("columns", salt)
        own_rows = chosen.rows.take(shape.node_bits)
        received = receive_columns(own_rows, columns, shape.inner, shape.rows, peer_hash)
        outcomes = own_product(parts.tests, tested) ^ added ^ received
    # 3: decide.
    inputs = choose(session, secrets, "inputs", shape.circuit.choices(1, parts.inputs(outcomes)))
    *garbled, from_peer = yield inputs.sections
    (revealed,) = evaluate_garbled(session, shape.circuit, 1, inputs.rows, tuple(garbled))
    shares = words_of_bits(np.ascontiguousarray(revealed[..., 0].T)).tolist()
    coins = session.coins("seal", from_peer, array_bytes(revealed))
    peer_sealed = decode_ciphertexts(parameters, from_peer)
    return seal_master(client_key, shape.answers, peer_sealed, shares, coins, pool)


def query_secondary(
    session: Session,
    secrets: UnitSecrets,
    shape: TreeQueryShape,
    t2s: tuple[int, ...],
    client_key: PublicKey,
    pool: ThreadPoolExecutor | None = None,
) -> SecondaryProgram[None]:
    """Run SU's half of a query.

    Args:
        session: This query's.
        secrets: SU's.
        shape: Of the query.
        t2s: T2 of the query's ciphertexts, from SU's own copy of the client's signed message.
        client_key: h_C.
        pool: Threads for the powers.
    """
    parameters, model = session.tenant.parameters, shape.model
    # 1: open.
    masked, tree, tree_t2s, *transfer = yield ()
    digits = [open_masked(parameters, shape.layout, masked, t2s, secrets.theta, pool)]
    left = decode_t2s(parameters, tree_t2s)
    for layout in shape.sealed_vectors:
        size = layout.ciphertexts * parameters.component_bytes
        part, tree = tree[:size], tree[size:]
        own, left = left[: layout.ciphertexts], left[layout.ciphertexts :]
        digits.append(open_masked(parameters, layout, part, own, secrets.theta, pool)[:, :2])
    joined = np.concatenate(digits)
    salt = session.salt("carries", array_bytes(joined))
    sent = chosen_rows(secrets, transfer, shape.opened_bits).take(shape.opened_bits)
    bits, corrections = share_bits_secondary(joined, sent, session.reply_hash("carries", salt))
    parts = shape.parts(bits)
    reply: Sections = (salt, corrections)
    # 2: test.
    outcomes: Bits | None = None
    if shape.inner:
        tested = bits_of_tests(parts.rows, model.attributes)
        chosen = choose(session, secrets, "tests", parts.tests.reshape(-1), corrections)
        peer_salt, columns, *transfer = yield (*reply, *chosen.sections)
        peer_hash = session.request_hash("columns", peer_salt)
        own_rows = chosen.rows.take(shape.node_bits)
        received = receive_columns(own_rows, columns, shape.inner, shape.rows, peer_hash)
        salt = session.salt("columns", array_bytes(tested))
        peer_rows = chosen_rows(secrets, transfer, shape.node_bits).take(shape.node_bits)
        own_hash = session.reply_hash("columns", salt)
        added, columns = send_columns(peer_rows, tested, shape.inner, own_hash)
        outcomes = own_product(parts.tests, tested) ^ added ^ received
        reply = (salt, columns)
    # 3: decide. The label's mask is SU's share of it, used nowhere else.
    transfer = list((yield reply))
    inputs = parts.inputs(outcomes)
    mask = session.coins("label share", b"", array_bytes(bits)).words(shape.rows, np.uint16)
    inputs["mask"] = np.ascontiguousarray(bits_of_words(mask, LABEL_BITS).T)[..., np.newaxis]
    rows = chosen_rows(secrets, transfer, shape.circuit.choice_count(1))
    garbled = garble_reply(session, shape.circuit, 1, rows, inputs, secrets.sender.delta)
    key = client_key.h.to_bytes(parameters.component_bytes, "big")
    coins = session.coins("seal", key, array_bytes(mask))
    answers = seal_secondary(client_key, shape.answers, mask.tolist(), coins, pool)
    yield (*garbled, encode_ciphertexts(parameters, answers))
