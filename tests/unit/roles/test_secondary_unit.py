"""SU answers the next step of the plan, the same way every time, and refuses everything else."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
from doubles import seeded_coins
from linked_learners import MODELS, LinkedLearner, taught_chunk
from round_trips import (
    Rounds,
    answer,
    head_of,
    naive_bayes,
    query_for,
    query_session,
    random_counts,
    random_records,
    refresh_session,
    replace_subject,
    request_of,
    secondary_unit,
    started,
    trained,
)
from tenants import SmallTenant, small_tenant

from crypto.counting import counting
from crypto.ot_extension import choices_of_delta, draw_delta
from crypto.parameters import Ciphertext
from crypto.service_key import half_open
from roles.building_blocks.base_transfers import TransferBases, base_master, base_plan, base_subject
from roles.building_blocks.seal import unseal
from roles.classifiers.learner import refresh_subject_of
from roles.classifiers.naive_bayes_table import TableShare
from roles.classifiers.naive_bayes_twin import NaiveBayesTwin
from roles.encoding import EncodedRecords
from roles.head_watch import HeadWatch
from roles.model_state import ModelState
from roles.secondary_unit import MAX_OPEN_SESSIONS, SecondaryUnit
from roles.session import Session, session_name
from schemas.chunks import EncodedVector
from schemas.configuration import Limits
from schemas.queries import Query
from schemas.reasons import ReasonCode
from schemas.rounds import Reply, Request, Subject

LIMITS = Limits(1000, 1 << 20, 5, 20, 1, 0)


@dataclass(frozen=True)
class Recorded:
    """One model, its refresh and one query, as they went over the wire."""

    small: SmallTenant
    model: ModelState
    table: TableShare
    refresh: Rounds
    query: Query
    asked: EncodedRecords
    rounds: Rounds
    sealed: list[Ciphertext]

    def unit(self) -> SecondaryUnit:
        """Return an SU as after a start, once it has read the heads."""
        return informed_unit(self.small, self.model)


def informed_unit(small: SmallTenant, model: ModelState) -> SecondaryUnit:
    """Return an SU that has seen MU's head about a version."""
    unit = secondary_unit(small)
    assert unit.heads.offer(head_of(small, model))
    return unit


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    small = small_tenant(limits=LIMITS)
    model = trained(small, (20,))
    unit = informed_unit(small, model)
    refresh = Rounds(unit)
    table = refresh.run(*refresh_session(small, model))
    asked = random_records(small, 3, "asked")
    query = query_for(small, asked)
    rounds = Rounds(unit, query)
    sealed = rounds.run(*query_session(small, model, query, table))
    return Recorded(small, model, table, refresh, query, asked, rounds, sealed)


def changed(request: Request, **changes: object) -> Request:
    """Return another request; a changed subject gets the name that goes with it."""
    return msgspec.structs.replace(request, **changes)


def about(small: SmallTenant, request: Request, **changes: object) -> Request:
    subject = replace_subject(request.subject, **changes)
    return changed(request, subject=subject, session=session_name(small.tenant, subject))


def refusal_without_powers(unit: SecondaryUnit, request: Request, query: Query | None) -> str:
    with counting() as tally:
        reply = answer(unit, request, query)
    assert reply.sections == ()
    assert tally.powers_short + tally.powers_full + tally.fixed_base + tally.cots == 0
    return reply.reason


def test_the_session_over_the_wire_gives_the_twins_labels(recorded: Recorded) -> None:
    small = recorded.small
    labels = unseal(small.client_key, small.tenant.label_layout(3), recorded.sealed)
    shape_width = 32
    twin = NaiveBayesTwin.empty(small.tenant.schema.attribute_sizes, 3, shape_width)
    assert labels == twin.learn(random_counts(small, 20, "a 0 ")).predict(recorded.asked.indices).tolist()


# --- repeats, restarts


