"""Estimates against what sessions of every learner count, operation by operation."""

from collections.abc import Iterator
from typing import Any

import pytest
from doubles import seeded_coins
from linked_learners import MODELS, LinkedLearner, taught_chunk
from msgspec import structs
from round_trips import random_records
from tenants import SmallTenant, small_tenant

from crypto.counting import Tally, counting
from crypto.ot_extension import draw_delta
from roles.building_blocks.base_transfers import base_master, base_plan, base_secondary, base_subject
from roles.classifiers.learner import MasterCall, TaughtChunk
from roles.forecast import Forecast
from roles.model_state import ModelState
from roles.plan import Plan
from roles.plan_cost import SessionCost, session_cost
from roles.session import Session, run_linked
from schemas.configuration import Limits
from schemas.models import TreeSpec
from schemas.queries import Query

ENTROPY = TreeSpec(
    "entropy",
    max_leaves=4,
    attempt_records=20,
    confidence_16=1,
    tie_records=20,
    criterion="entropy",
    chunks_per_seal=3,
)
PADDED = (
    structs.replace(MODELS[-1], model_id="padded", pad_depth=2),
    structs.replace(ENTROPY, model_id="padded-entropy", pad_depth=1),
)
SMALL = small_tenant(
    limits=Limits(200, 1 << 20, 10, 20, 1, 0),
    models=(*MODELS, ENTROPY, *PADDED),
)
NAMES = tuple(spec.model_id for spec in SMALL.tenant.configuration.models)
SIZES = (22, 9, 33, 33, 20)
PADDED_TREES = tuple(spec.model_id for spec in PADDED)
TREES = ("dt", "entropy", *PADDED_TREES)
COUNTED = ("cots", "cot_payload_bytes", "ands", "base_ots")


def powers(tally: Tally) -> int:
    return tally.powers_full + tally.powers_short + tally.fixed_base


def figures(tally: Tally) -> dict[str, int]:
    return {"powers": powers(tally), **{name: getattr(tally, name) for name in COUNTED}}


class CountedLearner(LinkedLearner):
    """A learner with both units' operations of every session, beside the plan that it followed."""

    def __init__(self, small: SmallTenant, model_id: str) -> None:
        super().__init__(small, model_id)
        self.sessions: list[tuple[Plan, Tally]] = []

    def run(self, call: MasterCall[Any], query: Query | None = None) -> Any:
        with counting() as tally:
            result = super().run(call, query)
        self.sessions.append((call.plan, tally))
        return result


def learnt(counted: CountedLearner, chunks: list[TaughtChunk]) -> ModelState:
    state, waiting = counted.learner.starting(), list(chunks)
    if counted.model_id == "nb":
        return counted.learn(state, waiting)
    while size := counted.taught.lesson_size(state, [one.records for one in waiting]):
        state, waiting = counted.learn(state, waiting[:size]), waiting[size:]
    return state


def costs(plans: Iterator[Plan] | tuple[Plan, ...], *, under_client_key: bool = False) -> list[SessionCost]:
    return [session_cost(plan, SMALL.tenant.parameters, under_client_key=under_client_key) for plan in plans]


def sums(estimated: list[SessionCost]) -> dict[str, int]:
    total = Tally()
    for one in estimated:
        total.add(one.master)
        total.add(one.secondary)
    return figures(total)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_run_counts_is_what_the_estimate_says(name: str) -> None:
    counted = CountedLearner(SMALL, name)
    # A tree grows by which attempts split; over a longer stream that matters less.
    sizes = (20,) * 12 if name in TREES else SIZES
    records = [random_records(SMALL, size, f"cost {number}") for number, size in enumerate(sizes)]
    chunks = [taught_chunk(SMALL, number, batch) for number, batch in enumerate(records)]
    state = learnt(counted, chunks)
    lessons = len(counted.sessions)
    prepared = counted.prepare(state)
    counted.ask(state, prepared, counted.query(random_records(SMALL, 6, "asked")))
    for plan, tally in counted.sessions:
        assert sums(costs((plan,))) == figures(tally), plan.name

    tree = getattr(state.content, "growth", None)
    forecast = Forecast(counted.learner, sizes)
    whole = Tally()
    for _, tally in counted.sessions:
        whole.add(tally)
    preparation = forecast.preparation()
    taught = [plan for lesson in forecast.lessons for plan in lesson.plans]
    plans = (*taught, *(() if preparation is None else (preparation,)), forecast.query(6))
    estimated = sums(costs(plans))
    if forecast.lessons:
        assert forecast.lessons[-1].ciphertexts == len(state.ciphertexts)
    if tree is None or name in PADDED_TREES:
        # The schedule of a padded tree is known before there is a record.
        assert forecast.growth == tree
        assert [plan.name for plan in taught] == [plan.name for plan, _ in counted.sessions[:lessons]]
        assert estimated == figures(whole)
        return
    # A tree's estimate does not know which attempts split.
    assert forecast.growth is not None
    assert len(forecast.growth.leaves) == len(tree.leaves) > 1
    for figure, amount in figures(whole).items():
        assert estimated[figure] == pytest.approx(amount, rel=0.25), figure


@pytest.mark.parametrize("name", NAMES)
def test_bytes_and_round_trips_are_the_plans(name: str) -> None:
    plan = Forecast(CountedLearner(SMALL, name).learner, SIZES).query(3)
    (cost,) = costs((plan,))
    assert sum(cost.requests) + sum(cost.replies) == sum(step.bytes_exchanged for step in plan.steps)
    assert cost.rounds == len(plan.steps)
    assert cost.layers > 0


def test_a_clients_key_has_no_table() -> None:
    plan = Forecast(CountedLearner(SMALL, "nb").learner, SIZES).query(3)
    (own,), (client,) = costs((plan,)), costs((plan,), under_client_key=True)
    assert powers(own.master) == powers(client.master)
    assert own.master.fixed_base == 2 * client.master.fixed_base > 0


def test_base_transfers_are_estimated_too() -> None:
    plan = base_plan(SMALL.tenant)
    mu, su = (Session(SMALL.tenant, unit, unit.encode() * 16, base_subject(), plan) for unit in ("mu", "su"))
    with counting() as tally:
        run_linked(
            base_master(mu, draw_delta(seeded_coins(1), garbling=False)),
            mu,
            base_secondary(su, draw_delta(seeded_coins(2), garbling=True)),
            su,
        )
    assert sums(costs((plan,))) == figures(tally)


def test_a_tree_grows_to_the_leaves_that_were_asked_for() -> None:
    learner = CountedLearner(SMALL, "dt").learner
    for leaves in (1, 2, 4):
        growth = Forecast(learner, (30,) * 20, leaves).growth
        assert growth is not None
        assert len(growth.leaves) == leaves
    once = Forecast(learner, (30,) * 20).growth
    assert once is not None
    assert len(once.leaves) == 4
