"""Every kind of learner under the one interface: sessions pair, details hold, lessons follow."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from doubles import seeded_coins
from linked_learners import MODELS, LinkedLearner, taught_chunk
from msgspec import structs
from round_trips import random_records, replace_subject
from tenants import SmallTenant, small_schema, small_tenant

from crypto.dtpkc import Ciphertext
from crypto.errors import LayoutError, SchemaError
from roles.building_blocks.base_transfers import BASE
from roles.classifiers.hoeffding_tree import TreeLearner, growing
from roles.classifiers.hoeffding_tree_detail import TreeDetail, decode_growth, encode_growth
from roles.classifiers.hoeffding_tree_growth import MAX_RECORDS, MAX_STATISTICS, Growth, Node, TreeSettings
from roles.classifiers.hoeffding_tree_shape import TreeState
from roles.classifiers.learner import (
    GROW,
    LEARN,
    QUERY,
    REFRESH,
    CountingLearner,
    TaughtChunk,
    TaughtLearner,
    UnlearnableError,
    refresh_subject_of,
)
from roles.classifiers.logistic_regression import LogisticDetail, LogisticLearner
from roles.encoding import EncodedRecords
from roles.learners import learner_of, learners_of
from roles.model_settings import tree_settings
from roles.model_state import ModelState
from roles.plan import Plan, PlanViolationError
from roles.twins import PlainLogistic, PlainTree, twin_of
from schemas.codec import encode
from schemas.configuration import Limits
from schemas.data_schema import ClassLabel, DataSchema
from schemas.errors import MalformedMessageError
from schemas.models import LogisticSpec, ModelSpec, NaiveBayesSpec, TreeSpec
from schemas.queries import Query
from schemas.rounds import Subject

LIMITS = Limits(200, 1 << 20, 10, 20, 1, 0)
PADDED = structs.replace(MODELS[-1], model_id="padded", pad_depth=2)
ALL = (*MODELS, PADDED)
SMALL = small_tenant(limits=LIMITS, models=ALL)
NAMES = ("nb", "lr", "bins", "dt", "padded")
TAUGHT = ("lr", "bins", "dt", "padded")
TREES = ("dt", "padded")
SIZES = (22, 9, 33)
"""The tree tries its root after the first chunk, and both its children after the third."""


def records_of(number: int) -> EncodedRecords:
    return random_records(SMALL, SIZES[number], f"learners {number}")


def chunk(number: int) -> TaughtChunk:
    return taught_chunk(SMALL, number, records_of(number), "ab"[number % 2])


def as_scheduled(linked: LinkedLearner, chunks: list[TaughtChunk]) -> list[ModelState]:
    """Learn chunks by the learner's own schedule; return every version with the one before any."""
    states, waiting = [linked.learner.starting()], list(chunks)
    if isinstance(linked.learner, CountingLearner):
        for one in waiting:
            states.append(linked.learn(states[-1], [one]))
        return states
    while size := linked.taught.lesson_size(states[-1], [one.records for one in waiting]):
        states.append(linked.learn(states[-1], waiting[:size]))
        waiting = waiting[size:]
    assert not waiting
    return states


@pytest.fixture(scope="module")
def journeys() -> dict[str, SimpleNamespace]:
    """Return, by model, all versions of a stream, and a query about the last one with its sessions."""
    found = {}
    for name in NAMES:
        linked = LinkedLearner(SMALL, name)
        states = as_scheduled(linked, [chunk(number) for number in range(3)])
        lessons = tuple(linked.ran)
        query = linked.query(random_records(SMALL, 6, "asked"))
        prepared = linked.prepare(states[-1])
        opened = linked.ask(states[-1], prepared, query)
        found[name] = SimpleNamespace(
            linked=linked,
            states=states,
            lessons=lessons,
            others=tuple(linked.ran[len(lessons) :]),
            query=query,
            prepared=prepared,
            opened=opened,
        )
    return found


Journeys = dict[str, SimpleNamespace]


def purposes(subjects: tuple[Subject, ...]) -> list[str]:
    return [subject.purpose for subject in subjects]


# --- sessions


def test_su_finds_its_half_of_every_session_by_the_subject_alone(journeys: Journeys) -> None:
    # That both halves fit is what `LinkedLearner.run` holds; here is which sessions there were.
    ran = {name: (purposes(way.lessons), purposes(way.others)) for name, way in journeys.items()}
    assert ran == {
        "nb": ([], [REFRESH, QUERY]),
        "lr": ([LEARN] * 3, [QUERY]),
        "bins": ([LEARN] * 3, [QUERY]),
        "dt": ([LEARN, GROW, LEARN, GROW], [REFRESH, QUERY]),
        "padded": ([LEARN, GROW, LEARN, GROW], [REFRESH, QUERY]),
    }


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_those_of_the_model_in_the_clear(journeys: Journeys, name: str) -> None:
    schema, limits = SMALL.tenant.schema, LIMITS
    twin = twin_of(SMALL.tenant.model(name), schema, limits.max_total_records)
    for number in range(3):
        assert twin.learn(records_of(number))
    if isinstance(twin, PlainTree):
        assert not twin.waiting
        state = journeys[name].states[-1].content
        assert isinstance(state, TreeState)
        assert state.growth == twin.twin.growth
        assert len(state.growth.leaves) > 1
    asked = random_records(SMALL, 6, "asked")
    assert list(journeys[name].opened.labels) == twin.predict(asked).tolist()


