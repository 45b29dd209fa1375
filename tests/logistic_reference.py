"""Logistic regression in 64-bit floats: the same algorithm as the twin's, without fixed point.

Same batches, order, step factors, decay and momentum, but an exact sigmoid, features that are not
rounded, and no floors. And data sets as both take them.
"""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt
from datasets import data_table

from roles.classifiers.logistic_regression_schedule import FEATURE_LIMIT, FEATURE_ONE, LogisticSchedule

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class FloatReference:
    """The reference; weights have the shape (K, d + 1)."""

    def __init__(self, features: int, classes: int, schedule: LogisticSchedule) -> None:
        self.schedule = schedule
        self.weights: Floats = np.zeros((1 if classes == 2 else classes, features + 1))
        self.lookahead = self.weights
        self.steps = 0

    def learn(self, features: Floats, labels: Ints) -> None:
        """Make all steps over a chunk."""
        x = _with_constant(features)
        wanted = [1] if len(self.weights) == 1 else list(range(len(self.weights)))
        y = (labels[:, np.newaxis] == wanted).astype(np.float64)
        for start, stop in self.schedule.batches(len(x)):
            batch = x[start:stop]
            errors = 1 / (1 + np.exp(-batch @ self.lookahead.T)) - y[start:stop]
            factor = self.schedule.factor(self.steps, len(batch))
            # A gradient has 20 fractional bits, a weight 18.
            rate = 4 * factor.multiplier / 2**factor.shift
            moved = self.lookahead - rate * errors.T @ batch
            if self.schedule.l2_shift:
                moved[:, :-1] -= self.lookahead[:, :-1] / 2**self.schedule.l2_shift
            self.lookahead = moved + self.schedule.momentum_16 / 16 * (moved - self.weights)
            self.weights = moved
            self.steps += 1

    def scores(self, features: Floats) -> Floats:
        """Return z, shape (n, K)."""
        result: Floats = _with_constant(features) @ self.weights.T
        return result

    def predict(self, features: Floats) -> Ints:
        """Return class indices."""
        scores = self.scores(features)
        best = scores[:, 0] >= 0 if scores.shape[1] == 1 else scores.argmax(axis=1)
        result: Ints = best.astype(np.int64)
        return result


def _with_constant(features: Floats) -> Floats:
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


@dataclass(frozen=True)
class ScaledData:
    """A data set for both learners.

    Attributes:
        name: Of the file.
        features: Scaled numbers in [−1, 1], then one-hot bits, shape (n, d).
        words: How many are numbers.
        labels: Class indices.
    """

    name: str
    features: Floats
    words: int
    labels: Ints

    @property
    def integers(self) -> Ints:
        """What the twin takes: numbers to ±1023, bits to 1024."""
        limits = np.full(self.features.shape[1], FEATURE_ONE)
        limits[: self.words] = FEATURE_LIMIT
        result: Ints = np.rint(self.features * limits).astype(np.int64)
        return result

    @property
    def classes(self) -> int:
        """C."""
        return int(self.labels.max()) + 1

    def shuffled(self) -> "ScaledData":
        """Return the records in a fixed order that mixes the file's."""
        order = np.argsort(
            (np.arange(len(self.labels), dtype=np.uint64) * np.uint64(2654435761)) % np.uint64(1 << 32)
        )
        return ScaledData(self.name, self.features[order], self.words, self.labels[order])


def scaled_data(name: str) -> ScaledData:
    """Read a data set and scale its numbers to mean ± 4 standard deviations.

    Where its file is not at hand, what scikit-learn bundles stands in; which one is printed.
    """
    rows = data_table(name).rows
    numbers, bits = [], []
    for column in zip(*[row[:-1] for row in rows], strict=True):
        values = sorted(set(column))
        if all(_is_number(value) for value in values):
            numbers.append(np.array([float(value) for value in column]))
        else:
            bits += [np.array([cell == value for cell in column], dtype=np.float64) for value in values]
    scaled = [_scale(column) for column in numbers]
    names = sorted({row[-1] for row in rows})
    labels = np.array([names.index(row[-1]) for row in rows])
    return ScaledData(name, np.stack(scaled + bits, axis=1), len(scaled), labels).shuffled()


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except ArithmeticError:
        return False


def _scale(column: Floats) -> Floats:
    spread = 4 * column.std() or 1.0
    scaled: Floats = np.clip((column - column.mean()) / spread, -1, 1)
    return scaled
