"""Padded trees: as good as any other, to the twin's last bit, and of a shape that tells nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tenants import small_tenant
from trees import Chunk, LinkedTree, random_chunk

from roles.classifiers.hoeffding_tree import growing
from roles.classifiers.hoeffding_tree_growth import MAX_STATISTICS, Growth, TreeSettings
from roles.classifiers.hoeffding_tree_padded_attempt import PaddedAttemptShape
from roles.classifiers.hoeffding_tree_shape import TreeModel
from roles.classifiers.hoeffding_tree_twin import HoeffdingTreeTwin

SMALL = small_tenant()
QUICK: dict[str, Any] = {"max_leaves": 8, "attempt_records": 20, "confidence_16": 16, "tie_records": 60}
SIZES = (20, 7, 30, 25)


def tree(**settings: Any) -> LinkedTree:
    return LinkedTree.of(SMALL, TreeModel(SMALL.tenant, "m", TreeSettings(**QUICK | settings)))


def of_one_class(chunk: Chunk) -> Chunk:
    return chunk[0], np.broadcast_to(np.array([0, 0, 1], dtype=np.uint8), chunk[1].shape).copy()


def chunks_of(linked: LinkedTree, times: int, seed: str = "") -> list[Chunk]:
    return [random_chunk(linked.model, size, f"{seed} {k}") for k, size in enumerate(SIZES * times)]


@pytest.mark.parametrize(
    "settings",
    [
        {"pad_depth": 1},
        {"pad_depth": 2, "leaves_per_attempt": 1},
        {"pad_depth": 3},
        {"pad_depth": 3, "criterion": "entropy"},
        {"pad_depth": 2, "chunks_per_seal": 1},
    ],
    ids=str,
)
def test_a_stream(settings: dict[str, Any]) -> None:
    linked = tree(**settings)
    depth = settings["pad_depth"]
    assert linked.stream(chunks_of(linked, 7)) >= min(3, (1 << depth) - 1)
    assert len(linked.state.growth.leaves) == 1 << depth
    # Nobody knows when a padded tree is full: leaves are tried for ever.
    assert linked.state.growth.is_growing
    linked.refresh_labels()
    rows, _ = random_chunk(linked.model, 12, "asked")
    rows[1] = 0
    rows[2, :2] = 1
    answers = linked.ask(rows)
    assert answers == linked.twin.predict(rows).tolist()
    assert answers[2] == answers[1] == 3
    assert len(set(answers)) > 2


def test_a_leaf_that_does_not_split_keeps_all_that_it_counted() -> None:
    linked = tree(pad_depth=3, tie_records=0)
    chunks = [of_one_class(chunk) for chunk in chunks_of(linked, 5)]
    assert linked.stream(chunks) == 0
    growth, records = linked.state.growth, sum(len(bits) for bits, _ in chunks)
    assert len(growth.leaves) == 8
    assert linked.twin.tests == {}
    end = growth.end(0)
    assert linked.twin.totals[end].tolist() == [0, 0, linked.twin.counts[end][-1].sum()]
    assert records - 20 < linked.twin.totals[end].sum() <= records
    assert all(not linked.twin.totals[leaf].any() for leaf in growth.leaves if leaf != end)
    # When something tells the classes apart at last, the test goes to the root.
    assert linked.stream(chunks_of(linked, 5, "later")) >= 1
    assert 0 in linked.twin.tests
    linked.refresh_labels()
    rows, _ = random_chunk(linked.model, 8, "asked")
    assert linked.ask(rows) == linked.twin.predict(rows).tolist()


def test_ties_everywhere_take_the_lowest_test() -> None:
    linked = tree(pad_depth=2, attempt_records=10, confidence_16=4000, tie_records=30)
    bits, labels = random_chunk(linked.model, 20, 1)
    index = np.arange(20) % 2
    bits[:] = np.concatenate(
        [np.eye(size, dtype=np.uint8)[index] for size, _ in linked.model.attributes], axis=1
    )
    labels[:] = np.eye(3, dtype=np.uint8)[index]
    assert linked.stream([(bits, labels)]) == 0
    assert linked.stream([(bits, labels)]) == 1
    # Public nodes had been made before; the split takes the first of them.
    assert linked.twin.tests == {0: 0}
    assert linked.stream([(bits, labels)] * 6) == 0


def test_invalid_records_and_statistics_that_start_again() -> None:
    linked = tree(pad_depth=2)
    linked.stream(chunks_of(linked, 3))
    growth = replace(linked.state.growth, records=MAX_STATISTICS - 3)
    linked.state = replace(linked.state, growth=growth)
    linked.twin.growth = growth
    bits, labels = random_chunk(linked.model, 10, 9)
    bits[::2, :3] = (1, 0, 1)
    labels[1] = 0
    assert linked.learn([(bits, labels)]) == (4,)
    assert MAX_STATISTICS - 3 in {node.since for node in linked.state.growth.nodes}
    linked.assert_agreement()
    linked.attempt()
    linked.assert_agreement()


def test_shape_and_sizes_follow_from_numbers_of_records() -> None:
    seen = []
    for spoilt in (False, True):
        linked = tree(pad_depth=2)
        chunks = chunks_of(linked, 4)
        if spoilt:
            chunks = [of_one_class(chunk) for chunk in chunks]
            for bits, _ in chunks[::3]:
                bits[::2] = 0
        sizes, growths, splits = [], [], 0
        for chunk in chunks:
            linked.learn([chunk])
            sizes.append(linked.messages.sizes())
            if linked.state.growth.attempt_is_due:
                splits += sum(linked.attempt())
                sizes.append(linked.messages.sizes())
            linked.assert_agreement()
            growths.append(linked.state.growth)
        linked.refresh_labels()
        sizes.append(linked.messages.sizes())
        linked.ask(chunks[1][0])
        sizes.append(linked.messages.sizes())
        seen.append((sizes, growths, splits))
    assert seen[0][:2] == seen[1][:2]
    assert seen[0][2] > seen[1][2] == 0


# --- in the clear


ATTRIBUTES = ((2, False), (3, False), (4, True), (3, False))


def drawn_chunk(rng: np.random.Generator, size: int, *, is_late: bool) -> Chunk:
    indices = np.stack([rng.integers(0, width, size) for width, _ in ATTRIBUTES], axis=1)
    first, second, third, fourth = indices.T
    rule = (third <= 1) ^ (second == 2) if is_late else (first == 1) & (fourth != 0)
    labels = np.where(rng.random(size) < 0.1, rng.integers(0, 2, size), rule.astype(np.int64))
    onehot = [np.eye(width, dtype=np.uint8)[indices[:, a]] for a, (width, _) in enumerate(ATTRIBUTES)]
    return np.concatenate(onehot, axis=1), np.eye(2, dtype=np.uint8)[labels]


@pytest.mark.parametrize("criterion", ["gini", "entropy"])
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_padding_changes_no_answer_of_a_tree_whose_leaves_are_all_tried(depth: int, criterion: str) -> None:
    # All leaves are tried after every chunk, so that the schedules agree.
    common: dict[str, Any] = {
        "max_leaves": 256,
        "attempt_records": 1,
        "leaves_per_attempt": 64,
        "confidence_16": 74,
        "tie_records": 900,
        "criterion": criterion,
    }
    open_twin = HoeffdingTreeTwin.empty(ATTRIBUTES, 2, TreeSettings(**common, max_depth=depth))
    padded = HoeffdingTreeTwin.empty(ATTRIBUTES, 2, TreeSettings(**common, pad_depth=depth))
    rng = np.random.default_rng(depth)
    for number in range(40):
        chunk = drawn_chunk(rng, 120, is_late=number >= 15)
        for twin in (open_twin, padded):
            twin.learn_window([chunk])
            if twin.growth.due:
                assert twin.growth.attempt_is_due
                twin.attempt()
            twin.refresh_labels()
        rows, _ = drawn_chunk(rng, 200, is_late=False)
        assert open_twin.predict(rows).tolist() == padded.predict(rows).tolist()
        counted = [
            sorted(tuple(twin.totals[leaf]) for leaf in twin.growth.leaves if twin.totals[leaf].any())
            for twin in (open_twin, padded)
        ]
        assert counted[0] == counted[1]
    assert len(open_twin.tests) == len(padded.tests) >= min(depth, 3)


def test_a_padded_tree_learns_a_rule_that_needs_its_whole_depth() -> None:
    settings = TreeSettings(
        max_leaves=16, pad_depth=3, attempt_records=100, confidence_16=74, tie_records=600
    )
    twin = HoeffdingTreeTwin.empty(ATTRIBUTES, 2, settings)
    rng = np.random.default_rng(7)
    for _ in range(150):
        twin.learn_window([drawn_chunk(rng, 100, is_late=True)])
        if twin.growth.attempt_is_due:
            twin.attempt()
    twin.refresh_labels()
    rows, labels = drawn_chunk(rng, 1000, is_late=True)
    # A tenth of the labels are noise, half of which says the same.
    assert (twin.predict(rows) == labels.argmax(axis=1)).mean() > 0.92


# --- the public side


def padded_growth(depth: int, **settings: Any) -> Growth:
    *_, full = growing(TreeSettings(max_leaves=1 << depth, pad_depth=depth, **settings))
    return full


@pytest.mark.parametrize("together", [1, 3, 8])
def test_every_inner_node_is_above_one_leaf_that_is_tried_in_turn(together: int) -> None:
    full = padded_growth(4, leaves_per_attempt=together)
    assert sorted(full.nodes[leaf].depth for leaf in full.leaves) == [4] * 16
    spines = [node for leaf in full.leaves for node in full.spine(leaf)]
    assert sorted(spines) == sorted(full.inner)
    assert {leaf for leaf in full.leaves if full.spine(leaf)} == set(full.candidates)
    tried: set[int] = set()
    for _ in range(8):
        tried |= set(full.due)
        full = full.after_window(1).after_padded_attempt()
        assert full.nodes[full.last_tried].windows == 1
    assert tried == set(full.candidates)


def test_a_right_child_goes_on_with_the_statistics() -> None:
    growth = Growth(TreeSettings(max_leaves=4, pad_depth=2)).after_window(30).after_window(12)
    left, right = growth.after_padded_attempt().nodes[1:]
    assert (left.since, left.windows) == (42, 0)
    assert (right.since, right.windows) == (0, 1)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("together", [1, 3, 8])
def test_no_attempt_has_more_to_place_than_the_largest_of_a_full_tree(depth: int, together: int) -> None:
    model = TreeModel(SMALL.tenant, "m", padded_growth(depth, leaves_per_attempt=together).settings)

    def places(growth: Growth) -> tuple[int, int]:
        shape = PaddedAttemptShape(model, growth)
        return len(shape.due), len(shape.spine_nodes)

    growths = list(growing(model.settings))
    later = [growths[-1]]
    for _ in range(8):
        later.append(later[-1].after_padded_attempt())
    largest = max(places(growth) for growth in later)
    assert all(places(growth) <= largest for growth in growths)


@pytest.mark.parametrize(
    "wrong",
    [
        {"pad_depth": 7},
        {"pad_depth": 2, "max_leaves": 3},
        {"pad_depth": 3, "max_depth": 2},
        {"pad_depth": -1},
    ],
)
def test_a_padded_tree_has_room_for_its_leaves(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="pad_depth"):
        TreeSettings(**wrong)


def test_a_tree_without_padding_has_the_plans_that_it_had() -> None:
    assert TreeSettings().fields == (64, 20, 200, 258, 3225, "gini", 8, 8)
    assert TreeSettings(pad_depth=1).fields == (64, 20, 200, 258, 3225, "gini", 8, 8, 1)
