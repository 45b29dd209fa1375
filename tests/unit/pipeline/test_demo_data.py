import hashlib
from pathlib import Path

import pytest

from pipeline.csv_rows import InputFileError
from pipeline.demo_data import csv_text, load_breast_cancer, load_csv_table, shuffled_order, split_rows

ROWS = tuple((str(number), "x") for number in range(100))


def test_a_file_is_read_as_text(tmp_path: Path) -> None:
    path = tmp_path / "small.csv"
    path.write_bytes(b'a,b\r\n1.50,"x,y"\r\n?,z\r\n')
    table = load_csv_table(path)
    assert (table.name, table.columns) == ("small", ("a", "b"))
    assert table.rows == (("1.50", "x,y"), ("?", "z"))
    assert table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(csv_text(table.columns, table.rows))
    assert load_csv_table(path).rows == table.rows


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"a,b\n1\n"])
def test_unusable_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(InputFileError):
        load_csv_table(path)


def test_the_bundled_set_is_always_the_same() -> None:
    table = load_breast_cancer()
    assert (len(table.rows), len(table.columns), table.columns[-1]) == (569, 31, "diagnosis")
    assert table.rows[0][:2] == ("17.99", "10.38")
    assert {row[-1] for row in table.rows} == {"malignant", "benign"}
    assert table == load_breast_cancer()


def test_the_order_depends_on_the_seed_alone() -> None:
    assert shuffled_order(8, 1) == [3, 1, 7, 5, 2, 0, 4, 6]
    assert shuffled_order(8, 2) != [3, 1, 7, 5, 2, 0, 4, 6]
    assert sorted(shuffled_order(1000, 3)) == list(range(1000))


def test_a_split_deals_every_row_once() -> None:
    split = split_rows(ROWS, owners=3, seed=5, test_fraction=0.25)
    assert [len(rows) for rows in split.owners] == [25, 25, 25]
    assert len(split.test) == 25
    assert sorted(split.train + split.test) == sorted(ROWS)
    assert split == split_rows(ROWS, owners=3, seed=5, test_fraction=0.25)
    assert split != split_rows(ROWS, owners=3, seed=6, test_fraction=0.25)


def test_the_test_part_does_not_depend_on_the_owners() -> None:
    assert split_rows(ROWS, 2, 5).test == split_rows(ROWS, 7, 5).test
    assert {len(rows) for rows in split_rows(ROWS, 7, 5).owners} == {11, 12}


@pytest.mark.parametrize(("owners", "fraction"), [(0, 0.5), (1, 0.0), (1, 1.0), (99, 0.2)])
def test_impossible_splits_are_refused(owners: int, fraction: float) -> None:
    with pytest.raises(ValueError, match=r"split|few"):
        split_rows(ROWS, owners, 1, fraction)


def test_repr_shows_no_rows() -> None:
    assert "rows" not in repr(load_breast_cancer())
    assert repr(split_rows(ROWS, 2, 1)) == "DemoSplit()"
