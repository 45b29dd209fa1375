import hashlib
from typing import Any

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crypto.errors import SchemaError
from schemas.codec import MAX_MESSAGE_BYTES
from schemas.envelope import (
    ENVELOPE_OVERHEAD_BYTES,
    Envelope,
    VerifyingParty,
    message_id,
    open_envelope,
    seal_envelope,
    signed_text,
)
from schemas.errors import MalformedMessageError, MessageTooLargeError
from schemas.topics import Role

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
PARTIES = {
    "a": VerifyingParty("a", Role.OWNER, KEY.public_key(), 3),
    "b": VerifyingParty("b", Role.OWNER, OTHER_KEY.public_key(), 3),
    "c": VerifyingParty("c", Role.CLIENT, KEY.public_key(), 3),
}
HEADER: dict[str, Any] = {
    "tenant": "demo",
    "topic": "chunks",
    "sender": "a",
    "key_epoch": 3,
    "sequence": 5,
    "kind": "chunk",
}
FIELDS = [1, "demo", "chunks", "a", 3, 5, "chunk", 0, 1, b"body"]


def seal(body: bytes = b"body", **changes: Any) -> bytes:
    return seal_envelope(**{**HEADER, "signing_key": KEY, **changes}, body=body)


def raw(fields: list[Any], key: Ed25519PrivateKey = KEY) -> bytes:
    return signed_raw(msgpack.packb(fields), key)


def signed_raw(signed: bytes, key: Ed25519PrivateKey = KEY) -> bytes:
    packed: bytes = msgpack.packb([signed, key.sign(signed_text(signed))])
    return packed


def reason(data: bytes, topic: str = "chunks", tenant: str = "demo") -> str:
    with pytest.raises(SchemaError) as refused:
        open_envelope(data, topic, tenant, PARTIES.get)
    return refused.value.code


def test_what_is_sealed_is_opened() -> None:
    envelope = open_envelope(seal(), "chunks", "demo", PARTIES.get)
    assert envelope == Envelope(*FIELDS)  # type: ignore[arg-type]


def test_the_wire_form_is_fixed() -> None:
    # Another implementation, or a later version, must arrive at these very bytes.
    assert seal() == raw(FIELDS)
    assert hashlib.sha256(seal()).hexdigest() == (
        "6b6cdd6357d14288ae81f7681c4a2691642e18e386bafd35454fb27fb7aeb045"
    )


def test_an_id_is_the_hash_of_the_signed_bytes() -> None:
    signed = msgpack.packb(FIELDS)
    assert message_id(seal()) == hashlib.sha256(signed).digest()
    assert open_envelope(seal(), "chunks", "demo", PARTIES.get).message_id() == message_id(seal())


def replaced(position: int, value: Any) -> list[Any]:
    return [*FIELDS[:position], value, *FIELDS[position + 1 :]]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes(MAX_MESSAGE_BYTES + 1), "too_large"),
        (b"", "malformed"),
        (b"\xc0", "malformed"),
        (msgpack.packb([b"", bytes(63)]), "malformed"),
        (msgpack.packb([b"", bytes(64)]), "malformed"),
        (msgpack.packb(["text", bytes(64)]), "malformed"),
        (seal() + b"\x00", "malformed"),
        (raw([]), "malformed"),
        (raw(FIELDS[:-1]), "malformed"),
        (raw(replaced(0, "1")), "malformed"),
        (raw(replaced(0, True)), "malformed"),
        (raw(replaced(0, 2)), "unsupported_version"),
        (raw([2, "of another shape"]), "unsupported_version"),
        (raw(replaced(3, 5)), "malformed"),
        (raw(replaced(3, "nobody")), "unknown_sender"),
        (raw(replaced(3, "c")), "wrong_topic"),
        (raw(replaced(3, "b")), "bad_signature"),
        (raw(FIELDS, OTHER_KEY), "bad_signature"),
        (raw(replaced(2, "queries")), "wrong_topic"),
        (raw(replaced(1, "other")), "wrong_tenant"),
        (raw(replaced(4, 2)), "wrong_key_epoch"),
        (raw(replaced(4, -1)), "malformed"),
        (raw(replaced(5, 2**63)), "malformed"),
        (raw(replaced(5, False)), "malformed"),
        (raw(replaced(6, "a kind")), "malformed"),
        (raw(replaced(6, "kind\n")), "malformed"),
        (raw(replaced(7, 1)), "malformed"),
        (raw(replaced(8, 0)), "malformed"),
        (raw(replaced(8, 257)), "malformed"),
        (raw(replaced(9, "text")), "malformed"),
        (raw(replaced(9, None)), "malformed"),
    ],
)
def test_each_check_gives_its_reason(data: bytes, code: str) -> None:
    assert reason(data) == code


