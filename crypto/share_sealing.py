"""How the dealer hands a share of the strong key to a unit: sealed for it, with a public commitment.

The commitment is a hash of the share. A share has the entropy of the group's order, so that the hash
hides it; it binds the dealer to what it sealed, and a unit to the tenant for which that was made.

Source:
    docs/protocols.md §1; X25519 with a fresh key for every share, then `crypto.unit_channel`.
"""

import hmac

from crypto.coins import Coins, Field, digest
from crypto.errors import InvalidKeyError
from crypto.parameters import Parameters
from crypto.strong_key import RootShare
from crypto.unit_channel import KEY_BYTES, UnitChannel, exchange_public_key

_PLACE = "strong key share"


def share_commitment(share: RootShare, context: tuple[Field, ...]) -> bytes:
    """Return the commitment to a share, 32 bytes.

    Args:
        share: A unit's.
        context: Tenant, key epoch and the unit's role.
    """
    return digest("privml/strong-share/1", context, share.parameters.n, encode_share(share))


def encode_share(share: RootShare) -> bytes:
    """Return a share as keystores hold it, |N| bits big-endian."""
    return share.exponent.to_bytes(share.parameters.profile.plaintext_bytes, "big")


def decode_share(parameters: Parameters, data: bytes) -> RootShare:
    """Return a share from its encoding.

    Raises:
        InvalidKeyError: It has another length, or is odd or N at least.
    """
    exponent = int.from_bytes(data, "big")
    if len(data) != parameters.profile.plaintext_bytes or exponent % 2 or exponent >= parameters.n:
        raise InvalidKeyError("not a share of the strong key")
    return RootShare(parameters, exponent)


def check_share(share: RootShare, commitment: bytes, context: tuple[Field, ...]) -> None:
    """Refuse a share that is not the one committed to.

    Raises:
        InvalidKeyError: It is another one.
    """
    if not hmac.compare_digest(share_commitment(share, context), commitment):
        raise InvalidKeyError("the share of the strong key is not the one that the dealer made")


def seal_share(share: RootShare, unit: bytes, context: tuple[Field, ...], coins: Coins) -> bytes:
    """Return a share that only one unit can open (dealer).

    Args:
        share: The unit's.
        unit: Its exchange public key, which the dealer has by a way that it trusts.
        context: Tenant, key epoch and the unit's role.
        coins: Fresh from the operating system.

    Raises:
        InvalidKeyError: The unit's key is not usable.
    """
    own = coins.bytes(KEY_BYTES)
    public = exchange_public_key(own)
    channel = UnitChannel(own, unit, (_PLACE, context, public, unit))
    return public + channel.seal(encode_share(share), _PLACE)


def open_share(
    parameters: Parameters, sealed: bytes, private: bytes, context: tuple[Field, ...]
) -> RootShare:
    """Return the share that the dealer sealed for this unit.

    Raises:
        InvalidKeyError: What was sealed is no share.
        UnsealedError: It was sealed for another unit or tenant, or was changed.
    """
    public = sealed[:KEY_BYTES]
    channel = UnitChannel(private, public, (_PLACE, context, public, exchange_public_key(private)))
    return decode_share(parameters, channel.open(sealed[KEY_BYTES:], _PLACE))
