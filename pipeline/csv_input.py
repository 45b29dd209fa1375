"""Data files against the schema: training records in batches, queries row by row.

A training file is checked to its end before its first record is handed out, so that nothing of a
bad file is ever published. Queries go on after a bad row, and report it in its place.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.csv_rows import CsvRow, CsvTable, InputFileError, open_csv
from roles.encoding import (
    CellEncoder,
    CellError,
    EncodedRecords,
    cell_encoder,
    closest,
    collect_records,
    label_encoder,
    listed,
)
from roles.word_encoding import NumberScaler, number_scalers, numeric_columns
from schemas.data_schema import DataSchema
from schemas.reasons import ReasonCode

__all__ = [
    "InputFileError",
    "QueryRow",
    "check_training_file",
    "query_rows",
    "read_query_file",
    "read_training_file",
]

BATCH_RECORDS = 1000


@dataclass(frozen=True, slots=True)
class QueryRow:
    """One row of a query file: its indices, or why there are none.

    Attributes:
        row: Number of the row among the data rows, from 1.
        line: Line of the file.
        indices: One index per attribute, in schema order; None if and only if `error` is set.
        words: Numeric attributes as scaled numbers; None if nobody reads them, or `error` is set.
        error: What is wrong with the row.
    """

    row: int
    line: int
    indices: tuple[int, ...] | None = field(repr=False)
    words: tuple[int, ...] | None = field(repr=False)
    error: InputFileError | None


def check_training_file(path: Path, schema: DataSchema) -> int:
    """Read a training file to its end and return the number of its records.

    Raises:
        InputFileError: The first thing wrong with the file.
    """
    return sum(len(batch) for batch in _batches(path, schema, BATCH_RECORDS, words=False))


def read_training_file(
    path: Path, schema: DataSchema, batch_records: int = BATCH_RECORDS, *, words: bool = False
) -> Iterator[EncodedRecords]:
    """Check the whole file, then return its records in batches of ``batch_records``, the last shorter.

    With `words` records also carry their numeric attributes as scaled numbers.

    Memory holds one batch; the file is read twice.

    Raises:
        InputFileError: The first thing wrong with the file; raised here, not by the iterator,
            unless the file changes between the two readings.
    """
    check_training_file(path, schema)
    return _batches(path, schema, batch_records, words=words)


def read_query_file(path: Path, schema: DataSchema, *, words: bool = False) -> Iterator[QueryRow]:
    """Yield every row in order; a bad row carries its error and the next ones still come.

    The label column may be there, and is not looked at.

    Raises:
        InputFileError: The file is unreadable or empty, or its columns are wrong.
    """
    with open_csv(path) as table:
        row = None
        for row in query_rows(table, schema, words=words):
            yield row
        if row is None:
            raise _no_rows(table)


def query_rows(table: CsvTable, schema: DataSchema, *, words: bool = False) -> Iterator[QueryRow]:
    """Yield the rows of a table as `read_query_file` does; there may be none.

    Raises:
        InputFileError: The columns are wrong.
    """
    columns = _Columns(table, schema, with_label=False, with_words=words)
    for number, row in enumerate(table.rows, start=1):
        try:
            if isinstance(row, InputFileError):
                raise row
            indices, numbers, _ = columns.read(row)
        except InputFileError as error:
            yield QueryRow(number, error.line or 1, None, None, error)
        else:
            yield QueryRow(number, row.line, indices, numbers, None)


def _batches(path: Path, schema: DataSchema, batch_records: int, *, words: bool) -> Iterator[EncodedRecords]:
    with open_csv(path) as table:
        columns = _Columns(table, schema, with_label=True, with_words=words)
        rows: list[tuple[int, ...]] = []
        numbers: list[tuple[int, ...]] = []
        labels: list[int] = []
        empty = True
        for row in table.rows:
            if isinstance(row, InputFileError):
                raise row
            indices, scaled, label = columns.read(row)
            rows.append(indices)
            numbers.append(scaled or ())
            labels.append(label)
            empty = False
            if len(rows) == batch_records:
                yield collect_records(rows, labels, numbers if words else None)
                rows, numbers, labels = [], [], []
        if empty:
            raise _no_rows(table)
        if rows:
            yield collect_records(rows, labels, numbers if words else None)


def _no_rows(table: CsvTable) -> InputFileError:
    return InputFileError(
        ReasonCode.EMPTY_FILE,
        "the file has a header and no rows",
        "add at least one row",
        file=table.file,
        line=table.header.line,
    )


class _Columns:
    """Where the schema's columns stand in one file, and their encoders."""

    def __init__(self, table: CsvTable, schema: DataSchema, *, with_label: bool, with_words: bool) -> None:
        header = table.header.cells
        _check_header(table, schema, with_label=with_label)
        self._file = table.file
        self._attributes = [
            (header.index(attribute.name), cell_encoder(attribute)) for attribute in schema.attributes
        ]
        self._scalers: list[tuple[int, NumberScaler]] | None = None
        if with_words:
            names = [schema.attributes[index].name for index in numeric_columns(schema)]
            places = [header.index(name) for name in names]
            self._scalers = list(zip(places, number_scalers(schema), strict=True))
        self._label: tuple[int, CellEncoder] | None = None
        if with_label:
            self._label = (header.index(schema.label.name), label_encoder(schema))

    def read(self, row: CsvRow) -> tuple[tuple[int, ...], tuple[int, ...] | None, int]:
        """Encode a row: indices, words if they are read, and the label, −1 where it is not read."""
        cells = row.cells
        try:
            indices = tuple([encoder.index(cells[position]) for position, encoder in self._attributes])
            words = None
            if self._scalers is not None:
                words = tuple([scaler.word(cells[position]) for position, scaler in self._scalers])
            label = -1 if self._label is None else self._label[1].index(cells[self._label[0]])
        except CellError as error:
            raise InputFileError(
                ReasonCode(error.code),
                str(error),
                error.hint,
                file=self._file,
                line=row.line,
                column=error.column,
            ) from None
        return indices, words, label


