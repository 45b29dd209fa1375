"""Transfers of strings: x at one side, x or x ⊕ δ at the other."""

import numpy as np
import pytest
from doubles import seeded_coins

from crypto.block_hash import BlockHash
from crypto.correlated_strings import receive_strings, send_strings
from crypto.errors import RemoteProtocolError
from crypto.transfer_rows import ReceivedRows, SentRows


def rows(size: int, seed: int) -> tuple[ReceivedRows, SentRows]:
    coins = seeded_coins(seed)
    delta, blocks, choices = coins.blocks(1)[0], coins.blocks(size), coins.bits(size)
    masks = (np.uint64(0) - choices.astype(np.uint64))[:, np.newaxis]
    return ReceivedRows(blocks ^ (masks & delta), choices), SentRows(blocks, delta)


def block_hash(salt: int = 0) -> BlockHash:
    return BlockHash("strings", bytes([salt]) * 16, bytes(32))


@pytest.mark.parametrize(("size", "length"), [(1, 1), (7, 16), (40, 33), (3, 200)])
def test_the_difference_is_the_correlation_where_chosen(size: int, length: int) -> None:
    received, sent = rows(size, size)
    correlations = seeded_coins("delta").words((size, length), np.uint16).astype(np.uint8)
    own, corrections = send_strings(sent, correlations, block_hash())
    assert len(corrections) == size * length
    theirs = receive_strings(received, corrections, length, block_hash())
    np.testing.assert_array_equal(own ^ theirs, correlations * received.choices[:, np.newaxis])


def test_rows_serve_again_under_another_salt() -> None:
    received, sent = rows(9, 3)
    zeros = np.zeros((9, 20), dtype=np.uint8)
    first, second = (send_strings(sent, zeros, block_hash(salt)) for salt in (1, 2))
    assert not (first[0] == second[0]).all(axis=1).any()
    np.testing.assert_array_equal(second[0], receive_strings(received, second[1], 20, block_hash(2)))


def test_wrong_shapes_and_lengths_are_refused() -> None:
    received, sent = rows(4, 4)
    for wrong in (np.zeros((3, 2), np.uint8), np.zeros(4, np.uint8), np.zeros((4, 2), np.uint16)):
        with pytest.raises(ValueError, match="every row"):
            send_strings(sent, wrong, block_hash())  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError):
        receive_strings(received, bytes(7), 2, block_hash())
    with pytest.raises(ValueError, match="at least one byte"):
        receive_strings(received, b"", 0, block_hash())
