"""State at rest: sealed and opened a thousand times without moving by one unit."""

import numpy as np
import pytest
from doubles import seeded_coins
from linked_garbling import to_bits, to_integers
from tenants import small_tenant

from crypto.circuits.opened import OpenedState
from crypto.dtpkc import WeakPrivateKey
from crypto.errors import LayoutError
from roles.building_blocks.seal import seal_master, seal_secondary, unseal
from roles.building_blocks.state_words import STRIDE_BITS, public_state, state_inputs, state_layout

CIRCUIT = OpenedState(24)


def test_a_thousand_openings_do_not_move_a_weight() -> None:
    layout = state_layout(512, "weights", 12)
    start = np.array([0, 1, -1, 2, (1 << 23) - 1, -(1 << 23), 5, -77, 1 << 17, -(1 << 18), 3, 9])
    weights, drifted = start.copy(), start.copy()
    coins = seeded_coins("cycles")
    for _ in range(1000):
        share = coins.words(12, np.uint32)
        peer = (weights.astype(np.uint32) - share).astype(np.uint32)
        first, second = layout.pack(share), layout.pack(peer)
        masks = [coins.integer_bits(layout.packed_bits + 80) for _ in first]
        opened = [a + b + mask for a, b, mask in zip(first, second, masks, strict=True)]
        digits_su, digits_mu = layout.digit_bits(opened), layout.digit_bits(masks)
        inputs = {
            "digits_su": state_inputs(CIRCUIT, digits_su),
            "digits_mu": state_inputs(CIRCUIT, digits_mu),
        }
        (bits,) = CIRCUIT.evaluate_plain(12, inputs)
        value = to_integers(bits)
        weights = value - (value >> 23 << 24)
        # What must not be done: the digits' difference holds the carry.
        difference = to_integers(digits_su.T.astype(np.uint8)) - to_integers(digits_mu.T.astype(np.uint8))
        drifted = drifted + (difference & 1)
    np.testing.assert_array_equal(weights, start)
    assert (drifted[1:] - start[1:]).max() > 100


def test_words_leave_masked_beside_the_bits() -> None:
    circuit = OpenedState(24, 22, 6)
    values = np.array([-(1 << 23), -65, -1, 0, 64, (1 << 23) - 1])
    mask = seeded_coins("mask").words(6, np.uint32).astype(np.int64) & 0x3FFFFF
    inputs = {
        "digits_su": to_bits(2 * values, 25),
        "digits_mu": to_bits(np.zeros(6, dtype=np.int64), 25),
        "mask": to_bits(mask, 22),
    }
    bits, words = circuit.evaluate_plain(6, inputs)
    np.testing.assert_array_equal(to_integers(bits), values & 0xFFFFFF)
    np.testing.assert_array_equal((to_integers(words) + mask) & 0x3FFFFF, (values >> 6) & 0x3FFFFF)


def test_the_seal_of_two_shares_fits_its_slot() -> None:
    small = small_tenant()
    layout = state_layout(256, "weights", 5)
    key = small.client_key
    assert isinstance(key, WeakPrivateKey)
    ones = [(1 << 32) - 1] * 5
    sealed = seal_secondary(key.public, layout, ones, seeded_coins(1))
    slots = unseal(key, layout, seal_master(key.public, layout, sealed, ones, seeded_coins(2)))
    assert slots == [(4 * ((1 << 32) - 1)) % (1 << 33)] * 5
    with pytest.raises(LayoutError):
        layout.plus(layout)
    assert layout.stride_bits == STRIDE_BITS == 34


def test_a_new_state_is_public_and_zero() -> None:
    small = small_tenant()
    layout = state_layout(256, "weights", 7)
    key = small.client_key
    first, second = (public_state(key.public, layout, seeded_coins("public")) for _ in range(2))
    assert first == second
    assert unseal(key, layout, first) == [0] * 7
