"""Both halves of correlated transfers linked in memory, and what they refuse."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from doubles import seeded_coins
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.block_hash import TWEAKS_PER_KEY, BlockHash
from crypto.correlated_ot import (
    correlation_for_bit,
    receive_bits,
    receive_words,
    send_bit_products,
    send_bits,
    send_words,
)
from crypto.counting import counting
from crypto.errors import RemoteProtocolError
from crypto.transfer_rows import ReceivedRows, SentRows

# The functions are generic in the word type; a strategy over three types is not.
WordType = Any
word_types: st.SearchStrategy[WordType] = st.sampled_from([np.uint16, np.uint32, np.uint64])


def ideal_rows(choices: npt.NDArray[np.uint8], seed: int = 0) -> tuple[SentRows, ReceivedRows]:
    """Return what an ideal extension would leave with both units."""
    coins = seeded_coins(f"rows {seed}")
    delta, zero = coins.blocks(1)[0], coins.blocks(len(choices))
    return SentRows(zero, delta), ReceivedRows(zero ^ (choices[:, np.newaxis] * delta), choices)


def fresh_hash(salt: bytes = b"s" * 16) -> BlockHash:
    return BlockHash("cot", salt, b"t" * 32)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 300), width=st.integers(1, 9), dtype=word_types, seed=st.integers(0, 2**32))
def test_the_receiver_gets_x_plus_choice_times_correlation(
    size: int, width: int, dtype: WordType, seed: int
) -> None:
    coins = seeded_coins(seed)
    choices, correlations = coins.bits(size), coins.words((size, width), dtype)
    sent, received = ideal_rows(choices, seed)
    x, corrections = send_words(sent, correlations, fresh_hash())
    y = receive_words(received, corrections, width, dtype, fresh_hash())
    assert x.dtype == y.dtype == np.dtype(dtype)
    assert len(corrections) == size * width * np.dtype(dtype).itemsize
    assert np.array_equal(y, x + choices[:, np.newaxis].astype(dtype) * correlations)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(0, 300), seed=st.integers(0, 2**32))
def test_a_one_bit_transfer_shares_an_and(size: int, seed: int) -> None:
    coins = seeded_coins(seed)
    choices, correlations = coins.bits(size), coins.bits(size)
    sent, received = ideal_rows(choices, seed)
    x, corrections = send_bits(sent, correlations, fresh_hash())
    y = receive_bits(received, corrections, fresh_hash())
    assert len(corrections) == (size + 7) // 8
    assert np.array_equal(x ^ y, choices & correlations)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 120), width=st.integers(1, 9), dtype=word_types, seed=st.integers(0, 2**32))
def test_shared_bits_times_words(size: int, width: int, dtype: WordType, seed: int) -> None:
    coins = seeded_coins(seed)
    g_sender, g_receiver, words = coins.bits(size), coins.bits(size), coins.words((size, width), dtype)
    sent, received = ideal_rows(g_receiver, seed)
    ours, corrections = send_bit_products(sent, g_sender, words, fresh_hash())
    theirs = receive_words(received, corrections, width, dtype, fresh_hash())
    assert np.array_equal(ours + theirs, (g_sender ^ g_receiver)[:, np.newaxis].astype(dtype) * words)


def test_bit_shares_become_word_shares() -> None:
    coins = seeded_coins(7)
    mine, yours = coins.bits(500), coins.bits(500)
    sent, received = ideal_rows(yours)
    ours, corrections = send_bit_products(sent, mine, np.ones((500, 1), np.uint32), fresh_hash())
    theirs = receive_words(received, corrections, 1, np.uint32, fresh_hash())
    assert np.array_equal((ours + theirs)[:, 0], mine ^ yours)


def test_the_correlation_for_a_set_bit_is_the_negative() -> None:
    words = np.array([[5, 0], [5, 0], [2**32 - 1, 2**31]], dtype=np.uint32)
    bits = np.array([0, 1, 1], dtype=np.uint8)
    assert correlation_for_bit(bits, words).tolist() == [[5, 0], [2**32 - 5, 0], [1, 2**31]]


def test_a_batch_longer_than_a_key() -> None:
    coins = seeded_coins(1)
    size = TWEAKS_PER_KEY + 1000
    choices, correlations = coins.bits(size), coins.words((size, 3), np.uint64)
    sent, received = ideal_rows(choices)
    x, corrections = send_words(sent, correlations, fresh_hash())
    y = receive_words(received, corrections, 3, np.uint64, fresh_hash())
    assert np.array_equal(y - x, choices[:, np.newaxis].astype(np.uint64) * correlations)


def test_one_hash_serves_several_transfers_of_a_message() -> None:
    coins = seeded_coins(2)
    choices = coins.bits(40)
    sent, received = ideal_rows(choices)
    here, there = fresh_hash(), fresh_hash()
    bits, words = coins.bits(40), coins.words((40, 5), np.uint32)
    x_bits, bit_corrections = send_bits(sent, bits, here)
    x_words, word_corrections = send_words(sent, words, here)
    assert np.array_equal(x_bits ^ receive_bits(received, bit_corrections, there), bits & choices)
    y_words = receive_words(received, word_corrections, 5, np.uint32, there)
    assert np.array_equal(y_words - x_words, choices[:, np.newaxis] * words)


def test_rows_serve_again_under_a_new_salt() -> None:
    choices = seeded_coins(3).bits(64)
    sent, received = ideal_rows(choices)
    shares = []
    for salt in (b"1" * 16, b"2" * 16):
        words = seeded_coins(salt.hex()).words((64, 2), np.uint32)
        x, corrections = send_words(sent, words, fresh_hash(salt))
        y = receive_words(received, corrections, 2, np.uint32, fresh_hash(salt))
        assert np.array_equal(y - x, choices[:, np.newaxis] * words)
        shares.append(x)
    assert not np.any(shares[0] == shares[1])


def test_corrections_are_uniform_to_who_did_not_choose_them() -> None:
    # 255 degrees of freedom: mean 255, deviation 22.6; 400 is six deviations away.
    for choice in (0, 1):
        sent, _ = ideal_rows(np.full(4096, choice, np.uint8))
        _, corrections = send_words(sent, np.zeros((4096, 4), np.uint32), fresh_hash())
        counts = np.bincount(np.frombuffer(corrections, np.uint8), minlength=256)
        expected = len(corrections) / 256
        assert float(((counts - expected) ** 2 / expected).sum()) < 400


@pytest.mark.parametrize("extra", [-1, 1, 4])
def test_corrections_of_another_length_are_the_peers_fault(extra: int) -> None:
    sent, received = ideal_rows(np.ones(9, dtype=np.uint8))
    _, words = send_words(sent, np.ones((9, 2), np.uint32), fresh_hash())
    _, bits = send_bits(sent, np.ones(9, np.uint8), fresh_hash())
    with pytest.raises(RemoteProtocolError, match="72 bytes of corrections due"):
        receive_words(received, (words + bytes(4))[: 72 + extra], 2, np.uint32, fresh_hash())
    with pytest.raises(RemoteProtocolError, match="2 bytes of corrections due"):
        receive_bits(received, (bits + bytes(4))[: 2 + extra], fresh_hash())


def test_bits_beyond_the_last_row_are_the_peers_fault() -> None:
    _, received = ideal_rows(np.ones(9, dtype=np.uint8))
    with pytest.raises(RemoteProtocolError, match="beyond"):
        receive_bits(received, b"\x00\x02", fresh_hash())


def test_own_mistakes_are_refused() -> None:
    sent, received = ideal_rows(np.ones(4, dtype=np.uint8))
    for shape in ((4,), (3, 1), (4, 0)):
        with pytest.raises(ValueError, match="rows take words"):
            send_words(sent, np.zeros(shape, np.uint32), fresh_hash())
    with pytest.raises(ValueError, match="uint16, uint32 or uint64"):
        send_words(sent, np.zeros((4, 1), np.int64), fresh_hash())  # type: ignore[type-var]  # the point
    for wrong in (np.zeros(3, np.uint8), np.zeros((4, 1), np.uint8)):
        with pytest.raises(ValueError, match="one uint8 bit per row"):
            send_bits(sent, wrong, fresh_hash())
    with pytest.raises(ValueError, match="zeros and ones"):
        send_bits(sent, np.full(4, 2, np.uint8), fresh_hash())
    with pytest.raises(ValueError, match="at least one word"):
        receive_words(received, b"", 0, np.uint32, fresh_hash())


def test_hashes_and_payload_are_counted() -> None:
    sent, received = ideal_rows(np.ones(10, dtype=np.uint8))
    with counting() as tally:
        _, corrections = send_words(sent, np.ones((10, 5), np.uint32), fresh_hash())
    assert (tally.hashes, tally.cot_payload_bytes) == (2 * 10 * 2, 200)
    with counting() as tally:
        receive_words(received, corrections, 5, np.uint32, fresh_hash())
    assert (tally.hashes, tally.cot_payload_bytes) == (10 * 2, 0)
    with counting() as tally:
        send_bits(sent, np.ones(10, np.uint8), fresh_hash())
    assert (tally.hashes, tally.cot_payload_bytes) == (20, 2)