def _check_header(table: CsvTable, schema: DataSchema, *, with_label: bool) -> None:
    """Refuse repeated, missing and unexpected columns, in this order.

    A header without any column of the schema is not quoted: it may be a record.
    """
    header = table.header.cells
    required = schema.column_names if with_label else schema.attribute_names
    missing = [name for name in required if name not in header]
    if len(missing) == len(required):
        separator = next((mark for mark in (";", "\t", "|") if any(mark in cell for cell in header)), None)
        hint = f"the schema's columns are {listed(required)}; is the first line a header?"
        if separator is not None:
            hint = f"separate the cells by commas instead of {separator!r}; {hint}"
        raise _wrong_columns(table, "none of the schema's columns is in the first line", hint, required[0])
    allowed = set(schema.column_names)
    repeated = [name for name in dict.fromkeys(header) if name in allowed and header.count(name) > 1]
    if repeated:
        raise _wrong_columns(
            table, f"the header names {listed(repeated)} more than once", "keep one of them", repeated[0]
        )
    unexpected = [name for name in dict.fromkeys(header) if name not in allowed]
    if missing:
        message = f"the header lacks {listed(missing)}"
        if (likely := closest(missing[0], unexpected)) is not None:
            hint = f"rename column {likely!r} to {missing[0]!r}"
        else:
            hint = f"the schema's columns are {listed(required)}, in any order"
        raise _wrong_columns(table, message, hint, missing[0])
    if unexpected:
        raise _wrong_columns(
            table,
            f"the schema does not have {listed(unexpected)}",
            "remove what the schema does not name: nothing but the schema's columns is ever encrypted",
            unexpected[0],
        )


def _wrong_columns(table: CsvTable, message: str, hint: str, column: str) -> InputFileError:
    return InputFileError(
        ReasonCode.WRONG_COLUMNS, message, hint, file=table.file, line=table.header.line, column=column
    )
