"""MU's decisions: a reason for everything that can be wrong, and a state that the journal gives back."""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import msgspec
import pytest
from doubles import seeded_coins
from linked_learners import MODELS, LinkedLearner
from round_trips import arrival_of, chunk_of, naive_bayes, query_for, random_records
from tenants import SmallTenant, small_tenant

from crypto.errors import LocalProtocolError, PrivMLError
from crypto.parameters import decode_ciphertexts, encode_ciphertexts
from pipeline.journal_index_file import JournalIndexFile
from roles.arrival import Arrival
from roles.auditor import Auditor
from roles.chunk_encodings import Vectors
from roles.classifiers.hoeffding_tree import TreeLearner
from roles.classifiers.learner import QUERY, TaughtChunk, refresh_subject_of
from roles.classifiers.naive_bayes import NaiveBayesLearner
from roles.client import make_query
from roles.entry_content import NOTHING, EntryContent
from roles.findings import Findings, Place
from roles.journal_chain import Link
from roles.journal_index import MemoryIndex
from roles.judging import judge_messages
from roles.kept_model import KeptModel
from roles.learners import AnyLearner
from roles.master_unit import MasterUnit
from roles.model_state import Content, ModelState
from roles.refusal import refusal_reason
from roles.screening import ScreenedChunk, ScreenedQuery, failing_proofs
from schemas.chunks import Chunk, EncodedVector, Withdrawal
from schemas.codec import encode
from schemas.configuration import Limits
from schemas.journal import EntryKind, JournalEntry
from schemas.models import NaiveBayesSpec
from schemas.queries import Query
from schemas.reasons import ReasonCode
from schemas.snapshots import SealedPlace, WaitingChunk
from schemas.topics import TopicName

LIMITS = Limits(30, 60, 5, 20, 1, 10)
PLACE = SealedPlace(0, 17, b"sealed".ljust(32), b"model".ljust(32))


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant(limits=LIMITS)


def entry_id(entry: JournalEntry) -> bytes:
    return hashlib.sha256(encode(entry)).digest()


class Desk:
    """A MU with the journal that its shell would keep."""

    def __init__(self, small: SmallTenant) -> None:
        self.small = small
        self.unit = MasterUnit.starting(small.tenant)
        self.journal: list[tuple[JournalEntry, EntryContent]] = []
        self.bodies: dict[tuple[str, int], Vectors] = {}

    @property
    def model(self) -> ModelState:
        """The model of a tenant that has one."""
        (kept,) = self.unit.models.values()
        return kept.model

    def apply(self, entry: JournalEntry, content: EntryContent = NOTHING) -> JournalEntry:
        self.unit.apply(entry, entry_id(entry), content)
        self.journal.append((entry, content))
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
        assert not failing_proofs([screened.proven])
        self.bodies[owner, sequence] = screened.vectors
        return self.decide_chunk(screened)

    def decide_chunk(self, screened: ScreenedChunk) -> JournalEntry:
        entry = self.unit.decide_chunk(screened)
        return self.apply(
            entry, EntryContent(screened.vectors) if entry.kind == EntryKind.ACCEPT else NOTHING
        )

    def withdraw(self, sequence: int, owner: str = "a", by: str | None = None) -> JournalEntry:
        withdrawal = Withdrawal(sequence)
        arrival = arrival_of(
            encode(withdrawal), sender=by or owner, sequence=1000 + sequence, kind="withdrawal"
        )
        assert self.unit.screen_chunk(arrival) == withdrawal
        entry = self.unit.decide_withdrawal(arrival, withdrawal)
        gone = EntryContent(self.bodies[owner, sequence]) if entry.kind == EntryKind.WITHDRAW else NOTHING
        return self.apply(entry, gone)

    def query(self, seed: str = "query", rows: int = 2, model_id: str = "m") -> JournalEntry:
        learner = self.unit.models[model_id].learner
        query = make_query(learner, "c", random_records(self.small, rows, seed), seeded_coins(seed))
        screened = self.unit.screen_query(query_message(query))
        assert not failing_proofs([screened.proven])
        return self.decide_query(screened)

    def learnt(self, model_id: str, content: Content, invalid: tuple[int, ...] = (0,)) -> JournalEntry:
        """Let a model have learnt the chunks that wait for it first."""
        return self.apply(self.unit.decide_learnt(model_id, invalid, PLACE), EntryContent(learnt=content))

    def decide_query(self, screened: ScreenedQuery) -> JournalEntry:
        entry = self.unit.decide_query(screened)
        return self.apply(entry, EntryContent(query_id=screened.query.query_id))


