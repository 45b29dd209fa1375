"""Shares of the strong key on their way from the dealer: for one unit of one tenant, and as committed to."""

import pytest
from doubles import seeded_coins
from tenants import strong_shares

from crypto.errors import CryptoError, InvalidKeyError
from crypto.share_sealing import (
    check_share,
    decode_share,
    encode_share,
    open_share,
    seal_share,
    share_commitment,
)
from crypto.strong_key import RootShare
from crypto.unit_channel import UnsealedError, exchange_public_key

SHARE = strong_shares()["mu"]
PARAMETERS = SHARE.parameters
CONTEXT = ("privml/1", "small", 1, "mu")
UNIT, OTHER = (seeded_coins(f"unit {i}").bytes(32) for i in range(2))


def sealed(seed: str = "dealer") -> bytes:
    return seal_share(SHARE, exchange_public_key(UNIT), CONTEXT, seeded_coins(seed))


def test_the_unit_opens_its_share_and_nobody_else_does() -> None:
    assert open_share(PARAMETERS, sealed(), UNIT, CONTEXT) == SHARE
    with pytest.raises(UnsealedError):
        open_share(PARAMETERS, sealed(), OTHER, CONTEXT)
    for context in (
        ("privml/1", "other", 1, "mu"),
        ("privml/1", "small", 2, "mu"),
        ("privml/1", "small", 1, "su"),
    ):
        with pytest.raises(UnsealedError):
            open_share(PARAMETERS, sealed(), UNIT, context)


def test_the_share_is_not_in_the_clear_and_every_seal_is_another() -> None:
    assert encode_share(SHARE) not in sealed()
    assert sealed() != sealed("another day")


@pytest.mark.parametrize("place", [0, 31, 40, 70, -1])
def test_a_changed_byte_is_noticed(place: int) -> None:
    changed = bytearray(sealed())
    changed[place] ^= 1
    with pytest.raises(CryptoError):
        open_share(PARAMETERS, bytes(changed), UNIT, CONTEXT)


def test_a_commitment_binds_share_tenant_and_unit() -> None:
    commitment = share_commitment(SHARE, CONTEXT)
    check_share(SHARE, commitment, CONTEXT)
    for share, context in (
        (RootShare(PARAMETERS, SHARE.exponent + 2), CONTEXT),
        (SHARE, ("privml/1", "small", 1, "su")),
        (SHARE, ("privml/1", "other", 1, "mu")),
    ):
        with pytest.raises(InvalidKeyError):
            check_share(share, commitment, context)


def test_only_what_can_be_a_share_is_read() -> None:
    assert decode_share(PARAMETERS, encode_share(SHARE)) == SHARE
    width = len(encode_share(SHARE))
    for bad in (b"", bytes(width - 1), (3).to_bytes(width, "big"), (PARAMETERS.n + 1).to_bytes(width, "big")):
        with pytest.raises(InvalidKeyError):
            decode_share(PARAMETERS, bad)
