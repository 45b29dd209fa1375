"""MU's decisions: a reason for everything that can be wrong, and a state that the journal gives back."""

import hashlib
from collections.abc import Callable

import msgspec
import pytest
from doubles import seeded_coins
from round_trips import arrival_of, chunk_of, query_for, random_records
from tenants import SmallTenant, small_tenant

from crypto.errors import LocalProtocolError, PrivMLError
from crypto.parameters import Ciphertext, decode_ciphertexts, encode_ciphertexts
from roles.arrival import Arrival
from roles.encoding import encode_bits
from roles.master_unit import MasterUnit, ScreenedChunk, ScreenedQuery, query_subject, refresh_subject
from roles.refusal import refusal_reason
from schemas.chunks import Chunk, EncodedVector, Withdrawal
from schemas.codec import encode
from schemas.configuration import Limits
from schemas.journal import EntryKind, JournalEntry
from schemas.queries import Query
from schemas.reasons import ReasonCode
from schemas.topics import TopicName

LIMITS = Limits(30, 60, 5, 20, 1, 10)


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant(limits=LIMITS)


def entry_id(entry: JournalEntry) -> bytes:
    return hashlib.sha256(encode(entry)).digest()


Applied = tuple[JournalEntry, tuple[Ciphertext, ...], bytes]


class Desk:
    """A MU with the journal that its shell would keep."""

    def __init__(self, small: SmallTenant) -> None:
        self.small = small
        self.unit = MasterUnit.starting(small.tenant, small.tenant.model("m"))
        self.journal: list[Applied] = []
        self.bodies: dict[tuple[str, int], tuple[Ciphertext, ...]] = {}

    def apply(
        self, entry: JournalEntry, ciphertexts: tuple[Ciphertext, ...] = (), query_id: bytes = b""
    ) -> JournalEntry:
        self.unit.apply(entry, entry_id(entry), ciphertexts, query_id)
        self.journal.append((entry, ciphertexts, query_id))
        return entry

    def chunk(self, sequence: int, size: int = 20, owner: str = "a") -> JournalEntry:
        arrival = arrival_of(
            encode(chunk_of(self.small, sequence, size, owner)),
            sender=owner,
            sequence=sequence,
            offset=sequence,
        )
        screened = self.unit.screen_chunk(arrival)
        assert isinstance(screened, ScreenedChunk)
        assert not self.unit.failing_proofs([screened.statement])
        self.bodies[owner, sequence] = screened.ciphertexts
        entry = self.unit.decide_chunk(screened)
        return self.apply(entry, screened.ciphertexts if entry.kind == EntryKind.ACCEPT else ())

    def withdraw(self, sequence: int, owner: str = "a", by: str | None = None) -> JournalEntry:
        withdrawal = Withdrawal(sequence)
        arrival = arrival_of(
            encode(withdrawal), sender=by or owner, sequence=1000 + sequence, kind="withdrawal"
        )
        assert self.unit.screen_chunk(arrival) == withdrawal
        entry = self.unit.decide_withdrawal(arrival, withdrawal)
        gone = self.bodies[owner, sequence] if entry.kind == EntryKind.WITHDRAW else ()
        return self.apply(entry, gone)

    def query(self, seed: str = "query") -> JournalEntry:
        screened = self.unit.screen_query(query_arrival(self.small, seed))
        assert not self.unit.failing_proofs([screened.statement])
        return self.apply(self.unit.decide_query(screened), query_id=screened.query.query_id)


def small_query(small: SmallTenant, seed: str = "query", rows: int = 2) -> Query:
    return query_for(small, encode_bits(small.tenant.schema, random_records(small, rows, seed)), seed)


def query_arrival(small: SmallTenant, seed: str = "query") -> Arrival:
    return query_message(small_query(small, seed))


def query_message(query: Query, **changes: object) -> Arrival:
    return arrival_of(
        encode(msgspec.structs.replace(query, **changes)), sender="c", kind="query", topic=TopicName.QUERIES
    )


def refused(call: Callable[[], object]) -> ReasonCode:
    with pytest.raises(PrivMLError) as caught:
        call()
    return refusal_reason(caught.value)


# --- screening chunks


def changed_vector(chunk: Chunk, data: bytes, encoding: str = "counts") -> dict[str, object]:
    return {"vectors": (EncodedVector(encoding, data),)}


