"""A Hoeffding tree in the clear, in exactly the integers that the units compute on shares.

The encrypted learner must agree with this one on every count, split and answer (docs/protocols.md
§7 and §9). A leaf's statistics are the counts L_fc of its valid records of class c that pass test
f, and N_c of all of them; with A = Σ L², B = Σ (N − L)² a test's merit is

    q = ⌊16·A / n_L⌋ + ⌊16·B / n_R⌋,

which is 16·n·(1 − Gini impurity after the split); a zero divisor counts as 1. Or, by entropy, with
h(x) = x·⌊log2(x)·2^10⌋,

    M = Σ_c h(L_c) + Σ_c h(R_c) − h(n_L) − h(n_R).

Candidate 0 is the null split, L = N. This module shares no code with the protocol that it checks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from roles.classifiers.hoeffding_tree_growth import AttributeSizes, Growth, TreeSettings
from roles.classifiers.naive_bayes_twin import log2_fixed

IntArray: TypeAlias = npt.NDArray[np.int64]
Bits: TypeAlias = npt.NDArray[np.uint8]

MERIT_SCALE = 16


@dataclass(frozen=True, slots=True)
class Decision:
    """What an attempt on one leaf finds.

    Attributes:
        splits: Whether the leaf splits.
        test: The best test's number, or -1 for the null split.
        best: Its merit.
        second: The largest merit of all other candidates.
    """

    splits: bool
    test: int
    best: int
    second: int


@dataclass(slots=True)
class HoeffdingTreeTwin:
    """A tree that learns and answers; the growth is replaced, the statistics grow in place.

    Attributes:
        attributes: One-hot columns of every attribute, and whether they are ordered bins.
        classes: C.
        growth: The public side.
        counts: By leaf: shape (F + 1, C), L_fc for every test, then N_c.
        totals: By node: shape (C,), class counts inherited and seen.
        tests: By inner node: its test; a padded tree has inner nodes without one.
        labels: By leaf: the label that it answers with, as of the last refresh.
        max_windows: Seals that a leaf's statistics have room for.
    """

    attributes: AttributeSizes
    classes: int
    growth: Growth
    counts: dict[int, IntArray] = field(default_factory=dict)
    totals: dict[int, IntArray] = field(default_factory=dict)
    tests: dict[int, int] = field(default_factory=dict)
    labels: dict[int, int] = field(default_factory=dict)
    max_windows: int = 1 << 14

    @classmethod
    def empty(cls, attributes: AttributeSizes, classes: int, settings: TreeSettings) -> "HoeffdingTreeTwin":
        """Return the tree before any record: a root that answers with class 0."""
        twin = cls(attributes, classes, Growth(settings))
        twin.counts[0] = twin._no_counts()
        twin.totals[0] = np.zeros(classes, dtype=np.int64)
        twin.labels[0] = 0
        return twin

    @property
    def test_columns(self) -> int:
        """F: tests that a node may ask."""
        return sum(size - ordered for size, ordered in self.attributes)

    def learn_window(self, chunks: Sequence[tuple[Bits, Bits]]) -> list[int]:
        """Count the chunks of one window, whose records all take the paths of the same tree.

        Args:
            chunks: Per chunk one-hot bits (n, F_onehot) and class bits (n, C).

        Returns:
            How many records of each chunk were valid.
        """
        records = sum(len(bits) for bits, _ in chunks)
        restarted = self.growth.restarting(records, self.max_windows)
        for leaf in restarted:
            self.counts[leaf] = self._no_counts()
        valid = [self._count(bits, labels) for bits, labels in chunks]
        self.growth = self.growth.after_window(records, restarted)
        return valid

    def attempt(self) -> list[Decision]:
        """Try the leaves that are due, and split those that are to split."""
        due = self.growth.due
        decisions = [self.decide(leaf) for leaf in due]
        if self.growth.settings.pad_depth:
            return self._attempt_padded(due, decisions)
        before = len(self.growth.nodes)
        self.growth = self.growth.after_attempt([decision.splits for decision in decisions])
        for leaf, decision in zip(due, decisions, strict=True):
            if not decision.splits:
                continue
            counts = self.counts.pop(leaf)
            self.tests[leaf] = decision.test
            # Children start from the class counts that the chosen test left on their side.
            for passed in (counts[decision.test], counts[-1] - counts[decision.test]):
                self.totals[before] = passed.copy()
                self.counts[before] = self._no_counts()
                before += 1
        return decisions

    def _attempt_padded(self, due: Sequence[int], decisions: Sequence[Decision]) -> list[Decision]:
        """Give children to all leaves above the bound; a split is where a test was placed."""
        self.growth = growth = self.growth.after_padded_attempt()
        for node in range(len(self.totals), len(growth.nodes)):
            self.totals[node] = np.zeros(self.classes, dtype=np.int64)
            self.counts[node] = self._no_counts()
        outcomes = []
        for leaf, decision in zip(due, decisions, strict=True):
            # What the leaf was is from now on where its records arrive.
            end = growth.end(leaf)
            counts = self.counts.pop(leaf)
            if end != leaf:
                self.totals[end] += self.totals[leaf]
            free = [node for node in growth.spine(end) if node not in self.tests]
            splits = decision.splits and bool(free)
            outcomes.append(replace(decision, splits=splits))
            if not splits:
                self.counts[end] = counts
                continue
            self.tests[free[0]] = decision.test
            passed = counts[decision.test]
            self.totals[growth.end(growth.nodes[free[0]].left)] += passed
            self.totals[end] = counts[-1] - passed
            self.counts[end] = self._no_counts()
        return outcomes

    def decide(self, leaf: int) -> Decision:
        """Compare the tests of one leaf by the Hoeffding bound."""
        settings = self.growth.settings
        counts = self.counts[leaf]
        null = counts[-1:]
        candidates = np.concatenate([null, counts[:-1]])
        by_entropy = settings.criterion == "entropy"
        merits = self.entropy_merits(candidates) if by_entropy else self.merits(candidates)
        best = int(np.argmax(merits))
        second = int(np.max(np.delete(merits, best)))
        gap = int(merits[best]) - second
        seen, total = int(null.sum()), int(self.totals[leaf].sum())
        # (Δq/16n)² > ln(1/δ)/2n_tot, with ln(1/δ) in units of 1/16; or, where merits range over
        # [0, log2 C], (ΔM/1024n)² > log2(C)²·ln(1/δ)/2n_tot.
        factor = 1024 * entropy_range(self.classes) if by_entropy else 8
        is_certain = gap * gap * total > factor * settings.confidence_16 * seen * seen
        is_tie = total > settings.tie_records
        return Decision(best > 0 and (is_certain or is_tie), best - 1, int(merits[best]), second)

    @staticmethod
    def merits(counts: IntArray) -> IntArray:
        """Return q of every candidate.

        Args:
            counts: Shape (K, C); candidate 0 is the null split, whose counts are the leaf's own.
        """
        other = counts[:1] - counts
        merits = np.zeros(len(counts), dtype=np.int64)
        for side in (counts, other):
            squares = (side * side).sum(axis=1)
            merits += MERIT_SCALE * squares // np.maximum(side.sum(axis=1), 1)
        return merits

    @staticmethod
    def entropy_merits(counts: IntArray) -> IntArray:
        """Return M of every candidate; arguments as for `merits`."""
        other = counts[:1] - counts
        merits = np.zeros(len(counts), dtype=np.int64)
        for side in (counts, other):
            merits += _weighed(side).sum(axis=1) - _weighed(side.sum(axis=1))
        return merits

    def refresh_labels(self) -> None:
        """Take over the majority class of every leaf; the lowest wins a tie."""
        self.labels = {leaf: int(np.argmax(self.totals[leaf])) for leaf in self.growth.leaves}

    def predict(self, bits: Bits) -> IntArray:
        """Return the labels of rows of one-hot bits; C for a row that is not one-hot."""
        labels = np.array([self.labels.get(leaf, 0) for leaf in range(len(self.growth.nodes))])
        answers = labels[self.route(bits)]
        return np.where(self.is_valid(bits), answers, self.classes)

    def route(self, bits: Bits) -> IntArray:
        """Return the leaf that each row reaches."""
        passes = self._test_columns(bits)
        reached = np.zeros(len(bits), dtype=np.int64)
        for inner in self.growth.inner:
            node = self.growth.nodes[inner]
            here = reached == inner
            # A node without a test, of a padded tree, is passed by none.
            test = passes[:, self.tests[inner]] == 1 if inner in self.tests else np.zeros(len(bits), bool)
            reached = np.where(here, np.where(test, node.left, node.right), reached)
        return reached

    def is_valid(self, bits: Bits) -> npt.NDArray[np.bool_]:
        """Return which rows have exactly one bit set in every attribute."""
        starts = np.cumsum([0, *(size for size, _ in self.attributes)])[:-1]
        return np.asarray((np.add.reduceat(bits.astype(np.int64), starts, axis=1) == 1).all(axis=1))

    def _count(self, bits: Bits, labels: Bits) -> int:
        valid = self.is_valid(bits) & (labels.sum(axis=1) == 1)
        bits, classes = bits[valid], labels[valid].astype(np.int64)
        columns = np.concatenate([self._test_columns(bits), np.ones((len(bits), 1), dtype=np.int64)], axis=1)
        reached = self.route(bits)
        for leaf in self.growth.leaves:
            here = reached == leaf
            counted = columns[here].T @ classes[here]
            self.counts[leaf] += counted
            self.totals[leaf] += counted[-1]
        return int(valid.sum())

    def _test_columns(self, bits: Bits) -> IntArray:
        """Return the tests' outcomes; a numeric test asks whether the bin is at most j."""
        parts, start = [], 0
        for size, ordered in self.attributes:
            columns = bits[:, start : start + size].astype(np.int64)
            parts.append(np.cumsum(columns, axis=1)[:, :-1] % 2 if ordered else columns)
            start += size
        return np.concatenate(parts, axis=1)

    def _no_counts(self) -> IntArray:
        return np.zeros((self.test_columns + 1, self.classes), dtype=np.int64)


def entropy_range(classes: int) -> int:
    """Return log2(C)² in units of 1/32: the squared range of the entropy."""
    return (32 * log2_fixed(classes) ** 2) >> 40


def _weighed(counts: IntArray) -> IntArray:
    """Return h(x) = x·⌊log2(x)·2^10⌋, entry by entry."""
    logarithms = np.vectorize(lambda x: log2_fixed(int(x)) >> 10, otypes=[np.int64])(counts)
    weighed: IntArray = counts * logarithms
    return weighed
