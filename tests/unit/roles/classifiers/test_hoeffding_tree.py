"""The encrypted tree against its twin over whole streams: shape, tests, counts, answers."""

from typing import Any

import numpy as np
import pytest
from tenants import SmallTenant, small_tenant
from trees import LinkedTree, random_chunk

from crypto.counting import counting
from crypto.errors import LayoutError, LocalProtocolError
from roles.building_blocks.vectors import ZERO
from roles.classifiers.hoeffding_tree_attempt import AttemptShape
from roles.classifiers.hoeffding_tree_growth import TreeSettings
from roles.classifiers.hoeffding_tree_shape import TreeModel, TreeState
from roles.classifiers.hoeffding_tree_window import WindowShape
from schemas.data_schema import (
    SCHEMA_VERSION,
    CategoricalAttribute,
    ClassLabel,
    DataSchema,
    Missing,
    NumericAttribute,
)

SMALL = small_tenant()
QUICK: dict[str, Any] = {"max_leaves": 6, "attempt_records": 20, "confidence_16": 16, "tie_records": 60}


def tree(small: SmallTenant = SMALL, **settings: Any) -> LinkedTree:
    return LinkedTree.of(small, TreeModel(small.tenant, "m", TreeSettings(**settings)))


def test_a_stream() -> None:
    linked = tree(**QUICK)
    chunks = [random_chunk(linked.model, size, k) for k, size in enumerate((20, 7, 30, 25) * 6)]
    assert linked.stream(chunks) == 5
    assert len(linked.state.growth.leaves) == 6
    assert not linked.state.growth.is_growing
    # A tree at capacity keeps class counts alone.
    linked.learn([random_chunk(linked.model, 9, "full")])
    linked.assert_agreement()
    linked.refresh_labels()
    rows, _ = random_chunk(linked.model, 12, "asked")
    rows[1] = 0
    rows[2, :2] = 1
    answers = linked.ask(rows)
    assert answers == linked.twin.predict(rows).tolist()
    assert answers[2] == answers[1] == 3
    assert len(set(answers)) > 2
    assert linked.ask(rows[:1]) == answers[:1]


def test_a_stream_by_entropy() -> None:
    linked = tree(**QUICK, criterion="entropy")
    chunks = [random_chunk(linked.model, size, k) for k, size in enumerate((20, 7, 30, 25) * 3)]
    assert linked.stream(chunks) >= 3


def test_queries_of_a_tree_without_splits() -> None:
    linked = tree()
    linked.learn([random_chunk(linked.model, 21, 1)])
    linked.refresh_labels()
    rows, _ = random_chunk(linked.model, 4, 2)
    rows[3] = 0
    assert linked.ask(rows) == linked.twin.predict(rows).tolist()
    assert linked.ask(rows)[3] == 3


def test_ties_everywhere_take_the_lowest_test() -> None:
    linked = tree(max_leaves=4, attempt_records=10, confidence_16=4000, tie_records=30)
    bits, labels = random_chunk(linked.model, 40, 1)
    # All attributes say the same as the class.
    index = np.arange(40) % 2
    bits[:] = np.concatenate(
        [np.eye(size, dtype=np.uint8)[index] for size, _ in linked.model.attributes], axis=1
    )
    labels[:] = np.eye(3, dtype=np.uint8)[index]
    assert linked.stream([(bits[:20], labels[:20])]) == 0
    assert linked.stream([(bits, labels)]) == 1
    assert linked.twin.tests == {0: 0}


def test_one_class_only_never_splits() -> None:
    linked = tree(max_leaves=4, attempt_records=10, confidence_16=1, tie_records=0)
    bits, labels = random_chunk(linked.model, 30, 1)
    labels[:] = (0, 0, 1)
    assert linked.stream([(bits, labels), (bits, labels)]) == 0
    linked.refresh_labels()
    assert linked.ask(bits[:2]) == [2, 2]


def test_a_stream_whose_best_test_changes() -> None:
    linked = tree(max_leaves=5, attempt_records=30, confidence_16=16, tie_records=10_000)
    classes = np.eye(3, dtype=np.uint8)
    for best, chunks in ((0, 2), (4, 6)):
        stream = []
        for seed in range(chunks):
            bits, labels = random_chunk(linked.model, 60, f"{best} {seed}")
            labels[:] = classes[bits[:, best]]
            stream.append((bits, labels))
        assert linked.stream(stream) >= 1
        # The label is learnt from then on, whatever the tree above it asks.
        assert best in linked.twin.tests.values()
    linked.refresh_labels()
    rows, _ = random_chunk(linked.model, 20, "later")
    answers = linked.ask(rows)
    assert answers == linked.twin.predict(rows).tolist()
    assert np.mean(np.array(answers) == rows[:, 4]) > 0.9


