"""Circuits on a tree of public shape and hidden tests: which leaf, what to count, what to answer.

A tree's shape is `routes`: for every inner node, the root first, what follows where its test is
passed and where it fails. k ≥ 0 is inner node k, k < 0 is leaf −k − 1.
"""

from dataclasses import dataclass

import numpy as np

from crypto.circuits.arithmetic import halve_difference, subtract
from crypto.circuits.circuit import Circuit, Input, Owner
from crypto.circuits.engine import Engine, Wires
from crypto.circuits.one_hot import all_of, is_valid_one_hot
from crypto.circuits.selection import argmax_one_hot, index_of_one_hot, public_table
from crypto.errors import LocalProtocolError

Routes = tuple[tuple[int, int], ...]


def levels(routes: Routes) -> list[list[int]]:
    """Return the inner nodes by depth.

    Raises:
        LocalProtocolError: The routes are not one tree, every node once.
    """
    found: list[list[int]] = [[0]] if routes else []
    while found and (below := [child for node in found[-1] for child in routes[node] if child >= 0]):
        found.append(below)
        if len(found) > len(routes):
            break
    inner = sorted(node for level in found for node in level)
    leaves = sorted(-child - 1 for route in routes for child in route if child < 0)
    if inner != list(range(len(routes))) or (routes and leaves != list(range(len(routes) + 1))):
        raise LocalProtocolError("the routes are no tree")
    return found


def reached_leaf(engine: Engine, outcomes: Wires, routes: Routes) -> Wires:
    """Return the one-hot of the leaf that a record reaches.

    Args:
        engine: The engine.
        outcomes: Shape (I, …, batch), I ≥ 1: which tests the record passes.
        routes: The tree's shape.

    Returns:
        Shape (I + 1, …, batch).

    Cost:
        I − 1 gates, a layer for every level but the first.
    """
    leaves: list[Wires] = [outcomes[0]] * (len(routes) + 1)
    arrives: dict[int, Wires] = {}
    for depth, level in enumerate(levels(routes)):
        if depth == 0:
            # Every record is at the root.
            passed, failed = outcomes[:1], engine.not_(outcomes[:1])
        else:
            here = np.stack([arrives[node] for node in level])
            passed = engine.and_(here, outcomes[level])
            failed = engine.xor(here, passed)
        for node, yes, no in zip(level, passed, failed, strict=True):
            for child, wire in zip(routes[node], (yes, no), strict=True):
                if child >= 0:
                    arrives[child] = wire
                else:
                    leaves[-child - 1] = wire
    return np.stack(leaves)


