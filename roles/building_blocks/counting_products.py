"""Count: XOR-shared indicator bits times word-shared columns, summed over records (§3.2, §7).

Δ[k, j] = Σ_r g_rk·a_rj with g = g_M ⊕ g_S and a = a_M + a_S. For each direction the sender knows
its share of a, and the receiver's share of g chooses: one transfer per indicator, with a record's
columns as payload. Also here: bit shares become word shares (B2A), the same with a = 1.
"""

import numpy as np
import numpy.typing as npt

from crypto.block_hash import BlockHash
from crypto.correlated_ot import receive_words, send_bit_products, send_words
from crypto.ot_extension import ReceivedRows, SentRows

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

WORD_BYTES = 4


def words_of_shared_bits_sender(rows: SentRows, bits: Bits, block_hash: BlockHash) -> tuple[Words, bytes]:
    """Return this unit's word shares of XOR-shared bits, and the corrections for the peer (B2A).

    Args:
        rows: n rows whose choices are the peer's shares.
        bits: Shape (n,): this unit's shares.
        block_hash: Made from this unit's salt, which is bound to `bits`.

    Cost:
        One transfer and 4 bytes per bit.
    """
    ones = np.ones((len(bits), 1), dtype=np.uint32)
    words, corrections = send_bit_products(rows, bits, ones, block_hash)
    return words[:, 0], corrections


def words_of_shared_bits_receiver(rows: ReceivedRows, corrections: bytes, block_hash: BlockHash) -> Words:
    """Return this unit's word shares of the bits whose shares were its choices (B2A)."""
    return receive_words(rows, corrections, 1, np.uint32, block_hash)[:, 0]


def send_counts(
    rows: SentRows, indicators: Bits, columns: Words, block_hash: BlockHash
) -> tuple[Words, bytes]:
    """Share Σ_r g_rk·a_rj for this unit's share of the columns, as the one who knows them.

    Args:
        rows: n·K rows whose choices are the peer's shares of the indicators, record by record.
        indicators: Shape (n, K): this unit's shares.
        columns: Shape (n, J): this unit's word shares.
        block_hash: Made from this unit's salt, which is bound to both.

    Returns:
        This unit's shares, shape (K, J), and n·K·J words for the peer.

    Cost:
        n·K transfers with J words of payload.

    Source:
        docs/protocols.md §3.2 (bit × word vector), §7.
    """
    records, width = columns.shape
    kinds = indicators.shape[1]
    # (1 − 2g)·a: negated where this unit's own bit is set.
    masks = (np.uint32(0) - indicators.astype(np.uint32))[:, :, np.newaxis]
    correlations = (columns[:, np.newaxis] ^ masks) - masks
    shares, corrections = send_words(rows, correlations.reshape(records * kinds, width), block_hash)
    return own_counts(indicators, columns) - _sums(shares, records), corrections


def receive_counts(
    rows: ReceivedRows, corrections: bytes, records: int, width: int, block_hash: BlockHash
) -> Words:
    """Return this unit's shares of Σ_r g_rk·a_rj for the peer's share of the columns.

    Args:
        rows: n·K rows whose choices are this unit's shares of the indicators, record by record.
        corrections: What `send_counts` returned at the peer.
        records: n.
        width: J.
        block_hash: Made from the salt that came with the corrections.
    """
    return _sums(receive_words(rows, corrections, width, np.uint32, block_hash), records)


def own_counts(indicators: Bits, columns: Words) -> Words:
    """Return Σ_r g_rk·a_rj mod 2^32 of what one unit holds, shape (K, J)."""
    # In halves of 16 bits, so that sums of up to 2^21 records are exact in floats.
    bits = np.ascontiguousarray(indicators.T).astype(np.float64)
    low = bits @ (columns & np.uint32(0xFFFF)).astype(np.float64)
    high = bits @ (columns >> np.uint32(16)).astype(np.float64)
    total = low.astype(np.uint64) + (high.astype(np.uint64) << np.uint64(16))
    return total.astype(np.uint32)


def _sums(words: Words, records: int) -> Words:
    sums: Words = words.reshape(records, -1, words.shape[1]).sum(axis=0, dtype=np.uint32)
    return sums
