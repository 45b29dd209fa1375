"""The units' channel: both read it, nobody else does, and it repeats itself to the byte."""

import pickle

import pytest
from doubles import seeded_coins
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import InvalidKeyError
from crypto.unit_channel import OVERHEAD_BYTES, UnitChannel, UnsealedError, exchange_public_key

MU, SU, EVE = (seeded_coins(f"exchange {name}").bytes(32) for name in ("mu", "su", "eve"))
CONTEXT = ("tenant", 1, "mu", "su")
PLACE = ("rounds.requests", "mu")


def channel(own: bytes, peer: bytes, context: tuple[str | int, ...] = CONTEXT) -> UnitChannel:
    return UnitChannel(own, exchange_public_key(peer), context)


@given(st.binary(max_size=300))
def test_what_one_unit_seals_the_other_opens(body: bytes) -> None:
    sealed = channel(MU, SU).seal(body, *PLACE)
    assert len(sealed) == len(body) + OVERHEAD_BYTES
    assert channel(SU, MU).open(sealed, *PLACE) == body


def test_the_same_body_gives_the_same_bytes_and_another_one_others() -> None:
    first, again = channel(MU, SU).seal(b"body", *PLACE), channel(SU, MU).seal(b"body", *PLACE)
    assert first == again
    other = channel(MU, SU).seal(b"bodz", *PLACE)
    assert other[:12] != first[:12]
    assert channel(MU, SU).seal(b"body", "rounds.replies", "mu")[:12] != first[:12]


@pytest.mark.parametrize("place", [("rounds.replies", "mu"), ("rounds.requests", "su"), ("rounds.requests",)])
def test_a_body_moved_elsewhere_is_refused(place: tuple[str, ...]) -> None:
    with pytest.raises(UnsealedError):
        channel(SU, MU).open(channel(MU, SU).seal(b"body", *PLACE), *place)


def test_another_tenant_or_key_epoch_has_another_key() -> None:
    sealed = channel(MU, SU).seal(b"body", *PLACE)
    for context in (("other", 1, "mu", "su"), ("tenant", 2, "mu", "su")):
        with pytest.raises(UnsealedError):
            channel(SU, MU, context).open(sealed, *PLACE)


@given(st.integers(0, 8 * (OVERHEAD_BYTES + 4) - 1))
def test_every_flipped_bit_is_noticed(bit: int) -> None:
    sealed = bytearray(channel(MU, SU).seal(b"body", *PLACE))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(UnsealedError):
        channel(SU, MU).open(bytes(sealed), *PLACE)


def test_nobody_else_opens_it() -> None:
    sealed = channel(MU, SU).seal(b"body", *PLACE)
    for wrong in (channel(EVE, MU), channel(EVE, SU)):
        with pytest.raises(UnsealedError):
            wrong.open(sealed, *PLACE)
    with pytest.raises(UnsealedError):
        channel(SU, MU).open(b"short", *PLACE)


def test_a_key_that_contributes_nothing_is_refused() -> None:
    with pytest.raises(InvalidKeyError):
        UnitChannel(MU, bytes(32), CONTEXT)


def test_it_shows_nothing_and_is_not_pickled() -> None:
    opened = channel(MU, SU)
    assert repr(opened) == "UnitChannel(<redacted>)"
    with pytest.raises(TypeError):
        pickle.dumps(opened)
