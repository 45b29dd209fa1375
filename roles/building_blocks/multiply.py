"""Multiply: XOR-shared bits times a table of which each unit holds a word share (§3.2).

score = Σ_f x_f · T_f with x = x_M ⊕ x_S and T = T_M + T_S mod 2^w. Each unit sends for its own
share of the table, and the peer's share of the bits chooses: two one-way transfers, one per
direction, no shared mask and nothing opened.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from crypto.block_hash import BlockHash
from crypto.correlated_ot import receive_words, send_bit_products
from crypto.ot_extension import ReceivedRows, SentRows

Bits = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
"""Arrays of uint32 or uint64: which one, the table's width decides at run time."""

_Checked: TypeAlias = npt.NDArray[np.uint64]


def send_row_sums(rows: SentRows, bits: Bits, table: Words, block_hash: BlockHash) -> tuple[Words, bytes]:
    """Return this unit's shares of Σ_f x_f·T_f for its own share of the table, and the corrections.

    Args:
        rows: n·F rows whose choices are the peer's shares of the bits.
        bits: Shape (n, F): this unit's shares.
        table: Shape (F, C): this unit's share of the table.
        block_hash: Made from this unit's salt, which is bound to `bits` and `table`.

    Returns:
        Shares of shape (n, C), and n·F·C words for the peer.

    Cost:
        n·F transfers with C words of payload.

    Source:
        Gilboa 1999; docs/protocols.md §3.2 (bit × word vector).
    """
    records, features = bits.shape
    repeated = np.broadcast_to(table, (records, *table.shape)).reshape(records * features, -1)
    words = cast(_Checked, np.ascontiguousarray(repeated))
    products, corrections = send_bit_products(rows, bits.reshape(-1), words, block_hash)
    return _sums(products, records), corrections


def receive_row_sums(
    rows: ReceivedRows,
    corrections: bytes,
    shape: tuple[int, int, int],
    dtype: type[np.unsignedinteger[Any]],
    block_hash: BlockHash,
) -> Words:
    """Return this unit's shares of Σ_f x_f·T_f for the peer's share of the table.

    Args:
        rows: n·F rows whose choices are this unit's shares of the bits.
        corrections: What `send_row_sums` returned at the peer.
        shape: (n, F, C).
        dtype: uint32 or uint64.
        block_hash: Made from the salt that came with the corrections.
    """
    records, _, classes = shape
    words: _Checked = receive_words(rows, corrections, classes, cast(type[np.uint64], dtype), block_hash)
    return _sums(words, records)


def send_column_sums(
    rows: SentRows, bits: Bits, values: Words, starts: Sequence[int], block_hash: BlockHash
) -> tuple[Words, bytes]:
    """Return this unit's shares of Σ_i x_if·v_i for its own share of the values, and the corrections.

    The same rows may have served `send_row_sums`, and may serve both again under other salts: the
    bits of records do not change from pass to pass (§3.2).

    Args:
        rows: n·F rows whose choices are the peer's shares of the bits.
        bits: Shape (n, F): this unit's shares.
        values: Shape (n, C): this unit's share of what each record's bits multiply.
        starts: First record of every part that is summed apart; ascending from 0.
        block_hash: Made from this unit's salt, which is bound to `bits` and `values`.

    Returns:
        Shares of shape (parts, F, C), and n·F·C words for the peer.

    Cost:
        n·F transfers with C words of payload.

    Source:
        Gilboa 1999; docs/protocols.md §3.2 (bit × word vector).
    """
    words = cast(_Checked, np.repeat(values, bits.shape[1], axis=0))
    products, corrections = send_bit_products(rows, bits.reshape(-1), words, block_hash)
    return _part_sums(products, len(bits), starts), corrections


def receive_column_sums(
    rows: ReceivedRows,
    corrections: bytes,
    shape: tuple[int, int, int],
    starts: Sequence[int],
    dtype: type[np.unsignedinteger[Any]],
    block_hash: BlockHash,
) -> Words:
    """Return this unit's shares of Σ_i x_if·v_i for the peer's share of the values.

    Args:
        rows: n·F rows whose choices are this unit's shares of the bits.
        corrections: What `send_column_sums` returned at the peer.
        shape: (n, F, C).
        starts: As at the peer.
        dtype: uint32 or uint64.
        block_hash: Made from the salt that came with the corrections.
    """
    words: _Checked = receive_words(rows, corrections, shape[2], cast(type[np.uint64], dtype), block_hash)
    return _part_sums(words, shape[0], starts)


def _part_sums(products: Words, records: int, starts: Sequence[int]) -> Words:
    per_record = products.reshape(records, -1, products.shape[1])
    sums: Words = np.add.reduceat(per_record, list(starts), axis=0, dtype=products.dtype)
    return sums


def _sums(products: Words, records: int) -> Words:
    sums: Words = products.reshape(records, -1, products.shape[1]).sum(axis=1, dtype=products.dtype)
    return sums
