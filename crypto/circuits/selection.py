"""Circuits that compare and choose: less-than, equality, multiplexer, argmax.

Words are bundles (bits, …, batch), little-endian. The last circuit of the file is the answer to
a naive-Bayes query: scores from shares, validity of the query, argmax, masked label.
"""

from dataclasses import dataclass

import numpy as np

from crypto.circuits.arithmetic import add, carry_out, subtract
from crypto.circuits.circuit import Circuit, Input, Owner
from crypto.circuits.engine import Engine, Wires
from crypto.circuits.one_hot import all_of, is_valid_one_hot
from crypto.errors import LocalProtocolError


def is_zero(engine: Engine, x: Wires) -> Wires:
    """Return whether all bits along the first axis are 0.

    Cost:
        w − 1 gates, ⌈log2 w⌉ layers.
    """
    return all_of(engine, engine.not_(x))


def equal(engine: Engine, x: Wires, y: Wires) -> Wires:
    """Return x = y.

    Cost:
        w − 1 gates, ⌈log2 w⌉ layers.
    """
    return is_zero(engine, engine.xor(x, y))


def less_than(engine: Engine, x: Wires, y: Wires) -> Wires:
    """Return x < y for unsigned words.

    Cost:
        w gates as a ripple, about 3w as a tree where the batch is narrow.
    """
    # x < y iff y + ¬x = y − x − 1 + 2^w carries out.
    return carry_out(engine, engine.not_(x), y)


def less_than_signed(engine: Engine, x: Wires, y: Wires) -> Wires:
    """Return x < y for words in two's complement; as many gates as `less_than`."""
    return less_than(engine, _biased(engine, x), _biased(engine, y))


def _biased(engine: Engine, x: Wires) -> Wires:
    """Map signed to unsigned words in the same order: add 2^(w−1)."""
    return np.concatenate([x[:-1], engine.not_(x[-1:])])


def mux(engine: Engine, condition: Wires, if_set: Wires, if_clear: Wires) -> Wires:
    """Return `if_set` where the condition bit is set, else `if_clear`.

    Args:
        engine: The engine.
        condition: Shape (…, batch), or that with leading axes that broadcast.
        if_set: Shape (bits, …, batch).
        if_clear: Like `if_set`.

    Cost:
        w gates, one layer.
    """
    return engine.xor(if_clear, engine.and_(condition, engine.xor(if_set, if_clear)))


def argmax_one_hot(engine: Engine, scores: Wires, enable: Wires | None = None) -> Wires:
    """Return the one-hot of the largest signed score; the lowest index wins a tie.

    A tournament: the left of two candidates has the lower indices and loses only to a larger
    score, so that ties go to it; a candidate without opponent passes on.

    Args:
        engine: The engine.
        scores: Shape (bits, C, batch), C ≥ 1, in two's complement.
        enable: Shape (batch,), or None. Where it is 0 the result is all zeros.

    Returns:
        Shape (C, batch).

    Cost:
        (C − 1)w for the comparisons (as ripples), (C − 2)w for the winners' scores, C − 2 for the
        one-hot, or C − 1 with `enable`.
    """
    candidates = scores.shape[1]
    rounds = []
    left_over = _biased(engine, scores)
    while candidates > 1:
        pairs = candidates // 2
        left, right = left_over[:, 0 : 2 * pairs : 2], left_over[:, 1 : 2 * pairs : 2]
        right_wins = less_than(engine, left, right)
        rounds.append((candidates, right_wins))
        if candidates > 2:
            winners = mux(engine, right_wins, right, left)
            left_over = np.concatenate([winners, left_over[:, 2 * pairs :]], axis=1)
        candidates -= pairs
    return _descend(engine, rounds, enable)


