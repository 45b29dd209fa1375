import hashlib
import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import MAX_MESSAGE_BYTES
from schemas.envelope import Envelope, VerifyingParty, message_id, open_envelope
from schemas.errors import EquivocationError, MessageTooLargeError
from schemas.parts import MAX_PART_BODY_BYTES, PartAssembler, Whole, seal_parts, split_body, whole_id
from schemas.topics import Role

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def parts_of(body: bytes, sequence: int = 0, sender: str = "a", kind: str = "chunk") -> list[Envelope]:
    pieces = split_body(body, 4)
    return [
        Envelope(1, "demo", "chunks", sender, 0, sequence, kind, part, len(pieces), piece)
        for part, piece in enumerate(pieces)
    ]


def assembler(byte_budget: int = 100, max_groups_per_sender: int = 4) -> PartAssembler:
    return PartAssembler(byte_budget, max_groups_per_sender)


def offer_all(target: PartAssembler, envelopes: list[Envelope]) -> list[Whole]:
    return [whole for e in envelopes if (whole := target.offer(e).whole) is not None]


@given(st.binary(max_size=60), st.integers(1, 20))
def test_pieces_make_up_the_body(body: bytes, limit: int) -> None:
    pieces = split_body(body, limit)
    assert b"".join(pieces) == body
    assert all(len(piece) == limit for piece in pieces[:-1])
    assert all(piece or pieces == [b""] for piece in pieces)


@given(st.data())
def test_any_order_and_duplicates_give_the_body_once(data: st.DataObject) -> None:
    envelopes = parts_of(b"0123456789abcdef")
    extra = data.draw(st.lists(st.sampled_from(envelopes[1:]), max_size=4))
    order = data.draw(st.permutations(envelopes[1:] + extra))
    target = assembler()
    (whole,) = offer_all(target, [*order, envelopes[0]])
    assert whole.body == b"0123456789abcdef"
    assert whole.envelope == envelopes[0]
    assert whole.message_id == whole_id([e.message_id() for e in envelopes])
    assert target.bytes_held == 0
    assert target.oldest_mark is None


def test_large_bodies_travel_within_the_limit() -> None:
    body = bytes(range(256)) * 40_000
    sealed = seal_parts(
        tenant="demo",
        topic="chunks",
        sender="a",
        key_epoch=0,
        sequence=9,
        kind="chunk",
        body=body,
        signing_key=KEY,
    )
    assert len(sealed) == -(-len(body) // MAX_PART_BODY_BYTES) == 3
    assert all(len(data) <= MAX_MESSAGE_BYTES for data in sealed)
    party = VerifyingParty("a", Role.OWNER, KEY.public_key(), 0)
    target = assembler(byte_budget=2 * len(body))
    (whole,) = offer_all(
        target, [open_envelope(data, "chunks", "demo", lambda _: party) for data in reversed(sealed)]
    )
    assert whole.body == body
    assert whole.message_id == whole_id([message_id(data) for data in sealed])


def test_the_id_of_one_part_is_its_own() -> None:
    (envelope,) = parts_of(b"abc")
    whole = assembler().offer(envelope).whole
    assert whole is not None
    assert whole.message_id == envelope.message_id()
    ids = [hashlib.sha256(b"%d" % i).digest() for i in range(3)]
    assert whole_id(ids) == hashlib.sha256(b"privml/parts/1" + b"".join(ids)).digest()
    assert len({whole_id(list(order)) for order in itertools.permutations(ids)}) == 6


@pytest.mark.parametrize(
    "other",
    [
        parts_of(b"0123XXXX89")[1],
        parts_of(b"0123456789abcdef")[1],
        parts_of(b"0123456789", kind="other")[1],
    ],
)
def test_conflicting_parts_are_equivocation(other: Envelope) -> None:
    envelopes = parts_of(b"0123456789")
    target = assembler()
    target.offer(envelopes[1])
    with pytest.raises(EquivocationError) as refused:
        target.offer(other)
    assert refused.value.code == "equivocation"
    # What was there first stays.
    (whole,) = offer_all(target, [envelopes[0], envelopes[2]])
    assert whole.body == b"0123456789"


def test_senders_and_sequences_do_not_mix() -> None:
    groups = [parts_of(b"%s %d 34567" % (s.encode(), n), n, s) for s in "ab" for n in (1, 2)]
    mixed = [envelope for parts in zip(*groups, strict=True) for envelope in parts]
    assert [w.body for w in offer_all(assembler(), mixed)] == [
        b"a 1 34567",
        b"a 2 34567",
        b"b 1 34567",
        b"b 2 34567",
    ]


def test_too_many_open_groups_push_out_the_oldest_of_the_same_sender() -> None:
    target = assembler(max_groups_per_sender=2)
    target.offer(parts_of(b"neighbour", 0, "b")[0])
    for sequence in (0, 1):
        assert target.offer(parts_of(b"01234567", sequence)[0]).dropped == ()
    (dropped,) = target.offer(parts_of(b"01234567", 2)[0]).dropped
    assert (dropped.sender, dropped.sequence, dropped.parts_seen, dropped.parts) == ("a", 0, 1, 2)
    assert dropped.reason == "incomplete_parts"
    assert target.bytes_held == 12


def test_a_short_budget_is_paid_by_who_holds_most() -> None:
    target = assembler(byte_budget=20, max_groups_per_sender=9)
    target.offer(parts_of(b"01234567", 0, "b")[0])
    for sequence in range(4):
        assert target.offer(parts_of(b"01234567", sequence, "a")[0]).dropped == ()
    (dropped,) = target.offer(parts_of(b"01234567", 1, "b")[0]).dropped
    assert (dropped.sender, dropped.sequence) == ("a", 0)
    assert [w.body for w in offer_all(target, [parts_of(b"01234567", 0, "b")[1]])] == [b"01234567"]


def test_a_group_above_the_budget_is_too_large() -> None:
    target = assembler(byte_budget=10)
    envelopes = parts_of(b"0123456789abcdef")
    target.offer(envelopes[0])
    target.offer(envelopes[1])
    with pytest.raises(MessageTooLargeError) as refused:
        target.offer(envelopes[2])
    assert refused.value.code == "too_large"
    assert target.bytes_held == 0


def test_the_oldest_mark_tells_where_to_resume() -> None:
    target = assembler()
    first, second = parts_of(b"01234567", 0), parts_of(b"01234567", 1)
    target.offer(first[0], mark=10)
    target.offer(second[0], mark=11)
    assert target.oldest_mark == 10
    target.offer(first[1], mark=12)
    assert target.oldest_mark == 11


def test_too_many_parts_are_refused() -> None:
    assert len(split_body(bytes(256), 1)) == 256
    with pytest.raises(MessageTooLargeError):
        split_body(bytes(257), 1)
