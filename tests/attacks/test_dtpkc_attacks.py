"""Attacks on careless DT-PKC: each succeeds without its safeguard and fails with it."""

from math import gcd

import pytest
from doubles import seeded_coins
from toy_keys import toy_keys

from crypto.dtpkc import Ciphertext, WeakPrivateKey, log_total
from crypto.errors import NotOpenableError
from crypto.key_generation import generate_weak_key
from crypto.service_key import finish_open, half_open, joint_key
from crypto.strong_key import StrongShare, combine, partial_decrypt
from crypto.validation import validate_ciphertexts

TOY = toy_keys()
P, N, N2 = TOY.parameters, TOY.parameters.n, TOY.parameters.n_squared


def short_split(bits: int) -> tuple[StrongShare, StrongShare]:
    """Split the strong key as several toolkits do, with a first share of few bits."""
    modulus = TOY.strong.carmichael * N
    secret = TOY.strong.carmichael * pow(TOY.strong.carmichael, -1, N)
    first = seeded_coins("short").integer_bits(bits)
    return StrongShare(P, first), StrongShare(P, (secret - first) % modulus)


def factor_from_multiple(multiple: int) -> int | None:
    """Return a factor of N from a multiple of λ, if it is one (Miller 1976)."""
    odd = multiple
    while odd and odd % 2 == 0:
        odd //= 2
    for base in range(2, 30):
        root = pow(base, odd, N)
        for _ in range(multiple.bit_length()):
            factor = gcd(root - 1, N)
            if 1 < factor < N:
                return factor
            root = root * root % N
    return None


def share_of_the_peer(own: StrongShare) -> StrongShare:
    # s1 + s2 = 1 mod N: whoever knows s2 knows s1 mod N.
    return StrongShare(P, (1 - own.exponent) % N)


def test_a_short_strong_share_is_a_total_break() -> None:
    first, second = short_split(128)
    ciphertexts = TOY.joint.encrypt_many([12, 345], seeded_coins(1))

    guessed = share_of_the_peer(second)

    assert guessed == first
    opened = combine(P, partial_decrypt(ciphertexts, guessed), partial_decrypt(ciphertexts, second))
    assert opened == [12, 345]
    assert factor_from_multiple(guessed.exponent + second.exponent) in {TOY.strong.p, TOY.strong.q}


@pytest.mark.parametrize("seed", range(5))
def test_a_uniform_strong_share_does_not_break(seed: int) -> None:
    first, second = TOY.strong.split(seeded_coins(seed))
    ciphertexts = TOY.joint.encrypt_many([12, 345], seeded_coins(1))

    guessed = share_of_the_peer(second)

    assert guessed != first
    with pytest.raises(NotOpenableError):
        combine(P, partial_decrypt(ciphertexts, guessed), partial_decrypt(ciphertexts, second))
    assert factor_from_multiple(guessed.exponent + second.exponent) is None


SHIFT = 120
MASK = seeded_coins("mask").integer_bits(30 + 80)


def opened_at_secondary(ciphertext: Ciphertext) -> int:
    halves = half_open(P, [ciphertext], TOY.master.theta, [MASK])
    return finish_open(P, halves, [ciphertext.t2], TOY.secondary.theta)[0]


def test_a_t2_outside_the_group_reads_the_service_key_past_the_cheap_checks() -> None:
    honest = TOY.joint.encrypt(7, seeded_coins(2))
    forged = Ciphertext(honest.t1, honest.t2 * (1 - (N << SHIFT)) % N2)

    # Congruent to the honest one mod N: range, coprimality, Jacobi symbol and triviality all pass.
    validate_ciphertexts(P, [forged])

    # S = V + ρ + 2^120 (θ_M + θ_S), and the mask ends below bit 120.
    leaked = opened_at_secondary(forged) >> SHIFT
    assert leaked == TOY.master.theta + TOY.secondary.theta
    assert TOY.parameters.power(P.g, leaked) == TOY.joint.h