def _descend(engine: Engine, rounds: list[tuple[int, Wires]], enable: Wires | None) -> Wires:
    """Walk from the final back to the first round: who won is split among its two candidates."""
    if enable is not None:
        won = enable[np.newaxis]
    elif rounds:
        final = rounds.pop()[1]
        won = np.concatenate([engine.not_(final), final])
    else:
        won = engine.constant(np.ones((1, 1)))
    for candidates, right_wins in reversed(rounds):
        pairs = candidates // 2
        right = engine.and_(won[:pairs], right_wins)
        left = engine.xor(won[:pairs], right)
        both = np.stack([left, right], axis=1).reshape(2 * pairs, *right.shape[1:])
        won = np.concatenate([both, won[pairs:]])
    return won


def index_of_one_hot(engine: Engine, one_hot: Wires, bits: int) -> Wires:
    """Return the index of the set wire, or 0 if there is none; free.

    Args:
        engine: The engine.
        one_hot: Shape (C, …, batch), at most one set along the first axis.
        bits: Width of the result, at least that of C − 1.
    """
    return public_table(engine, one_hot, list(range(len(one_hot))), bits)


def public_table(engine: Engine, one_hot: Wires, values: list[int], bits: int) -> Wires:
    """Return the table entry that a one-hot selects, or 0 if no wire is set; free.

    Args:
        engine: The engine.
        one_hot: Shape (K, …, batch).
        values: K public integers in [0, 2^bits).
        bits: Width of the result.
    """
    rows = []
    for bit in range(bits):
        chosen = [index for index, value in enumerate(values) if value >> bit & 1]
        rows.append(engine.xor_all(one_hot[chosen]) if chosen else engine.zeros_like(one_hot[0]))
    return np.stack(rows)


def argmax(engine: Engine, scores: Wires, bits: int) -> tuple[Wires, Wires]:
    """Return index (bits, batch) and one-hot (C, batch) of the largest signed score.

    See `argmax_one_hot` for ties and cost; the index is free.
    """
    one_hot = argmax_one_hot(engine, scores)
    return index_of_one_hot(engine, one_hot, bits), one_hot


@dataclass(frozen=True, slots=True)
class NaiveBayesArgmax(Circuit):
    """Answer queries: argmax over class scores, or C for a query that is no one-hot encoding.

    The batch is the queries. The label leaves as (label − mask) mod 2^label_bits for MU, so that
    MU and SU hold word shares of it and neither knows it.

    Attributes:
        attribute_sizes: Number of values or bins of every attribute; F = their sum.
        classes: C ≥ 1.
        score_bits: Width W of the words whose shares the units hold; scores are signed.
        label_bits: Width of the masked label, at least that of C.

    Cost:
        C(W − 1) + (2C − 3)W + (C − 1) + validity + label_bits − 1 gates for C ≥ 2, and the
        validity about one per query bit.

    Source:
        docs/protocols.md §3.3, §5.
    """

    attribute_sizes: tuple[int, ...]
    classes: int
    score_bits: int
    label_bits: int

    def __post_init__(self) -> None:
        if self.classes < 1 or self.label_bits < self.classes.bit_length():
            raise LocalProtocolError("the label needs room for every class and for `invalid`")
        if not self.attribute_sizes or min(self.attribute_sizes) < 1 or self.score_bits < 1:
            raise LocalProtocolError("attributes have values, and scores have bits")

    def inputs(self) -> tuple[Input, ...]:
        """Return score shares of MU, shares of SU (bits, classes), query bits, mask."""
        return (
            Input("scores_mu", Owner.EVALUATOR, (self.score_bits, self.classes)),
            Input("scores_su", Owner.GARBLER, (self.score_bits, self.classes)),
            Input("query", Owner.SHARED, (sum(self.attribute_sizes),)),
            Input("mask", Owner.GARBLER, (self.label_bits,)),
        )

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Return the masked label, shape (label_bits, batch)."""
        scores_mu, scores_su, query, mask = wires
        valid = is_valid_one_hot(engine, query, self.attribute_sizes)
        one_hot = argmax_one_hot(engine, add(engine, scores_mu, scores_su), enable=valid)
        index = index_of_one_hot(engine, one_hot, self.label_bits)
        invalid = np.stack([engine.not_(valid)])
        refused = public_table(engine, invalid, [self.classes], self.label_bits)
        return (subtract(engine, engine.xor(index, refused), mask),)