@pytest.mark.parametrize("name", ["lr", "bins"])
def test_scores_are_those_of_the_model_in_the_clear(journeys: Journeys, name: str) -> None:
    way = journeys[name]
    asked = random_records(SMALL, 6, "scores")
    query = way.linked.query(asked, "scores", scores=True)
    opened = way.linked.ask(way.states[-1], way.prepared, query)
    spec = SMALL.tenant.model(name)
    assert isinstance(spec, LogisticSpec)
    twin = PlainLogistic(spec, SMALL.tenant.schema)
    for number in range(3):
        twin.learn(records_of(number))
    expected = twin.twin.probabilities(twin.features(asked))
    assert opened.scores is not None
    assert [list(row) for row in opened.scores] == np.asarray(expected).tolist()
    assert list(opened.labels) == twin.predict(asked).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_totals_say_what_is_in(journeys: Journeys, name: str) -> None:
    states = journeys[name].states
    assert (states[0].version, states[0].records) == (0, 0)
    last = states[-1]
    assert (last.version, last.chunks, last.records) == (3, 3, sum(SIZES))
    assert dict(last.records_of) == {"a": SIZES[0] + SIZES[2], "b": SIZES[1]}


@pytest.mark.parametrize("name", NAMES)
def test_subjects_say_what_sessions_are_about(journeys: Journeys, name: str) -> None:
    way = journeys[name]
    last, learner = way.states[-1], way.linked.learner
    query = way.others[-1]
    assert (query.model_id, query.client, query.rows) == (name, "c", 6)
    assert (query.model_version, query.records, query.owners) == (3, sum(SIZES), 2)
    assert query.model_hash == last.hash(SMALL.tenant)
    assert query.detail == learner.detail(last.content)
    for subject in way.others[:-1]:
        assert subject == refresh_subject_of(query) == refresh_subject_of(subject)
        assert (subject.model_version, subject.client, subject.message_hash) == (0, "", b"")


@pytest.mark.parametrize("name", TAUGHT)
def test_lessons_name_the_version_before_them_and_their_chunks(journeys: Journeys, name: str) -> None:
    way = journeys[name]
    learns = [subject for subject in way.lessons if subject.purpose == LEARN]
    for subject, before in zip(learns, way.states, strict=False):
        assert subject.model_version == before.version
        assert subject.model_hash == before.hash(SMALL.tenant)
        assert (subject.records, subject.owners) == (before.records, before.owners)
    hashes = [subject.message_hash for subject in learns]
    assert len(set(hashes)) == len(hashes)
    assert [subject.rows for subject in learns] == ([22, 42] if name in TREES else [22, 9, 33])
    if name not in TREES:
        assert hashes == [chunk(number).message_hash for number in range(3)]


@pytest.mark.parametrize("name", ["nb", "dt"])
def test_two_versions_of_equal_content_have_one_preparation(journeys: Journeys, name: str) -> None:
    way = journeys[name]
    first = way.linked.learner.preparation(way.states[-1])
    again = way.linked.learner.preparation(way.states[-1].passing_over())
    assert first.subject == again.subject
    assert first.plan.digest == again.plan.digest
    before = way.linked.learner.preparation(way.states[-2])
    assert before.subject != first.subject


def test_weights_need_no_preparation(journeys: Journeys) -> None:
    for name in ("lr", "bins"):
        assert journeys[name].linked.learner.preparation(journeys[name].states[-1]) is None


def test_other_models_of_a_tenant_have_other_sessions() -> None:
    # Equal plans, equal content: the subject tells them apart, and with it all coins.
    specs = tuple(TreeSpec(name, max_leaves=4, attempt_records=20) for name in ("one", "two"))
    two = small_tenant(limits=LIMITS, models=specs)
    learners = [learner_of(two.tenant, spec) for spec in specs]
    taught = taught_chunk(two, 0, random_records(two, 22, "both"))
    calls = []
    for learner in learners:
        assert isinstance(learner, TaughtLearner)
        calls.append(next(learner.teach(learner.starting(), [taught])))
    assert calls[0].plan.digest == calls[1].plan.digest
    assert calls[0].subject.model_hash == calls[1].subject.model_hash
    assert calls[0].subject != calls[1].subject


