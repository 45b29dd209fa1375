"""The channel between the units: bodies sealed by a deterministic AEAD under a key of both.

What travels on the rounds topics is half-opened, masked values and garbled tables. The broker
carries it and must not read it. Sealing is deterministic, AES-256-GCM under a key made of the
body, so that a restarted unit re-issues the same bytes; equal bodies at one place show as equal,
and nothing else does.
"""

import hmac
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crypto.coins import Field, frame
from crypto.errors import CryptoError, InvalidKeyError

KEY_BYTES = 32
NAME_BYTES = 32
OVERHEAD_BYTES = NAME_BYTES + 16
"""Bytes that sealing adds to a body: what its key is made of, and GCM's tag."""
_NONCE = bytes(12)


class UnsealedError(CryptoError):
    """A body was not sealed by the peer for this place."""

    code = "bad_signature"


def exchange_public_key(private: bytes) -> bytes:
    """Return the X25519 public key of a unit's exchange secret, 32 bytes."""
    key = X25519PrivateKey.from_private_bytes(private).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


class UnitChannel:
    """Seals and opens bodies between the two units of a tenant and key epoch.

    Args:
        private: This unit's exchange secret, 32 bytes from the operating system.
        peer: The other unit's exchange public key, from the signed configuration.
        context: Tenant, key epoch and both units' names, in the same order at both.

    Raises:
        InvalidKeyError: The peer's key is no point that contributes.

    Security:
        Two keys are HKDF-SHA256 of the X25519 secret. The first one's HMAC-SHA256 of a body and its
        place is the *name* that travels in front; the second one's HMAC of that name is the key of
        this body alone, so that no two bodies meet one key and GCM's nonce can be constant: an
        equal name for two bodies is a collision of HMAC-SHA256. Who reads both topics and knows
        neither secret learns sizes, order, and whether two bodies at one place are equal.

    Source:
        RFC 7748 (X25519), SP 800-38D (AES-GCM), a synthetic initial value as in RFC 5297 that
        chooses the key instead of the nonce; docs/security.md, rule 10.
    """

    __slots__ = ("_body_key", "_name_key")

    def __init__(self, private: bytes, peer: bytes, context: tuple[Field, ...]) -> None:
        try:
            secret = X25519PrivateKey.from_private_bytes(private).exchange(
                X25519PublicKey.from_public_bytes(peer)
            )
        except ValueError as error:
            raise InvalidKeyError("the peer's exchange key is not usable") from error
        info = frame("privml/unit-channel/2", context)
        derived = HKDF(hashes.SHA256(), 2 * KEY_BYTES, salt=None, info=info).derive(secret)
        self._body_key, self._name_key = derived[:KEY_BYTES], derived[KEY_BYTES:]

    def __repr__(self) -> str:
        return "UnitChannel(<redacted>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("unit channels are secret and are not pickled")

    def seal(self, body: bytes, *place: Field) -> bytes:
        """Return the sealed body: the same bytes for the same body at the same place.

        Args:
            body: What the peer shall read.
            place: Topic, sender, session, step: whatever the peer knows beforehand.
        """
        associated = frame(*place)
        name = hmac.digest(self._name_key, frame(associated, body), "sha256")
        return name + self._cipher(name).encrypt(_NONCE, body, associated)

    def open(self, sealed: bytes, *place: Field) -> bytes:
        """Return the body.

        Raises:
            UnsealedError: It was not sealed by the peer for this place.
        """
        if len(sealed) < OVERHEAD_BYTES:
            raise UnsealedError("too short for a sealed body")
        try:
            cipher = self._cipher(sealed[:NAME_BYTES])
            return cipher.decrypt(_NONCE, memoryview(sealed)[NAME_BYTES:], frame(*place))
        except InvalidTag:
            raise UnsealedError("not sealed by the peer for this place") from None

    def _cipher(self, name: bytes) -> AESGCM:
        return AESGCM(hmac.digest(self._body_key, name, "sha256"))
