"""Windows of chunks: every count of the encrypted tree is the twin's."""

from typing import Any

import numpy as np
from tenants import small_tenant
from trees import LinkedTree, random_chunk

from roles.classifiers.hoeffding_tree_growth import TreeSettings
from roles.classifiers.hoeffding_tree_shape import TreeModel

SMALL = small_tenant()


def tree(**settings: Any) -> LinkedTree:
    return LinkedTree.of(SMALL, TreeModel(SMALL.tenant, "m", TreeSettings(**settings)))


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
