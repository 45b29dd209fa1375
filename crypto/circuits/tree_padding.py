"""Where a test goes that nobody may see being placed: the first free node above a leaf.

A padded tree shows nodes that may ask no test (docs/protocols.md §7.8). Above a leaf lie the nodes of its
spine; those that ask a test come first. A leaf that splits gives its test to the first of the others.
"""

from dataclasses import dataclass

import numpy as np

from crypto.circuits.circuit import Circuit, Input, Owner
from crypto.circuits.engine import Engine, Wires
from crypto.circuits.tree_entropy import EntropySplit
from crypto.circuits.tree_split import GiniSplit
from crypto.errors import LocalProtocolError


@dataclass(frozen=True, slots=True)
class PaddedSplit(Circuit):
    """Decide whether leaves split, and place the best test; the batch is the leaves.

    Attributes:
        decision: Whether, and on which of F tests.
        places: Nodes of the longest spine. Where a leaf has fewer, the first places count as taken.

    Cost:
        (F + 1) gates per place beside the decision's.

    Source:
        docs/protocols.md §7.8.
    """

    decision: GiniSplit | EntropySplit
    places: int

    def __post_init__(self) -> None:
        if self.places < 1:
            raise LocalProtocolError("a test needs a place")

    def inputs(self) -> tuple[Input, ...]:
        """Return the decision's inputs, and which places are taken: shared, and ones before zeros."""
        return (*self.decision.inputs(), Input("taken", Owner.SHARED, (self.places,)))

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Return whether a test was placed, (1, batch), and the tests placed, (places, F, batch)."""
        *decided, taken = wires
        splits, chosen = self.decision.evaluate(engine, *decided)
        # Taken places come first: the first free one follows a taken one, or is the first of all.
        free = np.concatenate([engine.not_(taken[:1]), engine.xor(taken[:-1], taken[1:])])
        goes_here = engine.and_(free, splits)
        placed = engine.and_(goes_here[:, np.newaxis], chosen[np.newaxis])
        return engine.xor_all(goes_here)[np.newaxis], placed
