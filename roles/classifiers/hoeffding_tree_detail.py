"""A tree's public growth on the wire, and the checks it passes before anyone follows it.

The growth stands in the subject of every session about a tree, so that a process of SU needs to have
seen none of the sessions before (docs/protocols.md §7).
"""

from roles.classifiers.hoeffding_tree_growth import MAX_RECORDS, Growth, Node, TreeSettings
from schemas.codec import WireStruct, decode, encode
from schemas.errors import MalformedMessageError


class TreeDetail(WireStruct):
    """What is public of a tree.

    Attributes:
        nodes: Of every node depth, since, windows, left and right.
        records: Records published so far.
        tried_at: `records` at the last attempt.
        last_tried: Highest node of the last attempt in turn; −1 before the first.
        sizes: Records of the chunks that a lesson is about; empty elsewhere.
    """

    nodes: tuple[tuple[int, int, int, int, int], ...]
    records: int
    tried_at: int
    last_tried: int
    sizes: tuple[int, ...] = ()


def encode_growth(growth: Growth, sizes: tuple[int, ...] = ()) -> bytes:
    """Return a growth in its one encoding."""
    nodes = tuple((node.depth, node.since, node.windows, node.left, node.right) for node in growth.nodes)
    return encode(TreeDetail(nodes, growth.records, growth.tried_at, growth.last_tried, sizes))


def decode_growth(settings: TreeSettings, data: bytes) -> tuple[Growth, tuple[int, ...]]:
    """Return a growth and the sizes beside it.

    Raises:
        MalformedMessageError: It is no growth that these settings permit.
    """
    detail = decode(TreeDetail, data)
    nodes = tuple(Node(*fields) for fields in detail.nodes)
    if not 1 <= len(nodes) <= 2 * settings.max_leaves - 1:
        raise MalformedMessageError("a tree has no such number of nodes")
    if not 0 <= detail.tried_at <= detail.records <= MAX_RECORDS:
        raise MalformedMessageError("a tree's records are out of range")
    if not -1 <= detail.last_tried < len(nodes) or not _is_tree(nodes, settings, detail.records):
        raise MalformedMessageError("the nodes are no tree of these settings")
    if any(not 0 < size <= MAX_RECORDS for size in detail.sizes):
        raise MalformedMessageError("a chunk has records")
    growth = Growth(settings, nodes, detail.records, detail.tried_at, detail.last_tried)
    return growth, detail.sizes


def _is_tree(nodes: tuple[Node, ...], settings: TreeSettings, records: int) -> bool:
    """Return whether every node but the root is the child of one earlier node, one level below it."""
    parents = [0] * len(nodes)
    for index, node in enumerate(nodes):
        if not 0 <= node.since <= records or node.windows < 0:
            return False
        if node.is_leaf:
            if (node.left, node.right) != (-1, -1):
                return False
            continue
        if not index < node.left or node.right != node.left + 1 or not node.right < len(nodes):
            return False
        for child in (node.left, node.right):
            parents[child] += 1
            if nodes[child].depth != node.depth + 1 or node.depth + 1 > settings.depth_bound:
                return False
    return nodes[0].depth == 0 and parents == [0] + [1] * (len(nodes) - 1)
