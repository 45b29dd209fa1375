"""Naive Bayes in the clear, in exactly the integers that the units compute on shares.

The encrypted learner must agree with this one on every count, table entry, score and answer
(docs/protocols.md §5 and §9), so everything is an integer with a stated rounding. Logarithms are
base 2 with 20 fractional bits. This module shares no code with the protocol it checks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cache
from itertools import pairwise
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

FRACTION_BITS = 20
COUNT_SCALE = 256  # counts meet α = a/256 on one scale
MAX_ALPHA_NUMERATOR = 65535
MAX_ATTRIBUTE_SIZE = 4096
_MANTISSA_BITS = 17
_SEGMENT_BITS = 10  # 2^17 mantissas = 128 segments of 2^10
_SEGMENTS = 1 << (_MANTISSA_BITS - _SEGMENT_BITS)

IntArray: TypeAlias = npt.NDArray[np.int64]


class CountTable(Protocol):
    """What a chunk contributes: counts per one-hot column and class, and per class."""

    @property
    def feature_counts(self) -> IntArray:
        """Shape ``(F, C)``."""

    @property
    def class_counts(self) -> IntArray:
        """Shape ``(C,)``."""


@cache
def segment_values() -> tuple[int, ...]:
    """V_i = round(2^20 · log2(1 + i/128)) for i = 0..128, from 60-digit decimals, never floats."""
    context = Context(prec=60, rounding=ROUND_HALF_EVEN)
    ln2 = context.ln(Decimal(2))
    values = []
    for i in range(_SEGMENTS + 1):
        log2 = context.divide(context.ln(Decimal(_SEGMENTS + i) / _SEGMENTS), ln2)
        scaled = context.multiply(log2, Decimal(1 << FRACTION_BITS))
        values.append(int(scaled.to_integral_value(ROUND_HALF_EVEN)))
    return tuple(values)


def log2_fixed(x: int, zero_value: int = 0) -> int:
    """Approximate 2^20 · log2(x) by 128 chords per octave; a defined integer function.

    With e = ⌊log2 x⌋ and the 17-bit mantissa f = ⌊x·2^17/2^e⌋ − 2^17, segment i = ⌊f/2^10⌋ and
    t = f mod 2^10, the value is e·2^20 + V_i + ⌊S_i·t/2^6⌋ with S_i = ⌊(V_{i+1} − V_i)/16⌋.
    It never decreases in x, and lies within 48 units of 2^−20 of the true value, mostly below.

    Args:
        x: At least 0.
        zero_value: Stands for log2(0).
    """
    if x < 0:
        raise ValueError("the logarithm of a negative number")
    if x == 0:
        return zero_value
    exponent = x.bit_length() - 1
    mantissa = ((x << _MANTISSA_BITS) >> exponent) - (1 << _MANTISSA_BITS)
    segment, offset = mantissa >> _SEGMENT_BITS, mantissa & ((1 << _SEGMENT_BITS) - 1)
    values = segment_values()
    slope = (values[segment + 1] - values[segment]) // 16
    return (exponent << FRACTION_BITS) + values[segment] + ((slope * offset) >> 6)


def score_bits(attributes: int, total_records_bits: int) -> int:
    """Return the width W of scores: no sum or difference of scores leaves W-bit two's complement.

    Let counts be below 2^b, a in [1, 65535] and V_a ≤ 4096. In units of 2^20,
    L_fc − M_ac ≤ log2(256·n_fc/a + 1) < b + 8 and M_ac − L_fc ≤ log2(256·n_c/a + V_a) <
    max(b + 8, 12) + 1 = t, so |T_fc| < t whether or not the counts are consistent; and
    |log2(256·n_c) − log2(256·n)| ≤ b + 8. So a class's sum without its sentinel is within ±B,
    B = (A·t + b + 8)·2^20, and the sums on the way to it are as well. The sentinel is −2^(W−2),
    and 2B < 2^(W−2) is all that is needed:

    - a class with the sentinel scores at most −2^(W−2) + B < −B, below every class without;
    - at least −2^(W−2) − B > −2^(W−1);
    - two scores differ by at most 2^(W−2) + 2B < 2^(W−1), so comparing by subtraction is exact.

    Args:
        attributes: A, at least 1.
        total_records_bits: b, the bit length of the largest number of records a model may hold.

    Returns:
        The smallest such W, but at least 32, a whole word.
    """
    if attributes < 1 or total_records_bits < 1:
        raise ValueError("a model has at least one attribute and one record")
    table_bound = max(total_records_bits + 8, 12) + 1
    bound = (attributes * table_bound + total_records_bits + 8) << FRACTION_BITS
    return max(32, (2 * bound).bit_length() + 2)


@dataclass(frozen=True, slots=True, eq=False)
class LogTable:
    """The model as answers use it, with 20 fractional bits.

    Attributes:
        entries: T, shape ``(F, C)``.
        priors: P, shape ``(C,)``.
    """

    entries: IntArray = field(repr=False)
    priors: IntArray = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class NaiveBayesTwin:
    """A naive Bayes model: counts, and everything that follows from them. A value, like all state.

    Attributes:
        attribute_sizes: V_a, values or bins of each attribute; F is their sum.
        width: W of `score_bits`; decides the sentinel −2^(W−2) of a class without records.
        alpha_numerator: a of the smoothing α = a/256.
        feature_counts: Shape ``(F, C)``.
        class_counts: Shape ``(C,)``.
    """

    attribute_sizes: tuple[int, ...]
    width: int
    alpha_numerator: int
    feature_counts: IntArray = field(repr=False)
    class_counts: IntArray = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse sizes, smoothing or shapes outside the bounds that `score_bits` rests on."""
        if not self.attribute_sizes or not all(1 <= v <= MAX_ATTRIBUTE_SIZE for v in self.attribute_sizes):
            raise ValueError(f"attributes must have 1 to {MAX_ATTRIBUTE_SIZE} values")
        if not 1 <= self.alpha_numerator <= MAX_ALPHA_NUMERATOR:
            raise ValueError(f"the smoothing numerator must be in [1, {MAX_ALPHA_NUMERATOR}]")
        expected = (sum(self.attribute_sizes), len(self.class_counts))
        if self.feature_counts.shape != expected or self.class_counts.ndim != 1:
            raise ValueError("the counts have another shape than the model")
        if not self.feature_counts.dtype == self.class_counts.dtype == np.int64:
            raise ValueError("counts are int64: other integers would mix with them into floats")
        if (self.feature_counts < 0).any() or (self.class_counts < 0).any():
            raise ValueError("a count would become negative: these records are not in the model")

    @classmethod
    def empty(
        cls, attribute_sizes: Sequence[int], class_count: int, width: int, alpha_numerator: int = COUNT_SCALE
    ) -> "NaiveBayesTwin":
        """Return a model without records; α is 1 unless told."""
        return cls(
            tuple(attribute_sizes),
            width,
            alpha_numerator,
            np.zeros((sum(attribute_sizes), class_count), dtype=np.int64),
            np.zeros(class_count, dtype=np.int64),
        )

    def learn(self, counts: CountTable) -> "NaiveBayesTwin":
        """Return the model with a chunk's counts added."""
        return self._with(
            self.feature_counts + counts.feature_counts, self.class_counts + counts.class_counts
        )

    def withdraw(self, counts: CountTable) -> "NaiveBayesTwin":
        """Return the model as if these counts had never been added.

        Raises:
            ValueError: A count would become negative, so they cannot have been.
        """
        return self._with(
            self.feature_counts - counts.feature_counts, self.class_counts - counts.class_counts
        )

    def _with(self, feature_counts: IntArray, class_counts: IntArray) -> "NaiveBayesTwin":
        return NaiveBayesTwin(
            self.attribute_sizes, self.width, self.alpha_numerator, feature_counts, class_counts
        )

    @property
    def class_count(self) -> int:
        """C: the number of classes."""
        return len(self.class_counts)

    @property
    def records(self) -> int:
        """Return n, the number of records in the model."""
        return sum(self.class_counts.tolist())

    def log_table(self) -> LogTable:
        """Compute T_fc = log2(256·n_fc + a) − log2(256·n_c + a·V_a) and the priors P_c.

        P_c = log2(256·n_c) − log2(256·n), where −2^(W−2) stands for log2(0) in the first term. A
        model without records gives every class the same score, hence the lowest index.
        """
        a = self.alpha_numerator
        logarithm = cache(log2_fixed)
        per_class: list[int] = self.class_counts.tolist()
        entries = np.empty(self.feature_counts.shape, dtype=np.int64)
        starts = _starts(self.attribute_sizes)
        for size, (first, past) in zip(self.attribute_sizes, pairwise(starts), strict=True):
            totals = [logarithm(COUNT_SCALE * n_c + a * size) for n_c in per_class]
            rows: list[list[int]] = self.feature_counts[first:past].tolist()
            entries[first:past] = [
                [logarithm(COUNT_SCALE * n_fc + a) - m for n_fc, m in zip(row, totals, strict=True)]
                for row in rows
            ]
        sentinel = -(1 << (self.width - 2))
        whole = log2_fixed(COUNT_SCALE * self.records)
        priors = [log2_fixed(COUNT_SCALE * n_c, sentinel) - whole for n_c in per_class]
        return LogTable(entries, np.array(priors, dtype=np.int64))

    def scores(self, indices: npt.NDArray[np.integer]) -> IntArray:
        """Score every class for every record: P_c + Σ_a T_{x_a, c}.

        Args:
            indices: Shape ``(n, A)``, the value or bin of each attribute.

        Returns:
            Shape ``(n, C)``, within W-bit two's complement.
        """
        rows = np.asarray(indices, dtype=np.int64)
        sizes = np.array(self.attribute_sizes, dtype=np.int64)
        if rows.ndim != 2 or rows.shape[1] != len(sizes) or (rows < 0).any() or (rows >= sizes).any():
            raise ValueError("an index is outside its attribute")
        table = self.log_table()
        scores = np.tile(table.priors, (len(rows), 1))
        for attribute, first in enumerate(_starts(self.attribute_sizes)[:-1]):
            scores += table.entries[first + rows[:, attribute]]
        return scores

    def predict(self, indices: npt.NDArray[np.integer]) -> IntArray:
        """Return the best class of every record, shape ``(n,)``; ties go to the lowest index."""
        best: IntArray = self.scores(indices).argmax(axis=1).astype(np.int64)
        return best


def _starts(sizes: Sequence[int]) -> list[int]:
    """First one-hot column of each attribute, and F at the end."""
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    return starts
