"""Circuits of Priv-LR: the sigmoid, the update of the weights, and the answer to a query.

Their integer functions are those of the twin, bit for bit (docs/protocols.md §6). Scores have 22
fractional bits in 32, weights 18 in 24, gradients 20.
"""

from dataclasses import dataclass

import numpy as np

from crypto.circuits.arithmetic import add, multiply, subtract
from crypto.circuits.circuit import Circuit, Input, Owner
from crypto.circuits.engine import Engine, Wires
from crypto.circuits.one_hot import decode, is_valid_one_hot
from crypto.circuits.selection import argmax_one_hot, public_table
from crypto.circuits.sigmoid_table import SIGMOID_SLOPES, SIGMOID_VALUES
from crypto.circuits.signed_words import (
    add_signed,
    any_of,
    leaves_range,
    magnitude,
    multiply_public,
    shift_right,
    sign_extend,
    subtract_signed,
    total,
    total_signed,
)
from crypto.errors import LocalProtocolError

SCORE_BITS = 32
SIGMOID_BITS = 9
WEIGHT_BITS = 24
WORD_BITS = 32
FORWARD_SHIFT = 6
FORWARD_WORD_BITS = 22
"""Of ⌊w/2^6⌋ as a word: a set bit counts 2^10, so that 22 bits fill the ring of 2^32."""

ERROR_WORD_BITS = 21
"""Of m − 512·y as a word: it counts 2^11, for the same reason."""

_SATURATED = slice(25, 31)  # bits of |z| from 2^3 upwards
_SEGMENT = slice(21, 25)  # halves
_FRACTION = slice(15, 21)  # 64 steps of a half
_SLOPE_BITS = 6
_VALUE_BITS = 14
_MAGNITUDE_DROPPED = 12  # leaves 6 fractional bits
_MAGNITUDE_LIMIT_BITS = 14  # Σ|w| < 2^8


def sigmoid(engine: Engine, score: Wires) -> Wires:
    """Return m of σ(z) ≈ (m + ½)/512 from a score, 9 bits.

    |z| is the one's complement, which is free and unbiased, since a cut score stands for the
    middle of its interval. One of 16 segments is chosen by a one-hot, which makes value and slope
    free; from |z| = 8 on the result is saturated.

    Args:
        engine: The engine.
        score: Shape (32, …, batch), 22 fractional bits, |z| < 2^9.

    Cost:
        103 gates: 11 for the segment, 66 for slope times fraction, 13 for the sum, 13 for the
        saturation.
    """
    sign = score[-1:]
    u = engine.xor(score[:-1], sign)
    segment = decode(engine, u[_SEGMENT])
    slope = public_table(engine, segment, list(SIGMOID_SLOPES), _SLOPE_BITS)
    value = public_table(engine, segment, list(SIGMOID_VALUES), _VALUE_BITS)
    product = multiply(engine, slope, u[_FRACTION])
    product = np.concatenate([product, *[engine.zeros_like(product[:1])] * (_VALUE_BITS - len(product))])
    half = add(engine, value, product)[-8:]
    saturated = any_of(engine, u[_SATURATED])
    # a ∨ b = ¬(¬a ∧ ¬b)
    half = engine.not_(engine.and_(engine.not_(half), engine.not_(saturated)))
    # 256 + h for z ≥ 0, 255 − h for z < 0.
    return np.concatenate([engine.xor(half, sign), engine.not_(sign)])


