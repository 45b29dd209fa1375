"""What is public of a model and fixes the plans about it: MU names it, SU and auditors follow it."""

from dataclasses import replace
from functools import cache, partial

import msgspec
import pytest
from fuzz.drawing import Draws
from fuzz.every_learner import LOGISTIC, TREE, every_learner_tenant, logistic, tree
from fuzz.mutants import WIRE_INTEGERS, Corpus, noise
from fuzz.verdicts import INPUTS, Tally
from tenants import SmallTenant

from roles.classifiers.hoeffding_tree import TreeLearner
from roles.classifiers.hoeffding_tree_detail import TreeDetail, decode_growth, encode_growth
from roles.classifiers.hoeffding_tree_growth import MAX_RECORDS, MAX_STATISTICS, Growth, TreeSettings
from roles.classifiers.learner import SecondaryCall
from roles.classifiers.logistic_regression import MAX_STEPS, LogisticDetail
from roles.model_settings import tree_settings
from roles.plan import PlanViolationError
from schemas.codec import decode, encode
from schemas.configuration import Limits
from schemas.models import TreeSpec
from schemas.rounds import Subject

SETTINGS = TreeSettings(max_leaves=6, max_depth=3, attempt_records=8, chunks_per_seal=3, leaves_per_attempt=2)
LIMITS = Limits(64, 1 << 10, 8, 1, 1, 0)
Grown = tuple[Growth, tuple[int, ...]]


@cache
def small() -> SmallTenant:
    return every_learner_tenant(LIMITS)


def grown(draws: Draws, settings: TreeSettings) -> Growth:
    """Return a tree at any age, as the schedule grows it."""
    growth = Growth(settings)
    for _ in range(draws.below(12)):
        growth = growth.after_window(1 + draws.below(draws.pick((6, 60, 600))))
        if growth.attempt_is_due:
            if draws.chance(3):
                break
            outcomes = [draws.chance(2) for _ in growth.due]
            growth = growth.after_padded_attempt() if settings.pad_depth else growth.after_attempt(outcomes)
    return growth


def some_sizes(draws: Draws, settings: TreeSettings) -> tuple[int, ...]:
    count = 0 if draws.chance(2) else 1 + draws.below(settings.chunks_per_seal)
    return tuple(1 + draws.below(64) for _ in range(count))


def details(draws: Draws, settings: TreeSettings) -> Corpus:
    """Return growths with and without a lesson beside them."""
    found = [encode_growth(grown(draws, settings), some_sizes(draws, settings)) for _ in range(64)]
    return Corpus.of_msgpack(found)


def changed_number(draws: Draws, number: int) -> int:
    return draws.pick((number + 1, number - 1, -1, 0, draws.below(20), draws.pick(WIRE_INTEGERS)))


def changed_growth(draws: Draws, data: bytes) -> bytes:
    """Return a detail with other numbers, nodes or sizes, which reads as one all the same."""
    detail = decode(TreeDetail, data)
    for _ in range(draws.pick((1, 1, 2, 3))):
        match draws.below(6):
            case 0:
                name = draws.pick(("records", "tried_at", "last_tried"))
                changes = {name: changed_number(draws, getattr(detail, name))}
                detail = msgspec.structs.replace(detail, **changes)
            case 1:
                sizes = (*detail.sizes[1:], changed_number(draws, 1)) * draws.pick((0, 1, 1, 5))
                detail = msgspec.structs.replace(detail, sizes=sizes)
            case 2:
                nodes = draws.pick((detail.nodes[:-1], detail.nodes * 2, detail.nodes[:-2], ()))
                detail = msgspec.structs.replace(detail, nodes=nodes)
            case _ if detail.nodes:
                at, place = draws.below(len(detail.nodes)), draws.below(5)
                node = list(detail.nodes[at])
                node[place] = changed_number(draws, node[place])
                nodes = (*detail.nodes[:at], (node[0], node[1], node[2], node[3], node[4]))
                detail = msgspec.structs.replace(detail, nodes=(*nodes, *detail.nodes[at + 1 :]))
            case _:
                pass
    return encode(detail)


def hostile_detail(draws: Draws, corpus: Corpus) -> tuple[bytes, bool]:
    """Return the bytes of a detail, and whether they are those of a valid one, changed."""
    if draws.chance(12):
        return noise(draws), False
    source = draws.pick(corpus.messages)
    if draws.chance(10):
        return source, False
    if draws.chance(3):
        return corpus.mutant(draws)
    data = changed_growth(draws, source)
    return data, data != source


# --- trees


@pytest.mark.parametrize("settings", [SETTINGS, replace(SETTINGS, pad_depth=2)], ids=["open", "padded"])
def test_any_bytes_are_a_growth_or_a_reason(settings: TreeSettings) -> None:
    draws, tally = Draws("growths"), Tally()
    corpus = details(draws, settings)
    others = 0
    for _ in range(INPUTS):
        data, mutated = hostile_detail(draws, corpus)

        def again(found: Grown) -> bytes:
            return encode_growth(*found)

        found = tally.judge(partial(decode_growth, settings), data, mutated=mutated, again=again)
        if found is not None:
            check_growth(*found)
            others += mutated
    tally.check(reasons=["malformed"])
    assert others > 500


