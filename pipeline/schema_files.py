"""Data schemas as files."""

import os
from pathlib import Path

from crypto.errors import SchemaError
from pipeline.csv_input import InputFileError
from schemas.data_schema import DataSchema
from schemas.reasons import ReasonCode
from schemas.schema_toml import load_schema


def read_schema(path: Path) -> DataSchema:
    """Read a data schema from its TOML file.

    Raises:
        InputFileError: The file cannot be read or is no data schema.
    """
    try:
        return load_schema(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputFileError(
            ReasonCode.UNREADABLE_FILE,
            f"cannot be read: {os.strerror(error.errno or 0)}",
            "make one with `privml schema infer DATA.csv --label COLUMN > schema.toml`",
            file=str(path),
        ) from error
    except (SchemaError, ValueError) as error:
        raise InputFileError(
            ReasonCode.WRONG_SCHEMA,
            f"is no data schema: {error}",
            "make one with `privml schema infer DATA.csv --label COLUMN > schema.toml`",
            file=str(path),
        ) from error