def small_query(small: SmallTenant, seed: str = "query", rows: int = 2) -> Query:
    return query_for(small, random_records(small, rows, seed), seed)


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
    unit = MasterUnit.starting(small.tenant)
    chunk = chunk_of(small, 0)
    bad = msgspec.structs.replace(chunk, **fault(small, chunk))
    assert refused(lambda: unit.screen_chunk(arrival_of(encode(bad)))) == reason


@pytest.mark.parametrize("body", [b"", b"\xc0", b"\x90", bytes(100)])
@pytest.mark.parametrize("kind", ["chunk", "withdrawal", "query", ""])
def test_bytes_that_are_no_message_are_malformed(small: SmallTenant, body: bytes, kind: str) -> None:
    unit = MasterUnit.starting(small.tenant)
    assert refused(lambda: unit.screen_chunk(arrival_of(body, kind=kind))) == ReasonCode.MALFORMED
    assert refused(lambda: unit.screen_query(arrival_of(body, kind=kind))) == ReasonCode.MALFORMED


def test_a_proof_is_bound_to_sender_sequence_topic_and_ciphertexts(small: SmallTenant) -> None:
    unit = MasterUnit.starting(small.tenant)
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
    statements = [item.proven for item in screened if isinstance(item, ScreenedChunk)]
    assert failing_proofs(statements) == {1, 2, 3, 4}
    assert failing_proofs(statements[:1]) == failing_proofs([]) == frozenset()


def test_one_bad_proof_of_a_batch_is_found_and_its_neighbours_are_kept(small: SmallTenant) -> None:
    unit = MasterUnit.starting(small.tenant)
    chunks = [chunk_of(small, i, 5) for i in range(5)]
    flipped = chunks[3].proof[:-1] + bytes([chunks[3].proof[-1] ^ 1])
    chunks[3] = msgspec.structs.replace(chunks[3], proof=flipped)
    screened = [unit.screen_chunk(arrival_of(encode(c), sequence=i)) for i, c in enumerate(chunks)]
    statements = [item.proven for item in screened if isinstance(item, ScreenedChunk)]
    assert failing_proofs(statements) == {3}
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
        reasons.append(desk.decide_chunk(screened).reason)
    assert reasons == ["", ReasonCode.DUPLICATE, ReasonCode.EQUIVOCATION]
    assert desk.model.chunks == 1


def test_the_model_takes_no_more_records_than_its_limit(small: SmallTenant) -> None:
    desk = Desk(small)
    assert [desk.chunk(i, 25).reason for i in range(2)] == ["", ""]
    before = desk.model
    assert desk.chunk(2, 11).reason == ReasonCode.LAYOUT_OVERFLOW
    assert desk.model is before
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
    before = desk.model
    desk.chunk(1)
    assert desk.withdraw(2).reason == ReasonCode.NOT_WITHDRAWABLE
    assert desk.withdraw(1, by="b").reason == ReasonCode.NOT_WITHDRAWABLE
    assert desk.withdraw(1).kind == EntryKind.WITHDRAW
    assert desk.model.ciphertexts == before.ciphertexts
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
    ("another number of rows", {"rows": 5, "vectors": (EncodedVector("bits", b""),)}, ReasonCode.MALFORMED),
    ("no vector", {"vectors": ()}, ReasonCode.MALFORMED),
    ("two vectors", {"vectors": (EncodedVector("bits", bytes(128)),) * 2}, ReasonCode.MALFORMED),
    ("encoding", {"vectors": (EncodedVector("words", bytes(128)),)}, ReasonCode.MALFORMED),
    ("bytes", {"vectors": (EncodedVector("bits", bytes(127)),)}, ReasonCode.MALFORMED),
    ("zeros", {"vectors": (EncodedVector("bits", bytes(128)),)}, ReasonCode.INVALID_CIPHERTEXT),
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
    statements = [desk.unit.screen_query(copy).proven for copy in copies]
    assert failing_proofs(statements) == {1, 2}


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
    entries = [desk.decide_query(screened) for screened in batch]
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
    closed = desk.apply(desk.unit.decide_answered(second, b"answer".ljust(32)))
    assert (closed.kind, closed.message_hash, closed.sender) == ("answered", second.message_hash, "c")
    # It names the entry that it closes, the version that answered, and what was answered.
    assert (closed.about, closed.model_id, closed.model_version) == (second.sequence, "m", 1)
    assert (closed.records, closed.result) == (2, b"answer".ljust(32))
    assert [entry for entry, _ in desk.unit.open_queries.values()] == [first, third]