CHUNK_FAULTS: list[tuple[str, Callable[[SmallTenant, Chunk], dict[str, object]], ReasonCode]] = [
    ("schema", lambda small, chunk: {"schema_digest": bytes(32)}, ReasonCode.WRONG_SCHEMA),
    ("no records", lambda small, chunk: {"records": 0}, ReasonCode.TOO_MANY_ROWS),
    ("negative", lambda small, chunk: {"records": -1}, ReasonCode.TOO_MANY_ROWS),
    ("too many", lambda small, chunk: {"records": 31}, ReasonCode.TOO_MANY_ROWS),
    ("huge", lambda small, chunk: {"records": (1 << 63) - 1}, ReasonCode.TOO_MANY_ROWS),
    ("no vector", lambda small, chunk: {"vectors": ()}, ReasonCode.MALFORMED),
    ("twice", lambda small, chunk: {"vectors": chunk.vectors * 2}, ReasonCode.MALFORMED),
    (
        "encoding",
        lambda small, chunk: changed_vector(chunk, chunk.vectors[0].ciphertexts, "bits"),
        ReasonCode.MALFORMED,
    ),
    ("empty", lambda small, chunk: changed_vector(chunk, b""), ReasonCode.MALFORMED),
    (
        "a byte less",
        lambda small, chunk: changed_vector(chunk, chunk.vectors[0].ciphertexts[:-1]),
        ReasonCode.MALFORMED,
    ),
    (
        "a ciphertext more",
        lambda small, chunk: changed_vector(chunk, chunk.vectors[0].ciphertexts + bytes(128)),
        ReasonCode.MALFORMED,
    ),
    (
        "zeros",
        lambda small, chunk: changed_vector(chunk, bytes(len(chunk.vectors[0].ciphertexts))),
        ReasonCode.INVALID_CIPHERTEXT,
    ),
    (
        "out of range",
        lambda small, chunk: changed_vector(chunk, b"\xff" * len(chunk.vectors[0].ciphertexts)),
        ReasonCode.INVALID_CIPHERTEXT,
    ),
    ("short proof", lambda small, chunk: {"proof": chunk.proof[:-1]}, ReasonCode.BAD_PROOF),
    ("no proof", lambda small, chunk: {"proof": b""}, ReasonCode.BAD_PROOF),
]


@pytest.mark.parametrize(
    ("fault", "reason"), [case[1:] for case in CHUNK_FAULTS], ids=[case[0] for case in CHUNK_FAULTS]
)
def test_a_faulty_chunk_has_a_reason(
    small: SmallTenant, fault: Callable[[SmallTenant, Chunk], dict[str, object]], reason: ReasonCode
) -> None:
    unit = MasterUnit.starting(small.tenant, small.tenant.model("m"))
    chunk = chunk_of(small, 0)
    bad = msgspec.structs.replace(chunk, **fault(small, chunk))
    assert refused(lambda: unit.screen_chunk(arrival_of(encode(bad)))) == reason


@pytest.mark.parametrize("body", [b"", b"\xc0", b"\x90", bytes(100)])
@pytest.mark.parametrize("kind", ["chunk", "withdrawal", "query", ""])
def test_bytes_that_are_no_message_are_malformed(small: SmallTenant, body: bytes, kind: str) -> None:
    unit = MasterUnit.starting(small.tenant, small.tenant.model("m"))
    assert refused(lambda: unit.screen_chunk(arrival_of(body, kind=kind))) == ReasonCode.MALFORMED
    assert refused(lambda: unit.screen_query(arrival_of(body, kind=kind))) == ReasonCode.MALFORMED


def test_a_proof_is_bound_to_sender_sequence_topic_and_ciphertexts(small: SmallTenant) -> None:
    unit = MasterUnit.starting(small.tenant, small.tenant.model("m"))
    chunk = chunk_of(small, 3)
    parameters = small.tenant.parameters
    ciphertexts = decode_ciphertexts(parameters, chunk.vectors[0].ciphertexts)
    shifted = small.tenant.service_key.refresh(ciphertexts[0], seeded_coins("shift"))
    moved = encode_ciphertexts(parameters, [shifted, *ciphertexts[1:]])
    good = arrival_of(encode(chunk), sequence=3)
    copies = [
        good,
        arrival_of(encode(chunk), sequence=4),
        arrival_of(encode(chunk), sequence=3, sender="b"),
        arrival_of(encode(chunk), sequence=3, topic="elsewhere"),
        arrival_of(encode(msgspec.structs.replace(chunk, **changed_vector(chunk, moved))), sequence=3),
        good,
    ]
    screened = [unit.screen_chunk(copy) for copy in copies]
    statements = [item.statement for item in screened if isinstance(item, ScreenedChunk)]
    assert unit.failing_proofs(statements) == {1, 2, 3, 4}
    assert unit.failing_proofs(statements[:1]) == unit.failing_proofs([]) == frozenset()


