"""Priv-DT, labels: the majority class of every leaf, sealed.

One round trip, lazily, before the first query after an update (docs/protocols.md §7). MU masks the
class counts, SU opens the masked counts and garbles the comparison; the labels stay XOR shares,
which both units seal as bits.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from crypto.circuits.tree_paths import TreeLabels
from crypto.dtpkc import decode_ciphertexts, encode_ciphertexts
from crypto.packing import SlotLayout
from roles.building_blocks.garble_shares import evaluate_to_shares, garble_to_shares, shared_sections
from roles.building_blocks.opening import mask_vector, open_masked
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.building_blocks.transfers import choose, chosen_rows, transfer_sections
from roles.building_blocks.vectors import decode_t2s, encode_t2s
from roles.classifiers.hoeffding_tree_growth import Growth
from roles.classifiers.hoeffding_tree_shape import NodeSums, TreeModel, TreeState
from roles.plan import Plan, Section, Step
from roles.session import MasterProgram, SecondaryProgram, Session, array_bytes
from roles.unit_secrets import UnitSecrets

Bits = npt.NDArray[np.uint8]

VERSION = 1


@dataclass(frozen=True)
class LabelShape:
    """The public shape of a label session.

    Attributes:
        model: The learner.
        growth: Of the tree.
    """

    model: TreeModel
    growth: Growth

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """Leaves, ascending."""
        return self.growth.leaves

    @cached_property
    def sums(self) -> NodeSums:
        """Of the nodes' class counts."""
        return NodeSums(self.model, len(self.growth.nodes))

    @cached_property
    def labels(self) -> SlotLayout:
        """Of the sealed labels."""
        return self.model.labels_layout(len(self.leaves))

    @cached_property
    def circuit(self) -> TreeLabels:
        """The comparison; the batch is the leaves."""
        return TreeLabels(self.model.classes, self.growth.total_bits, self.model.label_bits)

    @cached_property
    def plan(self) -> Plan:
        """The session: one step."""
        parameters, count = self.model.tenant.parameters, len(self.leaves)
        totals = parameters.component_bytes * self.sums.layout.ciphertexts
        step = Step(
            "labels",
            ("open", "garble", "seal"),
            (
                Section("masked", totals),
                Section("t2", totals),
                *transfer_sections(self.circuit.choice_count(count), "digits"),
            ),
            (
                *shared_sections(self.circuit, count),
                Section("sealed", parameters.ciphertext_bytes * self.labels.ciphertexts),
            ),
        )
        parts = (self.circuit.digest(), self.sums.layout.statement, self.labels.statement)
        return Plan("hoeffding_tree.labels", VERSION, (self.growth.fields, *parts), (step,))

    def digits(self, digits: Bits) -> Bits:
        """Return the low t + 1 bits of the leaves' digits, shape (t + 1, C, L)."""
        rows = self.sums.rows(self.leaves, digits)[:, : self.circuit.count_bits + 1]
        per_leaf = rows.reshape(len(self.leaves), self.model.classes, -1)
        return np.ascontiguousarray(per_leaf.transpose(2, 1, 0))


def labels_master(
    session: Session,
    secrets: UnitSecrets,
    shape: LabelShape,
    state: TreeState,
    pool: ThreadPoolExecutor | None = None,
) -> MasterProgram[TreeState]:
    """Run MU's half and return the tree with fresh labels.

    Cost:
        One short power per ciphertext of class counts at each unit; about 3·C·t gates per leaf;
        one round trip.
    """
    parameters, count = session.tenant.parameters, len(shape.leaves)
    coins = session.coins("mask", encode_ciphertexts(parameters, state.totals))
    masked = mask_vector(parameters, shape.sums.layout, state.totals, secrets.theta, coins, pool)
    choices = shape.circuit.choices(count, {"digits_mu": shape.digits(masked.digits)})
    chosen = choose(session, secrets, "digits", choices, masked.masked)
    *garbled, sealed = yield (masked.masked, encode_t2s(parameters, state.totals), *chosen.sections)
    (labels,) = evaluate_to_shares(session, shape.circuit, count, chosen.rows, garbled)
    bits = np.ascontiguousarray(labels.T).reshape(-1)
    coins = session.coins("seal", sealed, array_bytes(bits))
    from_peer = decode_ciphertexts(parameters, sealed)
    return state.with_labels(
        seal_master(session.tenant.service_key, shape.labels, from_peer, bits.tolist(), coins, pool)
    )


def labels_secondary(
    session: Session, secrets: UnitSecrets, shape: LabelShape, pool: ThreadPoolExecutor | None = None
) -> SecondaryProgram[None]:
    """Run SU's half."""
    parameters, count = session.tenant.parameters, len(shape.leaves)
    masked, t2s, *transfer = yield ()
    totals = decode_t2s(parameters, t2s)
    digits = open_masked(parameters, shape.sums.layout, masked, totals, secrets.theta, pool)
    rows = chosen_rows(secrets, transfer, shape.circuit.choice_count(count))
    inputs = {"digits_su": shape.digits(digits)}
    garbled = garble_to_shares(session, shape.circuit, count, rows, inputs, secrets.sender.delta)
    bits = np.ascontiguousarray(garbled.shares[0].T).reshape(-1)
    coins = session.coins("seal", b"", array_bytes(bits))
    sealed = seal_secondary(session.tenant.service_key, shape.labels, bits.tolist(), coins, pool)
    yield (*garbled.sections, encode_ciphertexts(parameters, sealed))
