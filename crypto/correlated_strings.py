"""Correlated transfers of bit strings: the receiver gets x or x ⊕ δ, for strings of any length.

Made for products of bit matrices mod 2: a choice bit of one factor, a packed row of the other
(docs/protocols.md §3.2). For words see `crypto.correlated_ot`.
"""

import numpy as np
import numpy.typing as npt

from crypto.block_hash import BlockHash
from crypto.counting import count
from crypto.errors import RemoteProtocolError
from crypto.transfer_rows import ReceivedRows, SentRows

Strings = npt.NDArray[np.uint8]


def send_strings(rows: SentRows, correlations: Strings, block_hash: BlockHash) -> tuple[Strings, bytes]:
    """Draw the sender's strings and the corrections.

    Args:
        rows: n rows that were never labels and never served under this hash.
        correlations: Shape (n, m) bytes: δ.
        block_hash: Made from the sender's salt, which is bound to δ.

    Returns:
        x of shape (n, m) and n·m bytes. The receiver gets x ⊕ bδ.

    Raises:
        ValueError: The shapes do not match, or m = 0.

    Security:
        The corrections are H(q) ⊕ H(q ⊕ Δ) ⊕ δ: the pad that the receiver lacks hides δ.

    Cost:
        2⌈m/16⌉ hashes and m bytes per row.

    Source:
        Asharov, Lindell, Schneider, Zohner 2013 (correlated OT); docs/protocols.md §3.2.
    """
    if correlations.dtype != np.uint8 or correlations.ndim != 2 or len(correlations) != len(rows):
        raise ValueError("every row takes one string of bytes")
    pads = block_hash.pads(rows.both(), correlations.shape[1])
    corrections = pads[0] ^ pads[1]
    corrections ^= correlations
    encoded = corrections.tobytes()
    count(cot_payload_bytes=len(encoded))
    return pads[0].copy(), encoded


def receive_strings(rows: ReceivedRows, corrections: bytes, length: int, block_hash: BlockHash) -> Strings:
    """Read the receiver's strings x ⊕ bδ off the corrections.

    Args:
        rows: n rows, the counterparts of the sender's.
        corrections: What `send_strings` returned at the sender.
        length: Bytes of a string, m.
        block_hash: Made from the salt that came with the corrections.

    Raises:
        RemoteProtocolError: The corrections have another length than n·m bytes.

    Cost:
        ⌈m/16⌉ hashes per row.

    Source:
        Asharov, Lindell, Schneider, Zohner 2013 (correlated OT); docs/protocols.md §3.2.
    """
    if length < 1:
        raise ValueError("a string has at least one byte")
    if len(corrections) != len(rows) * length:
        raise RemoteProtocolError(f"{len(rows) * length} bytes of corrections due, {len(corrections)} came")
    received = np.frombuffer(corrections, dtype=np.uint8).reshape(len(rows), length)
    masks = np.uint8(0) - rows.choices
    strings: Strings = received & masks[:, np.newaxis]
    strings ^= block_hash.pads(rows.rows[np.newaxis], length)[0]
    return strings
