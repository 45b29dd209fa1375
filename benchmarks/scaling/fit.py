"""The exponent of a power law through measured points, and what such a law is called."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FLAT, LINEAR = 0.1, 0.1
"""How far from 0 and from 1 an exponent may be to be called constant or linear."""
FEWEST = 5


@dataclass(frozen=True, slots=True)
class Point:
    """One measured size.

    Attributes:
        size: Of what grows.
        seconds: Median CPU.
        low: Least.
        high: Greatest.
    """

    size: float
    seconds: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """seconds = factor · size^exponent.

    Attributes:
        exponent: The slope through the logarithms.
        error: Its standard error.
        factor: Seconds at size 1.
        last: The exponent between the two greatest sizes alone, where fixed costs weigh least.
    """

    exponent: float
    error: float
    factor: float
    last: float

    @property
    def name(self) -> str:
        """What growth with this exponent is called."""
        if abs(self.exponent) <= FLAT:
            return "constant"
        if self.exponent < 0:
            return "falling"
        if abs(self.exponent - 1) <= LINEAR:
            return "linear"
        return "less than linear" if self.exponent < 1 else "more than linear"

    def seconds(self, size: float) -> float:
        """Return the law's value."""
        return float(self.factor * size**self.exponent)


def power_law(points: Sequence[Point]) -> PowerLaw:
    """Fit the law to the medians, sizes ascending, by least squares on logarithms.

    Raises:
        ValueError: There are fewer than five points.
    """
    if len(points) < FEWEST:
        raise ValueError(f"a fit wants {FEWEST} points")
    logs = np.log([[point.size, point.seconds] for point in points])
    (exponent, offset), covariance = np.polyfit(logs[:, 0], logs[:, 1], 1, cov=True)
    (x_before, y_before), (x_last, y_last) = logs[-2:]
    last = (y_last - y_before) / (x_last - x_before)
    return PowerLaw(float(exponent), float(np.sqrt(covariance[0, 0])), float(np.exp(offset)), float(last))
