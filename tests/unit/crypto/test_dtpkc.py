import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from doubles import seeded_coins
from hypothesis import given
from hypothesis import strategies as st
from toy_keys import toy_keys
from vector_keys import vector_case

from crypto.counting import counting
from crypto.dtpkc import Ciphertext, PublicKey, WeakPrivateKey, draw_exponent, log_total, signed
from crypto.errors import (
    InvalidCiphertextError,
    InvalidKeyError,
    KeyMismatchError,
    NotOpenableError,
    PlaintextRangeError,
)
from crypto.key_generation import generate_weak_key

SIZES = [64, 256, 512, 1024]
TOY = toy_keys()
N = TOY.parameters.n

plaintexts = st.integers(-(N // 2), N - 1)
seeds = st.integers(0, 1 << 32)


@pytest.mark.parametrize("bits", SIZES)
def test_public_keys_are_those_of_the_vectors(bits: int) -> None:
    case, toy = vector_case(bits), toy_keys(bits)

    assert toy.master.public.h == int(case["h_mu"])
    assert toy.secondary.public.h == int(case["h_su"])


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("bits", SIZES)
def test_encryptions_are_those_of_the_vectors(bits: int, prepared: bool) -> None:
    case, toy = vector_case(bits), toy_keys(bits)
    if prepared:
        toy.joint.prepare(window_bits=4)

    for known in case["encryptions"]:
        ciphertext = toy.joint.encrypt_with(int(known["m"]), int(known["r"]))
        assert ciphertext == Ciphertext(int(known["T1"]), int(known["T2"]))


@given(plaintexts, seeds)
def test_what_a_key_encrypts_it_opens(plaintext: int, seed: int) -> None:
    ciphertext = TOY.master.public.encrypt(plaintext, seeded_coins(seed))

    assert TOY.master.decrypt(ciphertext) == plaintext % N
    assert signed(TOY.master.decrypt(ciphertext), N) == signed(plaintext, N)


@given(plaintexts, seeds)
def test_refreshing_changes_both_components_and_not_the_plaintext(plaintext: int, seed: int) -> None:
    coins = seeded_coins(seed)
    ciphertext = TOY.master.public.encrypt(plaintext, coins)
    refreshed = TOY.master.public.refresh(ciphertext, coins)

    assert refreshed.t1 != ciphertext.t1
    assert refreshed.t2 != ciphertext.t2
    assert TOY.master.decrypt(refreshed) == plaintext % N


def test_batches_agree_with_single_encryptions_in_every_way_of_computing() -> None:
    values = [0, 1, -1, N // 2, -(N // 2), N - 1, 123456789]
    key = generate_weak_key(TOY.parameters, seeded_coins("batch")).public
    plain = key.encrypt_many(values, seeded_coins(1))
    coins = seeded_coins(1)
    one_by_one = [key.encrypt(value, coins) for value in values]
    with ThreadPoolExecutor(2) as pool:
        in_threads = key.encrypt_many(values, seeded_coins(1), pool)
    key.prepare()
    by_table = key.encrypt_many(values, seeded_coins(1))

    assert plain == one_by_one == in_threads == by_table
    assert key.encrypt_many([], seeded_coins(1)) == []


def test_tables_replace_powers_once_prepared() -> None:
    key = generate_weak_key(toy_keys(512).parameters, seeded_coins("counted")).public
    key.prepare(window_bits=4)
    with counting() as tally:
        key.encrypt_many([1, 2, 3], seeded_coins(0))

    assert (tally.fixed_base, tally.powers_short, tally.powers_full) == (6, 0, 0)


def test_exponents_beyond_the_table_are_raised_without_it() -> None:
    parameters = toy_keys(512).parameters
    parameters.prepare(parameters.g, window_bits=4)
    exponent = 1 << 300

    assert parameters.power(parameters.g, exponent) == pow(parameters.g, exponent, parameters.n_squared)
    parameters.prepare(parameters.g, window_bits=2, exponent_bits=301)
    with counting() as tally:
        assert parameters.power(parameters.g, exponent) == pow(parameters.g, exponent, parameters.n_squared)
    assert tally.fixed_base == 1


@pytest.mark.parametrize("plaintext", [N, N + 1, -(N // 2) - 1, -N])
def test_plaintexts_outside_the_message_space_are_refused(plaintext: int) -> None:
    with pytest.raises(PlaintextRangeError):
        TOY.master.public.encrypt(plaintext, seeded_coins(0))


@pytest.mark.parametrize("randomness", [0, -1, 1 << 128])
def test_randomness_outside_the_profile_is_refused(randomness: int) -> None:
    with pytest.raises(ValueError, match="randomness"):
        TOY.master.public.encrypt_with(1, randomness)


def test_another_key_does_not_open() -> None:
    ciphertexts = TOY.master.public.encrypt_many([5, 6], seeded_coins(0))

    with pytest.raises(NotOpenableError):
        TOY.secondary.decrypt(ciphertexts[0])


def test_components_with_a_common_factor_are_refused() -> None:
    with pytest.raises(InvalidCiphertextError, match="coprime"):
        TOY.master.decrypt(Ciphertext(1, TOY.strong.p))


@given(st.integers(0, N - 1))
def test_l_is_total_on_both_signs_of_one(x: int) -> None:
    u = 1 + x * N

    assert log_total(u, N) == x
    assert log_total(N * N - u, N) == x


@given(st.integers(0, N * N - 1).filter(lambda u: u % N not in {1, N - 1}))
def test_l_rejects_everything_else(u: int) -> None:
    with pytest.raises(NotOpenableError):
        log_total(u, N)


def test_signed_maps_the_upper_half_to_negatives() -> None:
    assert [signed(x, 7) for x in range(-3, 9)] == [-3, -2, -1, 0, 1, 2, 3, -3, -2, -1, 0, 1]


def test_exponents_are_drawn_within_the_profile() -> None:
    coins = seeded_coins("exponents")
    drawn = [draw_exponent(toy_keys(64).parameters, coins) for _ in range(200)]

    assert all(0 < r < 1 << 32 for r in drawn)
    assert max(drawn) >> 31 == 1


def test_private_keys_must_match_and_fit() -> None:
    with pytest.raises(KeyMismatchError):
        WeakPrivateKey(TOY.master.public, TOY.secondary.theta)
    for theta in (0, -2, 1 << 128):
        with pytest.raises(InvalidKeyError, match="out of range"):
            WeakPrivateKey(TOY.master.public, theta)


@pytest.mark.parametrize("h", [0, 1, N - 1, N + 1, N, 3 * N, N * N, -5])
def test_trivial_public_keys_cannot_be_built(h: int) -> None:
    with pytest.raises(InvalidKeyError):
        PublicKey(TOY.parameters, h)


def test_private_keys_show_no_secret_and_are_not_pickled() -> None:
    assert str(TOY.master.theta) not in repr(TOY.master)
    assert hex(TOY.master.theta)[2:] not in repr(TOY.master)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(TOY.master)
