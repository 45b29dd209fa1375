"""Narrow words: bounded integers from outside become exact word shares (docs/protocols.md §3.1).

A slot of W = 11 bits holds v = x + 2^10 − 1 ≤ 2^11 − 2 for |x| ≤ 2^10 − 1, not doubled. A garbled
comparison gives β_j = [d_j < r_j], which is both the wrap of slot j and the carry into slot j + 1;
as word shares it makes x_j = d_j − r_j + 2^W·β_j − β_{j−1} exact. Whatever a hostile owner writes,
|x_j| ≤ 2^10 comes out.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from crypto.circuits.opened import SlotCarries
from crypto.packing import SlotLayout, words_of_bits

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

STRIDE_BITS = 11
OFFSET = (1 << (STRIDE_BITS - 1)) - 1
"""What is added to x; also the largest |x| of an honest owner."""

CARRIES = SlotCarries(STRIDE_BITS)


def narrow_layout(modulus_bits: int, values: int) -> SlotLayout:
    """Return the layout of narrow words: 271 a ciphertext at 3072 bits."""
    bound = (1 << STRIDE_BITS) - 2
    layout = SlotLayout.fitting(modulus_bits, "words", values, STRIDE_BITS, STRIDE_BITS, bound)
    return replace(layout, doubled=False)


def pack_narrow(layout: SlotLayout, integers: npt.ArrayLike) -> list[int]:
    """Return the plaintexts of integers |x| ≤ 2^10 − 1 (owner, client).

    Raises:
        PlaintextRangeError: Another number of integers, or one outside the range.
    """
    return layout.pack(np.asarray(integers, dtype=np.int64).reshape(-1) + OFFSET)


def carry_inputs(digits: Bits) -> Bits:
    """Return digits as the comparison takes them, shape (W, values)."""
    return np.ascontiguousarray(digits.T)


def words_of_secondary(layout: SlotLayout, digits: Bits, carries: Words) -> Words:
    """Return SU's word shares of x from its digits d and its word shares of β."""
    return _words(layout, words_of_bits(digits).astype(np.uint32) - np.uint32(OFFSET), carries)


def words_of_master(layout: SlotLayout, digits: Bits, carries: Words) -> Words:
    """Return MU's word shares of x from its digits r and its word shares of β."""
    return _words(layout, np.uint32(0) - words_of_bits(digits).astype(np.uint32), carries)


def _words(layout: SlotLayout, digits: Words, carries: Words) -> Words:
    from_below = np.zeros_like(carries)
    from_below[1:] = carries[:-1]
    # The lowest slot of a plaintext has none below it.
    from_below[:: layout.slots] = 0
    shares: Words = digits + (carries << np.uint32(STRIDE_BITS)) - from_below
    return shares