# --- what SU refuses


def refused(name: str, subject: Subject, query: Query | None = None, *, key: bool = True) -> bool:
    """Return whether SU sees a violation of the plan in a session about a subject."""
    learner = learner_of(SMALL.tenant, SMALL.tenant.model(name))
    client_key = SMALL.client_key.public if query is not None and key else None
    try:
        learner.secondary(subject, query, client_key)
    except PlanViolationError:
        return True
    return False


def sessions_of(way: SimpleNamespace) -> list[tuple[Subject, Query | None]]:
    """Return one subject of every purpose that a model has, with the query where there is one."""
    found = {subject.purpose: subject for subject in (*way.lessons, *way.others)}
    return [(subject, way.query if purpose == QUERY else None) for purpose, subject in found.items()]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_right_is_not_refused(journeys: Journeys, name: str) -> None:
    for subject, query in sessions_of(journeys[name]):
        assert not refused(name, subject, query)


GARBAGE = [b"\x00", b"\xc0", b"\x90", b"\x91", b"\x91\xc0", b"\x91\x00\x00", b"x" * 40, b"\xff" * 8]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("detail", GARBAGE)
def test_garbage_is_no_detail(journeys: Journeys, name: str, detail: bytes) -> None:
    for subject, query in sessions_of(journeys[name]):
        assert subject.detail != detail
        assert refused(name, replace_subject(subject, detail=detail), query)


@pytest.mark.parametrize("name", TAUGHT)
def test_a_detail_cut_short_or_with_something_behind_it_is_refused(journeys: Journeys, name: str) -> None:
    for subject, query in sessions_of(journeys[name]):
        for detail in (b"", subject.detail[:-1], subject.detail + b"\x00", subject.detail * 2):
            assert refused(name, replace_subject(subject, detail=detail), query)


@pytest.mark.parametrize("steps", [-1, 1 << 32, (1 << 63) - 1])
@pytest.mark.parametrize("name", ["lr", "bins"])
def test_a_number_of_steps_out_of_range_is_refused(journeys: Journeys, name: str, steps: int) -> None:
    for subject, query in sessions_of(journeys[name]):
        assert refused(name, replace_subject(subject, detail=encode(LogisticDetail(steps))), query)
        right = replace_subject(subject, detail=encode(LogisticDetail((1 << 32) - 1)))
        assert not refused(name, right, query)


def tree_settings_of(name: str) -> TreeSettings:
    spec = SMALL.tenant.model(name)
    assert isinstance(spec, TreeSpec)
    return tree_settings(spec)


LEAF = (0, 0, 0, -1, -1)
SPLIT = ((0, 0, 0, 1, 2), (1, 0, 0, -1, -1), (1, 0, 0, -1, -1))


def tree_detail(
    nodes: tuple[tuple[int, int, int, int, int], ...] = SPLIT,
    records: int = 40,
    tried_at: int = 22,
    last_tried: int = 0,
    sizes: tuple[int, ...] = (),
) -> bytes:
    return encode(TreeDetail(nodes, records, tried_at, last_tried, sizes))


TREE_FAULTS: list[tuple[str, bytes]] = [
    ("no node", tree_detail((), last_tried=-1)),
    ("one child", tree_detail(SPLIT[:2])),
    ("more nodes than leaves permit", tree_detail((*SPLIT[:1], *[LEAF] * 8))),
    ("a child twice", tree_detail(((0, 0, 0, 1, 1), *SPLIT[1:]))),
    ("a child before its parent", tree_detail(((0, 0, 0, 0, 1), *SPLIT[1:]))),
    ("children in another order", tree_detail(((0, 0, 0, 2, 1), *SPLIT[1:]))),
    ("a child that is not there", tree_detail(((0, 0, 0, 2, 3), *SPLIT[1:]))),
    ("a right child alone", tree_detail(((0, 0, 0, -1, 2), *SPLIT[1:]))),
    ("a left child alone", tree_detail(((0, 0, 0, 1, -1), *SPLIT[1:]))),
    ("a negative child", tree_detail(((0, 0, 0, -2, -1), *SPLIT[1:]))),
    ("nodes that hang on nothing", tree_detail((LEAF, *SPLIT[1:]))),
    ("two roots", tree_detail((LEAF, LEAF))),
    ("a child of two", tree_detail(((0, 0, 0, 1, 2), (1, 0, 0, 2, 3), (1, 0, 0, -1, -1), (2, 0, 0, -1, -1)))),
    ("a root at another depth", tree_detail(((1, 0, 0, -1, -1),))),
    ("a child at another depth", tree_detail((SPLIT[0], (2, 0, 0, -1, -1), SPLIT[2]))),
    ("statistics from the future", tree_detail(((0, 41, 0, -1, -1),))),
    ("statistics from before", tree_detail(((0, -1, 0, -1, -1),))),
    ("negative windows", tree_detail(((0, 0, -1, -1, -1),))),
    ("negative records", tree_detail(records=-1, tried_at=-1)),
    ("too many records", tree_detail(records=MAX_RECORDS + 1)),
    ("tried in the future", tree_detail(tried_at=41)),
    ("tried before the first", tree_detail(tried_at=-1)),
    ("tried a node that is not there", tree_detail(last_tried=3)),
    ("tried less than none", tree_detail(last_tried=-2)),
]


