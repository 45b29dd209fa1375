"""The rounds between the units: SU under hostile requests, MU under hostile replies.

A step costs milliseconds of powers and gates, so that there are some 2,000 inputs a unit here, and
20,000 where only sizes are looked at. The bytes of both messages are fuzzed as wire structs too.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from fuzz.drawing import Draws
from fuzz.mutants import WIRE_INTEGERS, Corpus, mutate_bytes
from fuzz.verdicts import INPUTS, Tally
from round_trips import (
    Rounds,
    query_for,
    query_session,
    refresh_session,
    replace_subject,
    secondary_unit,
    trained,
)
from tenants import SmallTenant, small_tenant

from crypto import ot_extension
from crypto.errors import SchemaError
from crypto.parameters import Ciphertext, encode_ciphertexts
from roles.building_blocks.base_transfers import base_master, base_plan, base_subject
from roles.classifiers.naive_bayes_query import QueryShape
from roles.classifiers.naive_bayes_table import TableShape
from roles.model_state import ModelState
from roles.plan import Plan
from roles.secondary_unit import SecondaryUnit
from roles.session import MasterProgram, Session, session_name
from schemas.codec import decode, encode
from schemas.configuration import Limits
from schemas.data_schema import SCHEMA_VERSION, CategoricalAttribute, ClassLabel, DataSchema
from schemas.queries import Query
from schemas.reasons import ReasonCode
from schemas.rounds import Reply, Request, Subject

REQUESTS = 2_400
REPLIES = 2_000
LARGEST = 1 << 10
Columns = npt.NDArray[np.uint8]
ROWS = np.array([[1, 0], [0, 1]], dtype=np.uint8)


@dataclass
class Recorded:
    """A session that went well, and how to begin it again at MU.

    Attributes:
        begin: Makes MU's half anew.
        requests: What MU sent.
        replies: What SU answered.
        query: SU's copy of the query, if it is about one.
        with_bases: SU has the base transfers behind it.
    """

    begin: Callable[[], tuple[Session, MasterProgram[Any]]]
    query: Query | None
    with_bases: bool
    requests: list[Request] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)


@dataclass
class World:
    """A small tenant, its model, and one good session of every kind."""

    small: SmallTenant
    model: ModelState
    sessions: list[Recorded]

    def secondary(self, session: Recorded, steps: int) -> SecondaryUnit:
        """Return an SU that has answered so many good steps of a session."""
        unit = secondary_unit(self.small, with_bases=session.with_bases)
        for request, reply in zip(session.requests[:steps], session.replies, strict=False):
            assert unit.answer(request, encode(request), session.query) == reply
        return unit


@pytest.fixture(scope="module")
def world() -> World:
    schema = DataSchema(
        SCHEMA_VERSION, (CategoricalAttribute("colour", ("red", "green")),), ClassLabel("kind", ("x", "y"))
    )
    small = small_tenant(schema, limits=Limits(1000, LARGEST, 8, 1, 1, 0))
    model = trained(small)
    query = query_for(small, ROWS)
    delta = small.master.sender.delta

    def base() -> tuple[Session, MasterProgram[Any]]:
        session = Session(small.tenant, "mu", small.master.seed, base_subject(), base_plan(small.tenant))
        return session, base_master(session, delta)

    refresh = Recorded(lambda: refresh_session(small, model), None, True)
    table = run(small, refresh)
    made = [
        Recorded(base, None, False),
        refresh,
        Recorded(lambda: query_session(small, model, query, table), query, True),
    ]
    for session in (made[0], made[2]):
        run(small, session)
    return World(small, model, made)


def run(small: SmallTenant, recorded: Recorded) -> Any:
    rounds = Rounds(secondary_unit(small, with_bases=recorded.with_bases), recorded.query)
    result = rounds.run(*recorded.begin())
    recorded.requests, recorded.replies = rounds.requests, rounds.replies
    return result


@pytest.fixture
def remembered_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the streams of a transfer once per nonce: most runs below repeat the same honest steps."""
    original = ot_extension._xor_streams
    kept: dict[tuple[tuple[bytes, ...], bytes, tuple[int, ...]], Columns] = {}

    def remembered(seeds: tuple[bytes, ...], nonce: bytes, columns: Columns) -> Columns:
        key = (seeds, nonce, columns.shape)
        if key not in kept:
            if len(kept) > 100:
                kept.clear()
            kept[key] = original(seeds, nonce, np.zeros_like(columns))
        return kept[key] ^ columns

    monkeypatch.setattr(ot_extension, "_xor_streams", remembered)


