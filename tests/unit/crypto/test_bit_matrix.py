"""The transposition against numpy's own."""

import numpy as np
import pytest
from doubles import seeded_coins
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crypto.bit_matrix import rows_of_columns


@settings(max_examples=30, deadline=None)
@given(words=st.integers(0, 300))
@example(words=128)
@example(words=129)
def test_rows_are_the_transposed_columns(words: int) -> None:
    columns = seeded_coins(words).words((128, words), np.uint64)
    entries = np.unpackbits(columns.view(np.uint8), axis=1, bitorder="little")
    rows = rows_of_columns(columns)
    assert rows.shape == (64 * words, 2)
    assert np.array_equal(np.unpackbits(rows.view(np.uint8), axis=1, bitorder="little"), entries.T)


def test_one_bit_lands_in_its_place() -> None:
    columns = np.zeros((128, 3), dtype=np.uint64)
    columns[70, 2] = np.uint64(1) << np.uint64(5)
    rows = rows_of_columns(columns)
    assert np.argwhere(rows).tolist() == [[2 * 64 + 5, 1]]
    assert rows[133, 1] == 1 << (70 - 64)


def test_the_columns_are_left_as_they_were() -> None:
    columns = seeded_coins(3).words((128, 2), np.uint64)
    before = columns.copy()
    rows_of_columns(columns)
    assert np.array_equal(columns, before)


def test_another_number_of_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="128"):
        rows_of_columns(np.zeros((127, 1), dtype=np.uint64))