def check_growth(growth: Growth, sizes: tuple[int, ...]) -> None:
    """Require a tree within its settings, and that its schedule can be followed from there."""
    settings, nodes = growth.settings, growth.nodes
    assert 1 <= len(growth.leaves) <= settings.max_leaves
    assert len(growth.inner) == len(growth.leaves) - 1
    assert len(growth.routes) == len(growth.inner)
    for index in growth.inner:
        for child in (nodes[index].left, nodes[index].right):
            assert index < child
            assert nodes[child].depth == nodes[index].depth + 1 <= settings.depth_bound
    assert 0 <= growth.tried_at <= growth.records <= MAX_RECORDS
    assert all(0 <= node.since <= growth.records for node in nodes)
    assert all(1 <= size <= MAX_RECORDS for size in sizes)
    assert set(growth.due) <= set(growth.candidates) <= set(growth.leaves)
    assert growth.window([1] * settings.chunks_per_seal) >= 1
    after = growth.after_window(1, growth.restarting(1, 8))
    assert decode_growth(settings, encode_growth(after))[0] == after or after.records > MAX_RECORDS
    if growth.attempt_is_due:
        splits = [True] * len(growth.due)
        split = growth.after_padded_attempt() if settings.pad_depth else growth.after_attempt(splits)
        assert decode_growth(settings, encode_growth(split)) == (split, ())


def answered(learner: TreeLearner, subject: Subject) -> SecondaryCall:
    call = learner.secondary(subject, None, None)
    assert call.plan.steps
    assert len(call.plan.digest) == 32
    return call


@pytest.mark.parametrize("pad_depth", [0, 2])
def test_su_finds_the_plan_of_any_tree_or_names_a_reason(pad_depth: int) -> None:
    draws, tally = Draws("trees"), Tally()
    spec = tree(small()).spec
    assert isinstance(spec, TreeSpec)
    spec = msgspec.structs.replace(spec, pad_depth=pad_depth)
    learner, settings = TreeLearner(small().tenant, spec), tree_settings(spec)
    corpus = details(draws, settings)
    found: dict[str, int] = {}
    while tally.inputs < INPUTS:
        data, mutated = hostile_detail(draws, corpus)
        purpose = draws.pick(("learn", "learn", "grow", "grow", "refresh", "refresh", "query", "base_ot"))
        records = 20 if draws.chance(2) else draws.pick((1, 0, -1, LIMITS.max_total_records + 1))
        subject = Subject(purpose, TREE, 0, bytes(32), records, draws.pick((1, 1, 0)), detail=data)
        if purpose == "learn" and draws.chance(2):
            subject = msgspec.structs.replace(subject, message_hash=bytes(32), rows=draws.below(200))
        call = tally.judge_call(partial(answered, learner, subject), data, mutated=mutated)
        if call is not None:
            growth, sizes = decode_growth(settings, data)
            found[purpose] = found.get(purpose, 0) + 1
            assert purpose != "learn" or 0 < sum(sizes) <= MAX_STATISTICS
            assert purpose != "grow" or growth.attempt_is_due
            assert purpose == "learn" or not sizes
    tally.check(reasons=["plan_violation"])
    assert set(found) == {"learn", "grow", "refresh"}
    assert min(found.values()) > 200


# --- logistic regression


def test_su_finds_the_plan_of_any_number_of_steps_or_names_a_reason() -> None:
    draws, tally = Draws("steps"), Tally()
    learner = logistic(small())
    corpus = Corpus.of_msgpack(
        [encode(LogisticDetail(steps)) for steps in (0, 1, 127, 128, 70_000, MAX_STEPS - 1)]
    )
    for _ in range(INPUTS):
        if draws.chance(12):
            data, mutated = noise(draws), False
        elif draws.chance(2):
            source = draws.pick(corpus.messages)
            data = encode(LogisticDetail(changed_number(draws, decode(LogisticDetail, source).steps)))
            mutated = data != source
        else:
            data, mutated = corpus.mutant(draws)
        rows = draws.pick((1, 2, 8, 64, 0, -1, 65))
        subject = Subject("learn", LOGISTIC, 3, bytes(32), 20, 1, rows=rows, detail=data)

        def read(_: bytes, subject: Subject = subject) -> SecondaryCall:
            call = learner.secondary(subject, None, None)
            assert len(call.plan.digest) == 32
            return call

        if tally.judge(read, data, mutated=mutated) is not None:
            assert 0 <= decode(LogisticDetail, data).steps < MAX_STEPS
            assert 1 <= rows <= LIMITS.max_chunk_records
    tally.check(reasons=["plan_violation"])
    assert tally.accepted > 500


def test_the_detail_of_one_learner_is_none_of_another() -> None:
    growth = encode_growth(Growth(SETTINGS))
    steps = encode(LogisticDetail(7))
    for learner, detail, purpose in (
        (tree(small()), steps, "learn"),
        (tree(small()), b"", "refresh"),
        (logistic(small()), growth, "learn"),
        (logistic(small()), b"", "learn"),
    ):
        subject = Subject(purpose, learner.model_id, 0, bytes(32), 20, 1, rows=4, detail=detail)
        with pytest.raises(PlanViolationError):
            learner.secondary(subject, None, None)