def hostile_bytes(draws: Draws, data: bytes, other: bytes, world: World) -> bytes:
    """Return other bytes of the same size: noise, border numbers, pieces of other fields."""
    parameters = world.small.tenant.parameters
    n, n_squared, width = parameters.n, parameters.n_squared, parameters.component_bytes
    match draws.below(5):
        case 0:
            return draws.bytes(len(data))
        case 1:
            return draws.pick((b"\x00", b"\xff", b"\x01")) * len(data)
        case 2 if len(data) >= width:
            place = width * draws.below(len(data) // width)
            number = draws.pick(
                (0, 1, n - 1, n, n + 1, n_squared - 1, n_squared, n_squared + 1, n_squared - n)
            )
            return data[:place] + number.to_bytes(width, "big") + data[place + width :]
        case 3 if len(data) >= width:
            # Another plaintext under the same randomness, of any length.
            factor = 1 + (1 << draws.below(255)) * n
            number = int.from_bytes(data[:width], "big") * factor % n_squared
            return number.to_bytes(width, "big") + data[width:]
        case 3:
            return (other + data)[: len(data)]
        case _:
            return (mutate_bytes(draws, data, other) + data)[: len(data)]


def hostile_sections(
    draws: Draws, sections: Sequence[bytes], others: Sequence[bytes], world: World
) -> tuple[bytes, ...]:
    """Return sections of the right sizes with some of them hostile."""
    changed = list(sections)
    for _ in range(draws.pick((1, 1, 1, 2))):
        at = draws.below(len(changed))
        changed[at] = hostile_bytes(draws, changed[at], draws.pick([*others, b""]), world)
    return tuple(changed)


def resized(draws: Draws, sections: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return sections of which some have other sizes, or that are more or fewer."""
    if not sections or draws.chance(5):
        return draws.pick(((), (*sections, b""), (*sections, *sections), sections[:-1], sections[::-1]))
    at = draws.below(len(sections))
    data = sections[at]
    other = draws.pick((b"", data[:-1], data + b"\0", data * 2, bytes(17), draws.up_to(100)))
    return (*sections[:at], other, *sections[at + 1 :])


# --- SU


def hostile_subject(draws: Draws, subject: Subject, client_names: Sequence[str]) -> Subject:
    """Return a subject with other fields."""
    changes: dict[str, object] = {}
    for _ in range(draws.pick((1, 1, 2, 3))):
        name = draws.pick(Subject.__struct_fields__)
        value = getattr(subject, name)
        if isinstance(value, int):
            changes[name] = draws.pick((*WIRE_INTEGERS, value + 1, value - 1, LARGEST, LARGEST + 1, 8, 9))
        elif isinstance(value, bytes):
            changes[name] = draws.pick((b"", bytes(32), draws.up_to(40), value + b"\0", value[:-1]))
        else:
            changes[name] = draws.pick(
                ("", "m", "n", "query", "refresh", "base_ot", *client_names, "x" * 300)
            )
    return replace_subject(subject, **changes)


def plan_digest(world: World, subject: Subject, default: bytes) -> bytes:
    """Return the digest of the plan that a subject asks for, if there is one."""
    tenant = world.small.tenant
    if not 1 <= subject.records <= LARGEST or not 1 <= subject.rows <= 8 or subject.model_id != "m":
        return default
    table = TableShape(tenant, "m", subject.records)
    return QueryShape(table, subject.rows).plan.digest if subject.purpose == "query" else table.plan.digest


def hostile_query(draws: Draws, query: Query, world: World) -> Query:
    """Return a query as its client may have signed it: SU did not see its proof verified."""
    fields = msgspec.structs.asdict(query)
    match draws.below(4):
        case 0:
            fields["rows"] = draws.pick((0, 1, 3, 8, 9, -1, 2**63))
        case 1:
            fields["model_id"] = draws.pick(("", "n", "m"))
        case 2:
            fields["ciphertexts"] = mutate_bytes(draws, query.ciphertexts, query.proof)
        case _:
            fields["ciphertexts"] = hostile_bytes(draws, query.ciphertexts, query.proof, world)
    return Query(**fields)


@dataclass
class Hostile:
    """A request for SU, and where in a session it comes."""

    session: Recorded
    step: int
    request: Request
    query: Query | None


def hostile_request(draws: Draws, world: World, corpora: dict[int, Corpus]) -> Hostile:
    place = draws.pick((0, 1, 1, 1, 2, 2, 2, 2, 2))
    session = world.sessions[place]
    step = draws.below(len(session.requests))
    good = session.requests[step]
    query = session.query
    match draws.below(8):
        case 0 | 1 | 2:
            # Every field of the bytes on the wire.
            while True:
                data, _ = corpora[place].mutant(draws)
                try:
                    return Hostile(session, step, decode(Request, data), query)
                except SchemaError:
                    continue
        case 3 | 4:
            subject = hostile_subject(draws, good.subject, ("c", "d", "a", "mu"))
            plan = plan_digest(world, subject, good.plan) if draws.chance(2) else good.plan
            named = session_name(world.small.tenant, subject) if not draws.chance(5) else good.session
            changed = Request(named, subject, plan, draws.pick((1, 1, 1, good.step)), good.sections)
            return Hostile(session, step, changed, query)
        case 5 if query is not None:
            asked = hostile_query(draws, query, world)
            subject = replace_subject(good.subject, rows=asked.rows if draws.chance(2) else query.rows)
            plan = plan_digest(world, subject, good.plan)
            named = session_name(world.small.tenant, subject)
            first = session.requests[0]
            return Hostile(session, 0, Request(named, subject, plan, 1, first.sections), asked)
        case 6:
            sections = resized(draws, good.sections)
        case _:
            others = draw_other(draws, world)
            sections = hostile_sections(draws, good.sections, others, world)
    return Hostile(session, step, msgspec.structs.replace(good, sections=sections), query)


def draw_other(draws: Draws, world: World) -> tuple[bytes, ...]:
    session = draws.pick(world.sessions)
    return draws.pick([*(r.sections for r in session.requests), *(r.sections for r in session.replies)])


@pytest.mark.usefixtures("remembered_streams")
def test_su_answers_any_request_or_names_a_reason(world: World) -> None:
    draws, tally = Draws("requests"), Tally()
    reasons: Counter[str] = Counter()
    corpora = {i: Corpus.of_msgpack([encode(r) for r in s.requests]) for i, s in enumerate(world.sessions)}
    units: dict[tuple[int, int], SecondaryUnit] = {}
    for _ in range(REQUESTS):
        hostile = hostile_request(draws, world, corpora)
        session, step = hostile.session, hostile.step
        place = (world.sessions.index(session), step)
        unit = units.get(place) or world.secondary(session, step)
        units[place] = unit
        body = encode(hostile.request)
        good = session.requests[step]
        reply = tally.judge_call(
            partial(unit.answer, hostile.request, body, hostile.query),
            body,
            mutated=hostile.request != good or hostile.query != session.query,
        )
        assert reply is not None
        reasons[reply.reason] += 1
        check_reply(hostile.request, body, reply)
        if not reply.reason:
            # Answered: the same again has the same answer, another one under this step has none.
            assert unit.answer(hostile.request, body, hostile.query) == reply
            other = msgspec.structs.replace(hostile.request, sections=(*hostile.request.sections, b""))
            refused = unit.answer(other, encode(other), hostile.query)
            assert (refused.reason, refused.sections) == ("conflicting_request", ())
        if not reply.reason or (step and not unit.is_open(good.session)):
            del units[place]
        elif draws.chance(20):
            # Whatever was refused, the session goes on as if nothing had come.
            assert unit.answer(good, encode(good), session.query) == session.replies[step]
            del units[place]
    print(reasons)
    tally.check(REQUESTS)
    assert set(reasons) <= {"", *ReasonCode}
    expected = {"", "plan_violation", "conflicting_request", "invalid_ciphertext", "out_of_range"}
    assert expected | {"not_openable", "unknown_model", "too_many_rows", "protocol_error"} <= set(reasons)
    assert reasons[""] > 100


def check_reply(request: Request, body: bytes, reply: Reply) -> None:
    assert (reply.session, reply.step) == (request.session, request.step)
    assert reply.request_hash == hashlib.sha256(body).digest()
    assert decode(Reply, encode(reply)) == reply
    assert reply.reason in {"", *ReasonCode}
    assert reply.reason != ReasonCode.INTERNAL_ERROR
    assert bool(reply.sections) != bool(reply.reason)


def test_refused_requests_use_up_nothing(world: World) -> None:
    draws = Draws("storm")
    session = world.sessions[2]
    unit = world.secondary(session, 1)
    good = session.requests[1]
    for _ in range(300):
        subject = hostile_subject(draws, good.subject, ("c", "d"))
        if subject == good.subject:
            continue
        request = Request(session_name(world.small.tenant, subject), subject, bytes(32), 1, ())
        assert unit.answer(request, encode(request), session.query).reason
    assert len(unit._open) == 1
    for request, reply in zip(session.requests[1:], session.replies[1:], strict=True):
        assert unit.answer(request, encode(request), session.query) == reply


# --- MU


def held_against(plan: Plan, step: int, sections: tuple[bytes, ...]) -> tuple[bytes, ...]:
    plan.check_reply(step, sections)
    return sections


def test_replies_of_other_sizes_are_refused_by_the_plan(world: World) -> None:
    draws, tally = Draws("reply sizes"), Tally()
    plans = [session.begin()[0].plan for session in world.sessions]
    for _ in range(INPUTS):
        at = draws.below(3)
        session, plan = world.sessions[at], plans[at]
        step = draws.below(len(session.replies))
        good = session.replies[step].sections
        sections = good if draws.chance(20) else resized(draws, good)
        claimed = step + 1 if not draws.chance(10) else draws.pick(WIRE_INTEGERS)
        accepted = tally.judge_call(
            partial(held_against, plan, claimed, sections),
            b"".join(sections)[:500],
            mutated=sections != good or claimed != step + 1,
        )
        if accepted is not None:
            assert [len(s) for s in accepted] == [s.size for s in plan.steps[claimed - 1].reply]
    tally.check(reasons=["plan_violation"])


@pytest.mark.usefixtures("remembered_streams")
def test_mu_uses_any_reply_or_names_a_reason(world: World) -> None:
    draws, tally = Draws("replies"), Tally()
    for _ in range(REPLIES):
        recorded = world.sessions[0 if draws.chance(25) else draws.pick((1, 2))]
        step = draws.below(len(recorded.replies))
        good = recorded.replies[step].sections
        hostile = hostile_sections(draws, good, draw_other(draws, world), world)
        session, program = recorded.begin()
        sections = next(program)
        for reply in recorded.replies[:step]:
            sections = step_of(session, program, sections, reply.sections)
        assert sections == recorded.requests[step].sections

        def use(
            _: bytes,
            session: Session = session,
            program: MasterProgram[Any] = program,
            sections: tuple[bytes, ...] = sections,
            hostile: tuple[bytes, ...] = hostile,
        ) -> object:
            try:
                following = step_of(session, program, sections, hostile)
            except StopIteration as finished:
                return result_of(world, finished.value)
            session.plan.check_request(session.step + 1, following)
            return following

        tally.judge(use, b"".join(hostile), mutated=hostile != good)
    tally.check(REPLIES, reasons=["protocol_error", "invalid_ciphertext", "invalid_key"])
    assert tally.accepted > 200


def step_of(
    session: Session, program: MasterProgram[Any], sections: tuple[bytes, ...], reply: tuple[bytes, ...]
) -> tuple[bytes, ...]:
    session.absorb_request(sections)
    session.plan.check_reply(session.step, reply)
    session.absorb_reply(reply)
    return program.send(reply)


def result_of(world: World, result: Any) -> object:
    """Return a session's result as MU goes on with it."""
    if isinstance(result, list) and all(isinstance(item, Ciphertext) for item in result):
        return encode_ciphertexts(world.small.tenant.parameters, result)
    return result
