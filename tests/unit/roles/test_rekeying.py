"""Which chunks wait to be re-keyed, and what SU takes for a session about one."""

from collections import deque

import pytest
from msgspec import structs
from round_trips import arrival_of, chunk_of, secondary_unit, vectors_of
from tenants import small_tenant

from crypto.errors import LocalProtocolError
from roles.chunk_encodings import ChunkEncodings
from roles.plan import PlanViolationError
from roles.rekeying import (
    REKEY,
    RekeyQueue,
    chunk_plan,
    rekey_call,
    rekey_subject,
    rekeyed_chunk,
    rekeyed_vectors,
    secondary_rekey,
    vectors_hash,
)
from schemas.codec import encode
from schemas.rounds import Subject
from schemas.snapshots import SealedPlace, WaitingChunk

SMALL = small_tenant(owner_keys=True)
PLAIN = small_tenant()
CHUNK = WaitingChunk(3, "a", 0, 20, 0, 4, bytes(32))
LATER = WaitingChunk(4, "a", 1, 5, 0, 5, b"1" * 32)
PLACE = SealedPlace(0, 7, b"2" * 32, b"3" * 32)
ENCODINGS = ChunkEncodings(SMALL.tenant)


def test_chunks_are_rekeyed_in_order() -> None:
    queue = RekeyQueue(deque([CHUNK, LATER]))
    assert queue.records == 25
    entry = queue.entry(9, b"head", PLACE)
    assert (entry.about, entry.sender, entry.sender_sequence, entry.records) == (3, "a", 0, 20)
    assert queue.closed(entry) == structs.replace(CHUNK, rekeyed=(0, 7, b"2" * 32))
    for wrong in (
        structs.replace(entry, about=4),
        structs.replace(entry, sender="b"),
        structs.replace(entry, records=21),
        structs.replace(entry, sender_sequence=1),
    ):
        with pytest.raises(LocalProtocolError):
            queue.closed(wrong)
    with pytest.raises(LocalProtocolError):
        RekeyQueue().closed(entry)


def test_su_finds_the_plan_of_mu_by_the_subject_alone() -> None:
    vectors = vectors_of(SMALL, chunk_of(SMALL, 0, 20))
    call = rekey_call(SMALL.tenant, CHUNK, vectors)
    assert call.plan == secondary_rekey(SMALL.tenant, call.subject).plan
    assert call.plan == secondary_unit(SMALL).plan_of(call.subject, None)
    assert call.plan == chunk_plan(SMALL.tenant, 20)


@pytest.mark.parametrize(
    "subject",
    [
        rekey_subject("b", bytes(32), 20),
        rekey_subject("c", bytes(32), 20),
        rekey_subject("a", b"short", 20),
        rekey_subject("a", bytes(32), 0),
        rekey_subject("a", bytes(32), 1001),
        structs.replace(rekey_subject("a", bytes(32), 20), model_id="m"),
        structs.replace(rekey_subject("a", bytes(32), 20), records=20),
        structs.replace(rekey_subject("a", bytes(32), 20), detail=b"x"),
        structs.replace(rekey_subject("a", bytes(32), 20), offset=1),
    ],
)
def test_su_refuses_any_other_session(subject: Subject) -> None:
    assert subject.purpose == REKEY
    with pytest.raises(PlanViolationError):
        secondary_rekey(SMALL.tenant, subject)


def test_without_owner_keys_su_rekeys_nothing() -> None:
    with pytest.raises(PlanViolationError):
        secondary_unit(PLAIN).plan_of(rekey_subject("a", bytes(32), 20), None)


def test_a_stored_chunk_is_the_one_that_is_meant_or_none() -> None:
    vectors = vectors_of(SMALL, chunk_of(SMALL, 0, 20))
    stored = rekeyed_chunk(SMALL.tenant, CHUNK, vectors)

    def read(body: bytes, chunk: WaitingChunk = CHUNK) -> object:
        return rekeyed_vectors(ENCODINGS, arrival_of(body), chunk)

    assert read(encode(stored)) == vectors
    assert read(encode(stored), structs.replace(CHUNK, message_hash=b"4" * 32)) is None
    vector = stored.vectors[0]
    assert read(encode(structs.replace(stored, vectors=()))) is None
    short = structs.replace(vector, ciphertexts=vector.ciphertexts[:-1])
    assert read(encode(structs.replace(stored, vectors=(short,)))) is None
    zero = structs.replace(vector, ciphertexts=bytes(len(vector.ciphertexts)))
    assert read(encode(structs.replace(stored, vectors=(zero,)))) is None
    assert read(b"nothing") is None
    assert vectors_hash(SMALL.tenant, vectors) != vectors_hash(
        SMALL.tenant, vectors_of(SMALL, chunk_of(SMALL, 1, 20))
    )
