"""Words as bits and back, at the border between word shares and circuits."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from crypto.circuits.engine import Bits
from crypto.errors import LocalProtocolError

Word = TypeVar("Word", np.uint8, np.uint16, np.uint32, np.uint64)


def word_bits(words: npt.NDArray[Word], width: int) -> Bits:
    """Return the low bits of unsigned words, little-endian, shape (width, *words.shape).

    Raises:
        LocalProtocolError: The words are signed, or have fewer bits than that.
    """
    if words.dtype.kind != "u" or not 0 < width <= 8 * words.dtype.itemsize:
        raise LocalProtocolError(f"{words.dtype} words do not have {width} bits")
    shifts = np.arange(width, dtype=words.dtype).reshape(-1, *[1] * words.ndim)
    return ((words[np.newaxis] >> shifts) & words.dtype.type(1)).astype(np.uint8)


def bits_words(bits: Bits, dtype: type[Word]) -> npt.NDArray[Word]:
    """Return unsigned words from little-endian bits, shape bits.shape[1:].

    Raises:
        LocalProtocolError: There are more bits than the words have.
    """
    if len(bits) > 8 * np.dtype(dtype).itemsize:
        raise LocalProtocolError(f"{len(bits)} bits do not fit {dtype.__name__} words")
    words = np.zeros(bits.shape[1:], dtype=dtype)
    for index, row in enumerate(bits):
        words |= row.astype(dtype) << dtype(index)
    return words
