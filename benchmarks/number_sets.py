"""Data sets of numbers alone, as logistic regression's targets are about: every column a scaled number.

What a session costs depends on the shape of its records and not on their values: where a file is
not at hand, made-up records of its shape stand in for it.
"""

from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.data_sets import DataSet, folder
from pipeline.csv_input import read_training_file
from pipeline.csv_rows import InputFileError, open_csv
from roles.encoding import EncodedRecords
from roles.word_encoding import WORD_LIMIT
from schemas.data_schema import Attribute, ClassLabel, DataSchema, NumericAttribute
from schemas.decimal_text import canonical_decimal, exact_decimal

SHAPES = {"edin": (1253, 9), "lbw": (141, 9)}
"""Records and columns: all of edin, three quarters of lbw."""


@cache
def number_set(name: str) -> DataSet:
    """Return the named data set, as many of its records as its shape has, taken evenly."""
    whole, (rows, _) = number_file(name), SHAPES[name]
    records = whole.records
    if records.labels is None or records.words is None:
        raise RuntimeError("training records have labels and words")
    taken = np.arange(rows) * len(records) // rows
    return DataSet(
        whole.name,
        whole.schema,
        EncodedRecords(records.indices[taken], records.labels[taken], records.words[taken]),
    )


def number_file(name: str) -> DataSet:
    """Return all records of the named data set, or made-up ones of its shape."""
    path = folder() / f"{name}.csv"
    if not path.is_file():
        return made_up(*SHAPES[name])
    schema = _schema_of(path)
    (records,) = read_training_file(path, schema, 1 << 30, words=True)
    return DataSet(name, schema, records)


@cache
def made_up(rows: int, columns: int) -> DataSet:
    """Return records of two classes that can be told apart, the same in every run."""
    angles = np.outer(np.arange(1.0, rows + 1), np.sqrt(np.arange(2.0, columns + 2)))
    words = np.rint((angles % 2 - 1) * WORD_LIMIT).astype(np.int32)
    labels = (words[:, 0] + words[:, 1] > words[:, 2]).astype(np.int32)
    attributes = tuple(NumericAttribute(f"x{i}", ("0",), "-1", "1") for i in range(columns))
    schema = DataSchema(1, attributes, ClassLabel("y", ("0", "1")))
    return DataSet("made up", schema, EncodedRecords((words > 0).astype(np.int32), labels, words))


def _schema_of(path: Path) -> DataSchema:
    """Return a schema of numbers: range as found, one edge in its middle."""
    with open_csv(path) as table:
        names = table.header.cells
        rows = []
        for row in table.rows:
            if isinstance(row, InputFileError):
                raise row
            rows.append(row.cells)
    attributes: list[Attribute] = []
    *features, labels = zip(*rows, strict=True)
    for column, cells in zip(names[:-1], features, strict=True):
        values = [exact_decimal(cell) for cell in cells]
        low, high = min(values), max(values)
        edge = canonical_decimal((low + high) / 2)
        attributes.append(NumericAttribute(column, (edge,), canonical_decimal(low), canonical_decimal(high)))
    return DataSchema(1, tuple(attributes), ClassLabel(names[-1], tuple(sorted(set(labels)))))