def test_one_bad_proof_of_a_batch_is_found_and_its_neighbours_are_kept(small: SmallTenant) -> None:
    unit = MasterUnit.starting(small.tenant, small.tenant.model("m"))
    chunks = [chunk_of(small, i, 5) for i in range(5)]
    flipped = chunks[3].proof[:-1] + bytes([chunks[3].proof[-1] ^ 1])
    chunks[3] = msgspec.structs.replace(chunks[3], proof=flipped)
    screened = [unit.screen_chunk(arrival_of(encode(c), sequence=i)) for i, c in enumerate(chunks)]
    statements = [item.statement for item in screened if isinstance(item, ScreenedChunk)]
    assert unit.failing_proofs(statements) == {3}
    # No message of a dead letter: the entry holds a code alone.
    entry = unit.decide_reject(screened[3].arrival, ReasonCode.BAD_PROOF)  # type: ignore[union-attr]
    assert (entry.kind, entry.reason, entry.records) == ("reject", "bad_proof", 0)


# --- decisions on chunks


def test_the_first_accepted_body_wins(small: SmallTenant) -> None:
    desk = Desk(small)
    assert desk.chunk(0).kind == EntryKind.ACCEPT
    same = arrival_of(encode(chunk_of(small, 0)), offset=7)
    other = arrival_of(encode(chunk_of(small, 0, seed="other")), offset=8)
    assert refused(lambda: desk.unit.screen_chunk(same)) == ReasonCode.DUPLICATE
    assert refused(lambda: desk.unit.screen_chunk(other)) == ReasonCode.EQUIVOCATION


def test_repeats_within_one_batch_are_refused_at_the_decision(small: SmallTenant) -> None:
    desk = Desk(small)
    bodies = [chunk_of(small, 0), chunk_of(small, 0), chunk_of(small, 0, seed="other")]
    batch = [desk.unit.screen_chunk(arrival_of(encode(body))) for body in bodies]
    reasons = []
    for screened in batch:
        assert isinstance(screened, ScreenedChunk)
        entry = desk.unit.decide_chunk(screened)
        desk.apply(entry, screened.ciphertexts if entry.kind == EntryKind.ACCEPT else ())
        reasons.append(entry.reason)
    assert reasons == ["", ReasonCode.DUPLICATE, ReasonCode.EQUIVOCATION]
    assert desk.unit.model.chunks == 1


def test_the_model_takes_no_more_records_than_its_limit(small: SmallTenant) -> None:
    desk = Desk(small)
    assert [desk.chunk(i, 25).reason for i in range(2)] == ["", ""]
    before = desk.unit.model
    assert desk.chunk(2, 11).reason == ReasonCode.LAYOUT_OVERFLOW
    assert desk.unit.model is before
    assert desk.chunk(3, 10).kind == EntryKind.ACCEPT


def test_slots_that_could_overflow_are_refused_whatever_the_limit() -> None:
    roomy = small_tenant(limits=Limits(1 << 47, 1 << 50, 5, 1, 1, 1))
    desk = Desk(roomy)
    desk.chunk(0, 5)
    chunk = msgspec.structs.replace(chunk_of(roomy, 1, 5), records=(1 << 47) - 5)
    screened = desk.unit.screen_chunk(arrival_of(encode(chunk), sequence=1))
    assert isinstance(screened, ScreenedChunk)
    assert desk.unit.decide_chunk(screened).reason == ReasonCode.LAYOUT_OVERFLOW
    too_long = msgspec.structs.replace(chunk, records=1 << 47)
    assert refused(lambda: desk.unit.screen_chunk(arrival_of(encode(too_long), sequence=1))) == (
        ReasonCode.LAYOUT_OVERFLOW
    )


