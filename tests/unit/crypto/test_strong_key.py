import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from doubles import seeded_coins
from hypothesis import given
from hypothesis import strategies as st
from toy_keys import toy_keys
from vector_keys import vector_case

from crypto.arithmetic import inverse
from crypto.counting import counting
from crypto.dtpkc import Ciphertext
from crypto.errors import InvalidKeyError, NotOpenableError
from crypto.strong_key import (
    RootShare,
    StrongPrivateKey,
    StrongShare,
    combine,
    partial_decrypt,
    root_combine,
    root_partial,
)

SIZES = [64, 256, 512, 1024]
TOY = toy_keys()
P, N = TOY.parameters, TOY.parameters.n


def known_ciphertexts(bits: int) -> tuple[list[Ciphertext], list[int]]:
    known = vector_case(bits)["encryptions"]
    return [Ciphertext(int(e["T1"]), int(e["T2"])) for e in known], [int(e["m"]) for e in known]


@pytest.mark.parametrize("bits", SIZES)
def test_the_strong_key_opens_the_vectors(bits: int) -> None:
    case, toy = vector_case(bits), toy_keys(bits)
    ciphertexts, plaintexts = known_ciphertexts(bits)

    assert toy.strong.carmichael == int(case["lambda"])
    assert [toy.strong.decrypt(ciphertext) for ciphertext in ciphertexts] == plaintexts


@pytest.mark.parametrize("bits", SIZES)
def test_strong_shares_give_the_partials_of_the_vectors(bits: int) -> None:
    case, parameters = vector_case(bits), toy_keys(bits).parameters
    ciphertexts, plaintexts = known_ciphertexts(bits)
    first = StrongShare(parameters, int(case["strong_share_1"]))
    second = StrongShare(parameters, int(case["strong_share_2"]))

    partials = partial_decrypt(ciphertexts, first)

    assert partials == [int(e["strong_partial_1"]) for e in case["encryptions"]]
    assert combine(parameters, partials, partial_decrypt(ciphertexts, second)) == plaintexts


@pytest.mark.parametrize("bits", SIZES)
def test_root_shares_give_the_partials_of_the_vectors(bits: int) -> None:
    case, parameters = vector_case(bits), toy_keys(bits).parameters
    ciphertexts, plaintexts = known_ciphertexts(bits)
    first = RootShare(parameters, int(case["root_share_1"]))
    second = RootShare(parameters, int(case["root_share_2"]))

    partials = root_partial(ciphertexts, first)

    assert partials == [int(e["root_partial_1"]) for e in case["encryptions"]]
    assert root_combine(ciphertexts, partials, second) == plaintexts


@given(st.integers(0, 1 << 32), st.integers(0, N - 1))
def test_any_split_opens_ciphertexts_of_any_key(seed: int, plaintext: int) -> None:
    coins = seeded_coins(seed)
    ciphertexts = [
        key.encrypt(plaintext, coins) for key in (TOY.master.public, TOY.secondary.public, TOY.joint)
    ]

    first, second = TOY.strong.split(coins)
    assert (
        combine(P, partial_decrypt(ciphertexts, first), partial_decrypt(ciphertexts, second))
        == [plaintext] * 3
    )
    root_first, root_second = TOY.strong.split_root(coins)
    assert root_combine(ciphertexts, root_partial(ciphertexts, root_first), root_second) == [plaintext] * 3
    # The roles are symmetric.
    assert root_combine(ciphertexts, root_partial(ciphertexts, root_second), root_first) == [plaintext] * 3


@given(st.integers(0, 1 << 32))
def test_shares_add_up_to_the_strong_key(seed: int) -> None:
    first, second = TOY.strong.split(seeded_coins(seed))
    total = first.exponent + second.exponent

    assert total % TOY.strong.carmichael == 0
    assert total % N == 1
    assert max(first.exponent, second.exponent) < TOY.strong.carmichael * N


@given(st.integers(0, 1 << 32))
def test_root_shares_are_even_and_add_up_to_the_root_exponent(seed: int) -> None:
    first, second = TOY.strong.split_root(seeded_coins(seed))
    order = TOY.strong.order

    assert first.exponent % 2 == second.exponent % 2 == 0
    assert 0 <= max(first.exponent, second.exponent) < 2 * order
    assert (first.exponent + second.exponent) % order == -inverse(N, order) % order


def test_first_shares_fill_their_whole_range() -> None:
    coins = seeded_coins("range")
    modulus = TOY.strong.carmichael * N
    eighths = {8 * TOY.strong.split(coins)[0].exponent // modulus for _ in range(200)}
    root_eighths = {4 * TOY.strong.split_root(coins)[0].exponent // TOY.strong.order for _ in range(200)}

    assert eighths == root_eighths == set(range(8))


def test_negated_components_open_to_the_same_plaintext_in_the_root_form() -> None:
    ciphertext = TOY.joint.encrypt(77, seeded_coins(1))
    negated = Ciphertext(P.n_squared - ciphertext.t1, ciphertext.t2)
    first, second = TOY.strong.split_root(seeded_coins(2))

    assert root_combine([negated], root_partial([negated], first), second) == [77]


def test_partials_of_other_ciphertexts_or_one_share_alone_open_nothing() -> None:
    coins = seeded_coins(3)
    ciphertexts = TOY.joint.encrypt_many([1, 2], coins)
    first, second = TOY.strong.split(coins)
    partials = partial_decrypt(ciphertexts, first)

    with pytest.raises(NotOpenableError):
        combine(P, partials[::-1], partial_decrypt(ciphertexts, second))
    with pytest.raises(NotOpenableError):
        combine(P, partials, [1, 1])
    with pytest.raises(NotOpenableError):
        root_combine(ciphertexts, [1, 1], TOY.strong.split_root(coins)[1])


def test_threads_change_nothing() -> None:
    coins = seeded_coins(4)
    ciphertexts = TOY.joint.encrypt_many(list(range(20)), coins)
    first, second = TOY.strong.split_root(coins)
    with ThreadPoolExecutor(2) as pool:
        opened = root_combine(ciphertexts, root_partial(ciphertexts, first, pool), second, pool)

    assert opened == list(range(20))


def test_the_cost_in_powers() -> None:
    ciphertexts = TOY.joint.encrypt_many([1, 2, 3], seeded_coins(5))
    first, second = TOY.strong.split_root(seeded_coins(6))
    with counting() as step_one:
        partials = root_partial(ciphertexts, first)
    with counting() as step_two:
        root_combine(ciphertexts, partials, second)

    assert (step_one.powers_full, step_two.powers_full) == (3, 6)


@pytest.mark.parametrize(("p", "q"), [(1, N), (N, 1), (3, 5)])
def test_a_strong_key_needs_the_factors(p: int, q: int) -> None:
    with pytest.raises(InvalidKeyError):
        StrongPrivateKey(P, p, q)


def test_shares_are_not_negative() -> None:
    for kind in (StrongShare, RootShare):
        with pytest.raises(InvalidKeyError):
            kind(P, -1)


def test_secrets_are_neither_shown_nor_pickled() -> None:
    first, second = TOY.strong.split(seeded_coins(7))
    root_first, root_second = TOY.strong.split_root(seeded_coins(7))
    secrets = {
        TOY.strong: (TOY.strong.p, TOY.strong.q),
        first: (first.exponent,),
        second: (second.exponent,),
        root_first: (root_first.exponent,),
        root_second: (root_second.exponent,),
    }
    for holder, numbers in secrets.items():
        assert not any(str(number) in repr(holder) for number in numbers)
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(holder)
