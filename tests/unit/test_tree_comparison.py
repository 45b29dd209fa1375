"""The comparison of trees with river: both see the same stream, and its report has a place."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from river.tree import HoeffdingTreeClassifier
from tenants import small_schema

from benchmarks import comparison_trees
from benchmarks.comparison_trees import CHUNK_RECORDS, MARKER, ORDERS, Result, our_tree, same_tree
from benchmarks.data_sets import DataSet
from benchmarks.line_chart import COLOURS, line_chart
from benchmarks.page import markers
from roles.encoding import EncodedRecords

ROOT = Path(__file__).parents[2]


def rule(records: int) -> DataSet:
    """Return random records whose class is whether they are of the first colour."""
    rng = np.random.default_rng(1)
    schema = small_schema()
    columns = [rng.integers(0, size, records) for size in schema.attribute_sizes]
    indices = np.stack(columns, axis=1).astype(np.int32)
    return DataSet("rule", schema, EncodedRecords(indices, (indices[:, 0] == 0).astype(np.int32)))


def test_both_find_the_rule_behind_the_stream() -> None:
    data = rule(3000)
    ours, theirs = (
        our_tree(data, "1e-7", "0.05", 16),
        same_tree(HoeffdingTreeClassifier, data, "1e-7", "0.05"),
    )
    for result in (ours, theirs):
        assert [len(hits) for hits in result.hits] == [3000] * ORDERS
        assert min(result.leaves) >= 2
        # Either class has a leaf of its own by then.
        assert all(hits[-CHUNK_RECORDS:].all() for hits in result.hits)
    assert abs(theirs.percent - ours.percent) < 1


def test_a_tree_of_one_leaf_stays_one() -> None:
    result = our_tree(rule(600), "1e-7", "0.05", 1)
    assert result.leaves == (1,) * ORDERS


def test_a_curve_is_the_mean_over_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison_trees, "POINTS", 2)
    result = Result((np.array([True, True, False, False]), np.array([True, False, False, False])), (1, 2))
    assert result.curve() == [(2.0, 75.0), (4.0, 0.0)]
    assert result.percent == 37.5


def test_a_chart_shows_every_curve_within_its_axes() -> None:
    curves = {"a & b": [(10.0, 50.0), (20.0, 61.0)], "c": [(10.0, 99.0)]}
    root = ElementTree.fromstring(line_chart("T <1>", "records", "%", curves))
    texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"T <1>", "a & b", "c", "50", "100", "20"} <= set(texts)
    lines = [path.get("d", "") for path in root.iter("{http://www.w3.org/2000/svg}path") if path.get("fill")]
    assert len(lines) == 2
    for x, y in (point.split() for line in lines for point in line[1:].split("L")):
        assert 56 <= float(x) <= 708
        assert 36 <= float(y) <= 316
    with pytest.raises(ValueError, match="points"):
        line_chart("", "", "", {})
    with pytest.raises(ValueError, match="colours"):
        line_chart("", "", "", {str(k): [(1.0, 1.0)] for k in range(len(COLOURS) + 1)})


def test_the_documentation_has_the_table_and_the_curves() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    begin, end = markers(MARKER)
    table = text[text.index(begin) : text.index(end)]
    assert "river's defaults" in table
    for name in comparison_trees.DATA_SETS:
        assert f"(tree_{name}.svg)" in table
        assert (ROOT / "docs" / f"tree_{name}.svg").stat().st_size < 20_000
