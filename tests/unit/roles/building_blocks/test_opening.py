"""Open: shares of both units make up the plaintext's bits, whatever the carries were."""

import numpy as np
import pytest
from doubles import seeded_coins
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_blocks import pair
from tenants import SmallTenant, small_tenant

from crypto.dtpkc import Ciphertext
from crypto.errors import InvalidCiphertextError, NotOpenableError, PlaintextRangeError, RemoteProtocolError
from crypto.packing import SlotLayout, words_of_bits
from crypto.profiles import MASK_BITS
from roles.building_blocks.opening import (
    Bits,
    bit_choices,
    mask_vector,
    open_masked,
    share_bits_master,
    share_bits_secondary,
)

SMALL = small_tenant()
PARAMETERS = SMALL.tenant.parameters


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return SMALL


def encrypted(plaintexts: list[int], seed: str = "r") -> list[Ciphertext]:
    return SMALL.tenant.service_key.encrypt_many(plaintexts, seeded_coins(seed))


def digits(layout: SlotLayout, ciphertexts: list[Ciphertext], seed: int = 0) -> tuple[Bits, Bits]:
    """Return the digits of ρ at MU and of S at SU."""
    masked = mask_vector(PARAMETERS, layout, ciphertexts, SMALL.master.theta, seeded_coins(seed))
    t2s = [c.t2 for c in ciphertexts]
    return masked.digits, open_masked(PARAMETERS, layout, masked.masked, t2s, SMALL.secondary.theta)


def opened_bits(layout: SlotLayout, ciphertexts: list[Ciphertext], seed: int) -> Bits:
    """Run the opening of bits between both units and join the shares."""
    r, d = digits(layout, ciphertexts, seed)
    both = pair(SMALL, seed)
    received, sent = both.rows_of_mu(bit_choices(r))
    salt = both.su.salt("carries", d.tobytes())
    own, corrections = share_bits_secondary(d, sent, both.su.reply_hash("carries", salt))
    theirs = share_bits_master(r, received, corrections, both.mu.reply_hash("carries", salt))
    return own ^ theirs


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=200), st.integers(0, 1 << 30))
def test_opened_bits_are_those_that_were_packed(bits: list[int], seed: int) -> None:
    layout = SlotLayout.fitting(256, "bits", len(bits), 2, 2, 2)
    ciphertexts = encrypted(layout.pack(bits), str(seed))
    assert opened_bits(layout, ciphertexts, seed).tolist() == bits


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3), st.integers(0, 1 << 30))
def test_every_slot_that_a_hostile_sender_writes_decodes_to_a_bit(slot: int, seed: int) -> None:
    layout = SlotLayout.fitting(256, "bits", 87, 2, 2, 2)
    hostile = [sum(slot << 2 * j for j in range(87))]
    values = opened_bits(layout, encrypted(hostile, str(seed)), seed)
    # A carry into an odd digit may or may not flip it; an even one is exact.
    possible = {0: {0}, 1: {0, 1}, 2: {1}, 3: {0, 1}}[slot]
    assert set(values.tolist()) <= possible


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_digits_differ_by_the_doubled_value_and_a_carry(data: st.DataObject) -> None:
    stride = data.draw(st.sampled_from([8, 33, 48]))
    count = data.draw(st.integers(1, 12))
    largest = (1 << stride - 1) - 1
    values = data.draw(st.lists(st.integers(0, largest), min_size=count, max_size=count))
    layout = SlotLayout.fitting(256, "words", count, stride, stride, 2 * largest)
    r, d = (words_of_bits(bits).tolist() for bits in digits(layout, encrypted(layout.pack(values))))
    for value, own, theirs in zip(values, r, d, strict=True):
        difference = (theirs - own) % (1 << stride)
        assert difference - 2 * value in {0, 1}
        assert difference - 2 * value == (theirs ^ own) & 1


def test_the_masked_plaintext_is_value_plus_mask_as_integers(small: SmallTenant) -> None:
    layout = SlotLayout.fitting(256, "words", 3, 48, 48, 2 * 7)
    ciphertexts = encrypted(layout.pack([7, 0, 5]))
    coins = seeded_coins("mask")
    rho = seeded_coins("mask").integer_bits(layout.packed_bits + MASK_BITS)
    masked = mask_vector(PARAMETERS, layout, ciphertexts, small.master.theta, coins)
    assert masked.digits.tolist() == layout.digit_bits([rho]).tolist()
    d = open_masked(PARAMETERS, layout, masked.masked, [ciphertexts[0].t2], small.secondary.theta)
    assert d.tolist() == layout.digit_bits([rho + layout.pack([7, 0, 5])[0]]).tolist()


@pytest.mark.parametrize("excess", [-(1 << 250), -1 << 245, 1 << 226, 1 << 250])
def test_a_plaintext_outside_slots_and_mask_is_out_of_range(excess: int) -> None:
    layout = SlotLayout.fitting(256, "words", 3, 48, 48, 14)
    assert layout.packed_bits + MASK_BITS + 1 <= 226
    with pytest.raises(PlaintextRangeError):
        digits(layout, encrypted([excess]))


def test_halves_and_t2_of_different_ciphertexts_do_not_open(small: SmallTenant) -> None:
    layout = SlotLayout.fitting(256, "words", 3, 48, 48, 14)
    one, other = encrypted([1]), encrypted([1], "other")
    masked = mask_vector(PARAMETERS, layout, one, small.master.theta, seeded_coins(1)).masked
    with pytest.raises(NotOpenableError):
        open_masked(PARAMETERS, layout, masked, [other[0].t2], small.secondary.theta)
    with pytest.raises(InvalidCiphertextError):
        open_masked(PARAMETERS, layout, masked, [0], small.secondary.theta)
    for data in (b"", masked[:-1], masked * 2):
        with pytest.raises(RemoteProtocolError):
            open_masked(PARAMETERS, layout, data, [one[0].t2], small.secondary.theta)


def test_negated_components_open_to_the_same_bits() -> None:
    # −1 passes the cheap checks and the proof; even keys and the total L make it harmless.
    layout = SlotLayout.fitting(256, "bits", 5, 2, 2, 2)
    (ciphertext,) = encrypted(layout.pack([1, 0, 1, 1, 0]))
    modulus = PARAMETERS.n_squared
    for negated in (
        Ciphertext(modulus - ciphertext.t1, ciphertext.t2),
        Ciphertext(ciphertext.t1, modulus - ciphertext.t2),
    ):
        assert opened_bits(layout, [negated], 3).tolist() == [1, 0, 1, 1, 0]


def test_secrets_do_not_show(small: SmallTenant) -> None:
    layout = SlotLayout.fitting(256, "bits", 5, 2, 2, 2)
    masked = mask_vector(PARAMETERS, layout, encrypted([0]), small.master.theta, seeded_coins(1))
    assert repr(masked) == "MaskedVector()"
    assert isinstance(masked.digits, np.ndarray)
