"""The public side of a Hoeffding tree: its settings, its shape and its schedule.

Which leaves exist, when they are tried and when the statistics are sealed follow from the number
of records published and from which attempts split: both units, auditors and the twin compute
them alike (docs/protocols.md §7). Nothing here depends on a count.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

COUNT_BITS = 16
"""Counts of a leaf's statistics have so many bits; older statistics start again."""
MAX_STATISTICS = (1 << COUNT_BITS) - 1
MAX_RECORDS = (1 << 29) - 1
MAX_LEAVES = 1 << 10
MAX_LEAVES_PER_ATTEMPT = 64
MAX_CHUNKS_PER_SEAL = 64
CRITERIA = ("gini", "entropy")
_MAX_CONFIDENCE = 1 << 12

AttributeSizes: TypeAlias = tuple[tuple[int, bool], ...]
"""Per attribute its one-hot columns, and whether they are bins in order."""


@dataclass(frozen=True, slots=True)
class TreeSettings:
    """The public parameters of a tree.

    Attributes:
        max_leaves: The tree stops growing there.
        max_depth: Leaves at that depth are not tried; the root has depth 0.
        attempt_records: An attempt on k leaves falls due after so many records times k.
        confidence_16: ln(1/δ) in units of 1/16.
        tie_records: A leaf that inherited or saw more records splits on its best test.
        criterion: ``gini`` or ``entropy``.
        chunks_per_seal: K: chunks between two seals of the statistics, at most.
        leaves_per_attempt: Leaves tried together, at most.
        pad_depth: N: the shape follows from numbers of records alone, and no node is deeper; 0 lets
            splits show.
    """

    max_leaves: int = 64
    max_depth: int = 20
    attempt_records: int = 200
    confidence_16: int = 258
    tie_records: int = 3225
    criterion: str = "gini"
    chunks_per_seal: int = 8
    leaves_per_attempt: int = 8
    pad_depth: int = 0

    def __post_init__(self) -> None:
        limits = {
            "max_leaves": (self.max_leaves, 1, MAX_LEAVES),
            "max_depth": (self.max_depth, 0, MAX_LEAVES),
            "attempt_records": (self.attempt_records, 1, MAX_STATISTICS),
            "chunks_per_seal": (self.chunks_per_seal, 1, MAX_CHUNKS_PER_SEAL),
            "leaves_per_attempt": (self.leaves_per_attempt, 1, MAX_LEAVES_PER_ATTEMPT),
        }
        for name, (value, least, most) in limits.items():
            if not least <= value <= most:
                raise ValueError(f"{name} must lie between {least} and {most}")
        if not 1 <= self.confidence_16 < _MAX_CONFIDENCE or not 0 <= self.tie_records <= MAX_RECORDS:
            raise ValueError("the Hoeffding bound's numbers are out of range")
        if self.criterion not in CRITERIA:
            raise ValueError(f"the criterion is one of {CRITERIA}")
        if not 0 <= self.pad_depth <= min(self.max_depth, self.max_leaves.bit_length() - 1):
            raise ValueError("pad_depth is at most max_depth, and 2^pad_depth at most max_leaves")

    @property
    def depth_bound(self) -> int:
        """Depth of the deepest nodes."""
        return self.pad_depth or self.max_depth

    @property
    def fields(self) -> tuple[int | str, ...]:
        """The settings in order, for digests of plans."""
        return (
            self.max_leaves,
            self.max_depth,
            self.attempt_records,
            self.confidence_16,
            self.tie_records,
            self.criterion,
            self.chunks_per_seal,
            self.leaves_per_attempt,
            *((self.pad_depth,) if self.pad_depth else ()),
        )


