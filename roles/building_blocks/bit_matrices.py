"""Multiply bit matrices: S·z mod 2 for XOR-shared factors, a transfer per bit of S (§3.2).

S·z = S_M·z_M ⊕ S_S·z_S ⊕ S_M·z_S ⊕ S_S·z_M. Each unit computes its own product; for the cross
terms one unit's bits of S choose and the other sends its packed columns of z.
"""

import numpy as np
import numpy.typing as npt

from crypto.block_hash import BlockHash
from crypto.correlated_strings import receive_strings, send_strings
from crypto.ot_extension import ReceivedRows, SentRows

Bits = npt.NDArray[np.uint8]


def string_bytes(records: int) -> int:
    """Return the bytes of one packed column of z."""
    return -(-records // 8)


def own_product(s: Bits, z: Bits) -> Bits:
    """Return one unit's local product mod 2.

    Args:
        s: Shape (I, F): its share of S.
        z: Shape (n, F): its share of the records.

    Returns:
        Shape (I, n).
    """
    # Floats are exact far beyond F and multiply much faster than integers.
    product = s.astype(np.float32) @ z.astype(np.float32).T
    parity: Bits = product.astype(np.int64).astype(np.uint8) & np.uint8(1)
    return parity


def send_columns(rows: SentRows, z: Bits, inner: int, block_hash: BlockHash) -> tuple[Bits, bytes]:
    """Share the peer's part of S times this unit's part of z, as the one who knows z.

    Args:
        rows: I·F rows whose choices are the peer's shares of S, row by row. They may serve again
            under another salt.
        z: Shape (n, F): this unit's share.
        inner: I.
        block_hash: Made from this unit's salt, which is bound to `z`.

    Returns:
        This unit's share, shape (I, n), and I·F·⌈n/8⌉ bytes for the peer.

    Cost:
        ⌈n/128⌉ hashes twice, and ⌈n/8⌉ bytes per bit of S.
    """
    records, features = z.shape
    packed = np.packbits(np.ascontiguousarray(z.T), axis=1, bitorder="little")
    repeated = np.broadcast_to(packed, (inner, *packed.shape)).reshape(inner * features, -1)
    strings, corrections = send_strings(rows, np.ascontiguousarray(repeated), block_hash)
    return _sums(strings, inner, records), corrections


def receive_columns(
    rows: ReceivedRows, corrections: bytes, inner: int, records: int, block_hash: BlockHash
) -> Bits:
    """Return this unit's share of its part of S times the peer's part of z, shape (I, n).

    Args:
        rows: I·F rows whose choices are this unit's shares of S.
        corrections: What `send_columns` returned at the peer.
        inner: I.
        records: n.
        block_hash: Made from the salt that came with the corrections.
    """
    strings = receive_strings(rows, corrections, string_bytes(records), block_hash)
    return _sums(strings, inner, records)


def _sums(strings: Bits, inner: int, records: int) -> Bits:
    sums = np.bitwise_xor.reduce(strings.reshape(inner, -1, strings.shape[1]), axis=1)
    return np.unpackbits(sums, axis=1, count=records, bitorder="little")
