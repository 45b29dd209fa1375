"""Public hyper-parameters of Priv-LR as integers: what is done at which step, and how far it goes.

Everything follows from the configuration, the number of records in a chunk and the number of
steps that the model has made, so that both units, the twin and a reference in floating point
take the same steps (docs/protocols.md §6). No number here is a float.
"""

from dataclasses import dataclass

WEIGHT_BITS = 24
"""Two's complement; the circuit checks that a weight never needs more."""

WEIGHT_FRACTION_BITS = 18
FEATURE_FRACTION_BITS = 10
FEATURE_ONE = 1 << FEATURE_FRACTION_BITS
"""What the constant column and a set one-hot bit count as: 1.0."""

FEATURE_LIMIT = FEATURE_ONE - 1
"""Largest |x| of a scaled number."""

FORWARD_SHIFT = 6
"""Bits of a weight that the product with a record leaves out: 18 are left, 12 behind the point."""

SCORE_FRACTION_BITS = WEIGHT_FRACTION_BITS - FORWARD_SHIFT + FEATURE_FRACTION_BITS
MAGNITUDE_FRACTION_BITS = 6
MAGNITUDE_LIMIT = 1 << (8 + MAGNITUDE_FRACTION_BITS)
"""Σ|w| < 2^8, in units of 2^−6: keeps |z| below 2^9."""

MAX_PART_RECORDS = 2047
"""A gradient of so many records is exact in 32-bit words: 2047 · (2^10 − 1) · 2^10 < 2^31."""

MULTIPLIER_BITS = 7
MAX_RATE_256 = 1 << 16
MAX_PASSES = 1000
MAX_L2_SHIFT = WEIGHT_BITS - 1
MAX_BATCH_RECORDS = 64 * MAX_PART_RECORDS


@dataclass(frozen=True, slots=True)
class StepFactor:
    """The public dyadic number c·2^−s by which a gradient is multiplied.

    Attributes:
        multiplier: c, in [64, 127].
        shift: s ≥ 0.
    """

    multiplier: int
    shift: int


@dataclass(frozen=True, slots=True)
class LogisticSchedule:
    """How a model learns from a chunk.

    Attributes:
        passes: How often the chunk is gone through without opening it again.
        batch_records: Records per step, in the chunk's order; 0 takes the whole chunk. Every step
            is four round trips.
        rate_256: Learning rate η times 256.
        decay_steps: T of η·T/(T + t) at the model's step t; 0 keeps η.
        momentum_16: Nesterov's γ times 16, 0 … 15.
        l2_shift: k of the decay w − w·2^−k per step; 0 for none. The constant's weight is exempt.
    """

    passes: int = 1
    batch_records: int = 0
    rate_256: int = 256
    decay_steps: int = 0
    momentum_16: int = 0
    l2_shift: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that no circuit is made for."""
        limits = {
            "passes": (self.passes, 1, MAX_PASSES),
            "batch_records": (self.batch_records, 0, MAX_BATCH_RECORDS),
            "rate_256": (self.rate_256, 1, MAX_RATE_256),
            "decay_steps": (self.decay_steps, 0, 1 << 32),
            "momentum_16": (self.momentum_16, 0, 15),
            "l2_shift": (self.l2_shift, 0, MAX_L2_SHIFT),
        }
        for name, (value, least, most) in limits.items():
            if not least <= value <= most:
                raise ValueError(f"{name} must lie between {least} and {most}")

    @property
    def parameters(self) -> tuple[int, ...]:
        """All numbers, for digests."""
        return (
            self.passes,
            self.batch_records,
            self.rate_256,
            self.decay_steps,
            self.momentum_16,
            self.l2_shift,
        )

    def step_count(self, records: int) -> int:
        """Return how many steps a chunk takes; raises like `batches`."""
        return -(-records // self._size(records)) * self.passes

    def batches(self, records: int) -> tuple[tuple[int, int], ...]:
        """Return (start, stop) of every step over a chunk, all passes in order.

        Raises:
            ValueError: The chunk is empty, or a step would have more records than a gradient can hold.
        """
        size = self._size(records)
        one_pass = tuple((start, min(start + size, records)) for start in range(0, records, size))
        return one_pass * self.passes

    def _size(self, records: int) -> int:
        size = self.batch_records or records
        if not 1 <= size <= MAX_BATCH_RECORDS:
            raise ValueError(f"a step takes 1 to {MAX_BATCH_RECORDS} records")
        return size

    def factor(self, step: int, records: int) -> StepFactor:
        """Return c·2^−s ≈ η_t/(4n): a gradient has 20 fractional bits, a weight 18.

        Args:
            step: t, steps the model has made before.
            records: n, records of this step's batch.
        """
        decayed = (self.decay_steps, self.decay_steps + step) if self.decay_steps else (1, 1)
        return dyadic(self.rate_256 * decayed[0], 1024 * records * decayed[1])


def dyadic(numerator: int, denominator: int) -> StepFactor:
    """Return the nearest c·2^−s with a 7-bit c; of two equally near ones the larger.

    Raises:
        ValueError: The quotient is not positive, or 128 and more.
    """
    if numerator <= 0 or denominator <= 0:
        raise ValueError("a step factor is positive")
    shift = MULTIPLIER_BITS - 1 - (numerator.bit_length() - denominator.bit_length())
    while True:
        scaled, whole = (
            (numerator << shift, denominator) if shift >= 0 else (numerator, denominator << -shift)
        )
        if scaled >= whole << MULTIPLIER_BITS:
            shift -= 1
        elif scaled < whole << (MULTIPLIER_BITS - 1):
            shift += 1
        else:
            break
    multiplier = (2 * scaled + whole) // (2 * whole)
    if multiplier == 1 << MULTIPLIER_BITS:
        multiplier, shift = multiplier >> 1, shift - 1
    if shift < 0:
        raise ValueError("the learning rate is too large for batches of this size")
    return StepFactor(multiplier, shift)


def part_sizes(records: int) -> tuple[int, ...]:
    """Return the records of the parts whose gradients are exact in 32-bit words."""
    whole, rest = divmod(records, MAX_PART_RECORDS)
    return (MAX_PART_RECORDS,) * whole + ((rest,) if rest else ())