@dataclass(frozen=True, slots=True)
class TreeRoute(Circuit):
    """Find what training records count for: one bit per leaf and class; the batch is the records.

    Attributes:
        routes: The tree's shape.
        classes: C.
        check_bits: K; a record is valid iff all check bits are 0.

    Cost:
        (K − 1) + (I − 1) + (C − 1) + I·C gates per record.

    Source:
        docs/protocols.md §7.
    """

    routes: Routes
    classes: int
    check_bits: int

    def __post_init__(self) -> None:
        if self.classes < 2 or self.check_bits < 1:
            raise LocalProtocolError("records have a class, and are checked")

    def inputs(self) -> tuple[Input, ...]:
        """Return node outcomes (if there are inner nodes), class one-hot, checks: all shared."""
        outcomes = (Input("outcomes", Owner.SHARED, (len(self.routes),)),) if self.routes else ()
        return (
            *outcomes,
            Input("labels", Owner.SHARED, (self.classes,)),
            Input("checks", Owner.SHARED, (self.check_bits,)),
        )

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Return which (leaf, class) the record counts for, (I + 1, C, batch); all 0 if invalid."""
        labels, checks = wires[-2:]
        valid = all_of(engine, engine.not_(checks))
        # A valid record has one class, so that the last is what the others leave of `valid`.
        known = engine.and_(labels[:-1], valid)
        classes = np.concatenate([known, engine.xor(valid, engine.xor_all(known))[np.newaxis]])
        if not self.routes:
            return (classes[np.newaxis],)
        leaves = reached_leaf(engine, wires[0], self.routes)
        counted = engine.and_(leaves[:-1, np.newaxis], classes[np.newaxis])
        last = engine.xor(classes, engine.xor_all(counted))
        return (np.concatenate([counted, last[np.newaxis]]),)


@dataclass(frozen=True, slots=True)
class TreeLabels(Circuit):
    """Find the majority class of leaves; the batch is the leaves.

    The class counts lie doubled in opened slots, so that their digits differ by 2·count and a
    carry, which is dropped.

    Attributes:
        classes: C.
        count_bits: t; class counts are below 2^t.
        label_bits: Width of a class index.
    """

    classes: int
    count_bits: int
    label_bits: int

    def __post_init__(self) -> None:
        if self.label_bits < (self.classes - 1).bit_length():
            raise LocalProtocolError("the label needs room for every class")

    def inputs(self) -> tuple[Input, ...]:
        """Return the low t + 1 bits of the masks' and of the opened digits."""
        shape = (self.count_bits + 1, self.classes)
        return (
            Input("digits_mu", Owner.EVALUATOR, shape),
            Input("digits_su", Owner.GARBLER, shape),
        )

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Return the class index, (label_bits, batch); the lowest wins a tie."""
        digits_mu, digits_su = wires
        counts = halve_difference(engine, digits_su, digits_mu)
        signed = np.concatenate([counts, engine.zeros_like(counts[:1])])
        return (index_of_one_hot(engine, argmax_one_hot(engine, signed), self.label_bits),)


@dataclass(frozen=True, slots=True)
class TreeAnswer(Circuit):
    """Answer the rows of a query: the label of the leaf reached, or C for a row that is invalid.

    The leaves' labels are the same for all rows, so that the rows are an axis of their own and
    the batch is 1.

    Attributes:
        rows: n.
        routes: The tree's shape.
        attribute_sizes: One-hot columns of every attribute.
        classes: C.
        label_bits: Width of the masked answer, at least that of C.

    Cost:
        F + (I − 1) + (I + 1)·⌈log2 C⌉ + label_bits gates per row.

    Source:
        docs/protocols.md §7.
    """

    rows: int
    routes: Routes
    attribute_sizes: tuple[int, ...]
    classes: int
    label_bits: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.label_bits < self.classes.bit_length():
            raise LocalProtocolError("the answer needs room for every class and for `invalid`")

    @property
    def index_bits(self) -> int:
        """Bits of a class index."""
        return (self.classes - 1).bit_length()

    def inputs(self) -> tuple[Input, ...]:
        """Return node outcomes (if any), the rows' bits, the leaves' labels, the mask."""
        outcomes = (Input("outcomes", Owner.SHARED, (len(self.routes), self.rows)),) if self.routes else ()
        return (
            *outcomes,
            Input("query", Owner.SHARED, (sum(self.attribute_sizes), self.rows)),
            Input("labels", Owner.SHARED, (self.index_bits, len(self.routes) + 1)),
            Input("mask", Owner.GARBLER, (self.label_bits, self.rows)),
        )

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Return (answer − mask) mod 2^label_bits, shape (label_bits, n, 1)."""
        query, labels, mask = wires[-3:]
        valid = is_valid_one_hot(engine, query, self.attribute_sizes)
        if self.routes:
            leaves = reached_leaf(engine, wires[0], self.routes)
            # Shape (index bits, leaves, rows): a label bit counts where its leaf was reached.
            chosen = engine.and_(leaves[np.newaxis], labels[:, :, np.newaxis])
            index = engine.xor_all(np.swapaxes(chosen, 0, 1))
        else:
            index = np.broadcast_to(labels, (self.index_bits, self.rows, *labels.shape[2:]))
        answered = engine.and_(index, valid[np.newaxis])
        missing = self.label_bits - self.index_bits
        if missing:
            answered = np.concatenate([answered, *[engine.zeros_like(answered[:1])] * missing])
        refused = public_table(engine, engine.not_(valid)[np.newaxis], [self.classes], self.label_bits)
        return (subtract(engine, engine.xor(answered, refused), mask),)