def test_only_the_entry_that_accepted_a_query_is_closed_by_its_answer(small: SmallTenant) -> None:
    desk = Desk(small)
    desk.chunk(0)
    first, second = desk.query("one"), desk.query("two")
    # Another entry than the one that accepted the query; a query that nobody asked.
    for changes in ({"about": second.sequence}, {"message_hash": bytes(32)}):
        desk.apply(msgspec.structs.replace(desk.unit.decide_answered(first, bytes(32)), **changes))
        assert [entry for entry, _ in desk.unit.open_queries.values()] == [first, second]
    for _ in range(2):
        desk.apply(desk.unit.decide_answered(first, bytes(32)))
        assert [entry for entry, _ in desk.unit.open_queries.values()] == [second]


def test_a_withdrawal_moves_the_answering_version_at_once(small: SmallTenant) -> None:
    desk = Desk(small)
    desk.chunk(0, 20)
    desk.chunk(1, 5)
    assert desk.query("one").model_version == 2
    desk.withdraw(1)
    assert desk.query("two").model_version == 3


# --- the fold


def state_of(unit: MasterUnit) -> dict[str, object]:
    """Return all that a unit knows; learners are left out, since they know nothing but the configuration."""
    kept = {
        name: (kept.model, kept.answering, kept.answering_at, list(kept.waiting))
        for name, kept in unit.models.items()
    }
    known = {item.name: getattr(unit, item.name) for item in fields(unit) if item.name != "models"}
    return {**known, "models": kept}


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
    again = MasterUnit.starting(small.tenant)
    for entry, content in desk.journal:
        again.apply(entry, entry_id(entry), content)
    assert state_of(again) == state_of(desk.unit)
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
    for position, (entry, _) in enumerate(desk.journal):
        assert (entry.sequence, entry.previous) == (position, previous)
        previous = entry_id(entry)
    accept = desk.journal[1][0]
    assert (accept.sender, accept.sender_sequence, accept.records) == ("b", 1, 9)
    # A chunk is accepted for all models; a query asks one.
    assert (accept.model_id, accept.model_version) == ("", 0)
    asked = desk.journal[2][0]
    assert (asked.kind, asked.model_id, asked.model_version, asked.records) == (EntryKind.QUERY, "m", 2, 2)
    withdraw = desk.journal[3][0]
    assert (withdraw.kind, withdraw.sender_sequence, withdraw.records) == (EntryKind.WITHDRAW, 1, 9)


def test_subjects_name_the_counts_and_the_query(small: SmallTenant) -> None:
    desk = busy(small)
    (entry, model), *_ = desk.unit.open_queries.values()
    learner = naive_bayes(small)
    subject = learner.subject(QUERY, model, client="c", message_hash=entry.message_hash, rows=entry.records)
    assert (subject.client, subject.message_hash, subject.rows) == ("c", entry.message_hash, 2)
    assert (subject.model_version, subject.records, subject.owners) == (3, 20, 1)
    refresh = learner.preparation(model).subject
    assert (refresh.purpose, refresh.model_version, refresh.client, refresh.rows) == ("refresh", 0, "", 0)
    assert (refresh.message_hash, refresh.detail) == (b"", b"")
    assert refresh.model_hash == subject.model_hash == model.hash(small.tenant)
    assert refresh == refresh_subject_of(subject)


# --- several models

TWO_ALPHAS = small_tenant(limits=LIMITS, models=(NaiveBayesSpec("mild", 256), NaiveBayesSpec("sharp", 16)))
ALL_LIMITS = Limits(30, 150, 5, 20, 1, 10)
ALL = small_tenant(limits=ALL_LIMITS, models=MODELS)
TAUGHT = ("lr", "bins", "dt")


def kept(desk: Desk, model_id: str) -> KeptModel:
    return desk.unit.models[model_id]


def learner(desk: Desk, model_id: str) -> AnyLearner:
    return kept(desk, model_id).learner


