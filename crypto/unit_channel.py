"""The channel between the units: bodies sealed by a deterministic AEAD under a key of both.

What travels on the rounds topics is half-opened, masked values and garbled tables. The broker
carries it and must not read it. Sealing is deterministic, AES-256-GCM-SIV under a nonce made of
the body, so that a restarted unit re-issues the same bytes; equal bodies at one place show as
equal, and nothing else does.
"""

import hashlib
import hmac
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crypto.coins import Field, frame
from crypto.errors import CryptoError, InvalidKeyError

KEY_BYTES = 32
NONCE_BYTES = 12
OVERHEAD_BYTES = NONCE_BYTES + 16
"""Bytes that sealing adds to a body: nonce and tag."""


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
        The key is HKDF-SHA256 of the X25519 secret. Who reads both topics and knows neither
        secret learns sizes, order, and whether two bodies at one place are equal.

    Source:
        RFC 7748 (X25519), RFC 8452 (AES-GCM-SIV); docs/security.md, rule 10.
    """

    __slots__ = ("_aead", "_nonce_key")

    def __init__(self, private: bytes, peer: bytes, context: tuple[Field, ...]) -> None:
        try:
            secret = X25519PrivateKey.from_private_bytes(private).exchange(
                X25519PublicKey.from_public_bytes(peer)
            )
        except ValueError as error:
            raise InvalidKeyError("the peer's exchange key is not usable") from error
        info = frame("privml/unit-channel/1", context)
        derived = HKDF(hashes.SHA256(), 2 * KEY_BYTES, salt=None, info=info).derive(secret)
        self._aead = AESGCMSIV(derived[:KEY_BYTES])
        self._nonce_key = derived[KEY_BYTES:]

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
        nonce = hmac.digest(self._nonce_key, frame(associated, body), hashlib.sha256)[:NONCE_BYTES]
        return nonce + self._aead.encrypt(nonce, body, associated)

    def open(self, sealed: bytes, *place: Field) -> bytes:
        """Return the body.

        Raises:
            UnsealedError: It was not sealed by the peer for this place.
        """
        if len(sealed) < OVERHEAD_BYTES:
            raise UnsealedError("too short for a sealed body")
        try:
            return self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], frame(*place))
        except InvalidTag:
            raise UnsealedError("not sealed by the peer for this place") from None
