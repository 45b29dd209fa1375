"""Multiply: the units' shares add up to Σ x·T, in both directions and both widths."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from doubles import seeded_coins
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_blocks import pair
from tenants import small_tenant

from crypto.errors import RemoteProtocolError
from roles.building_blocks.multiply import Words, receive_row_sums, send_row_sums
from roles.session import array_bytes

SMALL = small_tenant()
Bits = npt.NDArray[np.uint8]
WordType = type[np.unsignedinteger[Any]]


def oracle(bits: Bits, table: Words, dtype: WordType) -> list[list[int]]:
    """Return Σ_f x_f·T_f mod 2^w with Python's integers."""
    modulus = 1 << 8 * np.dtype(dtype).itemsize
    return [
        [sum(int(x) * int(t) for x, t in zip(row, column, strict=True)) % modulus for column in table.T]
        for row in bits
    ]


def products(
    bits_mu: Bits, bits_su: Bits, table: Words, dtype: WordType, *, holder: str, name: int
) -> tuple[Words, Words]:
    """Run the direction in which `holder` knows the table; the shares of MU and of SU."""
    both = pair(SMALL, name)
    shape = (*bits_mu.shape, table.shape[1])
    if holder == "su":
        received, sent = both.rows_of_mu(bits_mu.reshape(-1))
        salt = both.su.salt("products", array_bytes(bits_su, table))
        own, corrections = send_row_sums(sent, bits_su, table, both.su.reply_hash("products", salt))
        theirs = receive_row_sums(received, corrections, shape, dtype, both.mu.reply_hash("products", salt))
        return theirs, own
    received, sent = both.rows_of_su(bits_su.reshape(-1))
    salt = both.mu.salt("products", array_bytes(bits_mu, table))
    hash_mu, hash_su = (s.request_hash("products", salt) for s in (both.mu, both.mu))
    own, corrections = send_row_sums(sent, bits_mu, table, hash_mu)
    return own, receive_row_sums(received, corrections, shape, dtype, hash_su)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 9),
    st.integers(1, 4),
    st.sampled_from([np.uint32, np.uint64]),
    st.sampled_from(["mu", "su"]),
    st.integers(0, 1 << 30),
)
def test_shares_add_up_to_the_row_sums(
    records: int, features: int, classes: int, dtype: type[np.uint32], holder: str, seed: int
) -> None:
    coins = seeded_coins(seed)
    bits_mu, bits_su = (coins.bits((records, features)) for _ in range(2))
    table = coins.words((features, classes), dtype)
    shares = products(bits_mu, bits_su, table, dtype, holder=holder, name=seed)
    assert all(share.dtype == dtype and share.shape == (records, classes) for share in shares)
    assert (shares[0] + shares[1]).tolist() == oracle(bits_mu ^ bits_su, table, dtype)


@pytest.mark.parametrize("holder", ["mu", "su"])
def test_extreme_words_wrap_around(holder: str) -> None:
    ones, zeros = np.ones((2, 5), dtype=np.uint8), np.zeros((2, 5), dtype=np.uint8)
    table = np.full((5, 1), 0xFFFFFFFF, dtype=np.uint32)
    for bits_mu, bits_su, expected in ((ones, zeros, -5), (zeros, ones, -5), (ones, ones, 0)):
        first, second = products(bits_mu, bits_su, table, np.uint32, holder=holder, name=1)
        assert (first + second).tolist() == [[expected % (1 << 32)]] * 2


def test_corrections_of_another_length_are_refused() -> None:
    both = pair(SMALL, "length")
    received, _ = both.rows_of_mu(np.zeros(6, dtype=np.uint8))
    for length in (0, 6 * 4 - 1, 6 * 4 + 4):
        with pytest.raises(RemoteProtocolError):
            receive_row_sums(
                received, bytes(length), (2, 3, 1), np.uint32, both.mu.reply_hash("products", bytes(16))
            )
