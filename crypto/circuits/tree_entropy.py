"""The split decision by information gain, with the private logarithm in place of divisions.

With h(x) = x·⌊log2(x)·2^10⌋ a candidate's merit is

    M = Σ_c h(L_c) + Σ_c h(R_c) − h(n_L) − h(n_R),

about −2^10·n times the entropy after the split: the largest merit is the largest gain. Unlike the
Gini merit it needs the class counts one by one, so that the circuit grows with the classes.
"""

from dataclasses import dataclass

import numpy as np

from crypto.circuits.arithmetic import add, multiply, subtract
from crypto.circuits.circuit import Circuit, Input, Owner
from crypto.circuits.engine import Engine, PlainEngine, Wires
from crypto.circuits.logarithm import FRACTION_BITS, log2
from crypto.circuits.tree_split import HoeffdingBound
from crypto.errors import LocalProtocolError

ENTROPY_BITS = 10
"""Fractional bits of a logarithm in a merit."""
# |M| ≤ 2^10·n·log2(C) and rounding; C is at most 256.
_HEADROOM_BITS = 5


def entropy_range_32(classes: int) -> int:
    """Return log2(C)² in units of 1/32, by the same logarithm: the squared range of the entropy."""
    bits = np.array([[classes >> k & 1] for k in range(classes.bit_length())], dtype=np.uint8)
    whole = log2(PlainEngine(1), bits, FRACTION_BITS + 5, 0)[:, 0]
    logarithm = sum(int(bit) << k for k, bit in enumerate(whole))
    return (32 * logarithm * logarithm) >> (2 * FRACTION_BITS)


@dataclass(frozen=True, slots=True)
class EntropySplit(Circuit):
    """Decide whether leaves split, and on which test, by information gain; the batch is the leaves.

    Attributes:
        tests: F; there are F + 1 candidates, 0 the null split.
        classes: C.
        count_bits: b ≤ 16; every leaf has fewer than 2^b records in its statistics.
        total_bits: t; with inherited class counts fewer than 2^t.
        confidence_16: ln(1/δ) in units of 1/16.
        range_32: log2(C)² in units of 1/32: the squared range of the entropy.
        tie_records: Beyond so many records the best test is taken.

    Cost:
        About 600·(2C + 2) gates per candidate at 16-bit counts.

    Source:
        Domingos, Hulten 2000; docs/protocols.md §7.
    """

    tests: int
    classes: int
    count_bits: int
    total_bits: int
    confidence_16: int
    range_32: int
    tie_records: int

    def __post_init__(self) -> None:
        if self.tests < 1 or self.classes < 2 or not 1 <= self.count_bits <= 16 or self.total_bits < 1:
            raise LocalProtocolError("a split chooses among tests by counts of at most 16 bits")
        if self.confidence_16 < 1 or self.range_32 < 1 or self.tie_records < 0:
            raise LocalProtocolError("the bound's numbers are positive")

    @property
    def merit_bits(self) -> int:
        """Width of a merit."""
        return self.count_bits + ENTROPY_BITS + _HEADROOM_BITS

    def inputs(self) -> tuple[Input, ...]:
        """Return shares of MU and of SU: class counts of both sides and their sums, total."""
        shape = (self.count_bits, self.classes + 1, 2, self.tests + 1)
        return tuple(
            Input(f"{name}_{unit}", owner, size)
            for unit, owner in (("mu", Owner.EVALUATOR), ("su", Owner.GARBLER))
            for name, size in (("counts", shape), ("total", (self.total_bits,)))
        )

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Return whether the leaf splits, (1, batch), and the one-hot of the best test, (F, batch)."""
        counts, total = (add(engine, wires[k], wires[k + 2]) for k in range(2))
        weighed = self._weighed(engine, counts)
        # The middle of the range stands for 0, so that merits compare as unsigned words.
        merit = engine.zeros_like(weighed[:, 0, 0])
        merit = np.concatenate([merit[:-1], engine.not_(merit[-1:])])
        for side in range(2):
            for kind in range(self.classes):
                merit = add(engine, merit, weighed[:, kind, side])
            merit = subtract(engine, merit, weighed[:, self.classes, side])
        seen = counts[:, self.classes, 0, 0]
        # (ΔM / 2^10·n)² > log2(C)²·ln(1/δ) / 2n_tot
        factor = (self.confidence_16 * self.range_32) << (2 * ENTROPY_BITS - 10)
        return HoeffdingBound(factor, self.tie_records).decide(engine, merit, seen, total)

    def _weighed(self, engine: Engine, x: Wires) -> Wires:
        """Return h(x) mod 2^w; 0 for x = 0."""
        # Below 16, so that 4 bits stand before the point.
        logarithm = log2(engine, x, FRACTION_BITS + 5, 0)[FRACTION_BITS - ENTROPY_BITS : FRACTION_BITS + 4]
        product = multiply(engine, logarithm, x)[: self.merit_bits]
        missing = self.merit_bits - len(product)
        return np.concatenate([product, *[engine.zeros_like(product[:1])] * missing])
