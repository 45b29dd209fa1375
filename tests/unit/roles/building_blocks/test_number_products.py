"""Numbers in bits times matrices in words, and bits of records that choose again and again."""

import numpy as np
import numpy.typing as npt
import pytest
from doubles import seeded_coins
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_blocks import pair
from tenants import SmallTenant, small_tenant

from crypto.block_hash import BlockHash
from crypto.counting import counting
from crypto.errors import LocalProtocolError, RemoteProtocolError
from roles.building_blocks.multiply import (
    receive_column_sums,
    receive_row_sums,
    send_column_sums,
    send_row_sums,
)
from roles.building_blocks.number_products import NumberProducts

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


def hashes(salt: int) -> tuple[BlockHash, BlockHash]:
    return BlockHash("p", salt.to_bytes(16, "big"), bytes(32)), BlockHash(
        "p", salt.to_bytes(16, "big"), bytes(32)
    )


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    lines=st.integers(1, 3),
    parts=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    width=st.integers(1, 6),
)
def test_products_are_exact_in_both_directions(
    small: SmallTenant, seed: int, lines: int, parts: list[int], width: int
) -> None:
    weights = (1, 2, 4, -8)
    shape = NumberProducts(lines, tuple(parts), weights, width)
    coins = seeded_coins(seed)
    bits_mu, bits_su = (coins.bits((4, lines, shape.items)) for _ in range(2))
    matrix_mu, matrix_su = (coins.words((shape.items, width), np.uint32) for _ in range(2))
    units = pair(small, seed)
    received, sent = units.rows_of_mu(shape.choices(bits_mu))
    a, b = hashes(1)
    out_su, corrections = shape.send(sent, bits_su, matrix_su, a)
    assert len(corrections) == shape.payload_bytes
    out = out_su + shape.receive(received, corrections, b)
    received, sent = units.rows_of_su(shape.choices(bits_su))
    a, b = hashes(2)
    out_mu, corrections = shape.send(sent, bits_mu, matrix_mu, a)
    out += out_mu + shape.receive(received, corrections, b)
    numbers = np.tensordot(np.array(weights), (bits_mu ^ bits_su).astype(np.int64), axes=1)
    matrix = (matrix_mu + matrix_su).astype(np.int64)
    start = 0
    for index, size in enumerate(parts):
        expected = numbers[:, start : start + size] @ matrix[start : start + size]
        np.testing.assert_array_equal(out[index], expected.astype(np.uint32))
        start += size


def test_long_products_are_worked_off_in_runs(small: SmallTenant) -> None:
    shape = NumberProducts(1, (40,), (1, 2, 4), 2000)
    coins = seeded_coins("runs")
    bits, matrix = coins.bits((3, 1, 40)), coins.words((40, 2000), np.uint32)
    received, sent = pair(small, "runs").rows_of_mu(shape.choices(bits))
    a, b = hashes(1)
    with counting() as tally:
        out, corrections = shape.send(sent, np.zeros_like(bits), matrix, a)
    assert tally.cot_payload_bytes == shape.payload_bytes == 120 * 2000 * 4
    out = out + shape.receive(received, corrections, b)
    numbers = bits[0, 0] + 2 * bits[1, 0] + 4 * bits[2, 0].astype(np.uint32)
    np.testing.assert_array_equal(out[0, 0], (numbers[:, np.newaxis] * matrix).sum(axis=0, dtype=np.uint32))


def test_other_shapes_are_refused(small: SmallTenant) -> None:
    shape = NumberProducts(1, (2,), (1,), 2)
    received, sent = pair(small, "shapes").rows_of_mu(np.zeros(2, dtype=np.uint8))
    with pytest.raises(LocalProtocolError):
        shape.send(sent, np.zeros((1, 1, 3), np.uint8), np.zeros((2, 2), np.uint32), hashes(1)[0])
    with pytest.raises(LocalProtocolError):
        shape.send(sent, np.zeros((1, 1, 2), np.uint8), np.zeros((2, 3), np.uint32), hashes(1)[0])
    with pytest.raises(RemoteProtocolError):
        shape.receive(received, bytes(15), hashes(1)[0])


def test_the_rows_of_a_records_bits_serve_again_under_another_salt(small: SmallTenant) -> None:
    coins = seeded_coins("again")
    bits_mu, bits_su = coins.bits((7, 5)), coins.bits((7, 5))
    bits = (bits_mu ^ bits_su).astype(np.int64)
    received, sent = pair(small, "again").rows_of_mu(bits_mu.reshape(-1))
    for salt in range(3):
        table, values = coins.words((5, 2), np.uint32), coins.words((7, 2), np.uint32)
        a, b = hashes(2 * salt)
        sums, corrections = send_row_sums(sent, bits_su, table, a)
        found = sums + receive_row_sums(received, corrections, (7, 5, 2), np.uint32, b)
        np.testing.assert_array_equal(found, (bits @ table.astype(np.int64)).astype(np.uint32))
        a, b = hashes(2 * salt + 1)
        sums, corrections = send_column_sums(sent, bits_su, values, (0, 4), a)
        found = sums + receive_column_sums(received, corrections, (7, 5, 2), (0, 4), np.uint32, b)
        for part, rows in enumerate((slice(0, 4), slice(4, 7))):
            expected = bits[rows].T @ values[rows].astype(np.int64)
            np.testing.assert_array_equal(found[part], expected.astype(np.uint32))