def waiting(desk: Desk) -> dict[str, list[int]]:
    """Return what waits for every model, by the numbers of the entries that accepted it."""
    return {name: [chunk.sequence for chunk in model.waiting] for name, model in desk.unit.models.items()}


def test_two_models_of_one_kind_learn_the_same_counts_and_answer_by_their_own_tables() -> None:
    desk = Desk(TWO_ALPHAS)
    desk.chunk(0, 20)
    mild, sharp = (kept(desk, name) for name in ("mild", "sharp"))
    assert mild.model.content == sharp.model.content
    assert (mild.model.version, sharp.model.version) == (1, 1)
    shapes = []
    for model in (mild, sharp):
        assert isinstance(model.learner, NaiveBayesLearner)
        shapes.append(model.learner.table_shape(20).entries)
    # The same slots with other constants.
    assert [index for index, _ in shapes[0]] == [index for index, _ in shapes[1]]
    assert {constant for _, constant in shapes[0]} - {0} != {constant for _, constant in shapes[1]} - {0}
    calls = [model.learner.preparation(model.model) for model in (mild, sharp)]
    assert calls[0] is not None
    assert calls[1] is not None
    # Hence another session, although hash, records and owners are the same.
    assert calls[0].subject.model_hash == calls[1].subject.model_hash
    assert calls[0].subject != calls[1].subject
    assert calls[0].plan.digest != calls[1].plan.digest


def test_a_withdrawal_takes_the_chunk_out_of_all_models() -> None:
    desk = Desk(TWO_ALPHAS)
    desk.chunk(0, 20)
    before = {name: model.model.content for name, model in desk.unit.models.items()}
    desk.chunk(1, 9, owner="b")
    assert desk.unit.can_withdraw
    assert desk.withdraw(1, owner="b").kind == EntryKind.WITHDRAW
    assert {name: model.model.content for name, model in desk.unit.models.items()} == before
    assert {model.model.version for model in desk.unit.models.values()} == {3}


def test_models_that_count_move_their_answering_versions_together() -> None:
    desk = Desk(TWO_ALPHAS)
    desk.chunk(0, 20)
    first = desk.query("one", model_id="mild")
    desk.chunk(1, 9)
    # Asked for the first time: yet two versions nine records apart would tell of the nine.
    second = desk.query("two", model_id="sharp")
    desk.chunk(2, 1)
    third, fourth = desk.query("three", model_id="mild"), desk.query("four", model_id="sharp")
    asked = [(entry.model_id, entry.model_version) for entry in (first, second, third, fourth)]
    assert asked == [("mild", 1), ("sharp", 1), ("mild", 3), ("sharp", 3)]
    # A head names the entry since which the version answers, not the last one that asked it.
    heads = {name: kept(desk, name).head(TWO_ALPHAS.tenant) for name in ("mild", "sharp")}
    assert [(head.model_version, head.records) for head in heads.values()] == [(3, 30), (3, 30)]
    assert {head.journal_sequence for head in heads.values()} == {third.sequence}
    assert {head.journal_head for head in heads.values()} == {entry_id(third)}
    answering = {entry.sequence: model.records for entry, model in desk.unit.open_queries.values()}
    expected = [(first, 20), (second, 20), (third, 30), (fourth, 30)]
    assert answering == {entry.sequence: records for entry, records in expected}


def test_a_query_id_is_spent_for_all_models_at_once() -> None:
    desk = Desk(TWO_ALPHAS)
    desk.chunk(0, 20)
    desk.query("one", model_id="mild")
    # The same coins give the same query id.
    assert refused(lambda: desk.query("one", model_id="sharp")) == ReasonCode.EQUIVOCATION


def test_a_chunk_is_accepted_for_all_models_and_those_that_are_taught_wait_for_it() -> None:
    desk = Desk(ALL)
    assert set(desk.unit.encodings.names) == {"counts", "words", "bits"}
    entries = [desk.chunk(0, 20), desk.chunk(1, 9, owner="b")]
    assert all(entry.kind == EntryKind.ACCEPT for entry in entries)
    assert (kept(desk, "nb").model.version, kept(desk, "nb").model.records) == (2, 29)
    assert waiting(desk) == {"nb": [], "lr": [0, 1], "bins": [0, 1], "dt": [0, 1]}
    for name in TAUGHT:
        model = kept(desk, name)
        assert model.is_taught
        assert (model.model.version, model.model.records) == (0, 0)
        first, second = model.waiting
        assert (first.owner, first.owner_sequence, first.records, first.offset) == ("a", 0, 20, 0)
        assert (second.owner, second.owner_sequence, second.records, second.offset) == ("b", 1, 9, 1)
        assert (first.message_hash, second.message_hash) == tuple(entry.message_hash for entry in entries)
    assert not kept(desk, "nb").is_taught
    # Only what has learnt enough answers.
    assert desk.query("one", model_id="nb").model_version == 2
    for name in TAUGHT:
        assert refused(partial(desk.query, "two", model_id=name)) == ReasonCode.NOT_ENOUGH_RECORDS