@dataclass(frozen=True, slots=True)
class Sigmoid(Circuit):
    """σ(z) of word-shared scores as bits. The batch is the scores.

    Attributes:
        error_words: The units also need words of the error, m − 512·y mod 2^21, for records that
            are bits. They leave masked.

    Cost:
        134 gates per score, 154 with words.

    Source:
        Mohassel, Zhang 2017 (piecewise activation, ours has 16 pieces); docs/protocols.md §6.
    """

    error_words: bool = False

    def inputs(self) -> tuple[Input, ...]:
        """Return MU's word and SU's; the label and SU's mask for words."""
        scores = (
            Input("scores_mu", Owner.EVALUATOR, (SCORE_BITS,)),
            Input("scores_su", Owner.GARBLER, (SCORE_BITS,)),
        )
        if not self.error_words:
            return scores
        return (*scores, Input("label", Owner.SHARED, ()), Input("mask", Owner.GARBLER, (ERROR_WORD_BITS,)))

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Return m, shape (9, batch), and the masked word of the error if wanted."""
        scores_mu, scores_su, *rest = wires
        m = sigmoid(engine, add(engine, scores_mu, scores_su))
        if not rest:
            return (m,)
        label, mask = rest
        # y at weight −2^9 is the sign of a ten-bit number.
        error = np.concatenate([m, *[label[np.newaxis]] * (ERROR_WORD_BITS - SIGMOID_BITS)])
        return m, subtract(engine, error, mask)


@dataclass(frozen=True, slots=True)
class WeightUpdate(Circuit):
    """One step of gradient descent with decay and Nesterov's momentum, for all classes at once.

    moved = ahead − ⌊ahead/2^k⌋ − ⌊c·g/2^s⌋, ahead' = moved + ⌊γ·(moved − weights)/16⌋. Overflow is
    set if it was set before, if a new weight needs more than 24 bits, or if the magnitudes of a
    class sum up to 256. The batch is 1; weights have the shape (24, K, d + 1).

    Attributes:
        features: d + 1, the constant last, which is exempt from decay.
        problems: K.
        parts: Parts of the batch of records; their gradients are added without loss.
        gradient_bits: Bits of each part's gradient; whatever their shares hold above is dropped.
        multiplier: c.
        shift: s.
        l2_shift: k, or 0 for no decay.
        momentum_16: γ.
        sealed: The last step of a session: the new weights leave masked, as words.
        word_start: Columns from here …
        word_stop: … up to here are bits: unless sealed, ⌊ahead'/2^6⌋ leaves as masked words too.

    Cost:
        Per weight 31 for the gradient, 33 per further digit of c, 28 for the step, as many for
        decay, 75 to 100 for momentum, 12 for the check (25 with momentum), 31 (62)
        to leave, 21 for a word.

    Source:
        docs/protocols.md §6.
    """

    features: int
    problems: int
    parts: int
    gradient_bits: int
    multiplier: int
    shift: int
    l2_shift: int
    momentum_16: int
    sealed: bool
    word_start: int = 0
    word_stop: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.word_start <= self.word_stop <= self.features:
            raise LocalProtocolError("the columns of bits are not there")
        if min(self.features, self.problems, self.parts) < 1 or not 1 < self.gradient_bits <= WORD_BITS:
            raise LocalProtocolError("an update has weights and gradients")
        if self.multiplier < 1 or self.shift < 0:
            raise LocalProtocolError("an update has a positive factor")
        if not 0 <= self.l2_shift < WEIGHT_BITS or not 0 <= self.momentum_16 < 16:
            raise LocalProtocolError("decay or momentum is out of range")

    @property
    def blocks(self) -> int:
        """Vectors of weights that make the state: weights, and with momentum where they lead."""
        return 2 if self.momentum_16 else 1

    @property
    def columns(self) -> int:
        """Columns of bits."""
        return self.word_stop - self.word_start

    def inputs(self) -> tuple[Input, ...]:
        """Return gradients, state, overflow so far and, at the end, the masks."""
        weights = (self.problems, self.features)
        gradient = (self.gradient_bits, self.parts, *weights)
        declared = [
            Input("gradient_mu", Owner.EVALUATOR, gradient),
            Input("gradient_su", Owner.GARBLER, gradient),
            Input("state", Owner.SHARED, (WEIGHT_BITS, self.blocks, *weights)),
            Input("overflow", Owner.SHARED, (1,)),
        ]
        if self.sealed:
            declared.append(Input("mask", Owner.GARBLER, (WORD_BITS, self.blocks, *weights)))
        elif self.columns:
            shape = (FORWARD_WORD_BITS, self.problems, self.columns)
            declared.append(Input("mask", Owner.GARBLER, shape))
        return tuple(declared)

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Return the state (24, blocks, K, d + 1, 1) or its masked words, and the overflow (1, 1).

        Words of columns of bits, (22, K, columns, 1), come third where there are any.
        """
        gradient_mu, gradient_su, state, overflow, *masks = wires
        weights, ahead = state[:, 0], state[:, -1]
        gradient = total_signed(engine, add(engine, gradient_mu, gradient_su))
        step = shift_right(multiply_public(engine, gradient, self.multiplier), self.shift)
        moved = subtract_signed(engine, self._decayed(engine, ahead), step)
        checked = [moved]
        # A word that left its range is cut here: the overflow is set then.
        after = moved[:WEIGHT_BITS]
        results = [after]
        if self.momentum_16:
            difference = subtract_signed(engine, after, weights)
            led = shift_right(multiply_public(engine, difference, self.momentum_16), 4)
            new_ahead = add_signed(engine, after, led)
            checked.append(new_ahead)
            results.append(new_ahead[:WEIGHT_BITS])
        new_state = np.stack(results, axis=1)
        raised = any_of(engine, np.concatenate([overflow, *self._violations(engine, checked, new_state)]))
        if not masks:
            return new_state, raised[np.newaxis]
        if not self.sealed:
            led = new_state[FORWARD_SHIFT:, -1, :, self.word_start : self.word_stop]
            words = subtract(engine, sign_extend(led, FORWARD_WORD_BITS), masks[0])
            return new_state, raised[np.newaxis], words
        return subtract(engine, sign_extend(new_state, WORD_BITS), masks[0]), raised[np.newaxis]

    def _decayed(self, engine: Engine, ahead: Wires) -> Wires:
        if not self.l2_shift:
            return ahead
        penalised, constant = ahead[:, :, :-1], ahead[:, :, -1:]
        if penalised.shape[2] == 0:
            return ahead
        # |w − ⌊w/2^k⌋| needs no more bits than w.
        part = sign_extend(shift_right(penalised, self.l2_shift), WEIGHT_BITS)
        return np.concatenate([subtract(engine, penalised, part), constant], axis=2)

    def _violations(self, engine: Engine, checked: list[Wires], state: Wires) -> list[Wires]:
        """Return conditions of shape (…, 1), at least one, any of which is an overflow."""
        found = []
        for word in checked:
            beyond = leaves_range(engine, word, WEIGHT_BITS)
            found.append(beyond.reshape(-1, *word.shape[3:]))
        sizes = magnitude(engine, state, _MAGNITUDE_DROPPED)
        sums = total(engine, np.moveaxis(sizes, 3, 1))[_MAGNITUDE_LIMIT_BITS:]
        found.append(sums.reshape(-1, *sums.shape[3:]))
        return found


