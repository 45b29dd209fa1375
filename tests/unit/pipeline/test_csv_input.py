from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from schema_strategies import cell_for, schemas_with_records

from pipeline.csv_input import InputFileError, check_training_file, read_query_file, read_training_file
from pipeline.csv_rows import MAX_LINE_BYTES
from pipeline.demo_data import csv_text
from roles.encoding import EncodedRecords
from schemas.data_schema import CategoricalAttribute, ClassLabel, DataSchema, Missing, NumericAttribute

SCHEMA = DataSchema(
    1,
    (
        CategoricalAttribute("colour", ("red", "green")),
        NumericAttribute("age", ("17.5", "30"), "-2", "99", Missing.OWN_VALUE),
    ),
    ClassLabel("class", ("no", "yes")),
)
HEADER = b"colour,age,class\n"

Write = Callable[[bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: bytes) -> Path:
        path = tmp_path / "data.csv"
        path.write_bytes(content)
        return path

    return write_file


def failure(path: Path) -> InputFileError:
    with pytest.raises(InputFileError) as caught:
        read_training_file(path, SCHEMA)
    return caught.value


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schemas_with_records())
def test_a_written_file_is_read_back(tmp_path: Path, case: tuple[DataSchema, EncodedRecords]) -> None:
    schema, records = case
    assert records.labels is not None
    rows = [
        (
            *(cell_for(a, x) for a, x in zip(schema.attributes, row, strict=True)),
            schema.label.labels[label],
        )
        for row, label in zip(records.indices.tolist(), records.labels.tolist(), strict=True)
    ]
    path = tmp_path / "data.csv"
    path.write_text(csv_text(schema.column_names, rows), encoding="utf-8")
    batches = list(read_training_file(path, schema, batch_records=7))
    assert [len(batch) for batch in batches[:-1]] == [7] * (len(batches) - 1)
    assert (np.concatenate([batch.indices for batch in batches]) == records.indices).all()
    assert [label for batch in batches if batch.labels is not None for label in batch.labels] == list(
        records.labels
    )


def test_columns_may_come_in_any_order_with_mark_blanks_and_crlf(write: Write) -> None:
    path = write(b"\xef\xbb\xbfage , class,colour\r\n\r\n12, yes ,red\r\n?,no,green\r\n")
    (records,) = read_training_file(path, SCHEMA)
    assert records.indices.tolist() == [[0, 0], [1, 3]]
    assert records.labels is not None
    assert records.labels.tolist() == [1, 0]
    assert check_training_file(path, SCHEMA) == 2


