"""Seal: the client opens the sum of the shares mod 2^w, and nobody else learns a share."""

import pytest
from doubles import seeded_coins
from hypothesis import given, settings
from hypothesis import strategies as st
from tenants import small_tenant

from crypto.dtpkc import Ciphertext, add_plain
from crypto.errors import LayoutError, NotOpenableError, PlaintextRangeError
from crypto.packing import SlotLayout
from roles.building_blocks.seal import seal_master, seal_secondary, unseal
from roles.tenant import LABEL_BITS

SMALL = small_tenant()
KEY = SMALL.client_key
WORDS = 1 << LABEL_BITS


def seal(
    shares_mu: list[int], shares_su: list[int], seed: int = 0
) -> tuple[list[Ciphertext], list[Ciphertext]]:
    """Return SU's reply and what MU publishes."""
    layout = SMALL.tenant.label_layout(len(shares_mu))
    reply = seal_secondary(KEY.public, layout, shares_su, seeded_coins(f"su {seed}"))
    return reply, seal_master(KEY.public, layout, reply, shares_mu, seeded_coins(f"mu {seed}"))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, WORDS - 1), st.integers(0, WORDS - 1)), min_size=1, max_size=30))
def test_the_client_opens_the_sum_mod_the_word(pairs: list[tuple[int, int]]) -> None:
    mu, su = [list(column) for column in zip(*pairs, strict=True)]
    _, published = seal(mu, su)
    layout = SMALL.tenant.label_layout(len(pairs))
    assert unseal(KEY, layout, published) == [(a + b) % WORDS for a, b in pairs]
    # The whole integer is x + 2^w·(0 or 1) in every slot: no carry between slots.
    assert layout.unpack(KEY.decrypt_many(published)) == [a + b for a, b in pairs]


def test_extreme_shares_do_not_reach_the_next_slot() -> None:
    largest = WORDS - 1
    _, published = seal([largest, 0, largest], [largest, 0, 1])
    assert unseal(KEY, SMALL.tenant.label_layout(3), published) == [largest - 1, 0, 0]


def test_mu_re_randomises_both_components() -> None:
    reply, published = seal([1, 2, 3], [4, 5, 6])
    parameters = KEY.public.parameters
    for before, after in zip(reply, published, strict=True):
        unblinded = add_plain(parameters, before, KEY.decrypt(after) - KEY.decrypt(before))
        assert after.t1 != unblinded.t1
        assert after.t2 != before.t2


@pytest.mark.parametrize("share", [-1, (1 << LABEL_BITS + 1) - 1])
def test_shares_that_do_not_fit_a_slot_are_refused(share: int) -> None:
    layout = SMALL.tenant.label_layout(1)
    with pytest.raises(PlaintextRangeError):
        seal_secondary(KEY.public, layout, [share], seeded_coins(0))


def test_a_stride_without_room_for_the_carry_is_no_layout() -> None:
    with pytest.raises(LayoutError):
        SlotLayout("bits", 4, 2, 2, 2, bound=4, doubled=False)


def test_only_the_client_opens_it() -> None:
    _, published = seal([1], [2])
    other = SMALL.tenant.label_layout(1)
    assert unseal(KEY, other, published) == [3]
    foreign = SMALL.tenant.service_key.encrypt(3, seeded_coins("r"))
    with pytest.raises(NotOpenableError):
        unseal(KEY, other, [foreign])
