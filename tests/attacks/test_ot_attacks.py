"""Attacks on oblivious transfers: each works with its safeguard off and fails with it on.

The attacker is the peer (or the broker with the peer), who sees two answers where a unit that
was restarted, restored from a backup or rebuilt has answered the same step twice.
"""

import hashlib

import numpy as np
import numpy.typing as npt
import pytest
from doubles import seeded_coins
from vector_keys import vector_case

from crypto.base_ot import answer_base_transfers, start_base_transfers
from crypto.bit_matrix import COLUMNS
from crypto.block_hash import BlockHash
from crypto.correlated_ot import receive_words, send_bits, send_words
from crypto.dtpkc import (
    Ciphertext,
    Parameters,
    WeakPrivateKey,
    add_plain,
    decode_ciphertexts,
    scale,
)
from crypto.errors import LocalProtocolError
from crypto.garbling import reply_salt
from crypto.ot_extension import (
    ReceivedRows,
    ReceiverBase,
    ReceiverRows,
    SenderRows,
    SentRows,
    synthetic_nonce,
)
from crypto.profiles import Profile

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

SEED = b"e" * 32
LABEL = ("1", "session", 7, 0)
TRANSCRIPT = hashlib.sha256(b"transcript").digest()


def receiver_base() -> ReceiverBase:
    coins = seeded_coins("base")
    zero, one = (tuple(coins.bytes(16) for _ in range(COLUMNS)) for _ in range(2))
    return ReceiverBase(zero, one)


def rows_of(choices: Bits) -> tuple[SentRows, ReceivedRows]:
    coins = seeded_coins("rows")
    delta, zero = coins.blocks(1)[0], coins.blocks(len(choices))
    return SentRows(zero, delta), ReceivedRows(zero ^ (choices[:, np.newaxis] * delta), choices)


# Two receiver messages of one step


def choice_difference(first: bytes, second: bytes) -> Bits | None:
    """Return b ⊕ b' as the sender reads it off two messages, or None if the columns disagree."""
    columns = [np.frombuffer(message, np.uint8).reshape(COLUMNS, -1) for message in (first, second)]
    difference = columns[0] ^ columns[1]
    if not (difference == difference[0]).all():
        return None
    return np.unpackbits(difference[0], bitorder="little")


def test_a_repeated_nonce_gives_the_difference_of_choices() -> None:
    first, second = seeded_coins(1).bits(256), seeded_coins(2).bits(256)
    base, nonce = receiver_base(), b"counter of step7"
    found = choice_difference(base.extend(first, nonce)[0], base.extend(second, nonce)[0])
    assert found is not None
    assert np.array_equal(found, first ^ second)


@pytest.mark.parametrize("flipped", [1, 128, 256])
def test_a_synthetic_nonce_gives_nothing(flipped: int) -> None:
    first = seeded_coins(1).bits(256)
    second = first.copy()
    second[:flipped] ^= 1
    base = receiver_base()
    messages = [base.extend(bits, synthetic_nonce(SEED, LABEL, bits))[0] for bits in (first, second)]
    assert choice_difference(*messages) is None
    difference = np.frombuffer(messages[0], np.uint8) ^ np.frombuffer(messages[1], np.uint8)
    ones = int(np.unpackbits(difference).sum())
    # A fair coin per bit: 6 deviations of half the root of 128 · 256.
    assert abs(ones - 128 * 128) < 6 * 91


def test_a_synthetic_nonce_also_covers_the_other_inputs() -> None:
    # Equal choices with other inputs must not be recognisable as equal.
    bits, base = seeded_coins(1).bits(128), receiver_base()
    messages = [base.extend(bits, synthetic_nonce(SEED, LABEL, bits, other))[0] for other in (b"1", b"2")]
    assert choice_difference(*messages) is None


def test_a_restart_with_equal_inputs_repeats_itself_byte_for_byte() -> None:
    bits = seeded_coins(1).bits(128)
    messages = {receiver_base().extend(bits, synthetic_nonce(SEED, LABEL, bits))[0] for _ in range(2)}
    assert len(messages) == 1


# Two sender replies to one request


def difference_of_corrections(first: bytes, second: bytes, width: int) -> Words:
    """Return c − c': what a receiver learns from two replies whatever its choices were."""
    one, other = (np.frombuffer(reply, np.uint32).reshape(-1, width) for reply in (first, second))
    return one - other


def answer(correlations: Words, salt: bytes) -> bytes:
    sent, _ = rows_of(np.zeros(len(correlations), np.uint8))
    return send_words(sent, correlations, BlockHash("cot", salt, TRANSCRIPT))[1]


def salt_of(request: bytes, correlations: Words) -> bytes:
    return reply_salt(SEED, LABEL, request, correlations.tobytes())


def test_two_answers_under_one_salt_give_the_difference_of_correlations() -> None:
    first, second = (seeded_coins(s).words((64, 3), np.uint32) for s in (1, 2))
    found = difference_of_corrections(answer(first, b"s" * 16), answer(second, b"s" * 16), 3)
    assert np.array_equal(found, first - second)