# One entry per kind of bad file: content, code, line, column, and a word of the message or hint.
BAD_FILES = {
    "no bytes": (b"", "empty_file", 1, None, "name the columns"),
    "only blank lines": (b"\n\r\n", "empty_file", 1, None, "empty"),
    "only a mark": (b"\xef\xbb\xbf", "empty_file", 1, None, "empty"),
    "no rows": (HEADER, "empty_file", 1, None, "no rows"),
    "missing column": (b"colour,ages,class\nred,1,no\n", "wrong_columns", 1, "age", "rename column 'ages'"),
    "missing label": (b"colour,age\nred,1\n", "wrong_columns", 1, "class", "lacks 'class'"),
    "extra column": (b"id,colour,age,class\n7,red,1,no\n", "wrong_columns", 1, "id", "remove"),
    "twice the same column": (
        b"colour,age,age,class\nred,1,1,no\n",
        "wrong_columns",
        1,
        "age",
        "more than once",
    ),
    "semicolons": (b"colour;age;class\nred;1;no\n", "wrong_columns", 1, "colour", "';'"),
    "no header": (b"red,1,no\nred,1,no\n", "wrong_columns", 1, "colour", "first line a header"),
    "unknown category": (HEADER + b"red,1,no\ngrin,2,no\n", "unknown_category", 3, "colour", "'green'"),
    "unknown label": (HEADER + b"red,1,No\n", "unknown_category", 2, "class", "did you mean 'no'"),
    "not a number": (HEADER + b"\nred,1,no\n\nred,old,no\n", "not_a_number", 5, "age", "plain numbers"),
    "infinite": (HEADER + b"red,-inf,no\n", "not_a_number", 2, "age", "infinite"),
    "missing value": (HEADER + b"red,1,no\n ,2,no\n", "missing_value", 3, "colour", "own value"),
    "missing class": (HEADER + b"red,1,\n", "missing_value", 2, "class", "its label"),
    "after a cell over two lines": (HEADER + b'"red\n",1,no\nred,x,no\n', "not_a_number", 4, "age", "number"),
    "in a row over two lines": (HEADER + b'red,1,no\nred,"x\ny",no\n', "not_a_number", 3, "age", "number"),
    "short row": (HEADER + b"red,1,no\nred,1\n", "malformed", 3, None, "2 cells"),
    "long row": (HEADER + b"red,1,5,no\n", "malformed", 2, None, "4 cells"),
    "latin-1": (HEADER + b"red,1,no\nr\xe9d,1,no\n", "malformed", 3, None, "UTF-8"),
    "utf-16": ("colour,age,class\nred,1,no\n".encode("utf-16"), "malformed", 1, None, "UTF-8"),
    "NUL": (HEADER + b"red,1,no\nred,\x001,no\n", "malformed", 3, None, "NUL"),
    "NUL in the header": (b"colour,\x00,class\n", "malformed", 1, None, "NUL"),
    "stray quote": (HEADER + b'"red"x,1,no\n', "malformed", 2, None, "quote"),
    "open quote": (HEADER + b'red,1,no\n"red,1,no\nred,1,no\n', "malformed", 3, None, "close every quote"),
    "old line ends": (b"colour,age,class\rred,1,no\r", "malformed", 1, None, "LF"),
    "endless cell": (HEADER + b"red,1,no\n" + b"x" * 200_000, "malformed", 3, None, "too long"),
    "endless line": (HEADER + b"x," * MAX_LINE_BYTES + b"\nred,1,no\n", "malformed", 2, None, "too long"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_one_error_for_each_kind_of_bad_file(write: Write, kind: str) -> None:
    content, code, line, column, words = BAD_FILES[kind]
    path = write(content)
    error = failure(path)
    assert (error.code, error.line, error.column, error.file) == (code, line, column, str(path))
    assert words in str(error)
    assert error.hint
    assert str(error).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize(
    "kind", [kind for kind, (_, code, *_) in BAD_FILES.items() if code != "wrong_columns"]
)
def test_no_error_quotes_a_cell(write: Write, kind: str) -> None:
    content = BAD_FILES[kind][0]
    text = str(failure(write(content.replace(b"grin", b"canary").replace(b"old", b"canary"))))
    assert "canary" not in text
    assert "red" not in text.split("(", maxsplit=1)[0]


def test_a_headerless_file_is_not_quoted(write: Write) -> None:
    assert "canary" not in str(failure(write(b"canary,1,no\nred,1,no\n")))


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        error = failure(path)
        assert (error.code, error.line, error.column) == ("unreadable_file", None, None)


def test_nothing_is_read_from_a_file_that_is_bad_further_down(write: Write) -> None:
    path = write(HEADER + b"red,1,no\n" * 3000 + b"red,x,no\n")
    # Raised by the call itself, before there is anything to iterate over.
    assert failure(path).line == 3002


def test_a_bad_query_does_not_stop_the_others(write: Write) -> None:
    path = write(b'age,colour\n1,red\nx,red\n2\n\n3,gr\xe9en\n\x00,red\n"3"x,red\n4,\n?,green\n')
    rows = list(read_query_file(path, SCHEMA))
    assert [row.row for row in rows] == list(range(1, 9))
    assert [row.line for row in rows] == [2, 3, 4, 6, 7, 8, 9, 10]
    assert [row.indices for row in rows] == [(0, 0), *[None] * 6, (1, 3)]
    assert [row.error and (row.error.code, row.error.line, row.error.column) for row in rows] == [
        None,
        ("not_a_number", 3, "age"),
        ("malformed", 4, None),
        ("malformed", 6, None),
        ("malformed", 7, None),
        ("malformed", 8, None),
        ("missing_value", 9, "colour"),
        None,
    ]


def test_a_query_files_label_is_ignored(write: Write) -> None:
    (row,) = read_query_file(write(HEADER + b"red,20,anything\n"), SCHEMA)
    assert row.indices == (0, 1)


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "empty_file"), (b"colour,age\n", "empty_file"), (b"colour\nred\n", "wrong_columns")],
)
def test_query_files_that_hold_no_queries(write: Write, content: bytes, code: str) -> None:
    path = write(content)
    with pytest.raises(InputFileError) as caught:
        list(read_query_file(path, SCHEMA))
    assert caught.value.code == code


def test_repr_shows_no_query(write: Write) -> None:
    (row,) = read_query_file(write(HEADER + b"red,20,no\n"), SCHEMA)
    assert repr(row) == "QueryRow(row=1, line=2, error=None)"
