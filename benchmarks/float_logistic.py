"""Logistic regression in 64-bit floats: the same algorithm as the twin's, without fixed point.

Same batches, order, step factors, decay and momentum, but an exact sigmoid, features that are not
rounded, and no floors. Tests and the comparison hold the twin against it.
"""

import numpy as np
import numpy.typing as npt

from roles.classifiers.logistic_regression_schedule import LogisticSchedule

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
