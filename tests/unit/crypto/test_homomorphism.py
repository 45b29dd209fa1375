import pytest
from doubles import seeded_coins
from hypothesis import given
from hypothesis import strategies as st
from toy_keys import toy_keys

from crypto.dtpkc import Ciphertext, add, add_plain, negate, scale, total
from crypto.errors import InvalidCiphertextError

TOY = toy_keys()
P, N = TOY.parameters, TOY.parameters.n
KEY = TOY.master

plaintexts = st.integers(-(N // 2), N - 1)
factors = st.integers(-(1 << 70), 1 << 70)


def encrypt(*values: int) -> list[Ciphertext]:
    return KEY.public.encrypt_many(values, seeded_coins(str(values)))


@given(plaintexts, plaintexts)
def test_adding_ciphertexts_adds_plaintexts(a: int, b: int) -> None:
    x, y = encrypt(a, b)

    assert KEY.decrypt(add(P, x, y)) == (a + b) % N


@given(plaintexts, plaintexts)
def test_adding_a_known_integer_leaves_t2(a: int, b: int) -> None:
    (x,) = encrypt(a)
    shifted = add_plain(P, x, b)

    assert KEY.decrypt(shifted) == (a + b) % N
    assert shifted.t2 == x.t2


@given(plaintexts)
def test_negating_negates(a: int) -> None:
    (x,) = encrypt(a)

    assert KEY.decrypt(negate(P, x)) == -a % N


@given(plaintexts, factors)
def test_scaling_multiplies(a: int, k: int) -> None:
    (x,) = encrypt(a)

    assert KEY.decrypt(scale(P, x, k)) == a * k % N


@given(st.lists(plaintexts, min_size=1, max_size=8))
def test_totals_are_sums(values: list[int]) -> None:
    assert KEY.decrypt(total(P, encrypt(*values))) == sum(values) % N


def test_the_total_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no ciphertexts"):
        total(P, [])


def test_what_cannot_be_inverted_cannot_be_negated() -> None:
    for bad in (Ciphertext(N, 2), Ciphertext(2, TOY.strong.q)):
        with pytest.raises(InvalidCiphertextError, match="coprime"):
            negate(P, bad)
        with pytest.raises(InvalidCiphertextError, match="coprime"):
            scale(P, bad, -1)