def test_every_step_asked_again_gets_the_same_bytes(recorded: Recorded) -> None:
    unit = recorded.unit()
    for position, (request, reply) in enumerate(
        zip(recorded.rounds.requests, recorded.rounds.replies, strict=True)
    ):
        for earlier in range(position):
            before = recorded.rounds.requests[earlier]
            assert answer(unit, before, recorded.query) == recorded.rounds.replies[earlier]
        for _ in range(2):
            assert answer(unit, request, recorded.query) == reply
    # Old steps are still answered alike when the session is finished.
    for request, reply in zip(recorded.rounds.requests, recorded.rounds.replies, strict=True):
        with counting() as tally:
            assert answer(unit, request, recorded.query) == reply
        assert tally.powers_short == tally.cots == 0


def test_a_restarted_unit_folds_the_requests_into_the_same_replies(recorded: Recorded) -> None:
    for stop in range(3):
        unit = recorded.unit()
        for request in recorded.rounds.requests[:stop]:
            answer(unit, request, recorded.query)
        unit = recorded.unit()
        replies = [answer(unit, request, recorded.query) for request in recorded.rounds.requests]
        assert replies == recorded.rounds.replies
    assert answer(recorded.unit(), recorded.refresh.requests[0]) == recorded.refresh.replies[0]


def test_a_query_needs_no_refresh_in_this_process(recorded: Recorded) -> None:
    # SU's share of the table is recomputed from the subject.
    unit = recorded.unit()
    assert answer(unit, recorded.rounds.requests[0], recorded.query) == recorded.rounds.replies[0]


def test_a_step_without_those_before_is_refused(recorded: Recorded) -> None:
    unit = recorded.unit()
    for request in (recorded.rounds.requests[1], recorded.rounds.requests[2]):
        assert refusal_without_powers(unit, request, recorded.query) == ReasonCode.PLAN_VIOLATION
    answer(unit, recorded.rounds.requests[0], recorded.query)
    assert refusal_without_powers(unit, recorded.rounds.requests[2], recorded.query) == (
        ReasonCode.PLAN_VIOLATION
    )
    # The refusal did not end the session.
    assert answer(unit, recorded.rounds.requests[1], recorded.query) == recorded.rounds.replies[1]


def test_another_request_under_an_answered_step_is_refused_and_the_session_lives(recorded: Recorded) -> None:
    unit = recorded.unit()
    first, second, third = recorded.rounds.requests
    answer(unit, first, recorded.query)
    answer(unit, second, recorded.query)
    for request in (first, second):
        data = request.sections[0]
        other = changed(request, sections=(bytes([data[0] ^ 1]) + data[1:], *request.sections[1:]))
        assert refusal_without_powers(unit, other, recorded.query) == ReasonCode.CONFLICTING_REQUEST
    assert answer(unit, third, recorded.query) == recorded.rounds.replies[2]
    assert refusal_without_powers(unit, changed(third, plan=bytes(32)), recorded.query) == (
        ReasonCode.CONFLICTING_REQUEST
    )


def test_one_request_with_other_secret_inputs_at_su_has_another_salt_and_other_tables(
    recorded: Recorded,
) -> None:
    # As after a change of seed: under equal salts the tables would XOR to Δ.
    request = recorded.refresh.requests[0]
    unit = recorded.unit()
    unit.seed = bytes(32)
    reply = answer(unit, request)
    original = recorded.refresh.replies[0]
    assert reply.sections[0] != original.sections[0]
    tables = [np.frombuffer(r.sections[1], dtype=np.uint64).reshape(-1, 2) for r in (reply, original)]
    delta = np.frombuffer(recorded.small.secondary.sender.delta, dtype=np.uint64)
    difference = tables[0] ^ tables[1]
    assert not (difference == 0).all(axis=1).any()
    assert not (difference == delta).all(axis=1).any()


# --- the plan