def test_a_lesson_closes_the_first_chunks_that_wait_and_says_what_came_of_them() -> None:
    desk = Desk(ALL)
    for sequence, size, owner in ((0, 20, "a"), (1, 9, "b"), (2, 5, "a")):
        desk.chunk(sequence, size, owner)
    content = learner(desk, "dt").empty()
    offsets = dict(desk.unit.next_offset)
    entry = desk.unit.decide_learnt("dt", (2, 9), PLACE)
    assert (entry.kind, entry.model_id, entry.model_version) == (EntryKind.LEARNT, "dt", 2)
    assert (entry.about, entry.records, entry.invalid, entry.reason) == (1, 29, (2, 9), "")
    # Where the model after it lies, and which it is.
    place = (entry.topic, entry.partition, entry.offset, entry.message_hash, entry.result)
    sealed = (PLACE.partition, PLACE.offset, PLACE.message_hash, PLACE.model_hash)
    assert place == (TopicName.SNAPSHOTS, *sealed)
    assert [chunk.sequence for chunk in desk.unit.closed_chunks(entry)] == [0, 1]
    desk.apply(entry, EntryContent(learnt=content))
    model = kept(desk, "dt").model
    assert (model.version, model.chunks, model.records) == (2, 2, 18)
    # An owner without a valid record has none in the model.
    assert (dict(model.records_of), model.owners) == ({"a": 18}, 1)
    assert model.content is content
    assert model.sealed_at == PLACE
    assert waiting(desk) == {"nb": [], "lr": [0, 1, 2], "bins": [0, 1, 2], "dt": [2]}
    # The place on the snapshots topic is nothing that MU reads on from.
    assert desk.unit.next_offset == offsets


def test_a_chunk_that_a_model_cannot_learn_is_passed_over_wherever_it_waits() -> None:
    desk = Desk(ALL)
    accepted = [desk.chunk(sequence, 5) for sequence in range(3)]
    before = kept(desk, "dt").model
    entry = desk.apply(desk.unit.decide_passed_over("dt", 1, ReasonCode.OUT_OF_RANGE))
    assert (entry.kind, entry.reason, entry.model_id) == (EntryKind.LEARNT, "out_of_range", "dt")
    assert (entry.about, entry.records, entry.invalid, entry.result) == (1, 5, (0,), b"")
    place = (entry.topic, entry.partition, entry.offset, entry.message_hash)
    chunk = accepted[1]
    assert place == (TopicName.CHUNKS, chunk.partition, chunk.offset, chunk.message_hash)
    assert kept(desk, "dt").model == before.passing_over()
    assert (kept(desk, "dt").model.version, entry.model_version) == (1, 1)
    assert waiting(desk) == {"nb": [], "lr": [0, 1, 2], "bins": [0, 1, 2], "dt": [0, 2]}
    # What is left is learnt together as if nothing had stood between.
    learnt = desk.learnt("dt", learner(desk, "dt").empty(), (0, 0))
    assert (learnt.about, learnt.model_version, learnt.records) == (2, 3, 10)
    assert waiting(desk)["dt"] == []
    # And the chunk is in all other models, and counts as accepted.
    assert kept(desk, "nb").model.records == 15
    assert refused(lambda: desk.chunk(1, 5)) == ReasonCode.DUPLICATE


LESSON_FAULTS: list[tuple[str, dict[str, object]]] = [
    ("no model", {"model_id": "other"}),
    ("a model that is not taught", {"model_id": "nb"}),
    ("no chunk", {"invalid": ()}),
    ("more chunks than wait", {"invalid": (0, 0, 0)}),
    ("another last chunk", {"about": 0}),
    ("no chunk that waits", {"about": 7}),
    ("not the first chunk", {"invalid": (0,), "about": 1}),
    ("passed over twice", {"reason": "overflow", "about": 7}),
    ("two passed over at once", {"reason": "overflow"}),
]


