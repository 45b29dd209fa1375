"""Data for the demo and the benchmarks: a table of text, shuffled, split and dealt to owners.

The order depends on the seed alone and is the same on every machine. It hides nothing, and is
never used for anything that must be hidden.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.csv_rows import InputFileError, open_csv
from schemas.reasons import ReasonCode

BREAST_CANCER_LABEL = "diagnosis"

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DemoTable:
    """A data set as text.

    Attributes:
        name: What to call it: the file's name without its suffix, or the bundled set's.
        columns: Column names.
        rows: One cell per column.
        sha256: Hex digest of the file's bytes; of the set's CSV text where there is no file.
    """

    name: str
    columns: Row
    rows: tuple[Row, ...] = field(repr=False)
    sha256: str


@dataclass(frozen=True, slots=True)
class DemoSplit:
    """A table cut up.

    Attributes:
        owners: The training rows of each owner; sizes differ by one at most.
        test: The test rows, in shuffled order.
    """

    owners: tuple[tuple[Row, ...], ...] = field(repr=False)
    test: tuple[Row, ...] = field(repr=False)

    @property
    def train(self) -> tuple[Row, ...]:
        """All training rows, owner after owner."""
        return tuple(row for rows in self.owners for row in rows)


def load_csv_table(path: Path) -> DemoTable:
    """Read a whole CSV file as text.

    Raises:
        InputFileError: The file is unreadable, empty, or has a damaged row.
    """
    rows = []
    with open_csv(path) as table:
        for row in table.rows:
            if isinstance(row, InputFileError):
                raise row
            rows.append(row.cells)
        columns = table.header.cells
    if not rows:
        raise InputFileError(
            ReasonCode.EMPTY_FILE,
            "the file has a header and no rows",
            "add at least one row",
            file=str(path),
            line=1,
        )
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256")
    return DemoTable(path.stem, columns, tuple(rows), digest.hexdigest())


def load_breast_cancer() -> DemoTable:
    """Return scikit-learn's bundled breast cancer set, its label in column `diagnosis`."""
    from sklearn.datasets import load_breast_cancer as load_bundled  # noqa: PLC0415 - an optional dependency

    bundled = load_bundled()
    names = [str(name).replace(" ", "_") for name in bundled.feature_names]
    labels = [str(bundled.target_names[target]) for target in bundled.target]
    rows = tuple(
        (*(repr(float(cell)) for cell in record), label)
        for record, label in zip(bundled.data, labels, strict=True)
    )
    columns = (*names, BREAST_CANCER_LABEL)
    text = csv_text(columns, rows)
    return DemoTable("breast_cancer", columns, rows, hashlib.sha256(text.encode()).hexdigest())


def shuffled_order(count: int, seed: int) -> list[int]:
    """Return the row numbers 0..count−1 sorted by SHA-256 of seed and row number."""
    return sorted(range(count), key=lambda row: hashlib.sha256(f"privml demo {seed} {row}".encode()).digest())


def split_rows(rows: Sequence[Row], owners: int, seed: int, test_fraction: float = 0.2) -> DemoSplit:
    """Shuffle rows, set a part aside for testing, deal the rest to the owners one by one.

    Args:
        rows: The records.
        owners: How many owners share the training rows; at least 1.
        seed: Fixes the order.
        test_fraction: In (0, 1); the test part is rounded to whole rows, at least one.

    Raises:
        ValueError: No owner, no such fraction, or too few rows for a test row and one per owner.
    """
    if owners < 1 or not 0 < test_fraction < 1:
        raise ValueError("a split needs an owner and a test fraction between 0 and 1")
    tests = max(1, round(len(rows) * test_fraction))
    if len(rows) < tests + owners:
        raise ValueError(f"{len(rows)} rows are too few for {owners} owners and {tests} test rows")
    order = shuffled_order(len(rows), seed)
    shuffled = [rows[row] for row in order]
    train = shuffled[tests:]
    return DemoSplit(tuple(tuple(train[owner::owners]) for owner in range(owners)), tuple(shuffled[:tests]))


def csv_text(columns: Row, rows: Iterable[Row]) -> str:
    """Write rows as CSV text with a header and LF line ends."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
