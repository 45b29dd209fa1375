"""The comparison of logistic regression: fair folds, three methods on one task, a place in the page."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import comparison_logistic
from benchmarks.comparison_logistic import MARKER, METHODS, ONE_CHUNK, chunks_of, compare, folds_of
from benchmarks.data_sets import DataSet
from benchmarks.number_sets import SHAPES, made_up, number_set
from benchmarks.page import markers, write_between
from benchmarks.report import FIGURES

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def test_folds_cover_all_records_and_keep_the_shares_of_the_classes() -> None:
    labels = np.array([0] * 80 + [1] * 20)
    folds = list(folds_of(labels))
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(100))
    for train, test in folds:
        assert sorted([*train.tolist(), *test.tolist()]) == list(range(100))
        assert labels[test].sum() == 4
        # Files may be sorted by class: what is learnt is not.
        assert 0 < labels[train[:40]].sum() < 20


def test_large_sets_come_in_chunks_and_small_ones_whole() -> None:
    assert list(chunks_of(700)) == [slice(0, 700)]
    assert len(list(chunks_of(6001))) == 13


def test_all_three_find_the_rule_behind_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def data(name: str) -> DataSet:
        del name
        return made_up(300, 4)

    monkeypatch.setattr(comparison_logistic, "data_set", data)
    lines = list(compare("rule"))
    assert len(lines) == len(ONE_CHUNK)
    for line, option in zip(lines, ONE_CHUNK, strict=True):
        name, shape, model, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        assert (name, shape, model) == ("rule", "300 × 4", f"`{option}`")
        assert len(cells) == len(METHODS)
        for cell in cells:
            accuracy, area = map(float, cell.split(","))
            assert accuracy > 90
            assert area > 0.95


def test_the_page_keeps_the_table_when_figures_are_written(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    begin, end = markers(MARKER)
    assert 0 < text.find(begin) < text.find(end)
    copy = tmp_path / "page.md"
    copy.write_text(text, encoding="utf-8")
    write_between(copy, FIGURES, "figures")
    table = text[text.find(begin) : text.find(end)]
    assert table in copy.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SHAPES)
def test_records_of_a_shape_are_there_with_and_without_files(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows, columns = SHAPES[name]
    monkeypatch.setenv("PRIVML_DATA", str(tmp_path))
    stand_in = number_set.__wrapped__(name)
    cells = ",".join("x" + str(i) for i in range(columns))
    lines = [",".join(str((row + i) % 7) for i in range(columns)) + f",{row % 2}" for row in range(rows + 3)]
    (tmp_path / f"{name}.csv").write_text("\n".join([f"{cells},y", *lines]) + "\n", encoding="utf-8")
    from_file = number_set.__wrapped__(name)
    assert (stand_in.name, from_file.name) == ("made up", name)
    for data in (stand_in, from_file):
        assert data.records.words is not None
        assert data.records.words.shape == (rows, columns)
        assert np.abs(data.records.words).max() > 900
        assert set(np.asarray(data.records.labels).tolist()) == {0, 1}