PLAN_FAULTS: list[tuple[str, Callable[[Request], Request]]] = [
    ("step 0", lambda r: changed(r, step=0)),
    ("negative step", lambda r: changed(r, step=-1)),
    ("step ahead", lambda r: changed(r, step=2)),
    ("plan", lambda r: changed(r, plan=bytes(32))),
    ("no plan", lambda r: changed(r, plan=b"")),
    ("name", lambda r: changed(r, session=bytes(32))),
    ("no name", lambda r: changed(r, session=b"")),
    ("no sections", lambda r: changed(r, sections=())),
    ("a section more", lambda r: changed(r, sections=(*r.sections, b""))),
    ("a short section", lambda r: changed(r, sections=(r.sections[0][:-1], *r.sections[1:]))),
    ("a long section", lambda r: changed(r, sections=(r.sections[0] + b"1", *r.sections[1:]))),
]


@pytest.mark.parametrize("fault", [case[1] for case in PLAN_FAULTS], ids=[case[0] for case in PLAN_FAULTS])
def test_what_is_not_the_next_step_of_the_plan_is_refused_before_any_power(
    recorded: Recorded, fault: Callable[[Request], Request]
) -> None:
    unit = recorded.unit()
    for request, query in (
        (recorded.rounds.requests[0], recorded.query),
        (recorded.refresh.requests[0], None),
    ):
        assert refusal_without_powers(unit, fault(request), query) == ReasonCode.PLAN_VIOLATION
        assert not unit.is_open(request.session)


SUBJECT_FAULTS: list[tuple[str, dict[str, object], ReasonCode]] = [
    ("purpose", {"purpose": "other"}, ReasonCode.PLAN_VIOLATION),
    ("a purpose of other learners", {"purpose": "learn"}, ReasonCode.PLAN_VIOLATION),
    ("model", {"model_id": "n"}, ReasonCode.UNKNOWN_MODEL),
    ("too few records", {"records": 19}, ReasonCode.UNKNOWN_HEAD),
    ("negative records", {"records": -1}, ReasonCode.UNKNOWN_HEAD),
    ("too many records", {"records": (1 << 20) + 1}, ReasonCode.UNKNOWN_HEAD),
    ("too few owners", {"owners": 0}, ReasonCode.UNKNOWN_HEAD),
    ("another hash", {"model_hash": bytes(32)}, ReasonCode.UNKNOWN_HEAD),
    ("no hash", {"model_hash": b""}, ReasonCode.UNKNOWN_HEAD),
    ("a version", {"model_version": 1}, ReasonCode.PLAN_VIOLATION),
    ("a client", {"client": "c"}, ReasonCode.PLAN_VIOLATION),
    ("a message", {"message_hash": bytes(32)}, ReasonCode.PLAN_VIOLATION),
    ("a number of rows", {"rows": 1}, ReasonCode.PLAN_VIOLATION),
    ("a detail", {"detail": b"1"}, ReasonCode.PLAN_VIOLATION),
]


@pytest.mark.parametrize(
    ("changes", "reason"), [case[1:] for case in SUBJECT_FAULTS], ids=[case[0] for case in SUBJECT_FAULTS]
)
def test_a_refresh_that_is_not_due_is_refused(
    recorded: Recorded, changes: dict[str, object], reason: ReasonCode
) -> None:
    request = about(recorded.small, recorded.refresh.requests[0], **changes)
    assert refusal_without_powers(recorded.unit(), request, None) == reason


INSUFFICIENT: list[dict[str, object]] = [
    {"records": 19},
    {"records": (1 << 20) + 1},
    {"owners": 0},
]


@pytest.mark.parametrize("changes", INSUFFICIENT)
def test_a_model_that_may_not_answer_does_not_whatever_heads_were_seen(
    recorded: Recorded, changes: dict[str, object]
) -> None:
    unit = secondary_unit(recorded.small)
    # As if heads had been taken in under other limits.
    unit.heads = HeadWatch(small_tenant(limits=Limits(1000, 1 << 30, 5, 0, 0, 0)).tenant)
    head = msgspec.structs.replace(head_of(recorded.small, recorded.model), **changes)
    assert unit.heads.offer(head)
    for request, query in (
        (recorded.refresh.requests[0], None),
        (recorded.rounds.requests[0], recorded.query),
    ):
        hostile = about(recorded.small, request, **changes)
        assert refusal_without_powers(unit, hostile, query) == ReasonCode.PLAN_VIOLATION


