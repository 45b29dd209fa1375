"""What a tree costs in bytes at real key sizes, from plans alone: messages, traffic, state."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
from tenants import signing_key, small_tenant

from crypto.parameters import Parameters
from crypto.profiles import profile
from roles.classifiers.hoeffding_tree import TreeLearner, growing
from roles.classifiers.hoeffding_tree_attempt import AttemptShape
from roles.classifiers.hoeffding_tree_detail import encode_growth
from roles.classifiers.hoeffding_tree_growth import Growth
from roles.classifiers.hoeffding_tree_shape import MAX_WINDOWS
from roles.classifiers.hoeffding_tree_window import WindowShape
from roles.plan import Plan, Section
from schemas.codec import MAX_MESSAGE_BYTES
from schemas.configuration import Limits
from schemas.data_schema import SCHEMA_VERSION, CategoricalAttribute, ClassLabel, DataSchema, Missing
from schemas.envelope import MAX_PARTS
from schemas.models import TreeSpec
from schemas.parts import seal_parts

RECORDS, CHUNKS = 200, 8
SHAPES = {"nursery": ((3, 5, 4, 4, 3, 2, 3, 3), 5), "adult": ((10,) * 14, 2)}
"""Values per attribute and classes, as large as those of the two data sets."""


@cache
def tree_of(name: str, max_leaves: int = 64) -> TreeLearner:
    """Return a tree at 3072 bits; the numbers of its keys do not matter for sizes."""
    values, classes = SHAPES[name]
    attributes = tuple(
        CategoricalAttribute(f"a{a}", tuple(f"v{v}" for v in range(size)), Missing.REFUSE)
        for a, size in enumerate(values)
    )
    schema = DataSchema(
        SCHEMA_VERSION, attributes, ClassLabel("kind", tuple(f"k{c}" for c in range(classes)))
    )
    spec = TreeSpec("dt", max_leaves=max_leaves)
    limits = Limits(1000, 1 << 20, 100, 1, 1, 0)
    small = small_tenant(schema, limits=limits, models=(spec,))
    chosen = profile("standard")
    parameters = Parameters(chosen, (1 << chosen.modulus_bits) - 1, 4)
    return TreeLearner(replace(small.tenant, parameters=parameters), spec)


def grown(learner: TreeLearner, leaves: int) -> Growth:
    """Return a tree of so many leaves, 10,000 records old, just tried."""
    growths = {len(growth.leaves): growth for growth in growing(learner.model.settings)}
    return replace(growths[leaves], records=10_000, tried_at=10_000)


def lesson(learner: TreeLearner, leaves: int) -> tuple[Plan, Plan]:
    """Return the plans of a window and of the attempt after it."""
    window = WindowShape(learner.model, grown(learner, leaves), (RECORDS,) * CHUNKS)
    assert window.after.attempt_is_due
    return window.plan, AttemptShape(learner.model, window.after).plan


def messages(plan: Plan) -> Iterator[int]:
    """Yield the bytes of every request and reply."""
    for step in plan.steps:
        for sections in (step.request, step.reply):
            yield total(sections)


def total(sections: tuple[Section, ...]) -> int:
    return sum(section.size for section in sections)


@pytest.mark.parametrize(("name", "most"), [("nursery", 35_000), ("adult", 75_000)])
def test_traffic_per_record_at_sixteen_leaves(name: str, most: int) -> None:
    plans = lesson(tree_of(name, max_leaves=128), 16)
    each = sum(step.bytes_exchanged for plan in plans for step in plan.steps) / (RECORDS * CHUNKS)
    assert most / 2 < each <= most


def test_traffic_is_linear_in_the_leaves() -> None:
    learner = tree_of("adult", max_leaves=128)
    each = [sum(messages(lesson(learner, leaves)[0])) for leaves in (16, 32, 64)]
    assert (each[2] - each[1]) / (each[1] - each[0]) == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("name", SHAPES)
def test_no_step_of_a_window_is_above_the_message_size(name: str) -> None:
    learner = tree_of(name, max_leaves=128)
    for leaves in (1, 16, 64):
        window = WindowShape(learner.model, grown(learner, leaves), (RECORDS,) * CHUNKS)
        assert max(messages(window.plan)) < MAX_MESSAGE_BYTES


@pytest.mark.parametrize("name", SHAPES)
def test_the_largest_steps_travel_in_parts_of_the_message_size(name: str) -> None:
    learner = tree_of(name)
    largest = max(size for plan in learner.largest_plans() for size in messages(plan))
    assert largest > MAX_MESSAGE_BYTES
    wires = seal_parts(
        tenant="small",
        topic="rounds.replies",
        sender="su",
        key_epoch=1,
        sequence=0,
        kind="reply",
        body=bytes(largest),
        signing_key=signing_key("su"),
    )
    assert 1 < len(wires) < MAX_PARTS
    assert max(map(len, wires)) <= MAX_MESSAGE_BYTES


def sealed_ciphertexts(learner: TreeLearner, growth: Growth) -> int:
    """Return how many ciphertexts a tree's state has."""
    model, inner = learner.model, len(growth.inner)
    return (
        (model.tests_layout(inner).ciphertexts if inner else 0)
        + model.totals_layout(len(growth.nodes)).ciphertexts
        + len(growth.leaves) * model.statistics_layout().ciphertexts
    )


def test_state_is_bounded_by_leaves_and_not_by_the_stream() -> None:
    learner = tree_of("nursery", max_leaves=16)
    settings = learner.model.settings
    growth, sizes = Growth(settings), []
    for window in range(3000):
        growth = growth.after_window(RECORDS, growth.restarting(RECORDS, MAX_WINDOWS))
        if growth.attempt_is_due:
            # Of the leaves tried every other one splits, now and then.
            growth = growth.after_attempt([(window + leaf) % 2 == 0 for leaf in growth.due])
        sizes.append((sealed_ciphertexts(learner, growth), len(encode_growth(growth))))
    assert growth.records == 3000 * RECORDS
    assert len(growth.leaves) == 16
    full = next(place for place, size in enumerate(sizes) if size[0] == sizes[-1][0])
    assert full < 200
    assert {size[0] for size in sizes[full:]} == {sizes[-1][0]}
    # Beside the ciphertexts there are five small numbers per node, and three more.
    nodes = 2 * 16 - 1
    assert max(size[1] for size in sizes) < 5 * 5 * (nodes + 1) + 100
    assert sizes[-1][0] <= 16 * learner.model.statistics_layout().ciphertexts + 8
