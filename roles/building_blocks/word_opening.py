"""Open sealed words exactly: slots that hold 2v become shares of v mod 2^32 (§3.1, §3.4).

A digit of SU and one of MU differ by the slot and an unknown carry c = d⁰ ⊕ r⁰. One transfer per
word takes it away: c = d⁰ + r⁰·(1 − 2d⁰). What is left sums to 2v mod 2^33, so that both shares
have the same lowest bit and can be halved without another word.
"""

import numpy as np
import numpy.typing as npt

from crypto.block_hash import BlockHash
from crypto.correlated_ot import receive_words, send_words
from crypto.ot_extension import ReceivedRows, SentRows
from crypto.packing import words_of_bits

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

DOUBLED_BITS = 33
CORRECTION_BYTES = 8
_MASK = np.uint64((1 << DOUBLED_BITS) - 1)


def carry_choices(digits: Bits) -> Bits:
    """Return MU's choices: r⁰ of every digit (step 1, MU)."""
    return np.ascontiguousarray(digits[:, 0])


def share_words_secondary(digits: Bits, rows: SentRows, block_hash: BlockHash) -> tuple[Words, bytes]:
    """Return SU's shares of the opened words, and the corrections for MU (step 2, SU).

    Args:
        digits: Shape (n, W), W ≥ 33: digits of the masked plaintexts.
        rows: n rows of MU's choices.
        block_hash: Made from SU's salt, which is bound to the digits.

    Cost:
        One transfer and 8 bytes per word.
    """
    lowest = digits[:, 0].astype(np.uint64)
    shares, corrections = send_words(rows, (np.uint64(1) - 2 * lowest)[:, np.newaxis], block_hash)
    # SU's part of the carry is d⁰ − x.
    doubled = words_of_bits(digits[:, :DOUBLED_BITS]) - lowest + shares[:, 0]
    return _halved(doubled, is_master=False), corrections


def share_words_master(digits: Bits, rows: ReceivedRows, corrections: bytes, block_hash: BlockHash) -> Words:
    """Return MU's shares of the opened words (step 3, MU).

    Args:
        digits: Shape (n, W): digits of the masks.
        rows: n rows of `carry_choices(digits)`.
        corrections: From SU.
        block_hash: Made from the salt that came with them.
    """
    received = receive_words(rows, corrections, 1, np.uint64, block_hash)[:, 0]
    return _halved(-(words_of_bits(digits[:, :DOUBLED_BITS]) + received), is_master=True)


def _halved(doubled: npt.NDArray[np.uint64], *, is_master: bool) -> Words:
    doubled = doubled & _MASK
    halved = doubled >> np.uint64(1)
    # Both lowest bits are equal, and together they are one unit: MU takes it.
    if is_master:
        halved = halved + (doubled & np.uint64(1))
    return halved.astype(np.uint32)
