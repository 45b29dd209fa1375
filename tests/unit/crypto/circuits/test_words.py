"""Words to bits and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.circuits.words import bits_words, word_bits
from crypto.errors import LocalProtocolError


@given(seed=st.integers(0, 2**32), dtype=st.sampled_from([np.uint8, np.uint16, np.uint32, np.uint64]))
def test_round_trip(seed: int, dtype: type[np.uint64]) -> None:
    info = np.iinfo(dtype)
    words = np.random.default_rng(seed).integers(0, info.max, (3, 4), dtype, endpoint=True)
    bits = word_bits(words, info.bits)
    assert bits.shape == (info.bits, 3, 4)
    np.testing.assert_array_equal(bits_words(bits, dtype), words)
    np.testing.assert_array_equal(bits_words(bits[:5], dtype), words & dtype(31))


def test_order_and_limits() -> None:
    assert word_bits(np.array([6], np.uint32), 4).T.tolist() == [[0, 1, 1, 0]]
    for width in (0, 33):
        with pytest.raises(LocalProtocolError):
            word_bits(np.array([6], np.uint32), width)
    with pytest.raises(LocalProtocolError):
        bits_words(np.zeros((9, 1), np.uint8), np.uint8)
