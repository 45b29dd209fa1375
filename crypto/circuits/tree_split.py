"""The split decision of a Hoeffding tree: merits of all tests, the two best, the Hoeffding bound.

For every candidate (0 is the null split) the units hold word shares of n_L, n_R, A = Σ L² and
B = Σ R², sums over classes, so that the circuit does not grow with the classes.
"""

from dataclasses import dataclass

import numpy as np

from crypto.circuits.arithmetic import add, multiply, subtract
from crypto.circuits.circuit import Circuit, Input, Owner
from crypto.circuits.division import at_least_one, divide
from crypto.circuits.engine import Bits, Engine, Wires
from crypto.circuits.selection import less_than, mux
from crypto.errors import LocalProtocolError

MERIT_BITS = 4
"""Fractional bits of a merit: 16·A / n_L."""


def best_two(engine: Engine, scores: Wires) -> tuple[Wires, Wires, Wires]:
    """Return the one-hot of the largest unsigned score, that score, and the largest of the others.

    A tournament, where the lower index wins a tie. The second best lost directly to the best, so
    that one match of every round is looked up and those losers play a tournament of their own.

    Args:
        engine: The engine.
        scores: Shape (w, K, batch), K ≥ 2.

    Returns:
        Shapes (K, batch), (w, batch), (w, batch).

    Cost:
        About (3w + 1)·K gates.
    """
    if scores.shape[1] < 2:
        raise LocalProtocolError("two scores are the fewest to compare")
    playing = scores
    rounds: list[tuple[int, Wires, Wires]] = []
    while playing.shape[1] > 1:
        pairs = playing.shape[1] // 2
        left, right = playing[:, 0 : 2 * pairs : 2], playing[:, 1 : 2 * pairs : 2]
        right_wins = less_than(engine, left, right)
        winners = mux(engine, right_wins, right, left)
        # One of the two is the winner: the other is the sum of all three.
        losers = engine.xor(engine.xor(left, right), winners)
        rounds.append((playing.shape[1], right_wins, losers))
        playing = np.concatenate([winners, playing[:, 2 * pairs :]], axis=1)
    candidates, right_wins, losers = rounds.pop()
    won = np.concatenate([engine.not_(right_wins), right_wins])
    beaten = [losers[:, 0]]
    for candidates, right_wins, losers in reversed(rounds):
        pairs = candidates // 2
        right_won = engine.and_(won[:pairs], right_wins)
        left_won = engine.xor(won[:pairs], right_won)
        # Of the losers of this round the one that the champion met, or 0 if it had no opponent.
        met = engine.and_(won[:pairs], losers)
        beaten.append(engine.xor_all(np.moveaxis(met, 1, 0)))
        both = np.stack([left_won, right_won], axis=1).reshape(2 * pairs, *right_won.shape[1:])
        won = np.concatenate([both, won[pairs:]])
    return won, playing[:, 0], _largest(engine, np.stack(beaten, axis=1))


def _largest(engine: Engine, scores: Wires) -> Wires:
    while scores.shape[1] > 1:
        pairs = scores.shape[1] // 2
        left, right = scores[:, :pairs], scores[:, pairs : 2 * pairs]
        winners = mux(engine, less_than(engine, left, right), right, left)
        scores = np.concatenate([winners, scores[:, 2 * pairs :]], axis=1)
    return np.asarray(scores[:, 0])