@pytest.mark.parametrize(
    "changes", [fault[1] for fault in LESSON_FAULTS], ids=[fault[0] for fault in LESSON_FAULTS]
)
def test_a_lesson_about_chunks_that_do_not_wait_is_refused_and_changes_nothing(
    changes: dict[str, object],
) -> None:
    desk = Desk(ALL)
    desk.chunk(0, 5)
    desk.chunk(1, 5)
    before = state_of(desk.unit)
    entry = msgspec.structs.replace(desk.unit.decide_learnt("lr", (0, 0), PLACE), **changes)
    with pytest.raises(LocalProtocolError):
        desk.unit.closed_chunks(entry)
    learnt = None if entry.reason else learner(desk, "lr").empty()
    with pytest.raises(LocalProtocolError):
        desk.unit.apply(entry, entry_id(entry), EntryContent(learnt=learnt))
    assert state_of(desk.unit) == before


def test_what_was_learnt_must_be_there() -> None:
    desk = Desk(ALL)
    desk.chunk(0, 5)
    before = state_of(desk.unit)
    entry = desk.unit.decide_learnt("lr", (0,), PLACE)
    with pytest.raises(LocalProtocolError, match="without what was learnt"):
        desk.unit.apply(entry, entry_id(entry))
    assert state_of(desk.unit) == before


@pytest.mark.parametrize("invalid", [-1000, -1, 21])
def test_a_chunk_has_no_more_invalid_records_than_records_and_no_less_than_none(invalid: int) -> None:
    # A negative number would let a model of one small chunk answer as if it held enough of them.
    auditor = Auditor(ALL.tenant, Findings())
    arrival = arrival_of(encode(chunk_of(ALL, 0, 20)))
    (judged,) = judge_messages(auditor.impartial, [arrival])
    assert isinstance(judged.screened, ScreenedChunk)
    accept = auditor.unit.decide_chunk(judged.screened)
    auditor.fold(Link(accept, entry_id(accept), Place("journal", 0, 0)), judged)
    assert auditor.findings.found == []
    content = auditor.unit.models["dt"].learner.empty()
    lesson = auditor.unit.decide_learnt("dt", (invalid,), PLACE)
    auditor.fold(Link(lesson, entry_id(lesson), Place("journal", 0, 1)), None, learnt=content)
    assert [finding.code.value for finding in auditor.findings.found] == ["wrong_decision"]


def test_nothing_is_withdrawn_where_a_model_learns_in_an_order() -> None:
    desk = Desk(ALL)
    desk.chunk(0, 20)
    assert not desk.unit.can_withdraw
    # Neither before nor after it was learnt.
    assert desk.withdraw(0).reason == ReasonCode.NOT_WITHDRAWABLE
    for name in TAUGHT:
        desk.learnt(name, learner(desk, name).empty())
    assert desk.withdraw(0).reason == ReasonCode.NOT_WITHDRAWABLE
    assert kept(desk, "nb").model.records == 20


def test_chunks_that_wait_take_room_as_if_they_were_in() -> None:
    desk = Desk(ALL)
    # Together they are more than a chunk may have; each is learnt by itself.
    assert [desk.chunk(sequence, 30).reason for sequence in range(4)] == [""] * 4
    for name in TAUGHT[:2]:
        desk.learnt(name, learner(desk, name).empty())
    assert desk.chunk(4, 29).kind == EntryKind.ACCEPT
    assert desk.chunk(5, 2).reason == ReasonCode.LAYOUT_OVERFLOW
    assert desk.chunk(6, 1).kind == EntryKind.ACCEPT
    assert desk.chunk(7, 1).reason == ReasonCode.LAYOUT_OVERFLOW


def test_a_model_that_is_full_stops_all() -> None:
    # The tree alone has a bound on the records of one chunk.
    small = small_tenant(limits=Limits(1 << 20, 1 << 30, 5, 1, 1, 1), models=MODELS)
    desk = Desk(small)
    assert isinstance(learner(desk, "dt"), TreeLearner)
    screened = desk.unit.screen_chunk(arrival_of(encode(chunk_of(small, 0, 5))))
    assert isinstance(screened, ScreenedChunk)
    large = replace(screened, records=(1 << 16) - 1)
    assert desk.unit.decide_chunk(large).kind == EntryKind.ACCEPT
    over = replace(screened, records=1 << 16)
    assert desk.unit.decide_chunk(over).reason == ReasonCode.LAYOUT_OVERFLOW
    # Behind others that wait it is no worse off: they are learnt in windows of their own.
    kept(desk, "dt").waiting.append(WaitingChunk(0, "a", 9, (1 << 16) - 1, 0, 9, bytes(32)))
    assert desk.unit.decide_chunk(large).kind == EntryKind.ACCEPT


