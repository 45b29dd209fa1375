"""Both halves of the extension in memory, what they refuse, and whether they look random."""

import hashlib
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from doubles import seeded_coins
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.counting import counting
from crypto.errors import RemoteProtocolError
from crypto.ot_extension import (
    ReceivedRows,
    ReceiverBase,
    SenderBase,
    SentRows,
    choices_of_delta,
    draw_delta,
    synthetic_nonce,
)

NONCE = b"n" * 16
Bits = npt.NDArray[np.uint8]


def base_pair(seed: int = 0, *, garbling: bool = True) -> tuple[ReceiverBase, SenderBase]:
    """Return what ideal base transfers would leave with both units."""
    coins = seeded_coins(seed)
    zero = tuple(coins.bytes(16) for _ in range(128))
    one = tuple(coins.bytes(16) for _ in range(128))
    delta = draw_delta(coins, garbling=garbling)
    chosen = tuple((zero, one)[bit][c] for c, bit in enumerate(choices_of_delta(delta)))
    return ReceiverBase(zero, one), SenderBase(delta, chosen)


def extend(choices: Bits, nonce: bytes = NONCE, seed: int = 0) -> tuple[ReceivedRows, SentRows]:
    receiver, sender = base_pair(seed)
    message, received = receiver.extend(choices, nonce)
    sent = sender.extend(message, nonce, len(choices))
    return received.take(len(choices)), sent.take(len(choices))


def chi_square(counts: npt.NDArray[np.int64]) -> float:
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2 / expected).sum())


@settings(max_examples=25, deadline=None)
@given(size=st.integers(0, 300), seed=st.integers(0, 2**32))
def test_rows_differ_by_choice_times_delta(size: int, seed: int) -> None:
    choices = seeded_coins(seed).bits(size)
    received, sent = extend(choices, seed=seed % 3)
    assert received.rows.shape == sent.rows.shape == (size, 2)
    assert np.array_equal(received.choices, choices)
    assert np.array_equal(received.rows, sent.rows ^ (choices[:, np.newaxis] * sent.delta))
    assert np.array_equal(sent.both()[0], sent.rows)
    assert np.array_equal(sent.both()[1] ^ sent.rows, np.tile(sent.delta, (size, 1)))


def test_a_large_batch_agrees_and_its_colours_show_the_choice_against_the_zero_label() -> None:
    choices = seeded_coins(5).bits(20_000)
    received, sent = extend(choices)
    assert np.array_equal((received.rows[:, 0] ^ sent.rows[:, 0]) & np.uint64(1), choices)


def test_the_message_is_both_streams_and_the_choices() -> None:
    receiver, _ = base_pair()
    choices = np.zeros(200, dtype=np.uint8)
    choices[[0, 9, 199]] = 1
    message, received = receiver.extend(choices, NONCE)
    assert len(message) == 16 * 256
    column, choice_bytes = 77, bytearray(32)
    choice_bytes[0], choice_bytes[1], choice_bytes[24] = 1, 2, 128

    def stream(seed: bytes) -> int:
        key = hashlib.sha256(b"privml/ot-column/1" + seed + NONCE).digest()[:16]
        data = Cipher(algorithms.AES(key), modes.CTR(bytes(15) + b"\x02")).encryptor().update(bytes(32))
        return int.from_bytes(data, "little")

    zero, one = stream(receiver.seeds_zero[column]), stream(receiver.seeds_one[column])
    sent = int.from_bytes(message[32 * column : 32 * (column + 1)], "little")
    assert sent == zero ^ one ^ int.from_bytes(choice_bytes, "little")
    high = received.take(200).rows[:, 1]
    assert [int(word) >> (column - 64) & 1 for word in high] == [zero >> row & 1 for row in range(200)]


@pytest.mark.parametrize("change", [b"", b"x"])
def test_a_message_of_another_length_is_the_peers_fault(change: bytes) -> None:
    receiver, sender = base_pair()
    message, _ = receiver.extend(np.ones(100, dtype=np.uint8), NONCE)
    wrong = message + change if change else message[:-1]
    with pytest.raises(RemoteProtocolError, match="2048 bytes of transfers due"):
        sender.extend(wrong, NONCE, 100)
    with pytest.raises(RemoteProtocolError):
        sender.extend(message, NONCE, 129)
    with pytest.raises(RemoteProtocolError, match="nonce"):
        sender.extend(message, NONCE[:-1], 100)


