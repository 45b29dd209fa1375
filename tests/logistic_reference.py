"""Data sets as the twin of logistic regression and its reference in floats take them."""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from datasets import data_table

from benchmarks.float_logistic import Floats, Ints
from roles.classifiers.logistic_regression_schedule import FEATURE_LIMIT, FEATURE_ONE


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