def test_there_is_no_room_while_a_model_is_far_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roles.master_unit.MAX_WAITING", 2)
    desk = Desk(ALL)
    desk.chunk(0, 5)
    assert desk.unit.has_room
    desk.chunk(1, 5)
    assert not desk.unit.has_room
    for name in TAUGHT:
        assert not desk.unit.has_room
        desk.learnt(name, learner(desk, name).empty())
    assert desk.unit.has_room


def test_a_taught_model_answers_by_versions_in_steps_of_what_it_took_for_valid() -> None:
    desk = Desk(ALL)
    for sequence, size in enumerate((25, 12, 9)):
        desk.chunk(sequence, size)
    content = learner(desk, "dt").empty()
    desk.learnt("dt", content, (5,))
    assert desk.query("one", model_id="dt").model_version == 1
    desk.learnt("dt", content, (3,))
    # Twelve records were published, nine are in: less than the step of ten.
    assert desk.query("two", model_id="dt").model_version == 1
    desk.apply(desk.unit.decide_passed_over("dt", 2, ReasonCode.OVERFLOW))
    assert desk.query("three", model_id="dt").model_version == 1
    desk.chunk(3, 1)
    desk.learnt("dt", content)
    assert desk.query("four", model_id="dt").model_version == 4
    assert kept(desk, "dt").head(ALL.tenant).records == 30


def test_entries_about_models_that_are_not_there_are_refused() -> None:
    desk = Desk(ALL)
    desk.chunk(0, 20)
    entry = desk.unit.decide_reject(arrival_of(b""), ReasonCode.MALFORMED)
    for kind in (EntryKind.QUERY, EntryKind.LEARNT):
        with pytest.raises(LocalProtocolError, match="no model of this tenant"):
            desk.unit.apply(msgspec.structs.replace(entry, kind=kind, model_id="m"), bytes(32))


def taught_by_sessions(desk: Desk, model_id: str) -> None:
    """Teach a model what waits for it by sessions with SU, as far as it has lessons now."""
    linked, model = LinkedLearner(desk.small, model_id), kept(desk, model_id)
    while size := linked.taught.lesson_size(model.model, [chunk.records for chunk in model.waiting]):
        chunks = [
            TaughtChunk(c.owner, c.records, c.message_hash, desk.bodies[c.owner, c.owner_sequence])
            for c in list(model.waiting)[:size]
        ]
        lesson = linked.teach(linked.taught.teach(model.model, chunks))
        desk.learnt(model_id, lesson.content, lesson.invalid)


def test_the_fold_of_a_journal_of_all_learners_is_the_same_state() -> None:
    desk = Desk(ALL)
    desk.chunk(0, 20)
    desk.chunk(1, 9, owner="b")
    for name in TAUGHT:
        taught_by_sessions(desk, name)
        # The tree attempts its root after 20 records, and waits for a window that is full.
        assert len(kept(desk, name).waiting) == (name == "dt")
    asked = [desk.query(f"of {name}", model_id=name) for name in ("nb", *TAUGHT)]
    assert [entry.model_version for entry in asked] == [2, 2, 2, 1]
    desk.apply(desk.unit.decide_answered(asked[1], bytes(32)))
    desk.withdraw(0)
    desk.chunk(2, 12)
    desk.apply(desk.unit.decide_passed_over("bins", desk.unit.next_sequence - 1, ReasonCode.OVERFLOW))
    taught_by_sessions(desk, "dt")
    again = MasterUnit.starting(ALL.tenant)
    for entry, content in desk.journal:
        again.apply(entry, entry_id(entry), content)
    assert state_of(again) == state_of(desk.unit)
    assert {name: model.model.version for name, model in again.models.items()} == {
        "nb": 3,
        "lr": 2,
        "bins": 3,
        "dt": 3,
    }
    assert waiting(desk)["lr"] == [desk.journal[-3][0].sequence]
    # And what comes next is decided alike.
    assert again.decide_learnt("lr", (0,), PLACE) == desk.unit.decide_learnt("lr", (0,), PLACE)


