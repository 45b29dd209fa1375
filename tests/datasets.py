"""Where tests find data sets: $PRIVML_DATA, ../shared/data, or else what scikit-learn bundles."""

import os
from functools import cache
from pathlib import Path

from pipeline.demo_data import DemoTable, load_breast_cancer, load_csv_table

ROOT = Path(__file__).resolve().parents[1]


def data_folder() -> Path:
    """Return the folder that may hold the data sets."""
    return Path(os.environ.get("PRIVML_DATA", ROOT / ".." / "shared" / "data"))


@cache
def data_table(name: str) -> DemoTable:
    """Return the named data set if its file is there, else the bundled breast cancer set.

    Prints which one a test runs on.
    """
    path = data_folder() / f"{name}.csv"
    table = load_csv_table(path) if path.is_file() else load_breast_cancer()
    source = "from a file" if path.is_file() else "bundled with scikit-learn"
    print(f"data set {table.name} ({source}), {len(table.rows)} rows, sha256 {table.sha256[:16]}")
    return table
