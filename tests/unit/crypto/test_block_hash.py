"""The block hash against a scalar oracle, and the bookkeeping of its tweaks."""

import hashlib
import pickle

import numpy as np
import numpy.typing as npt
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from doubles import seeded_coins
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.block_hash import TWEAKS_PER_KEY, BlockHash, Tweaks
from crypto.coins import frame
from crypto.counting import counting

SALT, TRANSCRIPT = b"s" * 16, b"t" * 32
MASK64 = (1 << 64) - 1


def scalar_hash(block: tuple[int, int], tweak: int, purpose: str = "test") -> tuple[int, int]:
    """Return H of one (low, high) block with Python integers, one key schedule per call."""
    low, high = block
    key = hashlib.sha256(frame(purpose, SALT, TRANSCRIPT, tweak // TWEAKS_PER_KEY)).digest()[:16]
    mixed = high ^ tweak, high ^ low
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    image = encryptor.update(mixed[0].to_bytes(8, "little") + mixed[1].to_bytes(8, "little"))
    return int.from_bytes(image[:8], "little") ^ mixed[0], int.from_bytes(image[8:], "little") ^ mixed[1]


def blocks(count: int, seed: int = 1) -> npt.NDArray[np.uint64]:
    return seeded_coins(seed).blocks(count)


def expected(rows: npt.NDArray[np.uint64], tweaks: range) -> list[tuple[int, int]]:
    return [scalar_hash((int(r[0]), int(r[1])), t) for r, t in zip(rows, tweaks, strict=True)]


def as_pairs(rows: npt.NDArray[np.uint64]) -> list[tuple[int, int]]:
    return [(int(r[0]), int(r[1])) for r in rows]


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5))
def test_hash_is_the_formula_with_a_running_tweak(sizes: list[int]) -> None:
    hasher, start = BlockHash("test", SALT, TRANSCRIPT), 0
    for size in sizes:
        rows = blocks(size, start)
        assert as_pairs(hasher.hash(rows)) == expected(rows, range(start, start + size))
        start += size


@pytest.mark.parametrize("values", [1, 2])
def test_the_key_changes_within_a_batch(values: int) -> None:
    hasher = BlockHash("test", SALT, TRANSCRIPT)
    first = TWEAKS_PER_KEY - 3
    hasher.reserve(first)
    rows = blocks(values * (TWEAKS_PER_KEY + 10)).reshape(values, -1, 2)
    hashed = hasher.hash_reserved(rows, hasher.reserve(rows.shape[1]))
    for value in range(values):
        for at in (0, 2, 3, 4, TWEAKS_PER_KEY + 2, TWEAKS_PER_KEY + 3, TWEAKS_PER_KEY + 9):
            assert as_pairs(hashed[value, at : at + 1]) == expected(
                rows[value, at : at + 1], range(first + at, first + at + 1)
            )


def test_a_batch_gives_what_its_parts_give() -> None:
    rows = blocks(2 * TWEAKS_PER_KEY + 77)
    whole = BlockHash("test", SALT, TRANSCRIPT).hash(rows)
    hasher = BlockHash("test", SALT, TRANSCRIPT)
    parts = [hasher.hash(part) for part in np.split(rows, [5, 40_000, 40_001, 66_000])]
    assert np.array_equal(whole, np.concatenate(parts))


def test_both_values_of_a_wire_share_the_tweak_of_the_active_one() -> None:
    rows = blocks(2 * 50).reshape(2, 50, 2)
    garbler, evaluator = (BlockHash("test", SALT, TRANSCRIPT) for _ in range(2))
    both = garbler.hash_reserved(rows, garbler.reserve(50))
    assert np.array_equal(evaluator.hash(rows[1]), both[1])
    assert np.array_equal(evaluator.hash(rows[0, :7]), garbler.hash(rows[0, :7]))