@pytest.mark.parametrize(
    "detail", [fault[1] for fault in TREE_FAULTS], ids=[fault[0] for fault in TREE_FAULTS]
)
def test_what_is_no_tree_of_these_settings_is_refused(journeys: Journeys, detail: bytes) -> None:
    settings = tree_settings_of("dt")
    assert decode_growth(settings, tree_detail())[0].leaves == (1, 2)
    with pytest.raises(MalformedMessageError):
        decode_growth(settings, detail)
    for subject, query in sessions_of(journeys["dt"]):
        assert refused("dt", replace_subject(subject, detail=detail), query)


def test_a_tree_deeper_than_its_settings_is_refused() -> None:
    shallow = small_tenant(models=(TreeSpec("dt", max_depth=0),))
    learner = learner_of(shallow.tenant, shallow.tenant.model("dt"))
    subject = Subject(REFRESH, "dt", records=40, owners=1, detail=tree_detail())
    with pytest.raises(PlanViolationError, match="grows"):
        learner.secondary(subject, None, None)
    learner.secondary(structs.replace(subject, detail=tree_detail((LEAF,))), None, None)


@pytest.mark.parametrize("sizes", [(), (0,), (-1,), (5, 0), (1, 1, 1, 1), (MAX_RECORDS + 1,)])
def test_a_window_without_chunks_or_of_too_many_is_refused(sizes: tuple[int, ...]) -> None:
    # Three chunks are sealed together at most.
    subject = Subject(LEARN, "dt", detail=tree_detail(sizes=sizes))
    assert refused("dt", subject)
    assert not refused("dt", replace_subject(subject, detail=tree_detail(sizes=(1, 1, 1))))


def test_a_window_of_more_records_than_statistics_count_is_refused() -> None:
    learner = learner_of(SMALL.tenant, SMALL.tenant.model("dt"))
    for sizes in ((MAX_STATISTICS + 1,), (MAX_STATISTICS, 1)):
        subject = Subject(LEARN, "dt", detail=tree_detail(sizes=sizes))
        with pytest.raises((PlanViolationError, LayoutError)):
            learner.secondary(subject, None, None)


def test_a_tree_is_tried_when_that_is_due_and_not_before() -> None:
    due = tree_detail(records=22 + 2 * 20, tried_at=22)
    assert not refused("dt", Subject(GROW, "dt", detail=due))
    early = tree_detail(records=22 + 2 * 20 - 1, tried_at=22)
    assert refused("dt", Subject(GROW, "dt", detail=early))
    # Nor while a lesson is about something else.
    assert refused("dt", Subject(GROW, "dt", detail=tree_detail(records=62, sizes=(5,))))


def test_sizes_stand_in_lessons_alone(journeys: Journeys) -> None:
    for subject, query in sessions_of(journeys["dt"]):
        if subject.purpose == LEARN:
            continue
        growth, sizes = decode_growth(tree_settings_of("dt"), subject.detail)
        assert sizes == ()
        assert refused("dt", replace_subject(subject, detail=encode_growth(growth, (5,))), query)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("nb", ["", "other", BASE, LEARN, GROW]),
        ("lr", ["", "other", BASE, GROW, REFRESH]),
        ("bins", ["", "other", BASE, GROW, REFRESH]),
        ("dt", ["", "other", BASE]),
    ],
)
def test_a_purpose_that_a_model_does_not_have_is_refused(
    journeys: Journeys, name: str, wrong: list[str]
) -> None:
    for subject, query in sessions_of(journeys[name]):
        for purpose in wrong:
            assert refused(name, replace_subject(subject, purpose=purpose), query), purpose
            assert refused(name, replace_subject(subject, purpose=purpose)), purpose


@pytest.mark.parametrize("name", NAMES)
def test_a_query_session_needs_the_query_and_its_clients_key(journeys: Journeys, name: str) -> None:
    way = journeys[name]
    subject = way.others[-1]
    assert refused(name, subject)
    assert refused(name, subject, way.query, key=False)


@pytest.mark.parametrize("name", TAUGHT)
def test_only_a_query_session_is_about_a_query(journeys: Journeys, name: str) -> None:
    way = journeys[name]
    for subject, query in sessions_of(way):
        if query is None:
            assert refused(name, subject, way.query)


