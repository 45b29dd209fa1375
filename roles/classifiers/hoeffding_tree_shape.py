"""What of a tree's sessions is public: layouts of its vectors, and the encrypted state itself.

The hidden part of a tree is four kinds of packed vectors under the service key (docs/protocols.md
§7): the one-hot tests of inner nodes, class counts of all nodes, statistics of every leaf, and
the leaves' labels. A bit lies doubled in 3-bit slots, a word doubled in wider ones (§3.4).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from crypto.dtpkc import Ciphertext
from crypto.errors import LayoutError
from crypto.packing import SlotLayout
from roles.building_blocks.vectors import ZERO, Segment
from roles.building_blocks.word_opening import DOUBLED_BITS
from roles.classifiers.hoeffding_tree_growth import (
    MAX_RECORDS,
    MAX_STATISTICS,
    AttributeSizes,
    Growth,
    TreeSettings,
    count_tests,
)
from roles.tenant import Tenant
from schemas.data_schema import NumericAttribute

SEALED_BIT_STRIDE = 3
STATISTICS_STRIDE = 48
TOTALS_STRIDE = 64
# What a seal adds to a slot: two doubled shares.
SEAL_BOUND = 2 * ((1 << DOUBLED_BITS) - 2)
MAX_WINDOWS = ((1 << STATISTICS_STRIDE) - 1) // SEAL_BOUND
"""Seals that a leaf's statistics have room for."""


@dataclass(frozen=True)
class TreeModel:
    """A tree learner of a tenant: schema, settings, layouts.

    Attributes:
        tenant: Public facts.
        model_id: Which model.
        settings: Public parameters of the tree.
    """

    tenant: Tenant
    model_id: str
    settings: TreeSettings

    @cached_property
    def attributes(self) -> AttributeSizes:
        """One-hot columns of every attribute, and whether they are bins in order."""
        return tuple(
            (attribute.size, isinstance(attribute, NumericAttribute))
            for attribute in self.tenant.schema.attributes
        )

    @property
    def onehot(self) -> int:
        """F_onehot: bits of a record without its class."""
        return self.tenant.schema.onehot_columns

    @cached_property
    def tests(self) -> int:
        """F: tests that a node may ask."""
        return count_tests(self.attributes)

    @property
    def classes(self) -> int:
        """C."""
        return self.tenant.schema.class_count

    @property
    def label_bits(self) -> int:
        """Bits of a class index."""
        return (self.classes - 1).bit_length()

    @cached_property
    def group_sizes(self) -> tuple[int, ...]:
        """One-hot groups of a training record: the attributes, then the class."""
        return (*self.tenant.schema.attribute_sizes, self.classes)

    @property
    def record_bits(self) -> int:
        """Bits of a training record."""
        return sum(self.group_sizes)

    def records_layout(self, records: int) -> SlotLayout:
        """Return the layout of a chunk: record after record, one-hot attributes, then the class."""
        return self.tenant.bits_layout(records * self.record_bits)

    def tests_layout(self, inner: int) -> SlotLayout:
        """Return the layout of inner nodes' tests: node after node, F bits each."""
        return self._bits("tests", inner * self.tests)

    def labels_layout(self, leaves: int) -> SlotLayout:
        """Return the layout of the leaves' labels: leaf after leaf, low bit first."""
        return self._bits("leaf labels", leaves * self.label_bits)

    def totals_layout(self, nodes: int) -> SlotLayout:
        """Return the layout of all nodes' class counts, inherited and seen."""
        bound = (1 << TOTALS_STRIDE) - 1
        return self._words("class counts", nodes * self.classes, TOTALS_STRIDE, bound)

    def statistics_layout(self, windows: int = 1) -> SlotLayout:
        """Return the layout of one leaf's statistics: L_fc for every test f, then N_c.

        Raises:
            LayoutError: So many seals could overflow a slot.
        """
        values = (self.tests + 1) * self.classes
        return self._words("statistics", values, STATISTICS_STRIDE, windows * SEAL_BOUND)

    def _bits(self, meaning: str, values: int) -> SlotLayout:
        return SlotLayout.fitting(
            self.tenant.modulus_bits, meaning, max(1, values), SEALED_BIT_STRIDE, SEALED_BIT_STRIDE, 4
        )

    def _words(self, meaning: str, values: int, stride: int, bound: int) -> SlotLayout:
        return SlotLayout.fitting(self.tenant.modulus_bits, meaning, values, DOUBLED_BITS, stride, bound)


@dataclass(frozen=True, slots=True)
class TreeState:
    """A tree as MU keeps it: the public growth, and everything else encrypted.

    Attributes:
        growth: Shape and schedule.
        tests: Of the inner nodes, in the order in which they split.
        totals: Class counts of all nodes.
        statistics: By leaf.
        labels: Of the leaves in ascending order; empty where they are older than the totals.
    """

    growth: Growth
    tests: tuple[Ciphertext, ...]
    totals: tuple[Ciphertext, ...]
    statistics: Mapping[int, tuple[Ciphertext, ...]]
    labels: tuple[Ciphertext, ...] = ()

    @classmethod
    def empty(cls, model: TreeModel) -> "TreeState":
        """Return the tree before any chunk."""
        totals = (ZERO,) * model.totals_layout(1).ciphertexts
        root = (ZERO,) * model.statistics_layout().ciphertexts
        return cls(Growth(model.settings), (), totals, MappingProxyType({0: root}))

    @property
    def public_ciphertexts(self) -> tuple[Ciphertext, ...]:
        """All ciphertexts in order: what a version's hash is over."""
        leaves = (c for leaf in sorted(self.statistics) for c in self.statistics[leaf])
        return (*self.tests, *self.totals, *leaves, *self.labels)

    def with_labels(self, labels: Sequence[Ciphertext]) -> "TreeState":
        """Return the same tree with fresh labels."""
        return replace(self, labels=tuple(labels))


@dataclass(frozen=True)
class NodeSums:
    """Segments of the totals that belong to certain nodes.

    Attributes:
        model: The learner.
        nodes: Nodes of the tree, all of them.
    """

    model: TreeModel
    nodes: int

    @cached_property
    def layout(self) -> SlotLayout:
        """Of all nodes' class counts."""
        return self.model.totals_layout(self.nodes)

    @cached_property
    def segment(self) -> Segment:
        """The same with whole ciphertexts, for seals."""
        return Segment(self.model.totals_layout(self.nodes), 0, self.nodes * self.model.classes)

    def spread(self, leaves: Sequence[int], counts: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """Return all nodes' values where only some leaves have any; counts (leaves, C)."""
        values = np.zeros((self.nodes, self.model.classes), dtype=np.uint32)
        values[list(leaves)] = counts
        return values.reshape(-1)

    def rows(self, leaves: Sequence[int], digits: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the opened digits of some leaves, shape (leaves·C, W)."""
        per_node = digits.reshape(self.nodes, self.model.classes, -1)
        return np.ascontiguousarray(per_node[list(leaves)].reshape(len(leaves) * self.model.classes, -1))


def check_records(model: TreeModel, growth: Growth, records: int) -> None:
    """Refuse a window whose counts could pass their width.

    Raises:
        LayoutError: It has no records, or too many, or the tree has.
    """
    if not 0 < records <= MAX_STATISTICS or growth.records + records > MAX_RECORDS:
        raise LayoutError(f"model '{model.model_id}' cannot count that many records")