# --- the quota

QUOTA = small_tenant(
    limits=Limits(30, 60, 5, 20, 1, 10, 7), models=(NaiveBayesSpec("m"), NaiveBayesSpec("n"))
)


def test_a_client_asks_so_many_rows_of_all_models_together_and_no_more() -> None:
    desk = Desk(QUOTA)
    desk.chunk(0, 20)
    assert desk.query("one", 3).kind == EntryKind.QUERY
    assert desk.query("two", 2, "n").kind == EntryKind.QUERY
    over = desk.query("three", 3)
    assert (over.kind, over.reason, over.records) == (EntryKind.REJECT, "quota_exceeded", 0)
    # What was refused counts as nothing, and its id is not spent.
    assert desk.unit.index.rows_asked("c", 1) == 5
    assert desk.query("three", 2).kind == EntryKind.QUERY
    assert desk.query("four", 1).reason == ReasonCode.QUOTA_EXCEEDED
    assert desk.unit.index.rows_asked("c", 1) == 7


def test_queries_of_one_batch_are_held_against_the_quota_one_after_the_other() -> None:
    desk = Desk(QUOTA)
    desk.chunk(0, 20)
    batch = [desk.unit.screen_query(query_message(small_query(QUOTA, str(n), 4))) for n in range(2)]
    assert [desk.decide_query(screened).reason for screened in batch] == ["", ReasonCode.QUOTA_EXCEEDED]


def test_every_client_has_a_quota_of_its_own() -> None:
    desk = Desk(QUOTA)
    desk.chunk(0, 20)
    desk.query("one", 5)
    body = encode(small_query(QUOTA, "two", 5))
    # Whoever it is: proofs and names are held against the configuration before.
    other = arrival_of(body, sender="d", kind="query", topic=TopicName.QUERIES)
    assert desk.decide_query(desk.unit.screen_query(other)).kind == EntryKind.QUERY
    assert desk.query("three", 3).reason == ReasonCode.QUOTA_EXCEEDED


@pytest.mark.parametrize("on_disk", [False, True])
def test_rows_are_counted_by_key_epoch_and_once(tmp_path: Path, *, on_disk: bool) -> None:
    index = JournalIndexFile(tmp_path / "mu.index") if on_disk else MemoryIndex()
    asked = [(3, b"one", 1), (4, b"two", 2), (5, b"three", 2)]
    for _ in range(2):
        for rows, query_id, key_epoch in asked:
            entry = JournalEntry(0, bytes(32), "query", "queries", 0, 0, query_id, "c", 0, rows, "")
            index.add_query(entry, query_id, key_epoch)
    assert [index.rows_asked("c", key_epoch) for key_epoch in (1, 2, 3)] == [3, 9, 0]
    if isinstance(index, JournalIndexFile):
        index.close()


def test_an_answer_gives_nothing_of_the_quota_back() -> None:
    desk = Desk(QUOTA)
    desk.chunk(0, 20)
    asked = desk.query("one", 5)
    desk.apply(desk.unit.decide_answered(asked, bytes(32)))
    assert desk.query("two", 3).reason == ReasonCode.QUOTA_EXCEEDED


# --- the index


def test_an_index_that_is_given_an_entry_once_more_stays_as_it_is(small: SmallTenant) -> None:
    # A restarted MU folds some entries again into an index that has them.
    desk = busy(small)
    assert isinstance(desk.unit.index, MemoryIndex)
    before = deepcopy(desk.unit.index)
    for entry, content in desk.journal:
        if entry.kind == EntryKind.ACCEPT:
            desk.unit.index.add_chunk(entry)
        elif entry.kind == EntryKind.WITHDRAW:
            desk.unit.index.withdraw(entry)
        elif entry.kind == EntryKind.QUERY:
            desk.unit.index.add_query(entry, content.query_id, 1)
    assert desk.unit.index == before
    known = desk.unit.index.chunk("b", 1)
    assert known is not None
    assert (known.records, known.withdrawn, known.offset) == (9, True, 1)
    assert desk.unit.index.chunk("b", 0) is None
    assert desk.unit.index.rows_asked("c", 1) == 4
    assert desk.unit.index.rows_asked("d", 1) == 0