def test_reserved_tweaks_serve_in_any_order() -> None:
    rows = blocks(20)
    hasher = BlockHash("test", SALT, TRANSCRIPT)
    early, _, late = hasher.reserve(20), hasher.reserve(TWEAKS_PER_KEY), hasher.reserve(20)
    second = hasher.hash_reserved(rows[np.newaxis], late)[0]
    first = hasher.hash_reserved(rows[np.newaxis], early)[0]
    assert as_pairs(first) == expected(rows, range(20))
    assert as_pairs(second) == expected(rows, range(late.start, late.start + 20))


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(0, 12), length=st.integers(1, 70), values=st.integers(1, 2))
def test_a_pad_is_the_hash_under_consecutive_tweaks(rows: int, length: int, values: int) -> None:
    hasher, inputs = BlockHash("test", SALT, TRANSCRIPT), blocks(rows * values).reshape(values, rows, 2)
    pads = hasher.pads(inputs, length)
    assert pads.shape == (values, rows, length)
    width = -(-length // 16)
    for value in range(values):
        for row in range(rows):
            repeated = np.repeat(inputs[value, row : row + 1], width, axis=0)
            pairs = expected(repeated, range(row * width, (row + 1) * width))
            stream = b"".join(low.to_bytes(8, "little") + high.to_bytes(8, "little") for low, high in pairs)
            assert pads[value, row].tobytes() == stream[:length]
    assert hasher.reserve(0).start == rows * width


def test_pads_cross_the_change_of_keys() -> None:
    rows = blocks(TWEAKS_PER_KEY // 2 + 100)
    together = BlockHash("test", SALT, TRANSCRIPT).pads(rows[np.newaxis], 40)[0]
    hasher = BlockHash("test", SALT, TRANSCRIPT)
    parts = [hasher.pads(part[np.newaxis], 40)[0] for part in (rows[:10], rows[10:])]
    assert np.array_equal(together, np.concatenate(parts))


@pytest.mark.parametrize(
    "other",
    [
        BlockHash("other", SALT, TRANSCRIPT),
        BlockHash("test", b"S" * 16, TRANSCRIPT),
        BlockHash("test", SALT, b"T" * 32),
    ],
    ids=["purpose", "salt", "transcript"],
)
def test_purpose_salt_and_transcript_separate(other: BlockHash) -> None:
    rows = blocks(100)
    here, there = BlockHash("test", SALT, TRANSCRIPT).hash(rows), other.hash(rows)
    assert not set(as_pairs(here)) & set(as_pairs(there))


def test_a_repeated_block_hashes_differently_under_each_tweak() -> None:
    hashed = BlockHash("test", SALT, TRANSCRIPT).hash(np.zeros((1000, 2), dtype=np.uint64))
    assert len(set(as_pairs(hashed))) == 1000


def test_no_linear_relation_between_offsets() -> None:
    rows, delta = blocks(500), blocks(1, 9)
    hasher = BlockHash("test", SALT, TRANSCRIPT)
    both = hasher.hash_reserved(np.stack([rows, rows ^ delta]), hasher.reserve(500))
    assert len(set(as_pairs(both[0] ^ both[1]))) == 500


def test_inputs_of_any_stride_are_taken() -> None:
    wide = blocks(60).reshape(20, 3, 2)
    hashed = BlockHash("test", SALT, TRANSCRIPT).hash(wide[:, 1])
    assert as_pairs(hashed) == expected(wide[:, 1].copy(), range(20))


def test_wrong_shapes_are_refused() -> None:
    hasher = BlockHash("test", SALT, TRANSCRIPT)
    with pytest.raises(ValueError, match="one tweak"):
        hasher.hash_reserved(blocks(4)[np.newaxis], Tweaks(0, 3))
    with pytest.raises(ValueError, match="two values"):
        hasher.hash_reserved(blocks(6).reshape(3, 2, 2), hasher.reserve(2))
    with pytest.raises(ValueError, match="shape"):
        hasher.pads(blocks(3), 4)
    with pytest.raises(ValueError, match="at least one byte"):
        hasher.pads(blocks(3)[np.newaxis], 0)
    with pytest.raises(ValueError, match="negative"):
        hasher.reserve(-1)
    assert hasher.reserve(1).start == 2, "a refused call consumes no tweaks"


@pytest.mark.parametrize(("salt", "transcript"), [(b"", TRANSCRIPT), (SALT, b""), (SALT * 2, TRANSCRIPT)])
def test_lengths_of_salt_and_transcript_are_fixed(salt: bytes, transcript: bytes) -> None:
    with pytest.raises(ValueError, match="bytes"):
        BlockHash("test", salt, transcript)


def test_every_call_is_counted() -> None:
    hasher = BlockHash("test", SALT, TRANSCRIPT)
    with counting() as tally:
        hasher.hash(blocks(5))
        hasher.pads(blocks(6).reshape(2, 3, 2), 33)
    assert tally.hashes == 5 + 2 * 3 * 3


def test_the_counter_cannot_be_forked_and_the_salt_is_not_shown() -> None:
    hasher = BlockHash("test", SALT, TRANSCRIPT)
    assert "sss" not in repr(hasher)
    with pytest.raises(TypeError, match="forked"):
        pickle.dumps(hasher)