@pytest.mark.parametrize("name", NAMES)
def test_a_query_with_other_vectors_than_the_model_reads_is_refused(journeys: Journeys, name: str) -> None:
    way = journeys[name]
    subject, query = way.others[-1], way.query
    first = query.vectors[0]
    hostile = [
        structs.replace(query, vectors=()),
        structs.replace(query, vectors=(*query.vectors, first)),
        structs.replace(query, vectors=(structs.replace(first, encoding="counts"), *query.vectors[1:])),
        structs.replace(
            query, vectors=(structs.replace(first, ciphertexts=first.ciphertexts[:-1]), *query.vectors[1:])
        ),
        structs.replace(query, rows=query.rows + 10),
    ]
    for other in hostile:
        assert refused(name, subject, other)
    # A query of another model is one of another shape.
    reads_words = name == "lr"
    stranger = journeys["dt" if reads_words else "lr"].query
    assert refused(name, subject, stranger)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "changes", [{"records": 19}, {"records": -1}, {"records": (1 << 20) + 1}, {"owners": 0}]
)
def test_a_model_that_may_not_answer_has_no_sessions_for_answers(
    journeys: Journeys, name: str, changes: dict[str, object]
) -> None:
    for subject, query in sessions_of(journeys[name]):
        # It may learn: that is how it gets there.
        assert refused(name, replace_subject(subject, **changes), query) is (
            subject.purpose in {REFRESH, QUERY}
        )


REFRESH_FIELDS: list[dict[str, object]] = [
    {"model_version": 1},
    {"client": "c"},
    {"message_hash": bytes(32)},
    {"partition": 1},
    {"offset": 1},
    {"rows": 1},
]


@pytest.mark.parametrize("name", ["nb", "dt"])
@pytest.mark.parametrize("changes", REFRESH_FIELDS)
def test_a_preparation_is_about_the_content_alone(
    journeys: Journeys, name: str, changes: dict[str, object]
) -> None:
    # Another name would be another session, with other masks under one share of SU.
    subject = journeys[name].others[0]
    assert subject.purpose == REFRESH
    assert refused(name, replace_subject(subject, **changes))


@pytest.mark.parametrize("rows", [-1, 0, 201, 1 << 40])
@pytest.mark.parametrize("name", ["lr", "bins"])
def test_a_lesson_of_more_records_than_a_chunk_may_have_is_refused(
    journeys: Journeys, name: str, rows: int
) -> None:
    subject = journeys[name].lessons[0]
    assert refused(name, replace_subject(subject, rows=rows))
    assert not refused(name, replace_subject(subject, rows=200))


# --- sealed models


@pytest.mark.parametrize("name", NAMES)
def test_what_is_sealed_is_restored(journeys: Journeys, name: str) -> None:
    way = journeys[name]
    learner = way.linked.at_secondary
    for state in way.states:
        content = learner.restored(learner.detail(state.content), state.records, state.ciphertexts)
        assert content == state.content
        assert content.public_ciphertexts == state.ciphertexts
        assert learner.detail(content) == learner.detail(state.content)
        again = replace(state, content=content)
        assert again.hash(SMALL.tenant) == state.hash(SMALL.tenant)
        assert learner.layout(again) == learner.layout(state)


def test_a_tree_at_capacity_is_restored() -> None:
    linked = LinkedLearner(SMALL, "dt")
    state, number = linked.learner.starting(), 0
    while linked.learner.described(state)["leaves"] < 4:
        number += 1
        assert number < 12
        records = random_records(SMALL, 60, f"capacity {number}")
        state = linked.learn(state, [taught_chunk(SMALL, number, records)])
    # Only class counts are kept from here on.
    records = random_records(SMALL, 5, "at capacity")
    state = linked.learn(state, [taught_chunk(SMALL, 99, records)])
    detail = linked.learner.detail(state.content)
    assert linked.learner.restored(detail, state.records, state.ciphertexts) == state.content


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_version_goes_on_as_the_one_that_was_sealed(journeys: Journeys, name: str) -> None:
    way, linked = journeys[name], LinkedLearner(SMALL, name)
    state = way.states[-1]
    content = linked.learner.restored(linked.learner.detail(state.content), state.records, state.ciphertexts)
    again = replace(state, content=content)
    assert list(linked.ask(again, linked.prepare(again), way.query).labels) == list(way.opened.labels)
    assert tuple(linked.ran) == way.others


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_hold_together_is_not_restored(journeys: Journeys, name: str) -> None:
    way = journeys[name]
    learner, state = way.linked.learner, way.states[-1]
    detail, ciphertexts = learner.detail(state.content), state.ciphertexts
    hostile: list[tuple[bytes, tuple[Ciphertext, ...]]] = [
        (detail, ()),
        (detail, ciphertexts[:-1]),
        (detail, (*ciphertexts, ciphertexts[0])),
        (b"\xc0", ciphertexts),
        (detail + b"\x00", ciphertexts),
    ]
    for other, given in hostile:
        with pytest.raises((SchemaError, ValueError)):
            learner.restored(other, state.records, given)


