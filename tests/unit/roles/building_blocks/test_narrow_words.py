"""Narrow words opened by two linked units: exact, whatever lies in the neighbouring slots."""

import numpy as np
import numpy.typing as npt
import pytest
from doubles import seeded_coins
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_blocks import pair
from tenants import SmallTenant, small_tenant

from crypto.correlated_ot import receive_words, send_bit_products
from crypto.errors import PlaintextRangeError
from crypto.packing import SlotLayout
from roles.building_blocks.garble import evaluate_shares, garble_shares
from roles.building_blocks.narrow_words import (
    CARRIES,
    OFFSET,
    carry_inputs,
    narrow_layout,
    pack_narrow,
    words_of_master,
    words_of_secondary,
)
from roles.building_blocks.opening import mask_vector, open_masked

Ints = npt.NDArray[np.int64]


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


def opened(small: SmallTenant, layout: SlotLayout, plaintexts: list[int], name: str) -> Ints:
    """Open narrow words between linked units; return the sums of the shares."""
    units = pair(small, name)
    parameters = small.tenant.parameters
    ciphertexts = small.tenant.service_key.encrypt_many(plaintexts, seeded_coins(name))
    masked = mask_vector(parameters, layout, ciphertexts, small.master.theta, seeded_coins(f"mask {name}"))
    t2s = [ciphertext.t2 for ciphertext in ciphertexts]
    digits = open_masked(parameters, layout, masked.masked, t2s, small.secondary.theta)
    choices = CARRIES.choices(layout.values, {"digits_mu": carry_inputs(masked.digits)})
    received, sent = units.choices_of_mu(choices)
    own = {"digits_su": carry_inputs(digits)}
    sections, (beta_su,) = garble_shares(
        units.su, "garble", CARRIES, layout.values, sent, own, small.secondary.sender.delta
    )
    (beta_mu,) = evaluate_shares(units.mu, CARRIES, layout.values, received, sections)
    units.mu.absorb_reply(sections)
    units.su.absorb_reply(sections)
    rows_mu, rows_su = units.rows_of_mu(beta_mu)
    ones = np.ones((layout.values, 1), dtype=np.uint32)
    salt = bytes(16)
    words_su, corrections = send_bit_products(rows_su, beta_su, ones, units.su.reply_hash("b", salt))
    words_mu = receive_words(rows_mu, corrections, 1, np.uint32, units.mu.reply_hash("b", salt))
    total = words_of_master(layout, masked.digits, words_mu[:, 0]) + words_of_secondary(
        layout, digits, words_su[:, 0]
    )
    return total.view(np.int32).astype(np.int64)


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.integers(-OFFSET, OFFSET), min_size=1, max_size=40), seed=st.integers(0, 1 << 30))
def test_words_are_exact_over_several_ciphertexts(small: SmallTenant, values: list[int], seed: int) -> None:
    layout = narrow_layout(256, len(values))
    found = opened(small, layout, pack_narrow(layout, values), f"{seed} {values}")
    assert found.tolist() == values


@settings(max_examples=25, deadline=None)
@given(slots=st.lists(st.sampled_from([0, 1, 2046, 2047]), min_size=15, max_size=15), seed=st.integers(0, 99))
def test_whatever_a_hostile_owner_writes_is_bounded(small: SmallTenant, slots: list[int], seed: int) -> None:
    layout = narrow_layout(256, 15)
    plaintext = sum(slot << 11 * index for index, slot in enumerate(slots))
    found = opened(small, layout, [plaintext], f"hostile {seed} {slots}")
    assert (np.abs(found) <= OFFSET + 1).all()
    if 2047 not in slots:
        assert found.tolist() == [slot - OFFSET for slot in slots]


def test_integers_outside_the_range_are_not_packed() -> None:
    layout = narrow_layout(3072, 2)
    assert layout.slots == 271
    for wrong in ([OFFSET + 1, 0], [0, -OFFSET - 1], [0]):
        with pytest.raises(PlaintextRangeError):
            pack_narrow(layout, wrong)