@dataclass(frozen=True, slots=True)
class LogisticAnswer(Circuit):
    """Answer queries: the class of the largest score, or C for a query that is no one-hot encoding.

    The batch is the queries. Whatever leaves is masked: (value − mask) mod 2^value_bits for MU.

    Attributes:
        attribute_sizes: Number of values or bins of every one-hot attribute; may be empty.
        problems: 1 for two classes (class 1 iff z ≥ 0), else the number of classes.
        value_bits: Width of the masked values, at least that of C and at least 10.
        probabilities: Also return m of σ(z) ≈ (m + ½)/512 for every problem; 0 for an invalid query.

    Cost:
        31 gates per score, 63 per further class for the argmax, 112 per probability, at most one per
        bit for the validity, value_bits − 1 per value.

    Source:
        docs/protocols.md §6.
    """

    attribute_sizes: tuple[int, ...]
    problems: int
    value_bits: int
    probabilities: bool

    def __post_init__(self) -> None:
        if self.problems < 1 or self.problems == 2 or self.value_bits < max(10, self.classes.bit_length()):
            raise LocalProtocolError("the label needs room for every class and for `invalid`")
        if self.attribute_sizes and min(self.attribute_sizes) < 1:
            raise LocalProtocolError("attributes have values")

    @property
    def classes(self) -> int:
        """C."""
        return max(2, self.problems)

    @property
    def values(self) -> int:
        """Values per query: the label, and the probabilities."""
        return 1 + self.problems * self.probabilities

    def inputs(self) -> tuple[Input, ...]:
        """Return score shares, query bits if there are any, masks."""
        declared = [
            Input("scores_mu", Owner.EVALUATOR, (SCORE_BITS, self.problems)),
            Input("scores_su", Owner.GARBLER, (SCORE_BITS, self.problems)),
            Input("mask", Owner.GARBLER, (self.value_bits, self.values)),
        ]
        if self.attribute_sizes:
            declared.append(Input("query", Owner.SHARED, (sum(self.attribute_sizes),)))
        return tuple(declared)

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Return the masked values, shape (value_bits, values, batch)."""
        scores_mu, scores_su, mask, *query = wires
        scores = add(engine, scores_mu, scores_su)
        valid = is_valid_one_hot(engine, query[0], self.attribute_sizes) if query else None
        values = [self._label(engine, scores, valid)[:, np.newaxis]]
        if self.probabilities:
            values.append(self._probabilities(engine, scores, valid))
        return (subtract(engine, np.concatenate(values, axis=1), mask),)

    def _label(self, engine: Engine, scores: Wires, valid: Wires | None) -> Wires:
        if self.problems == 1:
            positive = engine.not_(scores[-1, 0])
            one_hot = np.stack([engine.not_(positive), positive])
            if valid is not None:
                positive = engine.and_(positive, valid)
                one_hot = np.stack([engine.xor(valid, positive), positive])
        else:
            one_hot = argmax_one_hot(engine, scores, enable=valid)
        label = public_table(engine, one_hot, list(range(self.classes)), self.value_bits)
        if valid is None:
            return label
        refused = public_table(engine, engine.not_(valid)[np.newaxis], [self.classes], self.value_bits)
        return engine.xor(label, refused)

    def _probabilities(self, engine: Engine, scores: Wires, valid: Wires | None) -> Wires:
        value = sigmoid(engine, scores)
        if valid is not None:
            value = engine.and_(value, valid)
        zeros = engine.zeros_like(value[:1])
        return np.concatenate([value, *[zeros] * (self.value_bits - SIGMOID_BITS)])