def test_own_mistakes_are_refused() -> None:
    receiver, sender = base_pair()
    wrongs: list[Any] = [np.full(3, 2, np.uint8), np.zeros((2, 2), np.uint8), np.zeros(3, np.int64)]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="zeros and ones"):
            receiver.extend(wrong, NONCE)
    with pytest.raises(ValueError, match="nonce"):
        receiver.extend(np.zeros(3, np.uint8), b"")
    with pytest.raises(ValueError, match="128 base seeds"):
        ReceiverBase(receiver.seeds_zero[:-1], receiver.seeds_one)
    with pytest.raises(ValueError, match="128 base seeds"):
        SenderBase(sender.delta, (*sender.seeds[:-1], b"short"))
    with pytest.raises(ValueError, match="16 bytes"):
        SenderBase(sender.delta[:-1], sender.seeds)
    with pytest.raises(ValueError, match="not negative"):
        sender.extend(b"", NONCE, -1)


def test_the_garblers_delta_has_a_colour_bit() -> None:
    _, sender = base_pair()
    even = bytes([sender.delta[0] & 0xFE]) + sender.delta[1:]
    for delta in (even, b""):
        with pytest.raises(ValueError, match="bit 0"):
            SenderBase.for_garbling(delta, sender.seeds)
    assert SenderBase.for_garbling(sender.delta, sender.seeds) == sender
    garbling = [draw_delta(seeded_coins(s), garbling=True)[0] & 1 for s in range(40)]
    plain = [draw_delta(seeded_coins(s), garbling=False)[0] & 1 for s in range(40)]
    assert set(garbling) == {1}
    assert set(plain) == {0, 1}


def test_the_nonce_is_a_function_of_everything_it_must_cover() -> None:
    choices = np.array([1, 0, 1], dtype=np.uint8)
    label = ("1", "session", 4, 2)
    base = synthetic_nonce(b"s" * 32, label, choices, b"in", b"put")
    assert len(base) == 16
    assert base == synthetic_nonce(b"s" * 32, label, choices, b"in", b"put")
    others = {
        synthetic_nonce(b"r" * 32, label, choices, b"in", b"put"),
        synthetic_nonce(b"s" * 32, ("1", "session", 4, 3), choices, b"in", b"put"),
        synthetic_nonce(b"s" * 32, label, np.array([1, 0, 1, 0], np.uint8), b"in", b"put"),
        synthetic_nonce(b"s" * 32, label, np.array([1, 1, 1], np.uint8), b"in", b"put"),
        synthetic_nonce(b"s" * 32, label, choices, b"inp", b"ut"),
        synthetic_nonce(b"s" * 32, label, choices, b"input"),
    }
    assert len(others - {base}) == 6


def test_extending_twice_under_two_nonces_shares_no_stream() -> None:
    receiver, _ = base_pair()
    choices = np.zeros(128 * 8, dtype=np.uint8)
    _, first = receiver.extend(choices, bytes(16))
    # The counter block after 0 would be this nonce, if nonces were counters of one key.
    _, second = receiver.extend(choices, (1).to_bytes(16, "big"))
    one, two = first.take(1024).rows, second.take(1024).rows
    assert not {r.tobytes() for r in one} & {r.tobytes() for r in two}
    assert not np.array_equal(one[128:256], two[:128])


def test_the_message_looks_uniform_whatever_the_choices() -> None:
    # 255 degrees of freedom: mean 255, deviation 22.6; 400 is six deviations away.
    receiver, _ = base_pair(4)
    size = 8192
    histograms = []
    for choices in (np.zeros(size, np.uint8), np.ones(size, np.uint8), seeded_coins(2).bits(size)):
        label = ("test",)
        message, received = receiver.extend(choices, synthetic_nonce(b"s" * 32, label, choices))
        counts = np.bincount(np.frombuffer(message, np.uint8), minlength=256)
        assert chi_square(counts) < 400
        assert chi_square(np.bincount(received.take(size).rows.view(np.uint8).ravel(), minlength=256)) < 400
        histograms.append(counts)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        difference = histograms[one] - histograms[other]
        assert float((difference**2 / (histograms[one] + histograms[other])).sum()) < 400


def test_each_bit_of_a_row_is_balanced() -> None:
    received, sent = extend(seeded_coins(8).bits(4096))
    for rows in (received.rows, sent.rows):
        ones = np.unpackbits(rows.view(np.uint8), axis=1).sum(axis=0, dtype=np.int64)
        assert np.abs(ones - 2048).max() < 6 * 32, "six deviations of a fair coin"


def test_secrets_are_neither_shown_nor_pickled() -> None:
    for secret in base_pair():
        assert repr(secret) == f"{type(secret).__name__}()"
        with pytest.raises(TypeError, match="secret"):
            pickle.dumps(secret)


def test_rows_are_counted_at_both_ends() -> None:
    receiver, sender = base_pair()
    with counting() as tally:
        message, _ = receiver.extend(np.ones(130, dtype=np.uint8), NONCE)
    assert tally.cots == 130
    with counting() as tally:
        sender.extend(message, NONCE, 130)
    assert tally.cots == 130
