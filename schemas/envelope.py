"""The signed envelope around every message, and the checks it passes before anyone looks inside.

On the wire: the array [signed bytes, signature]. The signed bytes are the encoding of an
`Envelope`, which names tenant, topic and sender; Ed25519 signs a domain tag followed by the SHA-256
of exactly these bytes. A message moved to another topic or tenant is therefore refused.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, structs

from schemas.codec import MAX_MESSAGE_BYTES, WireStruct, convert, decode, encode, unpack
from schemas.errors import (
    BadSignatureError,
    MalformedMessageError,
    MessageTooLargeError,
    RevokedSenderError,
    UnknownSenderError,
    UnsupportedVersionError,
    WrongKeyEpochError,
    WrongTenantError,
    WrongTopicError,
)
from schemas.topics import NAME_PATTERN, TENANT_PATTERN, Role, allowed_writer

FORMAT_VERSION = 1
DOMAIN_TAG = b"privml/envelope/2"
MAX_PARTS = 256

# The longest header is under 400 bytes (four names, six integers, the signature, lengths);
# 1 KiB leaves room and keeps the limit on a part's body a round number.
ENVELOPE_OVERHEAD_BYTES = 1024

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Tenant = Annotated[str, Meta(pattern=TENANT_PATTERN)]
Counter = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""63 bits, so that it also fits the signed integers of databases."""


class Envelope(WireStruct):
    """What a sender signs: where the message belongs, its place in the sender's sequence, the body.

    The sender's role is not carried: it follows from the sender's name in the signed
    configuration, so that nobody can claim one. `part` counts from 0.
    """

    format_version: Counter
    tenant: Tenant
    topic: Name
    sender: Name
    key_epoch: Counter
    sequence: Counter
    kind: Name
    part: Annotated[int, Meta(ge=0, lt=MAX_PARTS)]
    parts: Annotated[int, Meta(ge=1, le=MAX_PARTS)]
    body: bytes

    def __post_init__(self) -> None:
        if self.part >= self.parts:
            raise ValueError("part must be below parts")

    def message_id(self) -> bytes:
        """Return the SHA-256 of the signed bytes, 32 bytes; equal to `message_id` of the wire form."""
        return hashlib.sha256(encode(self)).digest()

    def __repr__(self) -> str:
        # The body may be megabytes of ciphertext, and does not belong in a log.
        return (
            f"Envelope({self.tenant}.{self.topic}, {self.sender}, epoch {self.key_epoch}, "
            f"sequence {self.sequence}, {self.kind}, part {self.part} of {self.parts}, "
            f"{len(self.body)} bytes)"
        )


@dataclass(frozen=True, slots=True)
class VerifyingParty:
    """What the signed configuration says of a sender.

    Attributes:
        name: As in the envelope.
        role: What it may write.
        key: Its verification key.
        key_epoch: The last key epoch that its message may name.
        revoked: Whether it may send nothing any more.
        first_key_epoch: The first one that it may name; None if `key_epoch` is the only one.
    """

    name: str
    role: Role
    key: Ed25519PublicKey
    key_epoch: int
    revoked: bool = False
    first_key_epoch: int | None = None

    def may_name(self, key_epoch: int) -> bool:
        """Return whether a message may name a key epoch; what that means is up to its topic."""
        first = self.key_epoch if self.first_key_epoch is None else self.first_key_epoch
        return first <= key_epoch <= self.key_epoch


class _Signed(WireStruct):
    signed: bytes
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]


# Positions within the signed bytes that are read before the signature is verified.
_VERSION, _SENDER = 0, 3
_FIELDS = len(Envelope.__struct_fields__)


def seal_envelope(
    *,
    tenant: str,
    topic: str,
    sender: str,
    key_epoch: int,
    sequence: int,
    kind: str,
    body: bytes,
    signing_key: Ed25519PrivateKey,
    part: int = 0,
    parts: int = 1,
) -> bytes:
    """Sign a message and return its wire form; the same arguments give the same bytes.

    Raises:
        MessageTooLargeError: The wire form is above `MAX_MESSAGE_BYTES`; send it as parts.
        MalformedMessageError: A field is not what `open_envelope` accepts.
    """
    envelope = Envelope(FORMAT_VERSION, tenant, topic, sender, key_epoch, sequence, kind, part, parts, body)
    signed = encode(envelope)
    # A struct's constructor does not check its fields; reading it back does. Any body is a body.
    head = encode(structs.replace(envelope, body=b""))
    decode(Envelope, head, max_bytes=len(head))
    data = encode(_Signed(signed, signing_key.sign(signed_text(signed))))
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageTooLargeError(len(data), MAX_MESSAGE_BYTES)
    return data


