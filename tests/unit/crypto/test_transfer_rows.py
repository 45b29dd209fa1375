"""Stocks of rows hand out every row once."""

import pickle
from typing import Any

import numpy as np
import pytest
from doubles import seeded_coins

from crypto.errors import LocalProtocolError
from crypto.transfer_rows import ReceivedRows, ReceiverRows, SenderRows, SentRows


def ideal_rows(size: int) -> tuple[SentRows, ReceivedRows]:
    coins = seeded_coins("rows")
    delta, zero, choices = coins.blocks(1)[0], coins.blocks(size), coins.bits(size)
    return SentRows(zero, delta), ReceivedRows(zero ^ (choices[:, np.newaxis] * delta), choices)


def test_rows_are_handed_out_once_and_never_beyond_their_number() -> None:
    sent, received = ideal_rows(10)
    for stock, all_rows in ((SenderRows(sent), sent.rows), (ReceiverRows(received), received.rows)):
        assert stock.remaining == 10
        first, second = stock.take(4), stock.take(6)
        assert np.array_equal(np.concatenate([first.rows, second.rows]), all_rows)
        assert stock.remaining == 0
        assert len(stock.take(0)) == 0
        with pytest.raises(LocalProtocolError, match="1 rows asked for, 0 left"):
            stock.take(1)
        with pytest.raises(LocalProtocolError):
            stock.take(-1)


def test_choices_and_delta_travel_with_the_rows() -> None:
    sent, received = ideal_rows(10)
    stock = ReceiverRows(received)
    assert np.array_equal(np.concatenate([stock.take(4).choices, stock.take(6).choices]), received.choices)
    assert np.array_equal(SenderRows(sent).take(3).delta, sent.delta)


def test_a_refused_take_hands_out_nothing() -> None:
    stock = ReceiverRows(ideal_rows(3)[1])
    with pytest.raises(LocalProtocolError):
        stock.take(4)
    assert len(stock.take(3)) == 3


def test_both_are_the_blocks_of_both_choices() -> None:
    sent, received = ideal_rows(20)
    both = sent.both()
    assert both.shape == (2, 20, 2)
    assert np.array_equal(both[received.choices, np.arange(20)], received.rows)


def test_wrong_shapes_are_refused() -> None:
    rows: Any = np.zeros((3, 2), np.uint64)
    for choices in (np.zeros(2, np.uint8), np.zeros((3, 1), np.uint8)):
        with pytest.raises(ValueError, match="one choice"):
            ReceivedRows(rows, choices)
    for delta in (np.zeros(3, np.uint64), np.zeros((1, 2), np.uint64)):
        with pytest.raises(ValueError, match="one block"):
            SentRows(rows, delta)
    for wrong in (rows.astype(np.uint32), rows[0], np.zeros((3, 3), np.uint64)):
        with pytest.raises(ValueError, match="blocks"):
            SentRows(wrong, np.zeros(2, np.uint64))
        with pytest.raises(ValueError, match="blocks"):
            ReceivedRows(wrong, np.zeros(3, np.uint8))


def test_rows_are_neither_shown_nor_pickled() -> None:
    for secret in ideal_rows(3):
        assert repr(secret) == f"{type(secret).__name__}()"
        with pytest.raises(TypeError, match="secret"):
            pickle.dumps(secret)
