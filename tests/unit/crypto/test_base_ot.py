"""The three steps of base transfers linked in memory, under a 256-bit modulus."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from doubles import seeded_coins
from vector_keys import vector_case

from crypto.base_ot import answer_base_transfers, finish_base_transfers, start_base_transfers
from crypto.counting import counting
from crypto.dtpkc import Ciphertext, Parameters, WeakPrivateKey, decode_ciphertexts, encode_ciphertexts
from crypto.errors import (
    CryptoError,
    InvalidCiphertextError,
    InvalidKeyError,
    NotOpenableError,
    RemoteProtocolError,
)
from crypto.homomorphism import scale
from crypto.ot_extension import ReceiverBase, SenderBase, choices_of_delta, draw_delta
from crypto.profiles import Profile


def vector_key(modulus_bits: int = 256, theta: int = 0xFEDCBA9876543210) -> WeakPrivateKey:
    case = vector_case(modulus_bits)
    profile = Profile("test", modulus_bits, 100 if modulus_bits > 200 else 40, insecure=True)
    parameters = Parameters(profile, int(case["N"]), int(case["g"]))
    return WeakPrivateKey.from_theta(parameters, theta % (1 << profile.exponent_bits))


@cache
def exchange() -> tuple[WeakPrivateKey, bytes, bytes, bytes, ReceiverBase]:
    """Return the receiver's key, Δ, request and reply, and the sender's base."""
    key = vector_key()
    delta = draw_delta(seeded_coins("delta"), garbling=True)
    request = start_base_transfers(key.public, choices_of_delta(delta), seeded_coins("request"))
    reply, base = answer_base_transfers(key.public, request, seeded_coins("reply"))
    return key, delta, request, reply, base


def test_the_receiver_opens_the_seed_that_it_chose() -> None:
    key, delta, _, reply, base = exchange()
    seeds = finish_base_transfers(key, reply)
    pairs = zip(base.seeds_zero, base.seeds_one, strict=True)
    chosen = [pair[bit] for pair, bit in zip(pairs, choices_of_delta(delta), strict=True)]
    assert list(seeds) == chosen
    assert len({*base.seeds_zero, *base.seeds_one}) == 256


def test_both_signs_of_the_seed_difference_occur() -> None:
    base = exchange()[4]
    rising = [one > zero for zero, one in zip(base.seeds_zero, base.seeds_one, strict=True)]
    assert 30 < sum(rising) < 98


def test_the_seeds_carry_an_extension() -> None:
    key, delta, _, reply, base = exchange()
    sender = SenderBase.for_garbling(delta, finish_base_transfers(key, reply))
    choices = seeded_coins(1).bits(300)
    message, received = base.extend(choices, b"n" * 16)
    sent = sender.extend(message, b"n" * 16, 300).take(300)
    assert np.array_equal(received.take(300).rows, sent.rows ^ (choices[:, np.newaxis] * sent.delta))


def test_threads_change_nothing() -> None:
    key, delta, request, reply, base = exchange()
    with ThreadPoolExecutor(2) as pool:
        choices = choices_of_delta(delta)
        assert start_base_transfers(key.public, choices, seeded_coins("request"), pool) == request
        assert answer_base_transfers(key.public, request, seeded_coins("reply"), pool) == (reply, base)
        assert finish_base_transfers(key, reply, pool) == finish_base_transfers(key, reply)


def test_a_request_or_reply_of_another_length_is_the_peers_fault() -> None:
    key, _, request, reply, _ = exchange()
    for wrong in (b"", request[:-1], request + request[: key.public.parameters.ciphertext_bytes]):
        with pytest.raises(RemoteProtocolError, match="bytes of base transfers due"):
            answer_base_transfers(key.public, wrong, seeded_coins(0))
        with pytest.raises(RemoteProtocolError, match="bytes of base transfers due"):
            finish_base_transfers(key, wrong)
    assert len(reply) == 128 * key.public.parameters.ciphertext_bytes


def test_components_outside_the_group_are_refused() -> None:
    key, _, request, reply, _ = exchange()
    parameters = key.public.parameters
    width = parameters.component_bytes
    for component in (0, int(vector_case(256)["p"]), parameters.n_squared):
        bad = component.to_bytes(width, "big")
        with pytest.raises(InvalidCiphertextError):
            answer_base_transfers(key.public, bad + request[width:], seeded_coins(0))
        with pytest.raises(InvalidCiphertextError):
            finish_base_transfers(key, reply[:-width] + bad)


def test_a_plaintext_that_is_no_seed_is_the_peers_fault() -> None:
    key, _, _, reply, _ = exchange()
    parameters = key.public.parameters
    for plaintext in (1 << 128, -1):
        other = encode_ciphertexts(parameters, [key.public.encrypt(plaintext, seeded_coins(0))])
        with pytest.raises(RemoteProtocolError, match="no seed"):
            finish_base_transfers(key, other + reply[len(other) :])
    largest = encode_ciphertexts(parameters, [key.public.encrypt((1 << 128) - 1, seeded_coins(0))])
    assert finish_base_transfers(key, largest + reply[len(largest) :])[0] == b"\xff" * 16


def test_a_reply_under_another_key_does_not_open() -> None:
    reply = exchange()[3]
    other = vector_key(theta=0x1234567890ABCDE0)
    with pytest.raises((NotOpenableError, RemoteProtocolError)):
        finish_base_transfers(other, reply)


def test_small_moduli_have_no_room() -> None:
    key = vector_key(64)
    with pytest.raises(InvalidKeyError, match="no room"):
        start_base_transfers(key.public, np.zeros(128, np.uint8), seeded_coins(0))
    with pytest.raises(CryptoError, match="no room"):
        answer_base_transfers(key.public, b"", seeded_coins(0))


def test_the_choices_are_128_bits() -> None:
    key = exchange()[0]
    for wrong in (np.zeros(127, np.uint8), np.full(128, 2, np.uint8), np.zeros((1, 128), np.uint8)):
        with pytest.raises(ValueError, match="128 bits"):
            start_base_transfers(key.public, wrong, seeded_coins(0))


def test_the_reply_is_no_function_of_request_and_seeds_alone() -> None:
    key, _, request, reply, base = exchange()
    parameters = key.public.parameters
    asked, answered = decode_ciphertexts(parameters, request), decode_ciphertexts(parameters, reply)
    for index in (0, 1, 127):
        factor = int.from_bytes(base.seeds_one[index], "big") - int.from_bytes(base.seeds_zero[index], "big")
        bare: Ciphertext = scale(parameters, asked[index], factor)
        assert answered[index].t2 != bare.t2
    again, _ = answer_base_transfers(key.public, request, seeded_coins("other"))
    assert not {c.t2 for c in answered} & {c.t2 for c in decode_ciphertexts(parameters, again)}


def test_transfers_and_powers_are_counted() -> None:
    key, delta, request, reply, _ = exchange()
    with counting() as tally:
        start_base_transfers(key.public, choices_of_delta(delta), seeded_coins(0))
    assert (tally.base_ots, tally.powers_short + tally.fixed_base) == (128, 256)
    with counting() as tally:
        answer_base_transfers(key.public, request, seeded_coins(0))
    assert (tally.base_ots, tally.powers_short + tally.fixed_base) == (128, 512)
    with counting() as tally:
        finish_base_transfers(key, reply)
    assert (tally.base_ots, tally.powers_short + tally.fixed_base) == (0, 128)