QUERY_FAULTS: list[tuple[str, dict[str, object], ReasonCode]] = [
    ("rows", {"rows": 2}, ReasonCode.PLAN_VIOLATION),
    ("no rows", {"rows": 0}, ReasonCode.PLAN_VIOLATION),
    ("client", {"client": "a"}, ReasonCode.PLAN_VIOLATION),
    ("no client", {"client": ""}, ReasonCode.PLAN_VIOLATION),
    ("model", {"model_id": "n"}, ReasonCode.UNKNOWN_MODEL),
    ("too few records", {"records": 19}, ReasonCode.UNKNOWN_HEAD),
    ("too few owners", {"owners": 0}, ReasonCode.UNKNOWN_HEAD),
    ("a wider model", {"records": 40}, ReasonCode.UNKNOWN_HEAD),
    ("another content", {"model_hash": bytes(32)}, ReasonCode.UNKNOWN_HEAD),
    ("another version of the content", {"model_version": 2}, ReasonCode.UNKNOWN_HEAD),
    ("purpose", {"purpose": "learn"}, ReasonCode.PLAN_VIOLATION),
    ("a detail", {"detail": b"1"}, ReasonCode.PLAN_VIOLATION),
]


@pytest.mark.parametrize(
    ("changes", "reason"), [case[1:] for case in QUERY_FAULTS], ids=[case[0] for case in QUERY_FAULTS]
)
def test_a_query_session_that_does_not_match_the_clients_query_is_refused(
    recorded: Recorded, changes: dict[str, object], reason: ReasonCode
) -> None:
    unit = recorded.unit()
    request = about(recorded.small, recorded.rounds.requests[0], **changes)
    assert refusal_without_powers(unit, request, recorded.query) == reason


def with_bytes(query: Query, data: bytes, encoding: str = "bits") -> Query:
    return msgspec.structs.replace(query, vectors=(EncodedVector(encoding, data),))


HOSTILE_QUERIES: list[tuple[str, Callable[[SmallTenant, Query], Query | None], ReasonCode]] = [
    ("none", lambda small, q: None, ReasonCode.PLAN_VIOLATION),
    ("model", lambda small, q: msgspec.structs.replace(q, model_id="n"), ReasonCode.PLAN_VIOLATION),
    ("rows", lambda small, q: msgspec.structs.replace(q, rows=2), ReasonCode.PLAN_VIOLATION),
    ("no bytes", lambda small, q: with_bytes(q, b""), ReasonCode.PLAN_VIOLATION),
    (
        "odd bytes",
        lambda small, q: with_bytes(q, b"1"),
        ReasonCode.PLAN_VIOLATION,
    ),
    ("no vector", lambda small, q: msgspec.structs.replace(q, vectors=()), ReasonCode.PLAN_VIOLATION),
    (
        "two vectors",
        lambda small, q: msgspec.structs.replace(q, vectors=q.vectors * 2),
        ReasonCode.PLAN_VIOLATION,
    ),
    (
        "encoding",
        lambda small, q: with_bytes(q, q.vectors[0].ciphertexts, "words"),
        ReasonCode.PLAN_VIOLATION,
    ),
    (
        "one more",
        lambda small, q: with_bytes(q, q.vectors[0].ciphertexts + bytes(128)),
        ReasonCode.PLAN_VIOLATION,
    ),
    (
        "T2 = 0",
        lambda small, q: with_bytes(q, bytes(len(q.vectors[0].ciphertexts))),
        ReasonCode.INVALID_CIPHERTEXT,
    ),
    (
        "another's T2",
        lambda small, q: query_for(small, random_records(small, 3, "x"), "x"),
        ReasonCode.NOT_OPENABLE,
    ),
]