def test_a_t2_within_the_group_opens_to_the_masked_plaintext_alone() -> None:
    honest = TOY.joint.encrypt(7, seeded_coins(2))

    assert opened_at_secondary(honest) == 7 + MASK


def floor_l(u: int) -> int:
    """L as many toolkits write it: a division that never refuses."""
    return (u - 1) // N


def negations(ciphertext: Ciphertext) -> list[Ciphertext]:
    return [
        Ciphertext(N2 - ciphertext.t1, ciphertext.t2),
        Ciphertext(ciphertext.t1, N2 - ciphertext.t2),
        Ciphertext(N2 - ciphertext.t1, N2 - ciphertext.t2),
    ]


def odd_key() -> WeakPrivateKey:
    return WeakPrivateKey.from_theta(P, generate_weak_key(P, seeded_coins("odd")).theta | 1)


def even_key() -> WeakPrivateKey:
    return generate_weak_key(P, seeded_coins("even"))


def argument_of_l(ciphertext: Ciphertext, theta: int) -> int:
    return ciphertext.t1 * pow(ciphertext.t2, -theta, N2) % N2


def test_the_cheap_checks_do_not_see_a_sign() -> None:
    ciphertext = TOY.joint.encrypt(7, seeded_coins(3))

    validate_ciphertexts(P, negations(ciphertext))


def test_a_flooring_l_answers_wrongly_on_a_negated_component() -> None:
    key = odd_key()
    ciphertext = key.public.encrypt(7, seeded_coins(4))
    t1_negated, t2_negated, both_negated = negations(ciphertext)

    assert floor_l(argument_of_l(ciphertext, key.theta)) == 7
    assert floor_l(argument_of_l(t1_negated, key.theta)) == N - 8
    assert floor_l(argument_of_l(t2_negated, key.theta)) == N - 8
    assert floor_l(argument_of_l(both_negated, key.theta)) == 7


def test_a_flooring_l_on_a_negated_t2_tells_the_parity_of_the_key() -> None:
    for key in (odd_key(), even_key()):
        t2_negated = negations(key.public.encrypt(7, seeded_coins(4)))[1]

        seen_as_odd = floor_l(argument_of_l(t2_negated, key.theta)) != 7
        assert seen_as_odd == (key.theta % 2 == 1)


def test_an_odd_half_key_shows_its_parity_to_the_peer_of_an_opening() -> None:
    secondary = even_key()
    for master in (odd_key(), generate_weak_key(P, seeded_coins("another"))):
        joint = joint_key(master.public, secondary.public)
        t2_negated = negations(joint.encrypt(7, seeded_coins(5)))[1]
        (half,) = half_open(P, [t2_negated], master.theta, [MASK])

        sign = half * pow(t2_negated.t2, -secondary.theta, N2) % N
        assert sign == (N - 1 if master.theta % 2 else 1)


def test_even_keys_and_a_total_l_open_every_sign_to_the_same_value() -> None:
    master, secondary = even_key(), generate_weak_key(P, seeded_coins("another"))
    joint = joint_key(master.public, secondary.public)
    ciphertext = joint.encrypt(7, seeded_coins(6))

    for variant in [ciphertext, *negations(ciphertext)]:
        halves = half_open(P, [variant], master.theta, [MASK])
        assert finish_open(P, halves, [variant.t2], secondary.theta) == [7 + MASK]
    single = master.public.encrypt(-7, seeded_coins(7))
    assert {master.decrypt(variant) for variant in [single, *negations(single)]} == {N - 7}


def test_a_flooring_l_answers_garbage_that_depends_on_the_key_and_a_total_l_refuses() -> None:
    garbage = Ciphertext(pow(5, 2, N2), P.power(P.g, 99))
    answers = {floor_l(argument_of_l(garbage, key.theta)) for key in (odd_key(), even_key(), TOY.master)}

    assert len(answers) == 3
    for key in (odd_key(), even_key(), TOY.master):
        with pytest.raises(NotOpenableError):
            log_total(argument_of_l(garbage, key.theta), N)
