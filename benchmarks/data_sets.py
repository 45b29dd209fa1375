"""The data sets: CSV files of a folder, or else what scikit-learn bundles.

The folder is `$PRIVML_DATA`, by default `../shared/data` beside the project. What a protocol costs
depends on the shape of the data and not on its values, so that another set of the same shape
would give the same figures.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from pipeline.csv_input import read_training_file
from pipeline.csv_rows import open_csv
from pipeline.demo_data import csv_text, load_breast_cancer
from pipeline.schema_inference import infer_schema
from roles.encoding import EncodedRecords
from schemas.data_schema import DataSchema

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("nursery", "adult", "wdbc")
BUNDLED = "breast_cancer"
_TITLES = {"nursery": "Nursery", "adult": "Adult", "wdbc": "WDBC", BUNDLED: "Breast cancer"}


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set, encoded.

    Attributes:
        name: File name without suffix, or the bundled set's.
        schema: Inferred from all of it.
        records: All of them, in the file's order.
    """

    name: str
    schema: DataSchema
    records: EncodedRecords = field(repr=False)

    @property
    def shape(self) -> str:
        """The sizes that costs depend on, in words."""
        return (
            f"{self.schema.onehot_columns} one-hot columns of {len(self.schema.attributes)} attributes, "
            f"{self.schema.class_count} classes"
        )

    def batch(self, size: int, number: int = 0) -> EncodedRecords:
        """Return batch `number` of that many records; past the end it starts again."""
        rows = np.arange(number * size, (number + 1) * size) % len(self.records)
        labels, words = self.records.labels, self.records.words
        return EncodedRecords(
            self.records.indices[rows],
            None if labels is None else labels[rows],
            None if words is None else words[rows],
        )


def folder() -> Path:
    """Return the folder that may hold the data sets."""
    return Path(os.environ.get("PRIVML_DATA", ROOT / ".." / "shared" / "data"))


def available() -> tuple[str, ...]:
    """Return the names of the data sets that can be used, the bundled one only if there is no other."""
    return tuple(name for name in NAMES if (folder() / f"{name}.csv").is_file()) or (BUNDLED,)


def title(name: str) -> str:
    """Return a data set's name as people write it."""
    return _TITLES.get(name, name)


def describe() -> str:
    """Say which data sets are used and where they come from."""
    names = available()
    if names == (BUNDLED,):
        return "breast_cancer, bundled with scikit-learn (there is no folder with CSV files)"
    return f"{', '.join(names)}, from CSV files"


def csv_file(name: str) -> tuple[Path, str]:
    """Return the file of a data set and the name of its label column, the last one."""
    path = folder() / f"{name}.csv"
    with open_csv(path) as table:
        return path, table.header.cells[-1]


@cache
def data_set(name: str) -> DataSet:
    """Read, infer and encode a data set once per run."""
    with _file(name) as (path, label):
        schema = infer_schema(path, label).schema
        (records,) = read_training_file(path, schema, 1 << 30, words=True)
    return DataSet(name, schema, records)


@contextmanager
def _file(name: str) -> Iterator[tuple[Path, str]]:
    if name != BUNDLED:
        yield csv_file(name)
        return
    table = load_breast_cancer()
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / f"{BUNDLED}.csv"
        path.write_text(csv_text(table.columns, table.rows), encoding="utf-8")
        yield path, table.columns[-1]