@dataclass(frozen=True, slots=True)
class GiniSplit(Circuit):
    """Decide whether leaves split, and on which test; the batch is the leaves.

    Attributes:
        tests: F; there are F + 1 candidates.
        count_bits: b; every leaf has fewer than 2^b records in its statistics.
        total_bits: t; with inherited class counts fewer than 2^t.
        confidence_16: ln(1/δ) in units of 1/16.
        tie_records: Beyond so many records the best test is taken.

    Cost:
        About (F + 1)·(2(b + 4)b + 3(b + 4) + 7b) gates per leaf, two thirds of them divisions.

    Source:
        Domingos, Hulten 2000; docs/protocols.md §7.
    """

    tests: int
    count_bits: int
    total_bits: int
    confidence_16: int
    tie_records: int

    def __post_init__(self) -> None:
        if self.tests < 1 or self.count_bits < 1 or self.total_bits < 1:
            raise LocalProtocolError("a split chooses among tests by counts")
        if self.confidence_16 < 1 or self.tie_records < 0:
            raise LocalProtocolError("the bound's numbers are positive")

    @property
    def candidates(self) -> int:
        """F + 1."""
        return self.tests + 1

    def inputs(self) -> tuple[Input, ...]:
        """Return shares of MU and of SU: sizes and squares of both sides, total."""
        squares = 2 * self.count_bits
        return tuple(
            Input(f"{name}_{unit}", owner, shape)
            for unit, owner in (("mu", Owner.EVALUATOR), ("su", Owner.GARBLER))
            for name, shape in (
                ("sizes", (self.count_bits, 2, self.candidates)),
                ("squares", (squares, 2, self.candidates)),
                ("total", (self.total_bits,)),
            )
        )

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Return whether the leaf splits, (1, batch), and the one-hot of the best test, (F, batch)."""
        sizes, squares, total = (
            add(engine, mine, theirs) for mine, theirs in zip(wires[:3], wires[3:], strict=True)
        )
        seen = sizes[:, 0, 0]
        dividend = np.concatenate([*[engine.zeros_like(squares[:1])] * MERIT_BITS, squares])
        # 16A ≤ 16·n², so that the quotient has b + 4 bits and the divisor exceeds its top part.
        sides = divide(engine, dividend, at_least_one(engine, sizes), self.count_bits + MERIT_BITS)
        merits = add(engine, sides[:, 0], sides[:, 1])
        # (Δq / 16n)² > ln(1/δ) / 2n_tot
        bound = HoeffdingBound(8 * self.confidence_16, self.tie_records)
        return bound.decide(engine, merits, seen, total)


@dataclass(frozen=True, slots=True)
class HoeffdingBound:
    """When a leaf splits: gap²·n_tot > factor·n², or n_tot > tie_records.

    Attributes:
        factor: ln(1/δ)/2, times the squares of the merits' range and of their scale; public.
        tie_records: Beyond so many records the bound is below the tie threshold.
    """

    factor: int
    tie_records: int

    def decide(self, engine: Engine, merits: Wires, seen: Wires, total: Wires) -> tuple[Wires, Wires]:
        """Return whether the leaf splits, (1, batch), and the one-hot of the best test, (F, batch).

        Args:
            engine: The engine.
            merits: Shape (w, F + 1, batch), unsigned; candidate 0 is the null split.
            seen: Shape (b, batch): n.
            total: Shape (t, batch): n_tot.

        Cost:
            (3w + 1)·(F + 1) gates for the two best, about 3w² + w·t + b² for the bound.
        """
        chosen, best, second = best_two(engine, merits)
        gap = subtract(engine, best, second)
        is_certain = self._is_certain(engine, gap, seen, total)
        grounds = _either(engine, is_certain, self._is_tie(engine, total))
        splits = engine.and_(engine.not_(chosen[0]), grounds)
        return splits[np.newaxis], chosen[1:]

    def _is_certain(self, engine: Engine, gap: Wires, seen: Wires, total: Wires) -> Wires:
        left = multiply(engine, multiply(engine, gap, gap), total)
        constant = engine.constant(_public_bits(self.factor, self.factor.bit_length()))
        right = multiply(engine, constant, multiply(engine, seen, seen))
        width = max(len(left), len(right))
        return less_than(engine, _widened(engine, right, width), _widened(engine, left, width))

    def _is_tie(self, engine: Engine, total: Wires) -> Wires:
        if self.tie_records.bit_length() > len(total):
            return np.asarray(engine.zeros_like(total[:1])[0])
        return less_than(engine, engine.constant(_public_bits(self.tie_records, len(total))), total)


def _public_bits(value: int, width: int) -> Bits:
    return np.array([[value >> k & 1] for k in range(width)], dtype=np.uint8)


def _either(engine: Engine, x: Wires, y: Wires) -> Wires:
    """Return x ∨ y."""
    return engine.not_(engine.and_(engine.not_(x), engine.not_(y)))


def _widened(engine: Engine, x: Wires, width: int) -> Wires:
    return np.concatenate([x, *[engine.zeros_like(x[:1])] * (width - len(x))])