def test_only_what_is_in_can_be_withdrawn_by_its_owner_and_once(small: SmallTenant) -> None:
    desk = Desk(small)
    desk.chunk(0)
    before = desk.unit.model
    desk.chunk(1)
    assert desk.withdraw(2).reason == ReasonCode.NOT_WITHDRAWABLE
    assert desk.withdraw(1, by="b").reason == ReasonCode.NOT_WITHDRAWABLE
    assert desk.withdraw(1).kind == EntryKind.WITHDRAW
    assert desk.unit.model.ciphertexts == before.ciphertexts
    assert desk.withdraw(1).reason == ReasonCode.NOT_WITHDRAWABLE
    # Nor does the chunk come back: its number is spent.
    again = arrival_of(encode(chunk_of(small, 1)), sequence=1)
    assert refused(lambda: desk.unit.screen_chunk(again)) == ReasonCode.DUPLICATE


# --- queries

QUERY_FAULTS: list[tuple[str, dict[str, object], ReasonCode]] = [
    ("id", {"query_id": bytes(15)}, ReasonCode.MALFORMED),
    ("model", {"model_id": "other"}, ReasonCode.UNKNOWN_MODEL),
    ("schema", {"schema_digest": bytes(32)}, ReasonCode.WRONG_SCHEMA),
    ("no rows", {"rows": 0}, ReasonCode.TOO_MANY_ROWS),
    ("too many rows", {"rows": 6}, ReasonCode.TOO_MANY_ROWS),
    ("another number of rows", {"rows": 5, "ciphertexts": b""}, ReasonCode.MALFORMED),
    ("bytes", {"ciphertexts": bytes(127)}, ReasonCode.MALFORMED),
    ("zeros", {"ciphertexts": bytes(128)}, ReasonCode.INVALID_CIPHERTEXT),
    ("proof", {"proof": b"1"}, ReasonCode.BAD_PROOF),
]


@pytest.mark.parametrize(
    ("changes", "reason"), [case[1:] for case in QUERY_FAULTS], ids=[case[0] for case in QUERY_FAULTS]
)
def test_a_faulty_query_has_a_reason(
    small: SmallTenant, changes: dict[str, object], reason: ReasonCode
) -> None:
    desk = Desk(small)
    desk.chunk(0)
    assert refused(lambda: desk.unit.screen_query(query_message(small_query(small), **changes))) == reason


def test_a_query_that_somebody_else_sends_again_has_a_bad_proof(small: SmallTenant) -> None:
    desk = Desk(small)
    desk.chunk(0)
    query = small_query(small)
    copies = [
        query_message(query),
        arrival_of(encode(query), sender="d", kind="query", topic=TopicName.QUERIES),
        query_message(query, query_id=bytes(16)),
    ]
    statements = [desk.unit.screen_query(copy).statement for copy in copies]
    assert desk.unit.failing_proofs(statements) == {1, 2}


@pytest.mark.parametrize(("limits", "size"), [(LIMITS, 19), (Limits(30, 60, 5, 1, 2, 1), 20)])
def test_a_model_of_too_few_records_or_owners_does_not_answer(limits: Limits, size: int) -> None:
    small = small_tenant(limits=limits)
    desk = Desk(small)
    assert refused(desk.query) == ReasonCode.NOT_ENOUGH_RECORDS
    desk.chunk(0, size)
    assert refused(desk.query) == ReasonCode.NOT_ENOUGH_RECORDS
    desk.chunk(1, 20, owner="b")
    assert desk.query().kind == EntryKind.QUERY


def test_a_query_is_answered_once(small: SmallTenant) -> None:
    desk = Desk(small)
    desk.chunk(0)
    desk.query()
    other = query_message(small_query(small, "query"), proof=b"")
    assert refused(desk.query) == ReasonCode.DUPLICATE
    assert refused(lambda: desk.unit.screen_query(other)) == ReasonCode.EQUIVOCATION


def test_a_query_repeated_within_one_batch_is_refused_at_the_decision(small: SmallTenant) -> None:
    desk = Desk(small)
    desk.chunk(0)
    query = small_query(small)
    again = arrival_of(encode(query), sender="c", sequence=1, kind="query", topic=TopicName.QUERIES)
    batch: list[ScreenedQuery] = [
        desk.unit.screen_query(one) for one in (query_message(query), query_message(query), again)
    ]
    entries = [
        desk.apply(desk.unit.decide_query(screened), query_id=screened.query.query_id) for screened in batch
    ]
    assert [entry.reason for entry in entries] == ["", ReasonCode.DUPLICATE, ReasonCode.EQUIVOCATION]
    assert len(desk.unit.open_queries) == 1