def test_details_that_are_none_of_a_sealed_model_are_not_restored(journeys: Journeys) -> None:
    way = journeys["dt"]
    learner, state = way.linked.learner, way.states[-1]
    growth = state.content.growth
    # Sizes belong to lessons; another growth has other ciphertexts.
    for detail in (encode_growth(growth, (5,)), encode_growth(Growth(growth.settings))):
        with pytest.raises((SchemaError, ValueError)):
            learner.restored(detail, state.records, state.ciphertexts)
    for steps in (-1, 1 << 32):
        weights = journeys["lr"].states[-1]
        with pytest.raises((SchemaError, ValueError)):
            journeys["lr"].linked.learner.restored(
                encode(LogisticDetail(steps)), weights.records, weights.ciphertexts
            )


@pytest.mark.parametrize("name", NAMES)
def test_the_content_of_another_learner_is_refused(journeys: Journeys, name: str) -> None:
    other = journeys["lr" if name in {"nb", "dt"} else "nb"].states[-1]
    learner = journeys[name].linked.learner
    query = journeys[name].query
    calls: list[Callable[[], object]] = [lambda: learner.layout(other)]
    if name != "nb":
        calls += [lambda: learner.detail(other.content), lambda: learner.described(other)]
        calls += [lambda: journeys[name].linked.asking(other, None, query)]
    if name in {"lr", "bins"}:
        # Where the numbers lie is the same for all versions of weights.
        del calls[0]
    for call in calls:
        with pytest.raises(TypeError, match="another learner"):
            call()


# --- lessons


@pytest.mark.parametrize("name", TAUGHT)
def test_a_lesson_leads_where_it_says(journeys: Journeys, name: str) -> None:
    way = journeys[name]
    taught = way.linked.taught
    sizes = [(22,), (9, 33)] if name in TREES else [(22,), (9,), (33,)]
    for before, after, lesson in zip(way.states, way.states[1:], sizes, strict=False):
        assert taught.follows(before, lesson, after.content)
        # Not without the lesson, not from elsewhere, not by another one.
        assert not taught.follows(before, lesson, before.content)
        assert not taught.follows(after, lesson, after.content)
    first, last = way.states[0], way.states[-1]
    assert not taught.follows(first, sizes[0], last.content)


def test_a_lesson_of_other_records_leads_elsewhere(journeys: Journeys) -> None:
    way = journeys["dt"]
    first, second = way.states[:2]
    for sizes in ((21,), (23,), (22, 1), (11,)):
        assert not way.linked.taught.follows(first, sizes, second.content)
    # The number of steps is all that is public of weights: eight records make one here.
    way = journeys["bins"]
    first, second = way.states[:2]
    assert second.content.steps == 3
    assert [way.linked.taught.follows(first, (size,), second.content) for size in (16, 17, 24, 25)] == [
        False,
        True,
        True,
        False,
    ]


def test_any_outcome_of_an_attempt_may_follow_and_nothing_else(journeys: Journeys) -> None:
    way = journeys["dt"]
    learner, first = way.linked.taught, way.states[0]
    settings = tree_settings_of("dt")
    after = Growth(settings).after_window(22)
    assert after.attempt_is_due
    grown, stayed = after.after_attempt([True]), after.after_attempt([False])

    empty = first.content
    assert isinstance(empty, TreeState)

    def content(growth: Growth) -> TreeState:
        return replace(empty, growth=growth)

    assert learner.follows(first, (22,), content(grown))
    assert learner.follows(first, (22,), content(stayed))
    # The attempt that was due was left out, or made twice.
    assert not learner.follows(first, (22,), content(after))
    assert not learner.follows(first, (22,), content(grown.after_attempt([True, True])))
    for growth in (
        replace(grown, records=23),
        replace(grown, tried_at=0),
        replace(grown, last_tried=-1),
        replace(grown, nodes=(*grown.nodes[:2], replace(grown.nodes[2], since=0))),
        replace(grown, nodes=(*grown.nodes, Node(1, 22), Node(1, 22))),
    ):
        assert not learner.follows(first, (22,), content(growth))
    # Before an attempt is due none is made.
    early = Growth(settings).after_window(19)
    assert learner.follows(first, (19,), content(early))
    assert not learner.follows(first, (19,), content(early.after_attempt([True])))


