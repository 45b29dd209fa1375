"""Windows of chunks: every count of the encrypted tree is the twin's."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tenants import small_tenant
from trees import LinkedTree, random_chunk

from roles.classifiers import hoeffding_tree_window
from roles.classifiers.hoeffding_tree_growth import MAX_STATISTICS, Growth, TreeSettings
from roles.classifiers.hoeffding_tree_shape import MAX_WINDOWS, TreeModel
from roles.classifiers.hoeffding_tree_twin import HoeffdingTreeTwin
from roles.classifiers.hoeffding_tree_window import WindowShape

SMALL = small_tenant()
QUICK: dict[str, Any] = {"max_leaves": 4, "attempt_records": 20, "confidence_16": 16, "tie_records": 30}


def tree(**settings: Any) -> LinkedTree:
    return LinkedTree.of(SMALL, TreeModel(SMALL.tenant, "m", TreeSettings(**settings)))


def aged(linked: LinkedTree, records: int) -> None:
    """Let a tree look as if so many records had been published."""
    growth = replace(linked.state.growth, records=records)
    linked.state = replace(linked.state, growth=growth)
    linked.twin.growth = growth


def test_counts_of_a_root() -> None:
    linked = tree()
    assert linked.learn([random_chunk(linked.model, 13, 1), random_chunk(linked.model, 1, 2)]) == (13, 1)
    linked.assert_agreement()
    assert linked.learn([random_chunk(linked.model, 8, 3)]) == (8,)
    linked.assert_agreement()


def test_records_that_are_not_one_hot_count_as_nothing() -> None:
    linked = tree()
    bits, labels = random_chunk(linked.model, 9, 4)
    bits[0] = 0
    bits[1] = 1
    bits[2, :3] = (1, 1, 0)
    labels[3] = 0
    labels[4] = 1
    assert linked.learn([(bits, labels), (np.zeros_like(bits), np.zeros_like(labels))]) == (4, 0)
    linked.assert_agreement()


def test_a_class_never_seen_has_no_counts() -> None:
    linked = tree(**QUICK)
    chunks = [random_chunk(linked.model, 30, seed) for seed in range(3)]
    for _, labels in chunks:
        labels[:, 0] |= labels[:, 1]
        labels[:, 1] = 0
    assert linked.stream(chunks) >= 1
    assert all(totals[1] == 0 for totals in linked.twin.totals.values())


def test_counting_in_blocks_gives_the_same_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    linked = tree(**QUICK | {"max_leaves": 8})
    linked.stream([random_chunk(linked.model, 40, seed) for seed in range(2)])
    assert linked.state.growth.inner
    monkeypatch.setattr(hoeffding_tree_window, "MESSAGE_BYTES", 8000)
    chunks = [random_chunk(linked.model, size, f"blocks {size}") for size in (25, 9)]
    shape = WindowShape(linked.model, linked.state.growth, (25, 9))
    for blocks in (shape.count_blocks, shape.route_blocks):
        assert len(blocks(0)) > 1
        assert sum(block.records for block in blocks(0)) == 25
    linked.learn(chunks)
    linked.assert_agreement()


def test_no_field_of_a_large_window_passes_the_message_size() -> None:
    growth = Growth(TreeSettings(max_leaves=200))
    while len(growth.leaves) < 64:
        growth = growth.after_attempt([True] * len(growth.due))
    shape = WindowShape(tree(max_leaves=200).model, growth, (1000,))
    for step in shape.plan.steps:
        for fields in (step.request, step.reply):
            assert sum(field.size for field in fields) < 4 * 1024 * 1024


def test_statistics_that_grow_too_old_start_again() -> None:
    linked = tree(max_leaves=2, attempt_records=20)
    linked.learn([random_chunk(linked.model, 12, 1)])
    aged(linked, MAX_STATISTICS - 3)
    linked.learn([random_chunk(linked.model, 5, 2)])
    assert linked.state.growth.nodes[0].since == MAX_STATISTICS - 3
    assert linked.twin.counts[0][-1].sum() == 5
    assert linked.twin.totals[0].sum() == 17
    linked.assert_agreement()
    # The attempt uses what is counted since, and all that was ever seen.
    assert linked.attempt() == [False] or linked.state.growth.inner
    linked.assert_agreement()


def test_both_sides_agree_on_how_many_windows_statistics_hold() -> None:
    assert HoeffdingTreeTwin.empty(((2, False),), 2, TreeSettings()).max_windows == MAX_WINDOWS


def test_a_unit_that_starts_over_sends_the_same_bytes() -> None:
    first, again, other = tree(), tree(), tree()
    chunk = random_chunk(first.model, 6, 1)
    first.learn([chunk])
    again.learn([chunk])
    assert first.messages.requests == again.messages.requests
    assert first.messages.replies == again.messages.replies
    other.learn([random_chunk(other.model, 6, 2)])
    # Another input has other masks, nonces and salts from the first message on.
    for message, changed in zip(
        (*first.messages.requests, *first.messages.replies),
        (*other.messages.requests, *other.messages.replies),
        strict=True,
    ):
        assert all(a != b for a, b in zip(message, changed, strict=True))
