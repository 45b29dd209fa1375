from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from doubles import seeded_coins
from hypothesis import given
from hypothesis import strategies as st
from toy_keys import toy_keys
from vector_keys import vector_case, vector_file

from crypto.arithmetic import inverse
from crypto.counting import counting
from crypto.dtpkc import Ciphertext, PublicKey
from crypto.errors import InvalidCiphertextError, InvalidKeyError, KeyMismatchError, NotOpenableError
from crypto.service_key import finish_open, half_open, joint_key

SIZES = [64, 256, 512, 1024]
TOY = toy_keys()
P, N = TOY.parameters, TOY.parameters.n


def open_in_two_steps(ciphertexts: list[Ciphertext], masks: list[int]) -> list[int]:
    halves = half_open(P, ciphertexts, TOY.master.theta, masks)
    return finish_open(P, halves, [c.t2 for c in ciphertexts], TOY.secondary.theta)


def digits(value: int, stride: int, slots: int) -> list[int]:
    return [value >> (stride * j) & ((1 << stride) - 1) for j in range(slots)]


@pytest.mark.parametrize("bits", SIZES)
def test_both_halves_are_those_of_the_vectors(bits: int) -> None:
    case, toy = vector_case(bits), toy_keys(bits)
    known = case["encryptions"]
    ciphertexts = [Ciphertext(int(e["T1"]), int(e["T2"])) for e in known]

    halves = half_open(toy.parameters, ciphertexts, toy.master.theta, [0] * len(known))

    assert toy.joint.h == int(case["h_service"])
    assert halves == [int(e["opened_by_mu"]) for e in known]
    opened = finish_open(toy.parameters, halves, [c.t2 for c in ciphertexts], toy.secondary.theta)
    assert opened == [int(e["m"]) for e in known]


@pytest.mark.parametrize("known", vector_file()["digit_opening"], ids=lambda known: str(known["slot_bits"]))
def test_masked_openings_have_the_digits_of_the_vectors(known: dict[str, Any]) -> None:
    stride, rho, packed = int(known["slot_bits"]), int(known["rho"]), int(known["V"])
    values = [int(value) for value in known["values"]]
    toy = toy_keys(1024)
    ciphertext = toy.joint.encrypt(packed, seeded_coins(stride))

    halves = half_open(toy.parameters, [ciphertext], toy.master.theta, [rho])
    (masked,) = finish_open(toy.parameters, halves, [ciphertext.t2], toy.secondary.theta)

    assert masked == int(known["S"]) == packed + rho
    # Two-bit slots hold their bit doubled.
    assert digits(packed, stride, len(values)) == [2 * v if stride == 2 else v for v in values]
    assert digits(masked, stride, len(values)) == [int(digit) for digit in known["digits_su"]]
    assert digits(rho, stride, len(values)) == [int(digit) for digit in known["digits_mu"]]


@given(st.lists(st.tuples(st.integers(0, 1 << 100), st.integers(0, 1 << 181)), max_size=5))
def test_the_secondary_unit_sees_the_masked_plaintext(pairs: list[tuple[int, int]]) -> None:
    plaintexts, masks = [v for v, _ in pairs], [rho for _, rho in pairs]
    ciphertexts = TOY.joint.encrypt_many(plaintexts, seeded_coins(str(pairs)))

    assert open_in_two_steps(ciphertexts, masks) == [v + rho for v, rho in pairs]


def test_what_the_secondary_unit_sees_is_a_function_of_the_masked_plaintext() -> None:
    # D = (1 + SN) T2^θ_S: nothing of V or ρ alone remains.
    ciphertext = TOY.joint.encrypt(1234, seeded_coins(1))
    (half,) = half_open(P, [ciphertext], TOY.master.theta, [10**40])

    seen = (1 + (1234 + 10**40) * N) * pow(ciphertext.t2, TOY.secondary.theta, P.n_squared) % P.n_squared
    assert half == seen


def test_threads_change_nothing() -> None:
    ciphertexts = TOY.joint.encrypt_many(list(range(20)), seeded_coins(2))
    masks = list(range(1000, 1020))
    with ThreadPoolExecutor(2) as pool:
        halves = half_open(P, ciphertexts, TOY.master.theta, masks, pool)
        opened = finish_open(P, halves, [c.t2 for c in ciphertexts], TOY.secondary.theta, pool)

    assert opened == [1000 + 2 * i for i in range(20)]


def test_an_opening_costs_one_short_power_a_ciphertext_at_each_unit() -> None:
    toy = toy_keys(1024)
    ciphertexts = toy.joint.encrypt_many([1, 2, 3], seeded_coins(3))
    with counting() as master:
        halves = half_open(toy.parameters, ciphertexts, toy.master.theta, [1, 2, 3])
    with counting() as secondary:
        finish_open(toy.parameters, halves, [c.t2 for c in ciphertexts], toy.secondary.theta)

    assert master.as_dict() == secondary.as_dict()
    assert (master.powers_short, master.powers_full, master.fixed_base) == (3, 0, 0)


def test_the_failing_ciphertext_is_named() -> None:
    good, other = TOY.joint.encrypt(1, seeded_coins(4)), TOY.master.public.encrypt(1, seeded_coins(5))

    with pytest.raises(NotOpenableError, match="ciphertext 1"):
        open_in_two_steps([good, other], [0, 0])
    with pytest.raises(InvalidCiphertextError, match="coprime"):
        open_in_two_steps([good, Ciphertext(good.t1, N)], [0, 0])


def test_one_mask_a_ciphertext() -> None:
    good = TOY.joint.encrypt(1, seeded_coins(4))

    with pytest.raises(ValueError, match="zip"):
        half_open(P, [good], TOY.master.theta, [1, 2])
    with pytest.raises(ValueError, match="zip"):
        finish_open(P, [1], [], TOY.secondary.theta)


def test_a_joint_key_needs_two_keys_of_one_modulus_that_do_not_cancel() -> None:
    with pytest.raises(KeyMismatchError):
        joint_key(TOY.master.public, toy_keys(512).master.public)
    with pytest.raises(InvalidKeyError):
        joint_key(TOY.master.public, PublicKey(P, inverse(TOY.master.public.h, P.n_squared)))