def test_one_known_answer_under_a_repeated_salt_opens_the_other_and_the_sender_share() -> None:
    # With δ' known (a public constant, say), the receiver of b = 0 learns δ, although it must not.
    secret, known = seeded_coins(1).words((64, 1), np.uint32), np.ones((64, 1), np.uint32)
    replies = answer(secret, b"s" * 16), answer(known, b"s" * 16)
    _, received = rows_of(np.zeros(64, np.uint8))
    share = receive_words(received, replies[0], 1, np.uint32, BlockHash("cot", b"s" * 16, TRANSCRIPT))
    opened = difference_of_corrections(*replies, 1) + known
    assert np.array_equal(opened, secret)
    assert not np.array_equal(share, secret), "the protocol itself gave the receiver only x"


@pytest.mark.parametrize("changed", [1, 32, 64])
def test_salts_bound_to_the_secrets_give_nothing(changed: int) -> None:
    first = seeded_coins(1).words((64, 3), np.uint32)
    second = first.copy()
    second[:changed] += np.uint32(1)
    replies = [answer(words, salt_of(b"request", words)) for words in (first, second)]
    found = difference_of_corrections(replies[0], replies[1], 3)
    # 192 words, each right by chance with probability 2^-32.
    assert not np.any(found == first - second)
    # Nor does any other linear relation of the two show: the differences look like fair bits.
    ones = int(np.unpackbits(found.view(np.uint8)).sum())
    assert abs(ones - 16 * 192) < 6 * 40


def test_salts_bound_to_the_request_give_nothing() -> None:
    # Equal secrets in reply to two requests must not be recognisable as equal.
    words = seeded_coins(1).words((64, 3), np.uint32)
    replies = [answer(words, salt_of(request, words)) for request in (b"one", b"two")]
    assert not np.any(difference_of_corrections(replies[0], replies[1], 3) == 0)


def test_bit_transfers_under_one_salt_leak_as_words_do() -> None:
    first, second = seeded_coins(1).bits(256), seeded_coins(2).bits(256)
    sent, _ = rows_of(np.zeros(256, np.uint8))

    def relation(salts: tuple[bytes, bytes]) -> Bits:
        replies = [
            send_bits(sent, bits, BlockHash("and", salt, TRANSCRIPT))[1]
            for bits, salt in zip((first, second), salts, strict=True)
        ]
        one, other = (np.unpackbits(np.frombuffer(r, np.uint8), bitorder="little") for r in replies)
        return one ^ other

    assert np.array_equal(relation((b"s" * 16, b"s" * 16)), first ^ second)
    salts = [reply_salt(SEED, LABEL, b"request", bits.tobytes()) for bits in (first, second)]
    agreeing = int((relation((salts[0], salts[1])) == first ^ second).sum())
    assert abs(agreeing - 128) < 6 * 8


def test_rows_that_serve_two_passes_need_two_salts() -> None:
    # A record's bits are extended once; its second pass carries other gradients.
    passes = [seeded_coins(s).words((32, 4), np.uint32) for s in (1, 2)]
    repeated = [answer(words, b"s" * 16) for words in passes]
    assert np.array_equal(difference_of_corrections(repeated[0], repeated[1], 4), passes[0] - passes[1])
    salted = [answer(words, salt_of(b"request", words)) for words in passes]
    assert not np.any(difference_of_corrections(salted[0], salted[1], 4) == passes[0] - passes[1])


# One batch of rows for pads and for labels


def test_rows_are_handed_out_for_one_purpose() -> None:
    sent, received = rows_of(np.zeros(8, np.uint8))
    for stock in (SenderRows(sent), ReceiverRows(received)):
        labels, pads = stock.take(5), stock.take(3)
        assert not {row.tobytes() for row in labels.rows} & {row.tobytes() for row in pads.rows}
        with pytest.raises(LocalProtocolError):
            stock.take(1)


# Base transfers


def base_key() -> WeakPrivateKey:
    case = vector_case(256)
    profile = Profile("test", 256, 100, insecure=True)
    return WeakPrivateKey.from_theta(Parameters(profile, int(case["N"]), int(case["g"])), 0xABCDEF0123456)


def confirms(parameters: Parameters, asked: Ciphertext, answered: Ciphertext, guess: int) -> bool:
    """Tell whether k1 − k0 is the guess: the receiver knows both ciphertexts."""
    return scale(parameters, asked, guess).t2 == answered.t2


def test_a_base_transfer_without_refresh_confirms_the_other_seed() -> None:
    key, choices = base_key(), seeded_coins(1).bits(COLUMNS)
    parameters = key.public.parameters
    request = start_base_transfers(key.public, choices, seeded_coins(2))
    reply, base = answer_base_transfers(key.public, request, seeded_coins(3))
    asked, answered = (decode_ciphertexts(parameters, data) for data in (request, reply))
    for index in range(8):
        k0, k1 = (int.from_bytes(s[index], "big") for s in (base.seeds_zero, base.seeds_one))
        bare = add_plain(parameters, scale(parameters, asked[index], k1 - k0), k0)
        assert key.decrypt(bare) == (k0, k1)[choices[index]]
        assert confirms(parameters, asked[index], bare, k1 - k0)
        assert not confirms(parameters, asked[index], bare, k1 - k0 + 1)
        assert key.decrypt(answered[index]) == (k0, k1)[choices[index]]
        assert not confirms(parameters, asked[index], answered[index], k1 - k0)
