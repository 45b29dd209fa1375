"""Owners' files cut into the chunks of a recorded stream."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.csv_rows import InputFileError
from pipeline.record_cutting import OtherRecordsError, RecordCutter, check_files
from schemas.data_schema import (
    SCHEMA_VERSION,
    CategoricalAttribute,
    ClassLabel,
    DataSchema,
    Missing,
    NumericAttribute,
)

COLOURS = ("red", "green", "blue")
SCHEMA = DataSchema(
    SCHEMA_VERSION,
    (
        CategoricalAttribute("colour", COLOURS, Missing.REFUSE),
        NumericAttribute("weight", ("5", "10"), "0", "20", Missing.REFUSE),
    ),
    ClassLabel("kind", ("x", "y")),
)


def write(path: Path, rows: range) -> Path:
    lines = [f"{COLOURS[i % 3]},{i},{'xy'[i % 2]}" for i in rows]
    path.write_text("\n".join(["colour,weight,kind", *lines]) + "\n")
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / "one.csv", range(7)), write(tmp_path / "two.csv", range(7, 12))]


def test_chunks_run_on_from_file_to_file(files: list[Path]) -> None:
    cutter = RecordCutter(files, SCHEMA, words=True)
    cut = [cutter.take(size) for size in (3, 6, 1, 2)]
    assert [len(records) for records in cut] == [3, 6, 1, 2]
    assert np.concatenate([r.indices for r in cut])[:, 0].tolist() == [i % 3 for i in range(12)]
    assert np.concatenate([r.labels for r in cut if r.labels is not None]).tolist() == [0, 1] * 6
    words = np.concatenate([r.words for r in cut if r.words is not None])
    assert words.shape == (12, 1)
    assert (np.diff(words[:, 0]) > 0).all()


def test_words_are_read_only_where_they_are_wanted(files: list[Path]) -> None:
    assert RecordCutter(files, SCHEMA, words=False).take(2).words is None


def test_a_file_that_shrank_is_noticed(files: list[Path]) -> None:
    cutter = RecordCutter(files, SCHEMA, words=False)
    cutter.take(11)
    with pytest.raises(OtherRecordsError):
        cutter.take(2)


def test_files_must_be_those_of_the_stream(files: list[Path]) -> None:
    check_files({"a": files, "b": files[:1]}, {"a": 12, "b": 7}, SCHEMA)
    for given, published, named in (
        ({"a": files}, {"a": 12, "b": 7}, "--data a=FILE --data b=FILE"),
        ({"a": files, "c": files}, {"a": 12}, "--data a=FILE"),
        ({"a": files}, {"a": 11}, "in the order"),
        ({"a": files[:1]}, {"a": 12}, "in the order"),
    ):
        with pytest.raises(OtherRecordsError) as refused:
            check_files(given, published, SCHEMA)
        assert named in str(refused.value.hint)


def test_a_damaged_file_is_refused_with_its_line(files: list[Path]) -> None:
    files[1].write_text("colour,weight,kind\npink,1,x\n")
    with pytest.raises(InputFileError) as refused:
        check_files({"a": files}, {"a": 8}, SCHEMA)
    assert refused.value.line == 2
