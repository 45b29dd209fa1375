"""One-hot circuits: every number decoded, every encoding of few bits checked."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_garbling import to_bits

from crypto.circuits.engine import PlainEngine
from crypto.circuits.one_hot import all_of, decode, is_valid_one_hot
from crypto.errors import LocalProtocolError


@pytest.mark.parametrize("bits", range(1, 9))
def test_decode_every_number(bits: int) -> None:
    batch = 1 << bits
    engine = PlainEngine(batch)
    np.testing.assert_array_equal(decode(engine, to_bits(np.arange(batch), bits)), np.eye(batch))
    assert engine.ands == batch * (2**bits - bits - 1)


@pytest.mark.parametrize("size", range(1, 11))
def test_validity_of_every_encoding_of_one_attribute(size: int) -> None:
    batch = 1 << size
    encodings = to_bits(np.arange(batch), size)
    valid = is_valid_one_hot(PlainEngine(batch), encodings, [size])
    np.testing.assert_array_equal(valid, encodings.sum(axis=0) == 1)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
    batch=st.sampled_from([1, 3, 130, 2100]),
)
@settings(max_examples=40, deadline=None)
def test_validity_of_several_attributes(sizes: list[int], seed: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    columns = [np.eye(size, dtype=np.uint8)[:, rng.integers(0, size, batch)] for size in sizes]
    encodings = np.concatenate(columns)
    for item in range(0, batch, 2):
        encodings[rng.integers(0, len(encodings)), item] ^= 1
    engine = PlainEngine(batch)
    valid = is_valid_one_hot(engine, encodings, sizes)
    starts = np.cumsum([0, *sizes])
    sums = [encodings[a:b].sum(axis=0) == 1 for a, b in pairwise(starts)]
    np.testing.assert_array_equal(valid, np.logical_and.reduce(sums))
    assert engine.ands == batch * (sum(2 * ((size - 1) // 2) for size in sizes) + len(sizes) - 1)
    assert engine.ands <= batch * sum(sizes)


def test_sizes_must_fit() -> None:
    for sizes in ([2, 2], [], [0, 3]):
        with pytest.raises(LocalProtocolError):
            is_valid_one_hot(PlainEngine(1), np.zeros((3, 1), np.uint8), sizes)


def test_all_of() -> None:
    for width in (1, 2, 3, 5, 8):
        x = np.array(list(product([0, 1], repeat=width)), dtype=np.uint8).T
        engine = PlainEngine(x.shape[1])
        np.testing.assert_array_equal(all_of(engine, x), x.all(axis=0))
        assert engine.ands == (width - 1) * x.shape[1]
