"""The base-2 logarithm as a circuit: a defined integer function, exact to the last bit.

For x of B bits, unsigned:

    log2(0) = zero_value; otherwise, with e = bit_length(x) − 1,
    f = ((x · 2^17) >> e) − 2^17, i = f >> 10, t = f mod 2^10,
    log2(x) = e·2^20 + V_i + ((S_i · t) >> 6),

where V_i = round(2^20 · log2(1 + i/128)) and S_i = ⌊(V_{i+1} − V_i) / 16⌋. So the result has 20
fractional bits and is within 2^-14 of the real logarithm.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from crypto.circuits.arithmetic import (
    add_public,
    add_with_carry,
    halve_difference,
    increment_if,
    multiply,
    subtract,
)
from crypto.circuits.circuit import Circuit, Input, Owner
from crypto.circuits.engine import Engine, Wires
from crypto.circuits.logarithm_table import LOG2_TABLE
from crypto.circuits.one_hot import all_of, decode
from crypto.circuits.selection import public_table
from crypto.errors import LocalProtocolError

FRACTION_BITS = 20
INDEX_BITS = 7
STEP_BITS = 10
SLOPES = tuple((high - low) // 16 for low, high in pairwise(LOG2_TABLE))
SLOPE_BITS = max(SLOPES).bit_length()
PRODUCT_SHIFT = 6
# (S·t) >> 6 ≤ 735 · 1023 / 64 < 2^14
LINEAR_BITS = ((max(SLOPES) * ((1 << STEP_BITS) - 1)) >> PRODUCT_SHIFT).bit_length()

# A naive-Bayes table entry is the logarithm of 2^8·count + constant (docs/protocols.md §5).
COUNT_SHIFT = 8


def log2(engine: Engine, x: Wires, output_bits: int, zero_value: int) -> Wires:
    """Return the logarithm of an unsigned word as defined at the head of this module.

    Args:
        engine: The engine.
        x: Shape (B, …, batch), B ≥ 1.
        output_bits: Width W of the result, which must hold every value in two's complement.
        zero_value: The result for x = 0, in [−2^(W−1), 2^(W−1)).

    Raises:
        LocalProtocolError: The output is too narrow.

    Cost:
        448 gates for B = 27 (as ripples): 119 to normalise, 120 for the table, 190 for the
        product, 19 for the sum.
    """
    _check_output(len(x), output_bits, zero_value)
    exponent, fraction, nonzero = _normalise(engine, x)
    index, step = fraction[-INDEX_BITS:], fraction[:-INDEX_BITS]
    mantissa = _mantissa(engine, index, step, nonzero)
    unused = engine.zeros_like(nonzero[np.newaxis])
    word = np.concatenate([mantissa, exponent, *[unused] * output_bits])[:output_bits]
    # For x = 0 exponent and fraction come out as 0 and so does V_0, so that an XOR puts the
    # value for zero in place.
    zero = engine.not_(nonzero)[np.newaxis]
    return engine.xor(word, public_table(engine, zero, [zero_value % (1 << output_bits)], output_bits))


def _check_output(bits: int, output_bits: int, zero_value: int) -> None:
    if bits << FRACTION_BITS > 1 << (output_bits - 1):
        raise LocalProtocolError(f"logarithms of {bits}-bit words need more than {output_bits} bits")
    if not -(1 << (output_bits - 1)) <= zero_value < 1 << (output_bits - 1):
        raise LocalProtocolError("the value for zero does not fit the output")


def _mantissa(engine: Engine, index: Wires, step: Wires, nonzero: Wires) -> Wires:
    """Return V_i + ((S_i·t) >> 6), 20 bits, from the index and the step within the segment."""
    missing = INDEX_BITS - len(index)
    if len(index) == 0:
        return np.concatenate([engine.zeros_like(nonzero[np.newaxis])] * FRACTION_BITS)
    one_hot = decode(engine, index)
    stride = 1 << missing
    # 2^20 itself, V_128, is never looked up.
    base = public_table(engine, one_hot, list(LOG2_TABLE[:-1:stride]), FRACTION_BITS)
    if len(step) == 0:
        return base
    slope = public_table(engine, one_hot, list(SLOPES[::stride]), SLOPE_BITS)
    # A short word lacks the low bits of t; they are zeros.
    dropped = PRODUCT_SHIFT - (STEP_BITS - len(step))
    linear = multiply(engine, step, slope)[dropped : dropped + LINEAR_BITS]
    return _add_short(engine, base, linear)


def _add_short(engine: Engine, x: Wires, y: Wires) -> Wires:
    """Return x + y mod 2^w where y has fewer bits than x."""
    low = len(y)
    total = add_with_carry(engine, x[:low], y)
    return np.concatenate([total[:low], increment_if(engine, x[low:], total[low])])


def _normalise(engine: Engine, x: Wires) -> tuple[Wires, Wires, Wires]:
    """Return exponent, fraction below the leading one, and whether there is a leading one.

    A shifter of stages P/2, …, 2, 1, where P is the next power of two from B: a stage shifts
    left when the upper bits are all zero, and as they are, z ∧ low serves both for what arrives
    above and for what leaves below.
    """
    size = 1 << (len(x) - 1).bit_length()
    lowest_kept = max(0, size - 1 - INDEX_BITS - STEP_BITS)
    # `word` holds the positions from `start` on; missing upper positions are zeros.
    word, start, exponent = x, 0, []
    shift = size // 2
    while shift:
        split = size - shift
        empty = all_of(engine, engine.not_(word[split - start :]))
        exponent.append(engine.not_(empty))
        moved = engine.and_(empty, word[: split - start])
        # The stages to come move bits up by at most shift − 1: nothing below can arrive.
        lowest = max(0, lowest_kept - (shift - 1))
        shifted = np.zeros((size - lowest, *x.shape[1:]), dtype=x.dtype)
        shifted[: len(word) - (lowest - start)] = word[lowest - start :]
        shifted[: split - lowest] = engine.xor(shifted[: split - lowest], moved[lowest - start :])
        arrival = start + shift - lowest
        shifted[arrival:] = engine.xor(shifted[arrival:], moved)
        word, start = shifted, lowest
        shift //= 2
    raised = np.stack(exponent[::-1]) if exponent else x[:0]
    return raised, word[:-1], np.asarray(word[-1])


@dataclass(frozen=True, slots=True)
class NaiveBayesTable(Circuit):
    """Compute table entries log2(2^8·n + c) − mask from opened counts.

    The slot of an opened count holds 2n plus an unknown carry, as digits d at SU and r at MU:
    n = ((d − r) mod 2^(b+1)) >> 1 exactly. With α = a/2^8 the entry of a value and class is the
    difference of two logarithms, of 2^8·n_fc + a and of 2^8·n_c + a·V, which the units take on
    their shares. The batch is the entries.

    Attributes:
        count_bits: Bits b of a count n.
        constants: c of every entry, 0 ≤ c < 2^24; as many as the batch is wide.
        output_bits: Width W of the result.
        zero_value: What log2(0) is, signed; arises for c = 0 only.

    Cost:
        For b = 19 and W = 32 498 gates an entry if all c < 2^8 (448 for the logarithm, 19 for the
        halving, 31 for the mask).

    Source:
        docs/protocols.md §5.
    """

    count_bits: int
    constants: tuple[int, ...]
    output_bits: int
    zero_value: int

    def __post_init__(self) -> None:
        if self.count_bits < 1 or not self.constants:
            raise LocalProtocolError("a table has entries, and counts have bits")
        if min(self.constants) < 0 or max(self.constants) >= 1 << 24:
            raise LocalProtocolError("constants lie in [0, 2^24)")
        _check_output(self._argument_bits(), self.output_bits, self.zero_value)

    def inputs(self) -> tuple[Input, ...]:
        """Return the count's digits of SU and of MU, and the mask."""
        return (
            Input("digits_su", Owner.GARBLER, (self.count_bits + 1,)),
            Input("digits_mu", Owner.EVALUATOR, (self.count_bits + 1,)),
            Input("mask", Owner.GARBLER, (self.output_bits,)),
        )

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Return (log2(2^8·n + c) − mask) mod 2^W, shape (W, batch)."""
        if engine.batch != len(self.constants):
            raise LocalProtocolError("the batch is the entries")
        digits_su, digits_mu, mask = wires
        counts = halve_difference(engine, digits_su, digits_mu)
        constants = np.array(self.constants, dtype=np.int64)
        upper = self._argument_bits() - COUNT_SHIFT
        high = add_public(engine, counts, constants >> COUNT_SHIFT, upper)
        low_bits = (constants >> np.arange(COUNT_SHIFT)[:, np.newaxis]) & 1
        low = engine.constant(low_bits.astype(np.uint8))
        argument = np.concatenate([low, high])
        logarithm = log2(engine, argument, self.output_bits, self.zero_value)
        return (subtract(engine, logarithm, mask),)

    def _argument_bits(self) -> int:
        largest = (((1 << self.count_bits) - 1) << COUNT_SHIFT) + max(self.constants)
        return largest.bit_length()
