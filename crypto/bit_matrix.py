"""Transpose a matrix of 128 bit columns into 128-bit rows, by mask and shift on words."""

import numpy as np
import numpy.typing as npt

COLUMNS = 128
_WORD = 64

# Words of each column that are transposed together: 128 columns of 128 words are 128 KB, which
# stays in the second-level cache through all six stages.
_STRIP_WORDS = 128

# Stage j swaps the off-diagonal quarters of every 2j × 2j bit block; the mask keeps the low j
# bits out of every 2j.
_STAGES = tuple(
    (distance, np.uint64(sum(((1 << distance) - 1) << at for at in range(0, _WORD, 2 * distance))))
    for distance in (32, 16, 8, 4, 2, 1)
)


def rows_of_columns(columns: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Transpose 128 columns of n bits into n rows of 128 bits.

    Args:
        columns: Shape (128, n/64): bit r mod 64 of word r // 64 of column c is the entry (r, c).

    Returns:
        Shape (n, 2), blocks as (low, high): entry (r, c) is bit c mod 64 of half c // 64.

    Raises:
        ValueError: The array has another number of columns.

    Cost:
        About 25 ns per row.
    """
    if columns.ndim != 2 or columns.shape[0] != COLUMNS:
        raise ValueError(f"the matrix has {COLUMNS} columns")
    words = columns.shape[1]
    rows = np.empty((words, _WORD, 2), dtype=np.uint64)
    for begin in range(0, words, _STRIP_WORDS):
        end = min(begin + _STRIP_WORDS, words)
        strip = columns[:, begin:end].reshape(2, _WORD, end - begin).copy()
        _transpose_words(strip)
        # strip[half, r, w] now holds the columns of `half` in row 64·w + r.
        rows[begin:end] = strip.transpose(2, 1, 0)
    return rows.reshape(words * _WORD, 2)


def _transpose_words(strip: npt.NDArray[np.uint64]) -> None:
    """Transpose, in place, the 64 × 64 bit matrices whose rows run along the middle axis."""
    halves, _, width = strip.shape
    for distance, mask in _STAGES:
        pairs = strip.reshape(halves, _WORD // (2 * distance), 2, distance, width)
        upper, lower = pairs[:, :, 0], pairs[:, :, 1]
        swapped = upper >> np.uint64(distance)
        swapped ^= lower
        swapped &= mask
        lower ^= swapped
        swapped <<= np.uint64(distance)
        upper ^= swapped