def test_one_outcome_alone_may_follow_an_attempt_of_a_padded_tree(journeys: Journeys) -> None:
    way = journeys["padded"]
    learner, first = way.linked.taught, way.states[0]
    after = Growth(tree_settings_of("padded")).after_window(22)
    grown = after.after_padded_attempt()
    empty = first.content
    assert isinstance(empty, TreeState)
    assert learner.follows(first, (22,), replace(empty, growth=grown))
    for growth in (
        after,
        after.after_attempt([True]),
        after.after_attempt([False]),
        grown.after_padded_attempt(),
        replace(grown, nodes=(*grown.nodes[:2], replace(grown.nodes[2], since=22))),
    ):
        assert not learner.follows(first, (22,), replace(empty, growth=growth))


def test_a_padded_tree_deeper_than_its_padding_is_refused() -> None:
    settings = replace(tree_settings_of("padded"), max_leaves=8)
    fuller = Growth(replace(settings, pad_depth=3)).after_window(22).after_padded_attempt()
    assert decode_growth(settings, encode_growth(fuller))[0].leaves == (1, 2)
    for _ in range(2):
        fuller = fuller.after_window(22).after_padded_attempt()
    with pytest.raises(MalformedMessageError):
        decode_growth(settings, encode_growth(fuller))


@pytest.mark.parametrize(
    ("name", "waiting", "size"),
    [
        ("lr", (), 0),
        ("lr", (5,), 1),
        ("lr", (5, 6, 7), 1),
        ("bins", (), 0),
        ("bins", (5, 6), 1),
        ("dt", (), 0),
        # Until an attempt falls due after 20 records, or three chunks are there.
        ("dt", (19,), 0),
        ("dt", (20,), 1),
        ("dt", (5, 14), 0),
        ("dt", (5, 15), 2),
        ("dt", (5, 15, 30), 2),
        ("dt", (1, 1), 0),
        ("dt", (1, 1, 1), 3),
        ("dt", (1, 1, 1, 1), 3),
    ],
)
def test_so_many_chunks_are_learnt_together(name: str, waiting: tuple[int, ...], size: int) -> None:
    learner = LinkedLearner(SMALL, name).taught
    assert learner.lesson_size(learner.starting(), waiting) == size


def test_records_that_are_no_records_are_told_by_chunk() -> None:
    linked = LinkedLearner(SMALL, "dt")
    good = taught_chunk(SMALL, 0, random_records(SMALL, 22, "valid"))
    # Not one bit of any attribute or class.
    nothing = SMALL.tenant.bits_layout(22 * 13).pack([0] * (22 * 13))
    forged = SMALL.tenant.service_key.encrypt_many(nothing, seeded_coins("forged"))
    bad = replace(good, owner="b", vectors={**good.vectors, "bits": tuple(forged)})
    lesson = linked.teach(linked.taught.teach(linked.learner.starting(), [bad, good]))
    assert lesson.invalid == (22, 0)


def test_a_chunk_that_a_model_cannot_take_in_leaves_it_as_it_was() -> None:
    # A rate at which a weight leaves its range at once.
    small = small_tenant(models=(LogisticSpec("lr", rate_256=1 << 16, passes=40),))
    linked = LinkedLearner(small, "lr")
    state = linked.learner.starting()
    with pytest.raises(UnlearnableError):
        linked.learn(state, [taught_chunk(small, 0, random_records(small, 20, "overflow"))])
    assert state == linked.learner.starting()


@pytest.mark.parametrize("name", ["lr", "bins"])
def test_one_chunk_is_to_blame_where_one_is_learnt(name: str) -> None:
    learner = LinkedLearner(SMALL, name).taught
    assert learner.culprit("") == 0
    assert learner.culprit("open") == 0


def test_the_chunk_to_blame_stands_in_the_name_of_the_step() -> None:
    linked = LinkedLearner(SMALL, "dt")
    chunks = [chunk(0), chunk(1)]
    call = next(linked.taught.teach(linked.learner.starting(), chunks))
    blamed = [linked.taught.culprit(step.name) for step in call.plan.steps]
    assert blamed == sorted(blamed, key=lambda number: -1 if number is None else number)
    assert set(blamed) == {0, 1}
    for step in ("", "labels", "attempt", "split", "reopen 1", "open"):
        assert linked.taught.culprit(step) is None


def test_no_chunk_is_to_blame_for_an_attempt(journeys: Journeys) -> None:
    learner = LinkedLearner(SMALL, "dt")
    (grow, *_) = [subject for subject in journeys["dt"].lessons if subject.purpose == GROW]
    plan = learner.at_secondary.secondary(grow, None, None).plan
    assert [learner.taught.culprit(step.name) for step in plan.steps] == [None] * len(plan.steps)


# --- room and limits


