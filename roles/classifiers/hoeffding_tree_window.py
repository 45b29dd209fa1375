"""The public shape of a training window: its plan, its blocks and the layout of its seal.

A window is some chunks that one tree routes and counts; its counts are sealed together at its end
(docs/protocols.md §7). Everything here follows from public numbers.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from crypto.block_hash import SALT_BYTES
from crypto.circuits.tree_paths import TreeRoute
from crypto.garbling_engines import TABLE_BYTES
from crypto.packing import SlotLayout
from roles.building_blocks.bit_matrices import string_bytes
from roles.building_blocks.counting_products import WORD_BYTES
from roles.building_blocks.garble_shares import shared_sections
from roles.building_blocks.transfers import ROW_BYTES, transfer_sections
from roles.classifiers.hoeffding_tree_growth import Growth
from roles.classifiers.hoeffding_tree_shape import MAX_WINDOWS, NodeSums, TreeModel, check_records
from roles.plan import Plan, Section, Step

Words = npt.NDArray[np.uint32]

VERSION = 1
MESSAGE_BYTES = 4_000_000
"""What a step's fields add up to at most where a message can be divided: below 4 MiB."""


class Block(NamedTuple):
    """Records of a chunk that are routed or counted in one round trip."""

    start: int
    end: int

    @property
    def records(self) -> int:
        """How many."""
        return self.end - self.start

    @property
    def part(self) -> slice:
        """Which of the chunk's."""
        return slice(self.start, self.end)