def tie_records(confidence_16: int, tau: Fraction, squared_range: Fraction = Fraction(1)) -> int:
    """Return ⌊R²·ln(1/δ)/(2τ²)⌋: beyond so many records the bound is below the tie threshold τ.

    Args:
        confidence_16: ln(1/δ) in units of 1/16.
        tau: τ, at least 0.
        squared_range: R² of the criterion: 1 for Gini, log2(C)² for entropy.
    """
    if tau <= 0:
        return MAX_RECORDS
    return min(MAX_RECORDS, int(squared_range * Fraction(confidence_16, 16) / (2 * tau * tau)))


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the tree.

    Attributes:
        depth: Splits above it.
        since: Records published before its statistics started.
        windows: Seals in its statistics.
        left: Node of the records that pass its test, or -1 for a leaf.
        right: Node of those that fail it, or -1.
    """

    depth: int
    since: int
    windows: int = 0
    left: int = -1
    right: int = -1

    @property
    def is_leaf(self) -> bool:
        """Whether it has no children."""
        return self.left < 0


@dataclass(frozen=True, slots=True)
class Growth:
    """The public state of a tree; nodes are numbered in the order of their making.

    Attributes:
        settings: The public parameters.
        nodes: All nodes; 0 is the root, and children come in pairs, left first.
        records: Records published so far, valid or not.
        tried_at: `records` at the last attempt.
        last_tried: Highest node of the last attempt in turn; -1 before the first.
    """

    settings: TreeSettings
    nodes: tuple[Node, ...] = (Node(0, 0),)
    records: int = 0
    tried_at: int = 0
    last_tried: int = -1

    @property
    def leaves(self) -> tuple[int, ...]:
        """Nodes without children, ascending."""
        return tuple(index for index, node in enumerate(self.nodes) if node.is_leaf)

    @property
    def inner(self) -> tuple[int, ...]:
        """Nodes with children, in the order in which they split: ascending first child."""
        split = [index for index, node in enumerate(self.nodes) if not node.is_leaf]
        return tuple(sorted(split, key=lambda index: self.nodes[index].left))

    @property
    def routes(self) -> tuple[tuple[int, int], ...]:
        """Children of every inner node in the order of `inner`.

        k ≥ 0 is the inner node in place k, k < 0 the leaf in place −k − 1 of `leaves`. The root
        is in place 0.
        """
        places = {node: place for place, node in enumerate(self.inner)}
        places |= {node: -place - 1 for place, node in enumerate(self.leaves)}
        return tuple((places[self.nodes[i].left], places[self.nodes[i].right]) for i in self.inner)

    @property
    def candidates(self) -> tuple[int, ...]:
        """Leaves that may still split, in turn; none once the tree is full.

        A padded tree has them for ever: every leaf above the bound, and every one at it that is
        right of nodes of which nobody knows whether they ask a test.
        """
        settings = self.settings
        if not settings.pad_depth and len(self.leaves) >= settings.max_leaves:
            return ()
        right = {node.right for node in self.nodes} if settings.pad_depth else set()
        able = [k for k in self.leaves if self.nodes[k].depth < settings.depth_bound or k in right]
        later = [leaf for leaf in able if leaf > self.last_tried]
        return tuple(later + [leaf for leaf in able if leaf <= self.last_tried])

    @property
    def is_growing(self) -> bool:
        """Whether any leaf may still split: else only class counts are kept."""
        return bool(self.candidates)

    @property
    def due(self) -> tuple[int, ...]:
        """Leaves of the next attempt, in turn: never more than the tree has room for."""
        settings = self.settings
        room = settings.max_leaves if settings.pad_depth else settings.max_leaves - len(self.leaves)
        return self.candidates[: min(room, settings.leaves_per_attempt)]

    @property
    def attempt_is_due(self) -> bool:
        """Whether the leaves `due` are to be tried before any more records."""
        due = len(self.due)
        return due > 0 and self.records - self.tried_at >= due * self.settings.attempt_records

    def has_counted(self, leaves: Sequence[int]) -> bool:
        """Return whether there were records since the statistics of all these leaves started."""
        return all(self.nodes[leaf].since < self.records for leaf in leaves)

    def window(self, chunk_records: Sequence[int]) -> int:
        """Return how many of the waiting chunks the next window takes; 0 if it must wait for more.

        A window ends when an attempt falls due, after K chunks, or before it would hold more
        records than statistics can count.
        """
        reached, threshold = self.records - self.tried_at, len(self.due) * self.settings.attempt_records
        held = 0
        for taken, records in enumerate(chunk_records, start=1):
            held += records
            if held > MAX_STATISTICS:
                return max(1, taken - 1)
            if (threshold and reached + held >= threshold) or taken == self.settings.chunks_per_seal:
                return taken
        return 0

    def count_bits(self, leaves: Sequence[int]) -> int:
        """Return how many bits hold the counts of these leaves' statistics."""
        return max(1, *(min(MAX_STATISTICS, self.records - self.nodes[k].since).bit_length() for k in leaves))

    @property
    def total_bits(self) -> int:
        """How many bits hold the number of records."""
        return max(1, self.records.bit_length())

    def restarting(self, records: int, max_windows: int) -> tuple[int, ...]:
        """Return the leaves whose statistics must start again before so many more records.

        They would pass 16 bits, or their slots would run out of room for another seal.
        """
        end = self.records + records
        return tuple(
            leaf
            for leaf in self.leaves
            if end - self.nodes[leaf].since > MAX_STATISTICS or self.nodes[leaf].windows >= max_windows
        )

    def after_window(self, records: int, restarted: Sequence[int] = ()) -> "Growth":
        """Return the state after a window of so many records.

        Args:
            records: In all chunks of the window, valid or not.
            restarted: Leaves whose statistics started again before it.
        """
        nodes = list(self.nodes)
        for leaf in self.leaves:
            node = replace(nodes[leaf], since=self.records, windows=0) if leaf in restarted else nodes[leaf]
            nodes[leaf] = replace(node, windows=node.windows + 1)
        return replace(self, nodes=tuple(nodes), records=self.records + records)

    def after_attempt(self, splits: Sequence[bool]) -> "Growth":
        """Return the state after the leaves `due` were tried.

        Args:
            splits: Which of them split, in the order of `due`.
        """
        due = self.due
        if len(splits) != len(due):
            raise ValueError("every leaf that was due has an outcome")
        nodes = list(self.nodes)
        for leaf, split in zip(due, splits, strict=True):
            if split:
                left = len(nodes)
                nodes += [Node(nodes[leaf].depth + 1, self.records)] * 2
                nodes[leaf] = replace(nodes[leaf], left=left, right=left + 1)
        return replace(self, nodes=tuple(nodes), tried_at=self.records, last_tried=due[-1] if due else -1)

    def after_padded_attempt(self) -> "Growth":
        """Return the state after the leaves `due` of a padded tree were tried, however that ended.

        Every leaf above the bound gets children. The right one goes on with its statistics.
        """
        nodes = list(self.nodes)
        for leaf in self.due:
            # An attempt seals the statistics anew.
            tried = replace(nodes[leaf], windows=1)
            if tried.depth < self.settings.pad_depth:
                left, depth = len(nodes), tried.depth + 1
                nodes += [Node(depth, self.records), replace(tried, depth=depth)]
                tried = replace(tried, left=left, right=left + 1)
            nodes[leaf] = tried
        return replace(self, nodes=tuple(nodes), tried_at=self.records, last_tried=self.due[-1])

    def spine(self, leaf: int) -> tuple[int, ...]:
        """Return the inner nodes from which right branches alone lead to a leaf, from the top.

        In a padded tree one leaf of the hidden tree stands for what is below its first node without
        a test, and its statistics lie here.
        """
        parents = {node.right: index for index, node in enumerate(self.nodes) if not node.is_leaf}
        above = []
        while leaf in parents:
            leaf = parents[leaf]
            above.append(leaf)
        return tuple(reversed(above))

    def end(self, node: int) -> int:
        """Return the leaf at which right branches from a node end."""
        while not self.nodes[node].is_leaf:
            node = self.nodes[node].right
        return node

    @property
    def fields(self) -> tuple[Any, ...]:
        """Everything public in order, for digests of plans."""
        nodes = tuple((node.depth, node.since, node.windows, node.left, node.right) for node in self.nodes)
        return (self.settings.fields, nodes, self.records, self.tried_at, self.last_tried)