def test_room_is_a_matter_of_the_learner() -> None:
    empty = {name: (learner, learner.starting()) for name, learner in learners_of(SMALL.tenant).items()}
    tree, state = empty["dt"]
    tree.check_room(state, MAX_STATISTICS, 0)
    # What waits before it is learnt in windows of its own, but counted together in the end.
    tree.check_room(state, MAX_STATISTICS, MAX_RECORDS - MAX_STATISTICS)
    for records, waiting in ((MAX_STATISTICS + 1, 0), (2, MAX_RECORDS - 1), (1, MAX_RECORDS)):
        with pytest.raises(LayoutError):
            tree.check_room(state, records, waiting)
    counts, state = empty["nb"]
    counts.check_room(state, (1 << 47) - 1, 0)
    with pytest.raises(LayoutError):
        counts.check_room(state, 1 << 47, 0)
    # A session of the largest permitted chunk fits, whatever waits before it.
    weights, state = empty["lr"]
    weights.check_room(state, LIMITS.max_chunk_records, 1 << 20)


def largest(plan: Plan) -> tuple[int, int]:
    """Return the bytes of a plan's largest request and reply."""
    sizes = [(step.request, step.reply) for step in plan.steps]
    requests, replies = (
        [sum(section.size for section in sections) for sections in side] for side in zip(*sizes, strict=True)
    )
    return max(requests), max(replies)


@pytest.mark.parametrize("name", NAMES)
def test_no_session_is_larger_than_the_largest_plans(journeys: Journeys, name: str) -> None:
    way = journeys[name]
    bounds = [largest(plan) for plan in way.linked.learner.largest_plans()]
    bound = tuple(max(side) for side in zip(*bounds, strict=True))
    for subject, query in sessions_of(way):
        key = None if query is None else SMALL.client_key.public
        plan = way.linked.at_secondary.secondary(subject, query, key).plan
        assert all(own <= most for own, most in zip(largest(plan), bound, strict=True))


def test_a_tree_cannot_be_set_up_for_chunks_that_no_window_holds() -> None:
    small = small_tenant(limits=Limits(MAX_STATISTICS + 1, 1 << 20, 5, 1, 1, 0), models=(TreeSpec("dt"),))
    with pytest.raises(LayoutError):
        list(learner_of(small.tenant, small.tenant.model("dt")).largest_plans())


def test_a_full_tree_has_as_many_leaves_as_permitted_and_none_to_try() -> None:
    settings = tree_settings_of("dt")
    *_, growth = growing(settings)
    assert (len(growth.leaves), growth.due) == (4, ())
    assert decode_growth(settings, encode_growth(growth)) == (growth, ())


# --- what people are shown


@pytest.mark.parametrize("name", NAMES)
def test_a_version_is_described_by_what_is_public(journeys: Journeys, name: str) -> None:
    way = journeys[name]
    described = way.linked.learner.described(way.states[-1])
    match name:
        case "nb":
            assert described == {}
        case "lr":
            # Two passes over each of three chunks.
            assert described == {"steps": 6}
        case "bins":
            # Eight records a step.
            assert described == {"steps": 3 + 2 + 5}
        case _:
            nodes, leaves = described["nodes"], described["leaves"]
            assert len(nodes) == 2 * leaves - 1
            assert nodes[0] == {"depth": 0, "children": [1, 2]}
            assert sum(node["children"] is None for node in nodes) == leaves


def test_values_of_an_answer() -> None:
    two_classes = small_tenant(
        DataSchema(1, small_schema().attributes, ClassLabel("kind", ("no", "yes"))), models=ALL
    )
    for small, scores in ((SMALL, 3), (two_classes, 1)):
        for name, learner in learners_of(small.tenant).items():
            with_scores = 1 + scores * (name in {"lr", "bins"})
            assert [learner.answer_values(scores=asked) for asked in (False, True)] == [1, with_scores]
            for asked in (False, True):
                layout = learner.answer_layout(4, scores=asked)
                assert layout == small.tenant.label_layout(4 * learner.answer_values(scores=asked))


def test_learners_are_found_by_name_in_the_order_of_the_configuration() -> None:
    learners = learners_of(SMALL.tenant)
    assert list(learners) == list(NAMES)
    assert [type(learner) for learner in learners.values()][1:] == [
        LogisticLearner,
        LogisticLearner,
        TreeLearner,
        TreeLearner,
    ]
    assert all(learner.model_id == name for name, learner in learners.items())


def test_models_before_any_chunk_are_public() -> None:
    # Two parties that start from nothing hold the same bytes; models of other names hold others.
    def empties(small: SmallTenant) -> list[tuple[Ciphertext, ...]]:
        return [learner.starting().ciphertexts for learner in learners_of(small.tenant).values()]

    assert empties(SMALL) == empties(small_tenant(limits=LIMITS, models=ALL))
    specs: tuple[ModelSpec, ...] = (LogisticSpec("one"), LogisticSpec("two"))
    first, second = empties(small_tenant(models=specs))
    assert first != second
    assert empties(small_tenant(models=(NaiveBayesSpec("m"),)))[0][0] == Ciphertext(1, 1)