def _blocks(records: int, per_record: int, beside: int) -> list[Block]:
    """Cut records into blocks of nearly equal size that fit a message with `beside` other bytes."""
    size = max(1, (MESSAGE_BYTES - beside) // per_record)
    number = -(-records // size)
    return [Block(start, end) for start, end in pairwise(records * k // number for k in range(number + 1))]


@dataclass(frozen=True)
class WindowShape:
    """The public shape of a window's session.

    Attributes:
        model: The learner.
        growth: Of the tree before the window.
        sizes: Records of every chunk, in order.
    """

    model: TreeModel
    growth: Growth
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        check_records(self.model, self.growth, self.records)

    @property
    def records(self) -> int:
        """Records of all chunks."""
        return sum(self.sizes)

    @cached_property
    def restarted(self) -> tuple[int, ...]:
        """Leaves whose statistics start again before this window."""
        return self.growth.restarting(self.records, MAX_WINDOWS)

    @cached_property
    def after(self) -> Growth:
        """The tree after the window."""
        return self.growth.after_window(self.records, self.restarted)

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """Leaves, ascending."""
        return self.growth.leaves

    @cached_property
    def inner(self) -> int:
        """I."""
        return len(self.growth.inner)

    @cached_property
    def is_growing(self) -> bool:
        """Whether tests are counted; else class counts are all that is kept."""
        return self.growth.is_growing

    @property
    def kinds(self) -> int:
        """L·C: what a record may count for."""
        return len(self.leaves) * self.model.classes

    @property
    def columns(self) -> int:
        """J: words counted for every kind, the constant column last."""
        return self.model.tests + 1 if self.is_growing else 1

    @property
    def node_bits(self) -> int:
        """I·F."""
        return self.inner * self.model.tests

    @cached_property
    def tests(self) -> SlotLayout:
        """Of the inner nodes' tests."""
        return self.model.tests_layout(self.inner)

    @cached_property
    def sums(self) -> NodeSums:
        """Of the nodes' class counts."""
        return NodeSums(self.model, len(self.growth.nodes))

    @cached_property
    def check_bits(self) -> int:
        """Bits that tell a valid record: enough per one-hot group to count its columns."""
        return sum(size.bit_length() for size in self.model.group_sizes)

    @cached_property
    def circuit(self) -> TreeRoute:
        """Validity and path; the batch is a chunk's records."""
        return TreeRoute(self.growth.routes, self.model.classes, self.check_bits)

    @cached_property
    def sealed(self) -> int:
        """Ciphertexts of the seal."""
        statistics = len(self.leaves) * self.model.statistics_layout().ciphertexts if self.is_growing else 0
        return statistics + self.sums.segment.ciphertexts

    def route_blocks(self, chunk: int) -> list[Block]:
        """Return how a chunk is cut for routing: as few blocks as fit the message size."""
        records = self.sizes[chunk]
        gates = self.circuit.and_gates(records) // records
        return _blocks(records, gates * TABLE_BYTES + self.kinds * ROW_BYTES, 0)

    def count_blocks(self, chunk: int) -> list[Block]:
        """Return how a chunk is cut for counting, with room for the seal at the end."""
        per_record = self.kinds * (self.columns * WORD_BYTES + ROW_BYTES)
        seal = self.sealed * self.model.tenant.parameters.ciphertext_bytes
        return _blocks(self.sizes[chunk], per_record, seal)

    @cached_property
    def plan(self) -> Plan:
        """The window's session."""
        steps = tuple(step for chunk in range(len(self.sizes)) for step in self._steps(chunk))
        statements = (self.model.statistics_layout().statement, self.sums.segment.layout.statement)
        numbers = (
            self.sizes,
            self.growth.fields,
            self.circuit.digest(),
            *(self.model.records_layout(size).statement for size in self.sizes),
        )
        return Plan("hoeffding_tree.train", VERSION, (*numbers, *statements), steps)

    def _steps(self, chunk: int) -> tuple[Step, ...]:
        parameters, records = self.model.tenant.parameters, self.sizes[chunk]
        bits = records * self.model.record_bits
        vector = parameters.component_bytes * self.model.records_layout(records).ciphertexts
        nodes = parameters.component_bytes * self.tests.ciphertexts
        strings = self.node_bits * string_bytes(records)
        opens_tests = self.inner > 0 and chunk == 0
        carries = bits + (self.node_bits if opens_tests else 0)
        salt = Section("salt", SALT_BYTES)
        steps = [
            Step(
                f"open {chunk}",
                ("open",),
                (
                    Section("masked", vector),
                    Section("t2", vector),
                    *((Section("masked tests", nodes), Section("t2 of tests", nodes)) if opens_tests else ()),
                    *transfer_sections(carries, "carries"),
                ),
                (
                    salt,
                    Section("carries", -(-carries // 8)),
                    *(transfer_sections(self.node_bits, "tests_su") if opens_tests else ()),
                ),
            ),
            Step(
                f"test {chunk}",
                ("multiply",),
                (
                    *((salt, Section("columns", strings)) if self.inner else ()),
                    *(transfer_sections(self.node_bits, "tests_mu") if opens_tests else ()),
                    *transfer_sections(bits, "bits"),
                ),
                (
                    salt,
                    Section("words", bits * WORD_BYTES),
                    *((Section("columns", strings),) if self.inner else ()),
                ),
            ),
        ]
        for number, block in enumerate(self.route_blocks(chunk)):
            inputs = transfer_sections(self.circuit.choice_count(block.records), "inputs")
            chosen = transfer_sections(block.records * self.kinds, "indicators_su")
            reply = (*shared_sections(self.circuit, block.records), *chosen)
            steps.append(Step(f"route {chunk}.{number}", ("garble",), inputs, reply))
        blocks = self.count_blocks(chunk)
        for number, block in enumerate(blocks):
            payload = Section("counts", block.records * self.kinds * self.columns * WORD_BYTES)
            chosen = transfer_sections(block.records * self.kinds, "indicators_mu")
            is_last = number == len(blocks) - 1
            valid = (Section("valid", WORD_BYTES),) if is_last else ()
            seals = is_last and chunk == len(self.sizes) - 1
            sealed = (Section("sealed", parameters.ciphertext_bytes * self.sealed),) if seals else ()
            used = ("multiply", "seal") if seals else ("multiply",)
            reply = (salt, payload, *valid, *sealed)
            steps.append(Step(f"count {chunk}.{number}", used, (salt, payload, *chosen), reply))
        return tuple(steps)

    def layouts(self) -> list[SlotLayout]:
        """Return the layouts of the seal's vectors: every leaf's statistics, then the totals."""
        count = len(self.leaves) if self.is_growing else 0
        return [*[self.model.statistics_layout()] * count, self.sums.segment.layout]

    def vectors(self, counts: Words) -> list[list[int]]:
        """Return one unit's shares in the order of `layouts`; counts (L·C, J)."""
        per_leaf = counts.reshape(len(self.leaves), self.model.classes, self.columns)
        statistics = per_leaf.transpose(0, 2, 1).reshape(len(self.leaves), -1).tolist()
        totals = self.sums.segment.placed(self.sums.spread(self.leaves, per_leaf[:, :, -1]))
        return [*statistics, totals] if self.is_growing else [totals]
