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
from fuzz.every_learner import (
    LOGISTIC,
    bayes_tenant,
    every_learner_tenant,
    head_about,
    logistic,
    query_hash,
    query_with_words,
    taught,
    taught_chunk,
    tree,
)
from fuzz.mutants import WIRE_INTEGERS, Corpus, mutate_bytes
from fuzz.test_roles import other_vectors
from fuzz.verdicts import INPUTS, Tally
from round_trips import (
    Rounds,
    naive_bayes,
    query_for,
    query_session,
    refresh_session,
    replace_subject,
    secondary_unit,
    started,
    trained,
)
from tenants import SmallTenant

from crypto import ot_extension
from crypto.errors import PrivMLError, SchemaError
from crypto.parameters import Ciphertext, encode_ciphertexts
from roles.building_blocks.base_transfers import base_master, base_plan, base_subject
from roles.classifiers.hoeffding_tree_training import WindowResult
from roles.classifiers.learner import QUERY, AskedQuery, MasterCall
from roles.encoding import collect_records
from roles.learners import AnyLearner
from roles.model_state import ModelState
from roles.plan import Plan
from roles.secondary_unit import SecondaryUnit
from roles.session import MasterProgram, Session, session_name
from roles.vectors import decode_vectors
from schemas.codec import decode, encode
from schemas.configuration import Limits
from schemas.heads import Head
from schemas.queries import Query
from schemas.reasons import ReasonCode
from schemas.rounds import Reply, Request, Subject

REQUESTS = 2_400
REPLIES = 2_000
LARGEST = 1 << 10
LIMITS = Limits(1000, LARGEST, 8, 1, 1, 0)
Columns = npt.NDArray[np.uint8]
Begin = Callable[[], tuple[Session, MasterProgram[Any]]]


@dataclass
class Recorded:
    """A session that went well, and how to begin it again at MU.

    Attributes:
        begin: Makes MU's half anew.
        query: SU's copy of the query, if it is about one.
        with_bases: SU has the base transfers behind it.
        weight: How often it is chosen, beside the others.
        requests: What MU sent.
        replies: What SU answered.
    """

    begin: Begin
    query: Query | None = None
    with_bases: bool = True
    weight: int = 1
    requests: list[Request] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)


@dataclass
class World:
    """A small tenant, its models, and one good session of every kind.

    Attributes:
        small: The tenant.
        heads: What MU signed about the models that answer.
        sessions: The sessions.
    """

    small: SmallTenant
    heads: list[Head]
    sessions: list[Recorded] = field(default_factory=list)

    def unit(self, *, with_bases: bool = True) -> SecondaryUnit:
        """Return an SU as after a start, with the heads that are on their topic."""
        unit = secondary_unit(self.small, with_bases=with_bases)
        for head in self.heads:
            assert unit.heads.offer(head)
        return unit

    def secondary(self, session: Recorded, steps: int) -> SecondaryUnit:
        """Return an SU that has answered so many good steps of a session."""
        unit = self.unit(with_bases=session.with_bases)
        for request, reply in zip(session.requests[:steps], session.replies, strict=False):
            assert unit.answer(request, encode(request), session.query) == reply
        return unit

    def record(self, recorded: Recorded) -> Any:
        """Run a session to its end, keep what travelled, and return MU's result."""
        rounds = Rounds(self.unit(with_bases=recorded.with_bases), recorded.query)
        result = rounds.run(*recorded.begin())
        recorded.requests, recorded.replies = rounds.requests, rounds.replies
        self.sessions.append(recorded)
        return result

    def pick(self, draws: Draws) -> int:
        """Return the place of a session, heavy ones more often."""
        return draws.pick([i for i, session in enumerate(self.sessions) for _ in range(session.weight)])