def count_tests(attributes: AttributeSizes) -> int:
    """Return F_tests: one test per listed value, and one per edge between bins."""
    return sum(size - ordered for size, ordered in attributes)


def bits_of_tests(onehot: npt.NDArray[np.uint8], attributes: AttributeSizes) -> npt.NDArray[np.uint8]:
    """Derive the tests from one-hot bits, or from shares of them: [a ≤ e_j] is a prefix XOR of bins.

    Args:
        onehot: Shape (n, F_onehot).
        attributes: Sizes.

    Returns:
        Shape (n, F_tests).
    """
    parts = []
    for start, size, ordered in _spans(attributes):
        columns = onehot[:, start : start + size]
        parts.append(np.bitwise_xor.accumulate(columns, axis=1)[:, :-1] if ordered else columns)
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def words_of_tests(onehot: npt.NDArray[np.uint32], attributes: AttributeSizes) -> npt.NDArray[np.uint32]:
    """Derive word shares of the tests from word shares of one-hot bits: prefix sums of bins.

    Sums and XORs agree on records whose bins are one-hot; no other record counts.
    """
    parts = []
    for start, size, ordered in _spans(attributes):
        columns = onehot[:, start : start + size]
        parts.append(np.cumsum(columns, axis=1, dtype=np.uint32)[:, :-1] if ordered else columns)
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def _spans(attributes: AttributeSizes) -> list[tuple[int, int, bool]]:
    starts = np.cumsum([0, *(size for size, _ in attributes)])
    return [
        (int(start), size, ordered) for start, (size, ordered) in zip(starts[:-1], attributes, strict=True)
    ]
