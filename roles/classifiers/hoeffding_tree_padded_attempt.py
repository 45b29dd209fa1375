"""The public shape of a padded attempt: its plan, and where a hidden outcome is sealed.

See `roles.classifiers.hoeffding_tree_padded_split` for the program (docs/protocols.md §7.8).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from crypto.block_hash import SALT_BYTES
from crypto.circuits.tree_padding import PaddedSplit
from crypto.packing import SlotLayout
from roles.building_blocks.counting_products import WORD_BYTES
from roles.building_blocks.garble_shares import shared_sections
from roles.building_blocks.transfers import transfer_sections
from roles.building_blocks.vectors import Segment
from roles.building_blocks.word_opening import CORRECTION_BYTES
from roles.classifiers.hoeffding_tree_attempt import AttemptShape
from roles.classifiers.hoeffding_tree_growth import Growth
from roles.classifiers.hoeffding_tree_shape import NodeSums, TreeModel
from roles.plan import Plan, Section, Step

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

VERSION = 1


@dataclass(frozen=True)
class PaddedAttemptShape(AttemptShape):
    """The public shape of a padded attempt's session: a function of numbers of records.

    P is the number of nodes on the spines of all leaves that are due, the new ones included.
    """

    @cached_property
    def after(self) -> Growth:
        """The tree after the attempt."""
        return self.growth.after_padded_attempt()

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Per leaf that is due, the leaf that goes on with its statistics: its right child or itself."""
        return tuple(self.after.end(leaf) for leaf in self.due)

    @cached_property
    def spines(self) -> tuple[tuple[int, ...], ...]:
        """Per leaf that is due, the nodes that its test may go to, from the top."""
        return tuple(self.after.spine(end) for end in self.ends)

    @cached_property
    def places(self) -> int:
        """Nodes of the longest spine."""
        return max(len(spine) for spine in self.spines)

    @cached_property
    def spine_nodes(self) -> tuple[int, ...]:
        """All spines, one after the other: P nodes."""
        return tuple(node for spine in self.spines for node in spine)

    @cached_property
    def node_bits(self) -> int:
        """I·F: bits of the tests before the attempt."""
        return self.inner * self.model.tests

    @property
    def placed_bits(self) -> int:
        """P·F: bits of all tests that may be placed."""
        return len(self.spine_nodes) * self.model.tests

    @property
    def choices(self) -> int:
        """Bits by which words are multiplied: the tests placed, and per leaf whether one was."""
        return self.placed_bits + len(self.due)

    @property
    def moved_words(self) -> int:
        """Words of a leaf that change if it splits: its statistics, and its class counts."""
        return (self.model.tests + 2) * self.model.classes

    @cached_property
    def circuit(self) -> PaddedSplit:
        """Decision and placement; the batch is the leaves."""
        return PaddedSplit(self.decision, self.places)

    @cached_property
    def tests(self) -> SlotLayout:
        """Of the inner nodes' tests before the attempt."""
        return self.model.tests_layout(self.inner)

    @cached_property
    def tests_after(self) -> SlotLayout:
        """Of the inner nodes' tests after it."""
        return self.model.tests_layout(len(self.after.inner))

    @cached_property
    def sums_after(self) -> Segment:
        """Of all nodes' class counts after it."""
        return NodeSums(self.model, len(self.after.nodes)).segment

    @cached_property
    def plan(self) -> Plan:
        """The attempt's session."""
        parameters, due, classes = self.model.tenant.parameters, len(self.due), self.model.classes
        salt, tests = Section("salt", SALT_BYTES), parameters.component_bytes * self.tests.ciphertexts
        masked_tests = (Section("masked tests", tests), Section("t2 of tests", tests)) if self.inner else ()
        test_carries = (Section("test carries", -(-self.node_bits // 8)),) if self.inner else ()
        products = (
            salt,
            Section("counts", self.placed_bits * classes * WORD_BYTES),
            Section("moved", due * self.moved_words * WORD_BYTES),
        )
        sealed = {
            "tests": self.tests_after.ciphertexts,
            "totals": self.sums_after.ciphertexts,
            "statistics": due * self.statistics.ciphertexts,
        }
        steps = (
            Step(
                "open",
                ("open",),
                (
                    *self.masked_sections,
                    *masked_tests,
                    *transfer_sections(self.words + self.node_bits, "carries"),
                ),
                (
                    salt,
                    Section("carries", self.words * CORRECTION_BYTES),
                    *test_carries,
                    *self.count_transfers,
                ),
            ),
            Step(
                "decide",
                ("multiply", "garble"),
                (*self.square_sections, *transfer_sections(self.circuit.choice_count(due), "inputs")),
                (*shared_sections(self.circuit, due), *transfer_sections(self.choices, "placed_su")),
            ),
            Step(
                "grow",
                ("multiply", "seal"),
                (*products, *transfer_sections(self.choices, "placed_mu")),
                (
                    *products,
                    *(
                        Section(f"sealed {name}", parameters.ciphertext_bytes * ciphertexts)
                        for name, ciphertexts in sealed.items()
                    ),
                ),
            ),
        )
        layouts = (self.statistics, self.tests_after, self.sums_after.layout)
        parts = (self.circuit.digest(), *(layout.statement for layout in layouts))
        return Plan("hoeffding_tree.pad", VERSION, (self.growth.fields, *parts), steps)

    def taken(self, tests: Bits, *, is_master: bool) -> Bits:
        """Return one unit's shares of which places ask a test, (places, d).

        Args:
            tests: Shape (I, F): shares of the tests before the attempt.
            is_master: MU's shares; what is above a short spine counts as taken.
        """
        asked = np.zeros(len(self.after.nodes), dtype=np.uint8)
        asked[list(self.growth.inner)] = np.bitwise_xor.reduce(tests, axis=1)
        taken = np.full((self.places, len(self.due)), is_master, dtype=np.uint8)
        for leaf, spine in enumerate(self.spines):
            taken[self.places - len(spine) :, leaf] = asked[list(spine)]
        return taken

    def on_spines(self, placed: Bits) -> Bits:
        """Return the circuit's (places, F, d) as (P, F), without the places that no leaf has."""
        columns = (placed[self.places - len(spine) :, :, k] for k, spine in enumerate(self.spines))
        return np.ascontiguousarray(np.concatenate(list(columns)))

    def on_leaves(self, words: Words) -> Words:
        """Repeat a row per leaf that is due for every node of its spine: (d, …) to (P, …)."""
        return np.repeat(words, [len(spine) for spine in self.spines], axis=0)

    def grown_tests(self, tests: Bits, placed: Bits) -> Bits:
        """Return one unit's shares of all tests after the attempt, from (I, F) and (P, F)."""
        inner = self.after.inner
        grown = np.zeros((len(inner), self.model.tests), dtype=np.uint8)
        grown[: self.inner] = tests
        # A node lies on the spine of one leaf.
        grown[[inner.index(node) for node in self.spine_nodes]] ^= placed
        return grown

    def grown_sums(self, totals: Words, gained: Words, passed: Words) -> Words:
        """Return one unit's shares of what is added to the class counts of all nodes.

        Args:
            totals: Shape (d, C): of the leaves that are due.
            gained: Shape (d, C): N_c less these where the leaf splits, else 0.
            passed: Shape (P, C): counts of what passes the test placed there, else 0. They leave the
                leaf for the one where records that pass arrive.
        """
        nodes = self.after.nodes
        added = np.zeros((len(nodes), self.model.classes), dtype=np.uint32)
        is_new = np.array([end != leaf for end, leaf in zip(self.ends, self.due, strict=True)], dtype=bool)
        np.add.at(added, list(self.ends), gained)
        np.add.at(added, np.array(self.ends)[is_new], totals[is_new])
        np.subtract.at(added, self.on_leaves(np.array(self.ends, dtype=np.uint32)), passed)
        np.add.at(added, [self.after.end(nodes[node].left) for node in self.spine_nodes], passed)
        return added


def attempt_shape(model: TreeModel, growth: Growth) -> AttemptShape:
    """Return the shape of an attempt, padded if the tree is."""
    return PaddedAttemptShape(model, growth) if model.settings.pad_depth else AttemptShape(model, growth)