def bayes_world() -> World:
    """Return base transfers, and a refresh and a query of naive Bayes."""
    small = bayes_tenant(LIMITS)
    model = trained(small)
    query = query_for(small, collect_records([[0], [1]]))
    delta = small.master.sender.delta

    def base() -> tuple[Session, MasterProgram[Any]]:
        session = Session(small.tenant, "mu", small.master.seed, base_subject(), base_plan(small.tenant))
        return session, base_master(session, delta)

    world = World(small, [head_about(small, naive_bayes(small), model)])
    world.record(Recorded(base, with_bases=False))
    table = world.record(Recorded(lambda: refresh_session(small, model), weight=3))
    world.record(Recorded(lambda: query_session(small, model, query, table), query, weight=5))
    return world


def taught_world() -> World:
    """Return lessons and queries of logistic regression and of a tree that has split."""
    small = every_learner_tenant(LIMITS)
    learners: list[AnyLearner] = [logistic(small), tree(small)]
    weights, grown = logistic(small).starting(), tree(small).starting()
    chunks = [taught_chunk(small, sequence, 6) for sequence in range(5)]
    lessons, weights = taught(small, logistic(small), weights, chunks[:1])
    for two in (chunks[1:3], chunks[3:5]):
        calls, grown = taught(small, tree(small), grown, two)
        lessons += calls
    world = World(small, [head_about(small, learners[0], weights), head_about(small, learners[1], grown)])
    assert [lesson().subject.purpose for lesson in lessons] == ["learn", "learn", "grow", "learn"]
    for lesson in lessons:
        world.record(Recorded(partial(begun, small, lesson)))
    for learner, model, weight in ((learners[0], weights, 2), (learners[1], grown, 2)):
        prepared, preparation = None, learner.preparation(model)
        if preparation is not None:
            prepared = world.record(Recorded(partial(started, small, preparation)))
        query = query_with_words(small, learner, 2, "rounds", scores=learner.model_id == LOGISTIC)
        call = asking(small, learner, model, prepared, query)
        world.record(Recorded(partial(started, small, call), query, weight=weight))
    return world


def begun(small: SmallTenant, lesson: Callable[[], MasterCall[Any]]) -> tuple[Session, MasterProgram[Any]]:
    """Return MU's half of a session of a lesson, ready to run."""
    return started(small, lesson())


def asking(
    small: SmallTenant, learner: AnyLearner, model: ModelState, prepared: Any, query: Query
) -> MasterCall[list[Ciphertext]]:
    """Return the session that answers a query."""
    layouts = learner.query_layouts(query.rows)
    vectors = decode_vectors(small.tenant, query.vectors, learner.query_encodings, layouts)
    about = {"client": "c", "message_hash": query_hash(query), "rows": query.rows}
    asked = AskedQuery(learner.subject(QUERY, model, **about), query, vectors)
    return learner.answering(model, prepared, asked, small.client_key.public)


WORLDS = {"naive Bayes": bayes_world, "taught models": taught_world}


@pytest.fixture(scope="module", params=list(WORLDS))
def world(request: pytest.FixtureRequest) -> World:
    return WORLDS[request.param]()


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


NAMES = (
    *("", "m", "l", "t", "n", "query", "refresh", "learn", "grow", "base_ot"),
    *("c", "d", "a", "mu", "x" * 300),
)


def hostile_subject(draws: Draws, subject: Subject, others: Sequence[Subject]) -> Subject:
    """Return a subject with other fields."""
    changes: dict[str, object] = {}
    for _ in range(draws.pick((1, 1, 2, 3))):
        name = draws.pick(Subject.__struct_fields__)
        value = getattr(subject, name)
        if draws.chance(4):
            changes[name] = getattr(draws.pick(others), name)
        elif isinstance(value, int):
            changes[name] = draws.pick((*WIRE_INTEGERS, value + 1, value - 1, LARGEST, LARGEST + 1, 8, 9))
        elif isinstance(value, bytes):
            changes[name] = draws.pick(
                (b"", bytes(32), draws.up_to(40), value + b"\0", value[:-1], mutate_bytes(draws, value, b"?"))
            )
        else:
            changes[name] = draws.pick(NAMES)
    return replace_subject(subject, **changes)


