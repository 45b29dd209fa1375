"""Models in the clear: what Bost et al.'s server knows, and the lines of scikit-learn and river.

All as integers, since that is what goes under encryption.
"""

import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import CategoricalNB
from sklearn.tree import DecisionTreeClassifier

from benchmarks.baselines.bost.decision_tree import Node
from benchmarks.compare.entry import BAYES, LINEAR, LOGISTIC, TREE, Entry
from benchmarks.compare.splits import Split, lbw, split
from benchmarks.data_sets import data_set
from roles.encoding import EncodedRecords
from roles.word_encoding import WORD_LIMIT, words_of

FRACTION_BITS = 16
LOWEST = 32
"""Logarithms are raised by so much, which makes them positive."""
LEAVES = 5
TRUST = "everybody sees everything"
MAX_ITERATIONS = 1000

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BayesTable:
    """Naive Bayes as integers.

    Attributes:
        sizes: Values of each attribute.
        entries: Raised logarithms, per one-hot bit one for every class.
        priors: Those of the classes' shares.
    """

    sizes: tuple[int, ...]
    entries: list[list[int]] = field(repr=False)
    priors: list[int] = field(repr=False)

    def places(self, indices: npt.NDArray[np.int32]) -> list[list[int]]:
        """Return per row the places of the one-hot bits that are set."""
        starts = np.cumsum((0, *self.sizes[:-1]))
        found: list[list[int]] = (indices + starts).tolist()
        return found

    def classes(self, indices: npt.NDArray[np.int32]) -> Ints:
        """Return the class of every row."""
        scores = np.array(self.priors) + np.array(self.entries)[self.places(indices)].sum(axis=1)
        return np.asarray(scores.argmax(axis=1), dtype=np.int64)


def bayes_table(parts: Split) -> BayesTable:
    """Learn the table, with one more of everything than was counted."""
    sizes, classes = parts.data.schema.attribute_sizes, parts.data.schema.class_count
    totals = np.bincount(parts.labels, minlength=classes)
    entries = []
    for attribute, size in enumerate(sizes):
        counts = np.zeros((size, classes))
        np.add.at(counts, (parts.data.records.indices[:, attribute], parts.labels), 1)
        entries += _raised(np.log2((counts + 1) / (totals + size))).tolist()
    return BayesTable(sizes, entries, _raised(np.log2((totals + 1) / (totals + 1).sum())).tolist())


def _raised(logarithms: npt.NDArray[np.float64]) -> Ints:
    return np.rint((logarithms + LOWEST) * (1 << FRACTION_BITS)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Hyperplane:
    """Weights as integers, the bias last, for the numbers that clients encrypt."""

    weights: list[int] = field(repr=False)

    def sides(self, rows: EncodedRecords) -> Ints:
        """Return the side of every row."""
        *weights, bias = self.weights
        return np.asarray(words_of(rows).astype(np.int64) @ np.array(weights) + bias >= 0, dtype=np.int64)


def hyperplane(parts: Split) -> Hyperplane:
    """Learn the weights by logistic regression."""
    model: Any = LogisticRegression(max_iter=MAX_ITERATIONS).fit(numbers(parts.data.records), parts.labels)
    scaled = np.append(model.coef_[0], model.intercept_ * WORD_LIMIT) * (1 << FRACTION_BITS)
    return Hyperplane([int(weight) for weight in np.rint(scaled)])


def numbers(records: EncodedRecords) -> npt.NDArray[np.float64]:
    """Return the records' numbers, from −1 to 1."""
    return words_of(records) / WORD_LIMIT


def tree(parts: Split) -> tuple[Node, Any]:
    """Learn a tree of five leaves over the places of values; return it with scikit-learn's."""
    model: Any = DecisionTreeClassifier(max_leaf_nodes=LEAVES, random_state=0)
    model.fit(parts.data.records.indices, parts.labels)
    found = model.tree_

    def node(place: int) -> Node | int:
        if found.children_left[place] < 0:
            return int(model.classes_[found.value[place][0].argmax()])
        threshold = int(np.floor(found.threshold[place])) + 1
        children = (node(int(child[place])) for child in (found.children_left, found.children_right))
        return Node(int(found.feature[place]), threshold, *children)

    root = node(0)
    if not isinstance(root, Node):
        raise TypeError("the tree has one leaf")
    return root, model


def entries() -> Iterator[Entry]:
    """Measure scikit-learn on every task and river on its own, everything in the clear."""
    for task, parts, model in (
        (BAYES, split(data_set("nursery")), CategoricalNB()),
        (LOGISTIC, lbw(), LogisticRegression(max_iter=MAX_ITERATIONS)),
        (LINEAR, split(data_set("wdbc")), LogisticRegression(max_iter=MAX_ITERATIONS)),
        (TREE, split(data_set("nursery")), DecisionTreeClassifier(max_leaf_nodes=LEAVES, random_state=0)),
    ):
        learnt, asked = (
            records.indices if task in {BAYES, TREE} else numbers(records)
            for records in (parts.data.records, parts.test)
        )
        train, _ = _cpu(lambda: model.fit(learnt, parts.labels))  # noqa: B023  (called at once)
        query, found = _cpu(lambda: model.predict(asked))  # noqa: B023
        yield Entry(
            task,
            "clear",
            f"scikit-learn in the clear, {type(model).__name__}",
            "none",
            TRUST,
            train / len(learnt),
            query_cpu=query / len(asked),
            accuracy=100 * float((found == parts.test_labels).mean()),
        )
    yield from _hoeffding_tree()


def _hoeffding_tree() -> Iterator[Entry]:
    """Measure river's tree, record after record; nothing where river is not installed."""
    try:
        from river.tree import HoeffdingTreeClassifier  # noqa: PLC0415  (an extra of its own)
    except ModuleNotFoundError:
        return
    parts = split(data_set("nursery"))
    tree: Any = HoeffdingTreeClassifier()
    rows: list[list[dict[Hashable, Any]]] = [
        [dict(enumerate(map(str, row))) for row in records.indices.tolist()]
        for records in (parts.data.records, parts.test)
    ]
    learnt, asked = rows

    def learn() -> None:
        for row, label in zip(learnt, parts.labels.tolist(), strict=True):
            tree.learn_one(row, label)

    train, _ = _cpu(learn)
    query, found = _cpu(lambda: [tree.predict_one(row) for row in asked])
    yield Entry(
        TREE,
        "river",
        "river in the clear, HoeffdingTreeClassifier with its defaults",
        "none",
        TRUST,
        train / len(learnt),
        query_cpu=query / len(asked),
        accuracy=100 * float((np.array(found) == parts.test_labels).mean()),
    )


def _cpu(work: Any) -> tuple[float, Any]:
    start = time.process_time()
    found = work()
    return time.process_time() - start, found
