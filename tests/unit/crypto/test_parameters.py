import pytest
from doubles import seeded_coins
from hypothesis import given
from hypothesis import strategies as st
from toy_keys import toy_keys

from crypto import parameters as module
from crypto.dtpkc import Ciphertext, Parameters, decode_ciphertexts, encode_ciphertexts
from crypto.errors import InvalidCiphertextError, InvalidKeyError
from crypto.key_generation import generate_weak_key

PARAMETERS = toy_keys().parameters
components = st.integers(1, PARAMETERS.n_squared - 1)
ciphertexts = st.lists(st.builds(Ciphertext, components, components), max_size=6)


@given(ciphertexts)
def test_decoding_inverts_encoding(values: list[Ciphertext]) -> None:
    encoded = encode_ciphertexts(PARAMETERS, values)

    assert len(encoded) == len(values) * PARAMETERS.ciphertext_bytes
    assert decode_ciphertexts(PARAMETERS, encoded) == values


def test_the_encoding_is_big_endian_and_of_fixed_width() -> None:
    encoded = encode_ciphertexts(PARAMETERS, [Ciphertext(1, 0x0203)])

    assert PARAMETERS.component_bytes == 64
    assert encoded == bytes(63) + b"\x01" + bytes(62) + b"\x02\x03"


@given(st.binary(max_size=400))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    if len(data) % PARAMETERS.ciphertext_bytes:
        with pytest.raises(InvalidCiphertextError):
            decode_ciphertexts(PARAMETERS, data)
    else:
        assert len(decode_ciphertexts(PARAMETERS, data)) == len(data) // PARAMETERS.ciphertext_bytes


@pytest.mark.parametrize("component", [0, -1, PARAMETERS.n_squared])
def test_components_out_of_range_are_not_encoded(component: int) -> None:
    with pytest.raises(InvalidCiphertextError, match="ciphertext 1"):
        encode_ciphertexts(PARAMETERS, [Ciphertext(1, 1), Ciphertext(1, component)])


@pytest.mark.parametrize(
    ("n", "g"),
    [
        (PARAMETERS.n >> 1, PARAMETERS.g),
        (-PARAMETERS.n, PARAMETERS.g),
        (PARAMETERS.n + 1, PARAMETERS.g),
        (PARAMETERS.n, 1),
        (PARAMETERS.n, 0),
        (PARAMETERS.n, PARAMETERS.n_squared),
    ],
)
def test_impossible_parameters_cannot_be_built(n: int, g: int) -> None:
    with pytest.raises(InvalidKeyError):
        Parameters(PARAMETERS.profile, n, g)


def test_tables_do_not_accumulate_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TABLES", 3)
    monkeypatch.setattr(module, "_tables", {})
    coins = seeded_coins("tables")
    for _ in range(5):
        generate_weak_key(PARAMETERS, coins).public.prepare(window_bits=1)

    assert len(module._tables) == 3