def test_reasons_come_in_the_order_of_the_checks() -> None:
    # Everything is wrong; one thing after the other is put right.
    fields: list[Any] = replaced(3, "nobody")
    fields[1], fields[2], fields[4], fields[7] = "other", "queries", 9, -1
    codes = [reason(raw(fields, OTHER_KEY))]
    for position, sender in ((3, "c"), (3, "a")):
        fields[position] = sender
        codes.append(reason(raw(fields, OTHER_KEY)))
    codes.append(reason(raw(fields)))
    for position, value in ((7, 0), (2, "chunks"), (1, "demo")):
        fields[position] = value
        codes.append(reason(raw(fields)))
    assert codes == [
        "unknown_sender",
        "wrong_topic",
        "bad_signature",
        "malformed",
        "wrong_topic",
        "wrong_tenant",
        "wrong_key_epoch",
    ]


def test_a_second_encoding_is_refused_even_when_signed() -> None:
    signed = msgpack.packb(FIELDS)
    longer = signed[:1] + b"\xcc\x01" + signed[2:]
    assert msgpack.unpackb(longer) == msgpack.unpackb(signed)
    assert reason(signed_raw(longer)) == "malformed"


def test_the_signature_covers_the_domain_tag() -> None:
    signed = msgpack.packb(FIELDS)
    assert reason(msgpack.packb([signed, KEY.sign(signed)])) == "bad_signature"
    assert reason(msgpack.packb([signed, KEY.sign(b"privml/receipt/1" + signed)])) == "bad_signature"


def test_no_changed_byte_passes() -> None:
    data = seal()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x01
        with pytest.raises(SchemaError):
            open_envelope(bytes(changed), "chunks", "demo", PARTIES.get)


def test_a_message_is_not_moved() -> None:
    assert reason(seal(), topic="receipts") == "wrong_topic"
    assert reason(seal(), topic="no-such-topic") == "wrong_topic"
    assert reason(seal(), tenant="other") == "wrong_tenant"
    # A role that may write both topics cannot move its message either.
    unit = VerifyingParty("mu", Role.MU, KEY.public_key(), 3)
    with pytest.raises(SchemaError) as refused:
        open_envelope(seal(topic="journal", sender="mu"), "receipts", "demo", lambda _: unit)
    assert refused.value.code == "wrong_topic"


def test_the_longest_header_fits_the_overhead() -> None:
    longest = {
        "tenant": "t" * 32,
        "topic": "t" * 64,
        "sender": "s" * 64,
        "key_epoch": 2**63 - 1,
        "sequence": 2**63 - 1,
        "kind": "k" * 64,
        "part": 254,
        "parts": 255,
    }
    body = bytes(MAX_MESSAGE_BYTES - ENVELOPE_OVERHEAD_BYTES)
    assert len(seal(body, **longest)) <= MAX_MESSAGE_BYTES
    with pytest.raises(MessageTooLargeError):
        seal(bytes(MAX_MESSAGE_BYTES))


@pytest.mark.parametrize(
    "change", [{"tenant": "A B"}, {"sender": ""}, {"sequence": -1}, {"kind": "x" * 65}, {"part": 1}]
)
def test_nothing_is_sealed_that_would_not_open(change: dict[str, Any]) -> None:
    with pytest.raises((MalformedMessageError, ValueError)):
        seal(**change)


def test_repr_shows_no_body() -> None:
    assert "canary" not in repr(open_envelope(seal(b"canary"), "chunks", "demo", PARTIES.get))
