"""The public shape of an attempt to split leaves: its plan and where its results are sealed.

See `roles.classifiers.hoeffding_tree_split` for the program (docs/protocols.md §7).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from crypto.block_hash import SALT_BYTES
from crypto.circuits.circuit import Circuit
from crypto.circuits.tree_entropy import EntropySplit, entropy_range_32
from crypto.circuits.tree_split import GiniSplit
from crypto.circuits.words import word_bits
from crypto.errors import LocalProtocolError
from crypto.packing import SlotLayout
from roles.building_blocks.counting_products import WORD_BYTES
from roles.building_blocks.garble_shares import shared_sections
from roles.building_blocks.square_sums import SquareShape, SquareSums
from roles.building_blocks.transfers import transfer_sections
from roles.building_blocks.vectors import Segment
from roles.building_blocks.word_opening import CORRECTION_BYTES
from roles.classifiers.hoeffding_tree_growth import Growth
from roles.classifiers.hoeffding_tree_shape import NodeSums, TreeModel
from roles.plan import Plan, Section, Step

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

VERSION = 1


@dataclass(frozen=True)
class AttemptShape:
    """The public shape of an attempt's session.

    Attributes:
        model: The learner.
        growth: Of the tree; its `due` leaves are tried.
    """

    model: TreeModel
    growth: Growth

    def __post_init__(self) -> None:
        if not self.growth.due:
            raise LocalProtocolError("no leaf of the tree may split")

    @cached_property
    def due(self) -> tuple[int, ...]:
        """Leaves that are tried, in turn."""
        return self.growth.due

    @cached_property
    def inner(self) -> int:
        """I before the attempt."""
        return len(self.growth.inner)

    @property
    def choices(self) -> int:
        """d·F: bits of all chosen tests."""
        return len(self.due) * self.model.tests

    @property
    def words(self) -> int:
        """Words opened: statistics and class counts of the leaves that are due."""
        return len(self.due) * (self.model.tests + 2) * self.model.classes

    @cached_property
    def statistics(self) -> SlotLayout:
        """Of one leaf."""
        return self.model.statistics_layout()

    @cached_property
    def sums(self) -> NodeSums:
        """Of the nodes' class counts."""
        return NodeSums(self.model, len(self.growth.nodes))

    @cached_property
    def squares(self) -> SquareShape:
        """Sizes of the squares."""
        return SquareShape(len(self.due), self.model.tests, self.model.classes)

    @property
    def by_entropy(self) -> bool:
        """Whether the criterion is information gain, which takes no squares."""
        return self.model.settings.criterion == "entropy"

    @cached_property
    def decision(self) -> GiniSplit | EntropySplit:
        """Whether leaves split, and on which test; the batch is the leaves."""
        settings, tests = self.model.settings, self.model.tests
        count_bits, total_bits = self.growth.count_bits(self.due), self.growth.total_bits
        confidence, tie = settings.confidence_16, settings.tie_records
        if not self.by_entropy:
            return GiniSplit(tests, count_bits, total_bits, confidence, tie)
        classes = self.model.classes
        squared_range = entropy_range_32(classes)
        return EntropySplit(tests, classes, count_bits, total_bits, confidence, squared_range, tie)

    @cached_property
    def circuit(self) -> Circuit:
        """What is garbled; the batch is the leaves."""
        return self.decision

    @cached_property
    def new_tests(self) -> Segment:
        """Where the tests of new inner nodes go, if all leaves split."""
        whole = self.model.tests_layout(self.inner + len(self.due))
        return Segment(whole, self.inner * self.model.tests, self.choices)

    @cached_property
    def new_sums(self) -> Segment:
        """Where the class counts of new nodes go, if all leaves split."""
        nodes, classes = len(self.growth.nodes), self.model.classes
        whole = self.model.totals_layout(nodes + 2 * len(self.due))
        return Segment(whole, nodes * classes, 2 * len(self.due) * classes)

    @property
    def masked_sections(self) -> tuple[Section, ...]:
        """Of MU's first request: the masked counts."""
        parameters = self.model.tenant.parameters
        statistics = parameters.component_bytes * self.statistics.ciphertexts * len(self.due)
        totals = parameters.component_bytes * self.sums.segment.ciphertexts
        return (
            Section("masked statistics", statistics),
            Section("t2 of statistics", statistics),
            Section("masked totals", totals),
            Section("t2 of totals", totals),
        )

    @property
    def count_transfers(self) -> tuple[Section, ...]:
        """Of SU's first reply: its bits of the counts are choices, if squares are taken."""
        return () if self.by_entropy else transfer_sections(self.squares.choices, "counts_su")

    @property
    def square_sections(self) -> tuple[Section, ...]:
        """Of MU's second request: what SU needs for its shares of squares, if they are taken."""
        if self.by_entropy:
            return ()
        by_test, by_class = self.squares.correction_bytes
        return (
            Section("salt", SALT_BYTES),
            Section("squares by test", by_test),
            Section("squares by class", by_class),
        )

    @cached_property
    def plan(self) -> Plan:
        """The attempt's session."""
        parameters, due, classes = self.model.tenant.parameters, len(self.due), self.model.classes
        salt = Section("salt", SALT_BYTES)
        splits = Section("splits", -(-due // 8))
        chosen = Section("counts", self.choices * classes * WORD_BYTES)
        steps = (
            Step(
                "open",
                ("open",),
                (
                    *self.masked_sections,
                    *transfer_sections(self.words, "carries"),
                ),
                (
                    salt,
                    Section("carries", self.words * CORRECTION_BYTES),
                    *self.count_transfers,
                ),
            ),
            Step(
                "decide",
                ("multiply", "garble"),
                (
                    *self.square_sections,
                    *transfer_sections(self.circuit.choice_count(due), "inputs"),
                ),
                (
                    *shared_sections(self.circuit, due),
                    splits,
                    *transfer_sections(self.choices, "tests_su"),
                ),
            ),
            Step(
                "grow",
                ("multiply", "seal"),
                (splits, salt, chosen, *transfer_sections(self.choices, "tests_mu")),
                (
                    salt,
                    chosen,
                    Section("sealed tests", parameters.ciphertext_bytes * self.new_tests.ciphertexts),
                    Section("sealed totals", parameters.ciphertext_bytes * self.new_sums.ciphertexts),
                ),
            ),
        )
        parts = (self.circuit.digest(), self.statistics.statement, self.sums.segment.layout.statement)
        return Plan("hoeffding_tree.split", VERSION, (self.growth.fields, *parts), steps)

    def digits(self, statistics: Bits, totals: Bits) -> Bits:
        """Join the digits of statistics, leaf by leaf, and of the due leaves' class counts."""
        width = self.statistics.stride_bits
        return np.concatenate([statistics, self.sums.rows(self.due, totals)[:, :width]])

    def counts(self, words: Words) -> tuple[Words, Words]:
        """Split opened words into counts (d, F + 1, C) and class counts (d, C)."""
        classes = self.model.classes
        totals = words[-len(self.due) * classes :].reshape(-1, classes)
        return words[: -totals.size].reshape(len(self.due), -1, classes), totals

    def inputs(self, counts: Words, totals: Words, squares: SquareSums | None, unit: str) -> dict[str, Bits]:
        """Return one unit's shares as the circuit takes them, candidate 0 the null split.

        Args:
            counts: Shape (d, F + 1, C).
            totals: Shape (d, C).
            squares: Of these counts; None by entropy.
            unit: ``mu`` or ``su``.
        """
        passed = np.concatenate([counts[:, -1:], counts[:, :-1]], axis=1)
        sides = np.stack([passed, counts[:, -1:] - passed], axis=2)
        sizes = sides.sum(axis=3, dtype=np.uint32)
        width = self.decision.count_bits
        inputs = {f"total_{unit}": word_bits(totals.sum(axis=1, dtype=np.uint32), self.decision.total_bits)}
        if squares is None:
            # The sum over classes is one more kind.
            kinds = np.concatenate([sides, sizes[..., np.newaxis]], axis=3)
            return inputs | {f"counts_{unit}": word_bits(kinds.transpose(3, 2, 1, 0), width)}
        sums = np.stack(squares.sides(), axis=1).transpose(1, 2, 0)
        return inputs | {
            f"sizes_{unit}": word_bits(sizes.transpose(2, 1, 0), width),
            f"squares_{unit}": word_bits(sums, 2 * width),
        }

    def shares(
        self, tests: Bits, passed: Words, counts: Words, splits: Sequence[bool]
    ) -> tuple[Words, Words]:
        """Return one unit's shares of the new tests' bits and of the new nodes' class counts.

        Args:
            tests: Shape (d, F).
            passed: Shape (d, C): class counts on the left.
            counts: Shape (d, F + 1, C); the right side has the rest of N_c.
            splits: Which leaves split.
        """
        chosen = np.array(splits, dtype=bool)
        children = np.stack([passed, counts[:, -1] - passed], axis=1)
        return tests[chosen].reshape(-1).astype(np.uint32), children[chosen].reshape(-1)