def test_a_full_tree_takes_and_answers_what_is_not_one_hot() -> None:
    linked = tree(**QUICK | {"max_leaves": 2})
    linked.stream([random_chunk(linked.model, 40, seed) for seed in range(3)])
    assert not linked.state.growth.is_growing
    before = len(linked.state.public_ciphertexts)
    bits, labels = random_chunk(linked.model, 9, "spoilt")
    bits[0], bits[1], labels[2], labels[3] = 0, 1, 0, 1
    empty = np.zeros_like(bits), np.zeros_like(labels)
    assert linked.learn([(bits, labels), empty]) == (5, 0)
    linked.assert_agreement()
    assert len(linked.state.public_ciphertexts) == before
    linked.refresh_labels()
    answers = linked.ask(bits)
    assert answers == linked.twin.predict(bits).tolist()
    assert answers[:2] == [3, 3]
    assert 3 not in answers[2:]


@pytest.mark.parametrize(
    "attribute",
    [
        NumericAttribute("only", ("1",), "0", "2", Missing.REFUSE),
        NumericAttribute("only", ("1",), "0", "2", Missing.OWN_VALUE),
        CategoricalAttribute("only", ("a", "b"), Missing.REFUSE),
    ],
    ids=["a threshold", "a threshold or nothing", "two values"],
)
def test_one_attribute_only(attribute: NumericAttribute | CategoricalAttribute) -> None:
    schema = DataSchema(SCHEMA_VERSION, (attribute,), ClassLabel("kind", ("x", "y")))
    linked = tree(small_tenant(schema), max_leaves=3, attempt_records=10, confidence_16=4, tie_records=40)
    chunks = []
    for seed in range(6):
        bits, labels = random_chunk(linked.model, 16, seed)
        labels[:] = np.eye(2, dtype=np.uint8)[bits[:, 0]]
        chunks.append((bits, labels))
    assert linked.stream(chunks) >= 1
    linked.refresh_labels()
    rows = np.eye(attribute.size, dtype=np.uint8)
    assert linked.ask(rows) == linked.twin.predict(rows).tolist() == [1, *[0] * (attribute.size - 1)]


def test_invalid_records_do_not_reach_a_leaf_of_a_grown_tree() -> None:
    linked = tree(**QUICK)
    linked.stream([random_chunk(linked.model, 60, seed) for seed in range(3)])
    assert linked.state.growth.inner
    bits, labels = random_chunk(linked.model, 10, 9)
    bits[::2, :3] = (1, 0, 1)
    labels[1] = 0
    assert linked.learn([(bits, labels), random_chunk(linked.model, 3, 10)]) == (4, 3)
    linked.assert_agreement()


def test_messages_have_the_same_sizes_for_other_data() -> None:
    sizes = []
    for seed in (1, 2):
        linked = tree(**QUICK)
        bits, labels = random_chunk(linked.model, 20, seed)
        if seed == 2:
            bits[3:] = 0
            labels[:] = (1, 0, 0)
        seen = []
        linked.learn([(bits, labels)])
        seen.append(linked.messages.sizes())
        linked.refresh_labels()
        seen.append(linked.messages.sizes())
        linked.ask(bits[:4])
        seen.append(linked.messages.sizes())
        linked.attempt()
        seen.append(linked.messages.sizes())
        sizes.append(seen)
    assert sizes[0] == sizes[1]
    assert [len(session) // 2 for session in sizes[0]] == [4, 1, 2, 3]


def window_costs(leaves: int) -> list[int]:
    """Count a window of a tree that was given its shape; its tests are all zero."""
    linked = tree(max_leaves=64, attempt_records=1000, leaves_per_attempt=64)
    growth = linked.state.growth
    while len(growth.leaves) < leaves:
        growth = growth.after_attempt([True] * len(growth.due))
    model = linked.model
    inner, nodes = len(growth.inner), len(growth.nodes)
    linked.state = TreeState(
        growth,
        (ZERO,) * model.tests_layout(inner).ciphertexts,
        (ZERO,) * model.totals_layout(nodes).ciphertexts,
        {leaf: (ZERO,) * model.statistics_layout().ciphertexts for leaf in growth.leaves},
    )
    linked.twin.growth = growth
    linked.twin.tests = dict.fromkeys(growth.inner, 0)
    for leaf in growth.leaves:
        linked.twin.counts[leaf] = np.zeros((model.tests + 1, model.classes), dtype=np.int64)
    for node in range(nodes):
        linked.twin.totals[node] = np.zeros(model.classes, dtype=np.int64)
    with counting() as tally:
        linked.learn([random_chunk(model, 16, leaves)])
    exchanged = sum(sum(sizes) for sizes in linked.messages.sizes())
    return [tally.cots, tally.cot_payload_bytes, tally.ands, tally.hashes, exchanged]


def test_costs_are_linear_in_the_leaves() -> None:
    costs = np.array([window_costs(leaves) for leaves in (4, 8, 16, 32)])
    steps = np.diff(costs, axis=0)
    # Every doubling of the leaves adds twice what the one before it added; whole ciphertexts and
    # groups of 128 rows are what is not quite linear.
    np.testing.assert_allclose(steps[1:] / steps[:-1], 2, rtol=0.04)


def test_shapes_are_checked() -> None:
    linked = tree(max_leaves=1)
    with pytest.raises(LocalProtocolError):
        AttemptShape(linked.model, linked.state.growth)
    for sizes in ((), (40_000, 40_000)):
        with pytest.raises(LayoutError):
            WindowShape(linked.model, linked.state.growth, sizes)