@pytest.mark.parametrize(
    ("hostile", "reason"), [case[1:] for case in HOSTILE_QUERIES], ids=[case[0] for case in HOSTILE_QUERIES]
)
def test_su_takes_t2_from_the_clients_own_message_and_checks_it(
    recorded: Recorded, hostile: Callable[[SmallTenant, Query], Query | None], reason: ReasonCode
) -> None:
    unit = recorded.unit()
    reply = answer(unit, recorded.rounds.requests[0], hostile(recorded.small, recorded.query))
    assert (reply.reason, reply.sections) == (reason, ())
    # The failed attempt leaves nothing behind.
    assert not unit.is_open(recorded.rounds.requests[0].session)
    assert answer(unit, recorded.rounds.requests[0], recorded.query) == recorded.rounds.replies[0]


def test_too_many_rows_are_refused_although_the_client_asked_for_them(recorded: Recorded) -> None:
    query = msgspec.structs.replace(recorded.query, rows=6)
    request = about(recorded.small, recorded.rounds.requests[0], rows=6)
    reason = refusal_without_powers(recorded.unit(), request, query)
    assert reason == ReasonCode.TOO_MANY_ROWS


@pytest.mark.parametrize("excess", [1, -1])
def test_a_masked_value_longer_than_slots_and_mask_is_out_of_range(recorded: Recorded, excess: int) -> None:
    small, request = recorded.small, recorded.refresh.requests[0]
    layout = naive_bayes(small).layout(recorded.model)
    huge = excess << (layout.packed_bits + 81)
    halves = half_open(
        small.tenant.parameters,
        recorded.model.ciphertexts,
        small.master.theta,
        [huge] * layout.ciphertexts,
    )
    width = small.tenant.parameters.component_bytes
    masked = b"".join(half.to_bytes(width, "big") for half in halves)
    reply = answer(recorded.unit(), changed(request, sections=(masked, *request.sections[1:])))
    assert (reply.reason, reply.sections) == (ReasonCode.OUT_OF_RANGE, ())


@pytest.mark.parametrize("section", [0, 1])
@pytest.mark.parametrize("filling", [b"\x00", b"\xff"])
def test_components_out_of_range_are_refused(recorded: Recorded, section: int, filling: bytes) -> None:
    request = recorded.refresh.requests[0]
    sections = list(request.sections)
    sections[section] = filling * len(sections[section])
    reply = answer(recorded.unit(), changed(request, sections=tuple(sections)))
    assert reply.reason in {ReasonCode.PROTOCOL_ERROR, ReasonCode.NOT_OPENABLE}


# --- bounds


def test_the_oldest_sessions_make_room_and_can_be_begun_anew(recorded: Recorded) -> None:
    unit = recorded.unit()
    first = recorded.rounds.requests[0]
    answer(unit, first, recorded.query)
    for offset in range(1, MAX_OPEN_SESSIONS + 1):
        answer(unit, about(recorded.small, first, offset=offset), recorded.query)
    assert not unit.is_open(first.session)
    reply = answer(unit, recorded.rounds.requests[1], recorded.query)
    assert reply.reason == ReasonCode.PLAN_VIOLATION
    assert [answer(unit, request, recorded.query) for request in recorded.rounds.requests] == (
        recorded.rounds.replies
    )