def plan_digest(world: World, subject: Subject, query: Query | None, default: bytes) -> bytes:
    """Return the digest of the plan that a subject asks for, if there is one."""
    learner = world.unit().learners.get(subject.model_id)
    if learner is None or not 1 <= subject.records <= LARGEST or (query and not 1 <= query.rows <= 8):
        return default
    query = query if subject.purpose == QUERY else None
    try:
        return learner.secondary(subject, query, world.small.client_key.public).plan.digest
    except PrivMLError:
        return default


def hostile_query(draws: Draws, query: Query, others: Sequence[Query], world: World) -> Query:
    """Return a query as its client may have signed it: SU did not see its proof verified."""
    other = draws.pick(others)
    at = draws.below(len(query.vectors))
    vector = query.vectors[at]
    match draws.below(6):
        case 0:
            return msgspec.structs.replace(query, rows=draws.pick((0, 1, 3, 8, 9, -1, 2**63)))
        case 1:
            return msgspec.structs.replace(query, model_id=draws.pick(("", "n", "m", "l", "t")))
        case 2:
            return msgspec.structs.replace(query, scores=not query.scores)
        case 3:
            vectors = other_vectors(draws, query.vectors, other.vectors)
            return msgspec.structs.replace(query, vectors=vectors)
        case 4:
            content = mutate_bytes(draws, vector.ciphertexts, query.proof)
        case _:
            content = hostile_bytes(draws, vector.ciphertexts, query.proof, world)
    changed = msgspec.structs.replace(vector, ciphertexts=content)
    vectors = (*query.vectors[:at], changed, *query.vectors[at + 1 :])
    return msgspec.structs.replace(query, vectors=vectors)


@dataclass
class Hostile:
    """A request for SU, and where in a session it comes."""

    session: Recorded
    step: int
    request: Request
    query: Query | None


def hostile_request(draws: Draws, world: World, corpora: dict[int, Corpus]) -> Hostile:
    place = world.pick(draws)
    session = world.sessions[place]
    step = draws.below(len(session.requests))
    good = session.requests[step]
    query = session.query
    subjects = [other.requests[0].subject for other in world.sessions]
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
            subject = hostile_subject(draws, good.subject, subjects)
            plan = plan_digest(world, subject, query, good.plan) if draws.chance(2) else good.plan
            named = session_name(world.small.tenant, subject) if not draws.chance(5) else good.session
            changed = Request(named, subject, plan, draws.pick((1, 1, 1, good.step)), good.sections)
            return Hostile(session, step, changed, query)
        case 5 if query is not None:
            queries = [other.query for other in world.sessions if other.query is not None]
            asked = hostile_query(draws, query, queries, world)
            subject = replace_subject(good.subject, rows=asked.rows if draws.chance(2) else query.rows)
            plan = plan_digest(world, subject, asked, good.plan)
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
    expected |= {"not_openable", "unknown_model", "too_many_rows", "protocol_error", "unknown_head"}
    assert expected <= set(reasons)
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
    session = world.sessions[-1]
    unit = world.secondary(session, 1)
    good = session.requests[1]
    subjects = [other.requests[0].subject for other in world.sessions]
    for _ in range(300):
        subject = hostile_subject(draws, good.subject, subjects)
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
        at = draws.below(len(plans))
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
        recorded = world.sessions[world.pick(draws)]
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
    # Keys come in base transfers, and weights that overflow in lessons.
    other = "overflow" if "l" in world.unit().learners else "invalid_key"
    tally.check(REPLIES, reasons=["protocol_error", "invalid_ciphertext", other])
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
    if isinstance(result, WindowResult):
        assert all(valid >= 0 for valid in result.valid)
        result = result.state
    if hasattr(result, "public_ciphertexts"):
        result = list(result.public_ciphertexts)
    if isinstance(result, list) and all(isinstance(item, Ciphertext) for item in result):
        return encode_ciphertexts(world.small.tenant.parameters, result)
    return result