@dataclass(frozen=True, slots=True)
class Claim:
    """A received message that passed every check before its signature: who claims to have sent it.

    Attributes:
        party: Who.
        signature: Over `text`.
        signed: The signed bytes.
        fields: What they hold, not looked at yet.
    """

    party: VerifyingParty
    signature: bytes
    signed: bytes
    fields: object

    @property
    def text(self) -> bytes:
        """What Ed25519 signs."""
        return signed_text(self.signed)

    def verify(self) -> None:
        """Check the signature.

        Raises:
            BadSignatureError: It is not the party's.
        """
        try:
            self.party.key.verify(self.signature, self.text)
        except InvalidSignature:
            raise BadSignatureError(f"not signed by {self.party.name}") from None


def open_envelope(
    data: bytes, topic: str, tenant: str, verify_key_of: Callable[[str], VerifyingParty | None]
) -> Envelope:
    """Check a received message, cheapest first, and return its envelope.

    The order decides which reason is reported: size, outer structure and version, sender
    known and not revoked, topic allowed to the sender's role, signature, strict schema, topic and tenant that
    were signed, key epoch. Before the signature only the version and the sender's name are
    looked at, in a bounded read that trusts neither.

    Args:
        data: The exact bytes received.
        topic: Name within the tenant of the topic it was read from, e.g. `chunks`.
        tenant: The tenant whose topic it is.
        verify_key_of: Looks a sender up in the signed configuration.

    Raises:
        MessageTooLargeError, MalformedMessageError, UnsupportedVersionError,
        UnknownSenderError, RevokedSenderError, WrongTopicError, BadSignatureError,
        WrongTenantError, WrongKeyEpochError: the first check that failed; `code` is its reason.
    """
    claim = read_claim(data, topic, verify_key_of)
    claim.verify()
    return accept_claim(claim, topic, tenant)


def read_claim(data: bytes, topic: str, verify_key_of: Callable[[str], VerifyingParty | None]) -> Claim:
    """Make the checks of `open_envelope` that come before the signature; raises as that does."""
    outer = decode(_Signed, data, MAX_MESSAGE_BYTES)
    fields = unpack(outer.signed)
    party = verify_key_of(_claimed_sender(fields))
    if party is None:
        raise UnknownSenderError("the sender is not in the signed configuration")
    if party.revoked:
        raise RevokedSenderError("the sender is revoked")
    if not allowed_writer(party.role, topic):
        raise WrongTopicError(f"a sender of role {party.role} does not write {topic}")
    return Claim(party, outer.signature, outer.signed, fields)


def accept_claim(claim: Claim, topic: str, tenant: str) -> Envelope:
    """Make the checks of `open_envelope` that come after the signature; raises as that does.

    Security:
        Only of a claim whose signature was checked, by `Claim.verify` or elsewhere.
    """
    envelope = convert(Envelope, claim.fields, claim.signed)
    if envelope.topic != topic:
        raise WrongTopicError(f"signed for another topic than {topic}")
    if envelope.tenant != tenant:
        raise WrongTenantError(f"signed for another tenant than {tenant}")
    if not claim.party.may_name(envelope.key_epoch):
        raise WrongKeyEpochError(f"key epoch {envelope.key_epoch}, expected {claim.party.key_epoch}")
    return envelope


def signed_text(signed: bytes) -> bytes:
    """Return what Ed25519 signs: it would go through megabytes twice, in a slower hash than SHA-256."""
    return DOMAIN_TAG + hashlib.sha256(signed).digest()


def message_id(data: bytes) -> bytes:
    """Return the SHA-256 of the signed bytes within a wire form, 32 bytes; verifies nothing.

    Raises:
        MessageTooLargeError: `data` is above `MAX_MESSAGE_BYTES`.
        MalformedMessageError: The outer structure does not hold.
    """
    return hashlib.sha256(decode(_Signed, data, MAX_MESSAGE_BYTES).signed).digest()


def _claimed_sender(fields: object) -> str:
    """Return the name in the sender's place; what it claims is not yet verified."""
    if not isinstance(fields, list) or not fields or type(fields[_VERSION]) is not int:
        raise MalformedMessageError("not a versioned message")
    if fields[_VERSION] != FORMAT_VERSION:
        # Fields, signature and domain tag of another version are unknown: nothing to verify with.
        raise UnsupportedVersionError(f"only format version {FORMAT_VERSION} is read")
    sender = fields[_SENDER] if len(fields) == _FIELDS else None
    if not isinstance(sender, str):
        raise MalformedMessageError("no sender in its place")
    return sender