def test_replies_of_open_sessions_are_kept_up_to_a_number_of_bytes(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = recorded.rounds.requests[:2]
    size = sum(map(len, recorded.rounds.replies[0].sections))
    monkeypatch.setattr("roles.secondary_unit.LIVE_SESSIONS", 2)
    monkeypatch.setattr("roles.secondary_unit.MAX_OPEN_BYTES", 4 * size)
    unit = recorded.unit()
    answer(unit, first, recorded.query)
    given_up = [about(recorded.small, first, offset=offset) for offset in range(1, 40)]
    kept = []
    for request in given_up:
        assert not answer(unit, request, recorded.query).reason
        # MU goes on with this one, be it by asking the same again.
        assert answer(unit, first, recorded.query) == recorded.rounds.replies[0]
        kept.append(sum(map(unit.is_open, (request.session for request in given_up))))
    assert max(kept) == kept[-1] == 3
    assert answer(unit, second, recorded.query) == recorded.rounds.replies[1]
    # A session that was forgotten begins anew, to the same bytes.
    assert not unit.is_open(given_up[0].session)
    assert not answer(unit, given_up[0], recorded.query).reason
    assert unit.is_open(given_up[0].session)


def test_sessions_under_way_are_kept_whatever_they_hold(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.secondary_unit.LIVE_SESSIONS", 2)
    monkeypatch.setattr("roles.secondary_unit.MAX_OPEN_BYTES", 0)
    unit = recorded.unit()
    first = recorded.rounds.requests[0]
    requests = [first, *(about(recorded.small, first, offset=offset) for offset in range(1, 6))]
    for request in requests:
        answer(unit, request, recorded.query)
    live = 2 + len(unit.learners)
    assert [unit.is_open(request.session) for request in requests] == [
        number >= len(requests) - live for number in range(len(requests))
    ]


# --- base transfers


def base_rounds(small: SmallTenant, unit: SecondaryUnit, seed: bytes) -> tuple[Rounds, TransferBases]:
    rounds = Rounds(unit)
    session = Session(small.tenant, "mu", seed, base_subject(), base_plan(small.tenant))
    delta = draw_delta(seeded_coins("delta of mu"), garbling=False)
    return rounds, rounds.run(session, base_master(session, delta))


def test_the_base_session_pairs_the_units_and_is_stored_before_it_ends(recorded: Recorded) -> None:
    small = recorded.small
    stored: list[TransferBases] = []
    unit = secondary_unit(small, with_bases=False)
    unit.store_bases = stored.append
    unit.heads.offer(head_of(small, recorded.model))
    refused = answer(unit, recorded.refresh.requests[0])
    assert refused.reason == ReasonCode.PLAN_VIOLATION
    rounds, own = base_rounds(small, unit, small.master.seed)
    assert len(rounds.requests) == 2
    (theirs,) = stored
    assert unit.bases is theirs
    for sender, receiver in ((own.sender, theirs.receiver), (theirs.sender, own.receiver)):
        pairs = zip(receiver.seeds_zero, receiver.seeds_one, strict=True)
        chosen = [pair[bit] for pair, bit in zip(pairs, choices_of_delta(sender.delta), strict=True)]
        assert list(sender.seeds) == chosen
    assert theirs.sender.delta == small.secondary.sender.delta
    # Asked again, in this process and the next, it answers the same bytes and stores the same seeds.
    again = secondary_unit(small, with_bases=False)
    again.store_bases = stored.append
    for each in (unit, again):
        assert [answer(each, request) for request in rounds.requests] == rounds.replies
    assert len(stored) == 2
    assert stored[1] == stored[0]


def test_a_base_session_with_parameters_is_refused(recorded: Recorded) -> None:
    small = recorded.small
    unit = secondary_unit(small, with_bases=False)
    session = Session(small.tenant, "mu", small.master.seed, base_subject(), base_plan(small.tenant))
    session.absorb_request((b"",))
    request = about(small, request_of(session, (b"",)), rows=1)
    assert refusal_without_powers(unit, request, None) == ReasonCode.PLAN_VIOLATION


@pytest.mark.parametrize("filling", [b"\x00", b"\xff"])
def test_a_base_session_with_hostile_numbers_is_refused(recorded: Recorded, filling: bytes) -> None:
    small = recorded.small
    unit = secondary_unit(small, with_bases=False)
    plan = base_plan(small.tenant)
    session = Session(small.tenant, "mu", small.master.seed, base_subject(), plan)
    sections = tuple(filling * section.size for section in plan.steps[0].request)
    session.absorb_request(sections)
    reply: Reply = answer(unit, request_of(session, sections))
    assert reply.reason in {ReasonCode.INVALID_KEY, ReasonCode.INVALID_CIPHERTEXT}
    assert unit.bases is None


def test_a_subject_has_one_refresh(recorded: Recorded) -> None:
    query, refresh = recorded.rounds.requests[0].subject, recorded.refresh.requests[0].subject
    assert refresh_subject_of(query) == refresh == refresh_subject_of(refresh)


def test_finished_sessions_are_kept_up_to_a_number_of_bytes(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.secondary_unit.MAX_FINISHED_BYTES", 1)
    unit = recorded.unit()
    assert answer(unit, recorded.refresh.requests[0]) == recorded.refresh.replies[0]
    for request in recorded.rounds.requests:
        answer(unit, request, recorded.query)
    # Only the newest is left; the refresh was forgotten and is computed again, to the byte.
    with counting() as tally:
        assert answer(unit, recorded.refresh.requests[0]) == recorded.refresh.replies[0]
    assert tally.powers_short > 0


# --- heads


def test_no_head_no_help(recorded: Recorded) -> None:
    unit = secondary_unit(recorded.small)
    for request, query in (
        (recorded.refresh.requests[0], None),
        (recorded.rounds.requests[0], recorded.query),
    ):
        assert refusal_without_powers(unit, request, query) == ReasonCode.UNKNOWN_HEAD
        assert not unit.is_open(request.session)
    # The head of another version is none.
    other = trained(recorded.small, (20, 5))
    assert unit.heads.offer(head_of(recorded.small, other, 1))
    assert refusal_without_powers(unit, recorded.refresh.requests[0], None) == ReasonCode.UNKNOWN_HEAD
    assert refusal_without_powers(unit, recorded.rounds.requests[0], recorded.query) == (
        ReasonCode.UNKNOWN_HEAD
    )


def test_a_head_that_comes_late_is_enough(recorded: Recorded) -> None:
    unit = secondary_unit(recorded.small)
    assert answer(unit, recorded.refresh.requests[0]).reason == ReasonCode.UNKNOWN_HEAD
    unit.heads.offer(head_of(recorded.small, recorded.model))
    assert answer(unit, recorded.refresh.requests[0]) == recorded.refresh.replies[0]
    assert [answer(unit, request, recorded.query) for request in recorded.rounds.requests] == (
        recorded.rounds.replies
    )


def test_a_session_that_has_begun_goes_on_without_its_head(recorded: Recorded) -> None:
    unit = recorded.unit()
    first, second, third = recorded.rounds.requests
    answer(unit, first, recorded.query)
    unit.heads = HeadWatch(recorded.small.tenant)
    assert answer(unit, second, recorded.query) == recorded.rounds.replies[1]
    assert answer(unit, third, recorded.query) == recorded.rounds.replies[2]


# --- learners that are taught

MIXED = small_tenant(limits=Limits(1000, 1 << 20, 5, 20, 1, 0), models=MODELS)


@dataclass(frozen=True)
class Lessons:
    """A model taught over the wire, and one query about it."""

    linked: LinkedLearner
    unit: SecondaryUnit
    rounds: list[Rounds]
    state: ModelState


def taught_over_the_wire(model_id: str) -> Lessons:
    """Teach a model its first chunk; SU has seen no head."""
    linked, unit = LinkedLearner(MIXED, model_id), secondary_unit(MIXED)
    chunk = taught_chunk(MIXED, 0, random_records(MIXED, 24, "lesson"))
    state, ran = linked.learner.starting(), []
    teaching = linked.taught.teach(state, [chunk])
    call = next(teaching)
    try:
        while True:
            ran.append(Rounds(unit))
            call = teaching.send(ran[-1].run(*started(MIXED, call)))
    except StopIteration as finished:
        state = state.taking("a", chunk.records, finished.value.content)
    return Lessons(linked, unit, ran, state)


@pytest.mark.parametrize(
    ("model_id", "purposes"), [("lr", ["learn"]), ("bins", ["learn"]), ("dt", ["learn", "grow"])]
)
def test_lessons_need_no_head_and_a_restarted_unit_gives_the_same_bytes(
    model_id: str, purposes: list[str]
) -> None:
    lessons = taught_over_the_wire(model_id)
    assert [rounds.requests[0].subject.purpose for rounds in lessons.rounds] == purposes
    again = secondary_unit(MIXED)
    for rounds in lessons.rounds:
        for position, request in enumerate(rounds.requests):
            assert answer(again, request) == rounds.replies[position]
            assert answer(again, request) == rounds.replies[position]


@pytest.mark.parametrize("model_id", ["lr", "bins", "dt"])
def test_a_taught_model_answers_once_its_head_was_seen(model_id: str) -> None:
    lessons = taught_over_the_wire(model_id)
    linked, unit, state = lessons.linked, lessons.unit, lessons.state
    query = linked.query(random_records(MIXED, 3, "asked"))
    first = linked.learner.preparation(state) or linked.asking(state, None, query)
    session, program = started(MIXED, first)
    sections = next(program)
    session.absorb_request(sections)
    refused = answer(unit, request_of(session, sections), query)
    assert refused.reason == ReasonCode.UNKNOWN_HEAD
    assert unit.heads.offer(msgspec.structs.replace(head_of(MIXED, state), model_id=model_id))
    preparation = linked.learner.preparation(state)
    prepared = None if preparation is None else Rounds(unit).run(*started(MIXED, preparation))
    sealed = Rounds(unit, query).run(*started(MIXED, linked.asking(state, prepared, query)))
    labels = unseal(MIXED.client_key, MIXED.tenant.label_layout(3), sealed)
    assert list(labels) == list(linked.ask(state, prepared, query).labels)


@pytest.mark.parametrize("model_id", ["lr", "bins", "dt"])
def test_a_lesson_with_another_detail_or_size_is_refused_or_another_session(model_id: str) -> None:
    request = taught_over_the_wire(model_id).rounds[0].requests[0]
    faults: list[tuple[dict[str, object], set[str]]] = [
        ({"detail": b""}, {ReasonCode.PLAN_VIOLATION}),
        ({"detail": request.subject.detail + b"1"}, {ReasonCode.PLAN_VIOLATION}),
        ({"purpose": "grow"}, {ReasonCode.PLAN_VIOLATION}),
        # No head speaks of the model before it has learnt anything.
        ({"purpose": "refresh"}, {ReasonCode.UNKNOWN_HEAD}),
        ({"purpose": "query"}, {ReasonCode.PLAN_VIOLATION}),
        ({"model_id": "nb"}, {ReasonCode.PLAN_VIOLATION}),
        ({"model_id": "other"}, {ReasonCode.UNKNOWN_MODEL}),
    ]
    if model_id != "dt":
        # Of a tree the sizes of all chunks stand in the detail.
        faults += [({"rows": rows}, {ReasonCode.PLAN_VIOLATION}) for rows in (-1, 0, 23, 1001)]
    for changes, reasons in faults:
        hostile = about(MIXED, request, **changes)
        assert refusal_without_powers(secondary_unit(MIXED), hostile, None) in reasons, changes


@pytest.mark.parametrize("model_id", ["lr", "dt"])
def test_a_detail_larger_than_any_message_is_refused(model_id: str) -> None:
    # A request travels in parts and may be larger than what `decode` reads by default.
    subject = Subject("learn", model_id, rows=5, detail=bytes((4 << 20) + 1))
    request = Request(session_name(MIXED.tenant, subject), subject, bytes(32), 1, ())
    assert answer(secondary_unit(MIXED), request).reason in {ReasonCode.PLAN_VIOLATION, ReasonCode.TOO_LARGE}


def test_the_detail_of_another_model_names_no_session_of_this_one() -> None:
    details = {name: taught_over_the_wire(name).rounds[0].requests[0] for name in ("lr", "dt")}
    for name, other in (("lr", "dt"), ("dt", "lr")):
        hostile = about(MIXED, details[name], detail=details[other].subject.detail)
        assert refusal_without_powers(secondary_unit(MIXED), hostile, None) == ReasonCode.PLAN_VIOLATION
