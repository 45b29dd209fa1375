"""Correlated transfers: additive or XOR shares of choice times correlation, and products of them.

The sender holds a correlation δ per row, the receiver a choice bit b. The sender ends with x, the
receiver with x + bδ (or x ⊕ bδ), and only corrections travel, from sender to receiver. The rows
come from `crypto.transfer_rows`, the pads from a `BlockHash` that is fresh per message, so that
rows whose choices stay the same may serve again under the salt of a later message.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from crypto.block_hash import BlockHash
from crypto.counting import count
from crypto.errors import RemoteProtocolError
from crypto.transfer_rows import ReceivedRows, SentRows

Bits = npt.NDArray[np.uint8]
Word = TypeVar("Word", np.uint16, np.uint32, np.uint64)

_WORD_TYPES = (np.uint16, np.uint32, np.uint64)


def send_words(
    rows: SentRows, correlations: npt.NDArray[Word], block_hash: BlockHash
) -> tuple[npt.NDArray[Word], bytes]:
    """Draw the sender's shares and the corrections of word-vector transfers.

    Args:
        rows: n rows that were never labels and never served under this hash.
        correlations: Shape (n, m), words mod 2^16, 2^32 or 2^64: δ.
        block_hash: Made from the sender's salt, which is bound to δ.

    Returns:
        x of shape (n, m) and the corrections, n·m little-endian words. The receiver gets x + bδ.

    Raises:
        ValueError: The shapes do not match, or m = 0.

    Security:
        The corrections are x + δ − H(q ⊕ Δ): to the receiver each word is hidden by the pad of
        the value that it did not choose. The same rows under the same salt with another δ
        reveal δ − δ', so the salt must be a function of δ (docs/protocols.md §3.3).

    Cost:
        2⌈m·w/128⌉ hashes per row here, half of it at the receiver; m·w/8 bytes per row.

    Source:
        Asharov, Lindell, Schneider, Zohner 2013 (correlated OT); docs/protocols.md §3.2.
    """
    _check_word_shape(len(rows), correlations)
    pads = _word_pads(block_hash, rows.both(), correlations.shape[1], correlations.dtype.type)
    shares = pads[0].copy()
    # H(q) + δ − H(q ⊕ Δ): a receiver with b = 1 adds its own pad H(q ⊕ Δ) and has x + δ.
    corrections = shares + correlations
    corrections -= pads[1]
    encoded = corrections.astype(corrections.dtype.newbyteorder("<"), copy=False).tobytes()
    count(cot_payload_bytes=len(encoded))
    return shares, encoded


def receive_words(
    rows: ReceivedRows, corrections: bytes, width: int, dtype: type[Word], block_hash: BlockHash
) -> npt.NDArray[Word]:
    """Read the receiver's shares x + bδ off the corrections.

    Args:
        rows: n rows, the counterparts of the sender's.
        corrections: What `send_words` returned at the sender.
        width: Words per row, m.
        dtype: Type of the sender's words.
        block_hash: Made from the salt that came with the corrections.

    Returns:
        Shape (n, m).

    Raises:
        RemoteProtocolError: The corrections have another length than n·m words.

    Cost:
        ⌈m·w/128⌉ hashes per row.

    Source:
        Asharov, Lindell, Schneider, Zohner 2013 (correlated OT); docs/protocols.md §3.2.
    """
    if width < 1:
        raise ValueError("a transfer has at least one word per row")
    due = len(rows) * width * np.dtype(dtype).itemsize
    _check_length(corrections, due)
    pads = _word_pads(block_hash, rows.rows[np.newaxis], width, dtype)[0]
    received = np.frombuffer(corrections, dtype=np.dtype(dtype).newbyteorder("<")).reshape(len(rows), width)
    # Without a branch or an index on b: the mask is all ones where b = 1.
    masks = np.zeros(1, dtype=dtype) - rows.choices.astype(dtype)
    shares: npt.NDArray[Word] = received & masks[:, np.newaxis]
    shares += pads
    return shares


def send_bits(rows: SentRows, correlations: Bits, block_hash: BlockHash) -> tuple[Bits, bytes]:
    """Draw the sender's bit shares and the corrections of one-bit transfers.

    Args:
        rows: n rows that were never labels and never served under this hash.
        correlations: Shape (n,), zeros and ones: δ.
        block_hash: Made from the sender's salt, which is bound to δ.

    Returns:
        x of shape (n,) and ⌈n/8⌉ bytes, low bit first. The receiver gets x ⊕ (b ∧ δ).

    Raises:
        ValueError: The correlations are not n bits.

    Cost:
        Two hashes and one bit per row.

    Source:
        docs/protocols.md §3.1 (bits), §3.2.
    """
    if correlations.dtype != np.uint8 or correlations.shape != (len(rows),):
        raise ValueError("one-bit transfers take one uint8 bit per row")
    if correlations.size and correlations.max() > 1:
        raise ValueError("correlations are zeros and ones")
    pads = _bit_pads(block_hash, rows.both())
    corrections = np.packbits(pads[0] ^ pads[1] ^ correlations, bitorder="little").tobytes()
    count(cot_payload_bytes=len(corrections))
    return pads[0].copy(), corrections


def receive_bits(rows: ReceivedRows, corrections: bytes, block_hash: BlockHash) -> Bits:
    """Read the receiver's bit shares x ⊕ (b ∧ δ) off the corrections.

    Raises:
        RemoteProtocolError: There are not ⌈n/8⌉ bytes, or a bit past the last row is set.

    Cost:
        One hash per row.

    Source:
        docs/protocols.md §3.1 (bits), §3.2.
    """
    size = len(rows)
    _check_length(corrections, (size + 7) // 8)
    if size % 8 and corrections[-1] >> size % 8:
        raise RemoteProtocolError("bits beyond the last transfer are set")
    packed = np.frombuffer(corrections, dtype=np.uint8)
    received = np.unpackbits(packed, count=size, bitorder="little")
    shares: Bits = _bit_pads(block_hash, rows.rows[np.newaxis])[0] ^ (received & rows.choices)
    return shares


def correlation_for_bit(bits: Bits, words: npt.NDArray[Word]) -> npt.NDArray[Word]:
    """Return (1 − 2g)·v: what a peer's bit share must multiply so that both shares do.

    For g = g_S ⊕ g_M, g·v = g_S·v + g_M·(1 − 2g_S)·v.

    Args:
        bits: Shape (n,): this unit's share of g.
        words: Shape (n, m): v, known to this unit.

    Raises:
        ValueError: The shapes do not match.
    """
    _check_word_shape(len(bits), words)
    masks = (np.zeros(1, dtype=words.dtype) - bits.astype(words.dtype))[:, np.newaxis]
    # −v = ¬v + 1 mod 2^w, where the mask is all ones.
    negated: npt.NDArray[Word] = (words ^ masks) - masks
    return negated


def send_bit_products(
    rows: SentRows, bits: Bits, words: npt.NDArray[Word], block_hash: BlockHash
) -> tuple[npt.NDArray[Word], bytes]:
    """Share the products of XOR-shared bits with this unit's words, as the one who knows the words.

    The peer, whose choices are its shares of the bits, gets its part from `receive_words`; both
    parts sum to g·v mod 2^w. With v = 1 that converts bit shares to word shares.

    Args:
        rows: n rows whose choices are the peer's shares of g.
        bits: Shape (n,): this unit's share of g.
        words: Shape (n, m): v, known to this unit.
        block_hash: Made from the sender's salt, which is bound to `bits` and `words`.

    Returns:
        This unit's shares, shape (n, m), and the corrections for the peer.

    Raises:
        ValueError: The shapes do not match.

    Cost:
        As `send_words`.

    Source:
        docs/protocols.md §3.2 (bit × word vector).
    """
    shares, corrections = send_words(rows, correlation_for_bit(bits, words), block_hash)
    # The peer holds x + g_M(1 − 2g_S)v, so that g_S·v − x is what is missing to g·v.
    masks = (np.zeros(1, dtype=words.dtype) - bits.astype(words.dtype))[:, np.newaxis]
    products: npt.NDArray[Word] = (words & masks) - shares
    return products, corrections


def _word_pads(
    block_hash: BlockHash, blocks: npt.NDArray[np.uint64], width: int, dtype: type[Word]
) -> npt.NDArray[Word]:
    """Return pads of shape (k, n, width)."""
    pads: npt.NDArray[Word] = block_hash.pads(blocks, width * np.dtype(dtype).itemsize).view(dtype)
    return pads


def _bit_pads(block_hash: BlockHash, blocks: npt.NDArray[np.uint64]) -> Bits:
    """Return pads of shape (k, n), the lowest bit of each row's hash."""
    pads: Bits = block_hash.pads(blocks, 1)[..., 0] & np.uint8(1)
    return pads


def _check_word_shape(size: int, words: npt.NDArray[Word]) -> None:
    if words.dtype.type not in _WORD_TYPES:
        raise ValueError("words are uint16, uint32 or uint64")
    if words.ndim != 2 or words.shape[0] != size or words.shape[1] == 0:
        raise ValueError(f"{size} rows take words of shape ({size}, m), m > 0")


def _check_length(corrections: bytes, due: int) -> None:
    if len(corrections) != due:
        raise RemoteProtocolError(f"{due} bytes of corrections due, {len(corrections)} came")
