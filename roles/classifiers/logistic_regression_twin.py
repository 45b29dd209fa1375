"""Logistic regression in the clear, in exactly the integers that the units compute on shares.

The encrypted learner must agree with this one on every weight, score and answer (docs/protocols.md
§6 and §9), so every rounding is stated. This module shares no code with the protocol it checks,
except the public schedule.
"""

from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from roles.classifiers.logistic_regression_schedule import (
    FEATURE_ONE,
    FORWARD_SHIFT,
    MAGNITUDE_FRACTION_BITS,
    MAGNITUDE_LIMIT,
    WEIGHT_BITS,
    WEIGHT_FRACTION_BITS,
    LogisticSchedule,
)

IntArray: TypeAlias = npt.NDArray[np.int64]

_SEGMENTS = 16  # of ½ each, on [0, 8)
_FRACTIONS = 64  # steps within a segment
_OUTPUT_BITS = 9
_GUARD_BITS = 6


@cache
def sigmoid_segments() -> tuple[tuple[int, int], ...]:
    """Return (value, slope) of the 16 segments, from 60-digit decimals, never floats.

    With h(x) = σ(x) − ½ on the segment [a, b], m its middle: the slope is 2^9·(h(b) − h(a)), per
    1/128 of x and in units of 2^−15. The line lies half the bow of the curve above the chord, and
    its value is that at the first of the 64 steps.
    """
    context = Context(prec=60, rounding=ROUND_HALF_EVEN)

    def h(x: Decimal) -> Decimal:
        return context.divide(Decimal(1), context.add(Decimal(1), context.exp(-x))) - Decimal("0.5")

    def rounded(x: Decimal) -> int:
        return int(x.to_integral_value(ROUND_HALF_EVEN))

    segments = []
    for index in range(_SEGMENTS):
        low, high = h(Decimal(index) / 2), h(Decimal(index + 1) / 2)
        middle, chord = h(Decimal(2 * index + 1) / 4), context.divide(low + high, Decimal(2))
        slope = rounded(512 * (high - low))
        value = rounded((chord + (middle - chord) / 2) * (1 << 15) - Decimal(slope * 63) / 2)
        segments.append((value, slope))
    return tuple(segments)


def sigmoid_fixed(scores: npt.ArrayLike) -> IntArray:
    """Approximate σ(z) in [0, 1) by 16 chords; a defined integer function.

    The score, z·2^22, is cut to k = ⌊z·2^10⌋, which stands for k + ½ in units of 2^−10; so −z has
    the one's complement of k, and σ(−z) is exactly 1 − σ(z).

    Returns:
        Integers m in [0, 512) that stand for (m + ½)/512. The error is below 0.0031, at the
        points k + ½ below 0.003, and its mean over z and −z is 0.
    """
    k = np.asarray(scores, dtype=np.int64) >> 12
    negative = k < 0
    u = np.where(negative, ~k, k)
    segments = np.array(sigmoid_segments(), dtype=np.int64)
    value, slope = segments[(u >> 9) % _SEGMENTS].transpose(-1, *range(u.ndim))
    half = (value + slope * ((u >> 3) % _FRACTIONS)) >> _GUARD_BITS
    half = np.where(u >> 13 > 0, 255, half)
    result: IntArray = np.where(negative, 255 - half, 256 + half)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class LogisticTwin:
    """A model of one or more problems "this class or not". A value, like all state.

    Attributes:
        schedule: How it learns.
        weights: w with 18 fractional bits, shape ``(K, d + 1)``; the constant's weight is last.
        lookahead: Where gradients are taken; equals the weights without momentum.
        steps: Steps made.
    """

    schedule: LogisticSchedule
    weights: IntArray = field(repr=False)
    lookahead: IntArray = field(repr=False)
    steps: int = 0

    @classmethod
    def empty(cls, features: int, classes: int, schedule: LogisticSchedule) -> "LogisticTwin":
        """Return a model with all weights 0: one problem for two classes, else one per class."""
        problems = 1 if classes == 2 else classes
        zero = np.zeros((problems, features + 1), dtype=np.int64)
        return cls(schedule, zero, zero)

    def learn(self, features: npt.ArrayLike, labels: npt.ArrayLike) -> "LogisticTwin":
        """Return the model after all steps over a chunk.

        Args:
            features: Shape ``(n, d)``, integers with 10 fractional bits, |x| ≤ 2^10.
            labels: Shape ``(n,)``, class indices.

        Raises:
            OverflowError: A weight left its range. The model stays as it was.
        """
        x = with_constant(features)
        problems = len(self.weights)
        wanted = np.array([1]) if problems == 1 else np.arange(problems)
        y = (np.asarray(labels)[:, np.newaxis] == wanted).astype(np.int64)
        twin = self
        for start, stop in self.schedule.batches(len(x)):
            twin = twin._step(x[start:stop], y[start:stop])
        return twin

    def _step(self, x: IntArray, y: IntArray) -> "LogisticTwin":
        scores = x @ (self.lookahead >> FORWARD_SHIFT).T
        # e = σ(z) − y in units of 2^−10: 2(m + ½) − 1024·y.
        errors = 2 * sigmoid_fixed(scores) + 1 - 1024 * y
        gradient = errors.T @ x
        factor = self.schedule.factor(self.steps, len(x))
        moved = self.lookahead - (factor.multiplier * gradient >> factor.shift)
        if self.schedule.l2_shift:
            moved[:, :-1] -= self.lookahead[:, :-1] >> self.schedule.l2_shift
        ahead = moved + (self.schedule.momentum_16 * (moved - self.weights) >> 4)
        for weights in (moved, ahead):
            _check_range(weights)
        return replace(self, weights=moved, lookahead=ahead, steps=self.steps + 1)

    def scores(self, features: npt.ArrayLike) -> IntArray:
        """Return z·2^22 of every record and problem, shape ``(n, K)``."""
        result: IntArray = with_constant(features) @ (self.weights >> FORWARD_SHIFT).T
        return result

    def predict(self, features: npt.ArrayLike) -> IntArray:
        """Return class indices: z ≥ 0, or the largest z, the lowest index winning ties."""
        scores = self.scores(features)
        best = scores[:, 0] >= 0 if scores.shape[1] == 1 else scores.argmax(axis=1)
        classes: IntArray = best.astype(np.int64)
        return classes

    def probabilities(self, features: npt.ArrayLike) -> IntArray:
        """Return σ(z) of every record and problem as m of (m + ½)/512, shape ``(n, K)``."""
        return sigmoid_fixed(self.scores(features))


def with_constant(features: npt.ArrayLike) -> IntArray:
    """Return the features with a last column of ones."""
    x = np.asarray(features, dtype=np.int64)
    if x.ndim != 2 or (np.abs(x) > FEATURE_ONE).any():
        raise ValueError("features are a matrix of integers of at most 2^10")
    return np.concatenate([x, np.full((len(x), 1), FEATURE_ONE, dtype=np.int64)], axis=1)


def _check_range(weights: IntArray) -> None:
    limit = 1 << (WEIGHT_BITS - 1)
    if (weights >= limit).any() or (weights < -limit).any():
        raise OverflowError("a weight is 32 or more")
    magnitudes = np.where(weights < 0, ~weights, weights) >> (WEIGHT_FRACTION_BITS - MAGNITUDE_FRACTION_BITS)
    if (magnitudes.sum(axis=1) >= MAGNITUDE_LIMIT).any():
        raise OverflowError("the weights of a class sum up to 256 or more")