def test_open_queries_keep_the_model_that_answers_them_until_they_are_answered(small: SmallTenant) -> None:
    desk = Desk(small)
    desk.chunk(0, 20)
    first = desk.query("one")
    desk.chunk(1, 9)
    second = desk.query("two")
    # Nine new records are less than the step of ten: the old version answers on.
    assert (first.model_version, second.model_version) == (1, 1)
    desk.chunk(2, 1)
    third = desk.query("three")
    assert third.model_version == 3
    answering = {entry.model_version: model.records for entry, model in desk.unit.open_queries.values()}
    assert answering == {1: 20, 3: 30}
    closed = desk.apply(desk.unit.decide_answered(second, bytes(32)))
    assert (closed.kind, closed.message_hash, closed.sender) == ("answered", bytes(32), "c")
    assert [entry for entry, _ in desk.unit.open_queries.values()] == [first, third]


def test_a_withdrawal_moves_the_answering_version_at_once(small: SmallTenant) -> None:
    desk = Desk(small)
    desk.chunk(0, 20)
    desk.chunk(1, 5)
    assert desk.query("one").model_version == 2
    desk.withdraw(1)
    assert desk.query("two").model_version == 3


# --- the fold


def busy(small: SmallTenant) -> Desk:
    desk = Desk(small)
    desk.chunk(0, 20)
    desk.chunk(1, 9, owner="b")
    first = desk.query("one")
    desk.withdraw(1, owner="b")
    desk.withdraw(1, owner="b")
    desk.apply(desk.unit.decide_reject(arrival_of(b"", offset=40), ReasonCode.MALFORMED))
    desk.query("two")
    desk.apply(desk.unit.decide_answered(first, bytes(32)))
    desk.chunk(5, 12)
    return desk


def test_the_fold_of_the_journal_is_the_same_state(small: SmallTenant) -> None:
    desk = busy(small)
    again = MasterUnit.starting(small.tenant, small.tenant.model("m"))
    for entry, ciphertexts, query_id in desk.journal:
        again.apply(entry, entry_id(entry), ciphertexts, query_id)
    assert again == desk.unit
    assert again.next_sequence == len(desk.journal) == 9
    assert again.next_offset == {(TopicName.CHUNKS, 0): 41, (TopicName.QUERIES, 0): 1}
    # And what comes next is decided alike.
    arrival = arrival_of(b"", sequence=6)
    assert again.decide_reject(arrival, ReasonCode.MALFORMED) == desk.unit.decide_reject(
        arrival, ReasonCode.MALFORMED
    )


def test_an_entry_that_does_not_continue_the_chain_is_refused(small: SmallTenant) -> None:
    desk = busy(small)
    entry = desk.unit.decide_reject(arrival_of(b""), ReasonCode.MALFORMED)
    before = (desk.unit.head, desk.unit.next_sequence)
    for changes in ({"sequence": 8}, {"sequence": 10}, {"previous": bytes(32)}):
        with pytest.raises(LocalProtocolError, match="chain"):
            desk.unit.apply(msgspec.structs.replace(entry, **changes), bytes(32))
    with pytest.raises(LocalProtocolError, match="unknown kind"):
        desk.unit.apply(msgspec.structs.replace(entry, kind="other"), bytes(32))
    assert (desk.unit.head, desk.unit.next_sequence) == before


def test_entries_say_where_and_what_and_chain_up(small: SmallTenant) -> None:
    desk = busy(small)
    previous = bytes(32)
    for position, (entry, _, _) in enumerate(desk.journal):
        assert (entry.sequence, entry.previous) == (position, previous)
        previous = entry_id(entry)
    accept = desk.journal[1][0]
    assert (accept.sender, accept.sender_sequence, accept.records, accept.model_version) == ("b", 1, 9, 2)
    withdraw = desk.journal[3][0]
    assert (withdraw.kind, withdraw.sender_sequence, withdraw.records) == (EntryKind.WITHDRAW, 1, 9)


def test_subjects_name_the_counts_and_the_query(small: SmallTenant) -> None:
    desk = busy(small)
    (entry, model), *_ = desk.unit.open_queries.values()
    subject = query_subject(small.tenant, model, entry)
    assert (subject.client, subject.query_hash, subject.rows) == ("c", entry.message_hash, 2)
    assert (subject.model_version, subject.records, subject.owners) == (3, 20, 1)
    refresh = refresh_subject(small.tenant, model)
    assert (refresh.purpose, refresh.model_version, refresh.client, refresh.rows) == ("refresh", 0, "", 0)
    assert refresh.model_hash == subject.model_hash == model.hash(small.tenant)
