import pytest
from doubles import seeded_coins
from hypothesis import given
from hypothesis import strategies as st
from toy_keys import toy_keys

from crypto.arithmetic import gcd, jacobi
from crypto.counting import counting
from crypto.dtpkc import Ciphertext, Parameters
from crypto.errors import InvalidCiphertextError, InvalidKeyError
from crypto.profiles import Profile
from crypto.validation import (
    validate_ciphertexts,
    validate_generator,
    validate_modulus,
    validate_parameters,
    validate_public_key,
)

TOY = toy_keys()
P, N, N2 = TOY.parameters, TOY.parameters.n, TOY.parameters.n_squared
GOOD = TOY.joint.encrypt(42, seeded_coins("good"))
NON_RESIDUE = next(x for x in range(2, 1000) if jacobi(x, N) == -1)


@given(st.lists(st.integers(0, N - 1), max_size=5), st.integers(0, 1 << 32))
def test_honest_ciphertexts_pass_without_a_power(plaintexts: list[int], seed: int) -> None:
    ciphertexts = TOY.joint.encrypt_many(plaintexts, seeded_coins(seed))

    with counting() as tally:
        validate_ciphertexts(P, ciphertexts)
    assert not any(tally.as_dict().values())


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Ciphertext(0, GOOD.t2), "T1 is out of range"),
        (Ciphertext(N2, GOOD.t2), "T1 is out of range"),
        (Ciphertext(-GOOD.t1, GOOD.t2), "T1 is out of range"),
        (Ciphertext(GOOD.t1 + N2, GOOD.t2), "T1 is out of range"),
        (Ciphertext(GOOD.t1, 0), "T2 is out of range"),
        (Ciphertext(GOOD.t1, GOOD.t2 + N2), "T2 is out of range"),
        (Ciphertext(N, GOOD.t2), "T1 is not coprime"),
        (Ciphertext(TOY.strong.p, GOOD.t2), "T1 is not coprime"),
        (Ciphertext(GOOD.t1, 5 * TOY.strong.q), "T2 is not coprime"),
        (Ciphertext(NON_RESIDUE, GOOD.t2), "T1 has not the Jacobi"),
        (Ciphertext(GOOD.t1, NON_RESIDUE), "T2 has not the Jacobi"),
        (Ciphertext(GOOD.t1, 1), "T2 is 1 or −1"),
        (Ciphertext(GOOD.t1, N2 - 1), "T2 is 1 or −1"),
        (Ciphertext(GOOD.t1, 1 + 5 * N), "T2 is 1 or −1"),
        (Ciphertext(GOOD.t1, N - 1), "T2 is 1 or −1"),
    ],
)
def test_each_check_fails_on_its_own_and_names_the_place(bad: Ciphertext, reason: str) -> None:
    with pytest.raises(InvalidCiphertextError, match=f"^ciphertext 1: {reason}") as failure:
        validate_ciphertexts(P, [GOOD, bad, GOOD])

    assert not any(str(value) in str(failure.value) for value in (GOOD.t1, GOOD.t2, N2))


@given(st.integers(-2, N2 + 2), st.integers(-2, N2 + 2))
def test_the_checks_are_the_stated_predicate(t1: int, t2: int) -> None:
    valid = all(0 < t < N2 and gcd(t, N) == 1 and jacobi(t % N, N) == 1 for t in (t1, t2))

    if valid and t2 % N not in {1, N - 1}:
        validate_ciphertexts(P, [Ciphertext(t1, t2)])
    else:
        with pytest.raises(InvalidCiphertextError):
            validate_ciphertexts(P, [Ciphertext(t1, t2)])


def sized(bits: int) -> Profile:
    return Profile("sized", bits, bits // 2, insecure=True)


def test_the_moduli_of_the_vectors_pass() -> None:
    for bits in (64, 256, 512, 1024):
        validate_parameters(toy_keys(bits).parameters)
        validate_public_key(toy_keys(bits).parameters, toy_keys(bits).joint.h)


P61, P127 = 2**61 - 1, 2**127 - 1


@pytest.mark.parametrize(
    ("n", "bits", "reason"),
    [
        (N, 258, "exactly 258 bits"),
        (N, 254, "exactly 254 bits"),
        (-N, 256, "exactly 256 bits"),
        (N - 1, 256, "even"),
        (65521 * P61 * P61, 138, "small factor"),
        (3 * P127 * P127, 256, "small factor"),
        (2**256 - 189, 256, "prime"),
        (P61 * P61, 122, "perfect power"),
        (P127 * P127, 254, "perfect power"),
    ],
)
def test_bad_moduli_are_refused(n: int, bits: int, reason: str) -> None:
    with pytest.raises(InvalidKeyError, match=reason):
        validate_modulus(n, sized(bits))


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        (0, "out of range"),
        (N2, "out of range"),
        (TOY.strong.p, "coprime"),
        (NON_RESIDUE, "Jacobi"),
        (1, "factor of N"),
        (N2 - 1, "factor of N"),
        (1 + N, "factor of N"),
    ],
)
def test_bad_public_keys_and_generators_are_refused(element: int, reason: str) -> None:
    with pytest.raises(InvalidKeyError, match=reason):
        validate_public_key(P, element)
    if 1 < element < N2:
        with pytest.raises(InvalidKeyError, match=reason):
            validate_generator(Parameters(P.profile, N, element))


def test_an_element_that_is_trivial_modulo_one_prime_is_refused() -> None:
    p, q = TOY.strong.p, TOY.strong.q
    # 4 modulo q and 1 modulo p: Jacobi symbol +1, order q' only.
    element = (4 * p * pow(p, -1, q) + q * pow(q, -1, p)) % N

    assert jacobi(element, N) == 1
    with pytest.raises(InvalidKeyError, match="factor of N"):
        validate_public_key(P, element)
