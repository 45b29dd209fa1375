"""The encrypted tree against its twin over whole streams: shape, tests, counts, answers."""

from typing import Any

from tenants import small_tenant
from trees import LinkedTree, random_chunk

from roles.classifiers.hoeffding_tree_growth import TreeSettings
from roles.classifiers.hoeffding_tree_shape import TreeModel

SMALL = small_tenant()
QUICK = {"max_leaves": 6, "attempt_records": 20, "confidence_16": 16, "tie_records": 60}


def tree(**settings: Any) -> LinkedTree:
    return LinkedTree.of(SMALL, TreeModel(SMALL.tenant, "m", TreeSettings(**settings)))


def test_a_stream() -> None:
    linked = tree(**QUICK)
    chunks = [random_chunk(linked.model, size, k) for k, size in enumerate((20, 7, 30, 25) * 6)]
    assert linked.stream(chunks) == 5
    assert len(linked.state.growth.leaves) == 6
    assert not linked.state.growth.is_growing
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
