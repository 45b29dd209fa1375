"""An owner's files as one sequence of records, cut into chunks of any sizes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.csv_input import check_training_file, read_training_file
from pipeline.errors import PipelineError
from roles.encoding import EncodedRecords, IndexArray
from schemas.data_schema import DataSchema
from schemas.reasons import ReasonCode


class OtherRecordsError(PipelineError):
    """The files are not those that the stream was made of."""

    code = ReasonCode.USAGE


def check_files(
    files: Mapping[str, Sequence[Path]], records_of: Mapping[str, int], schema: DataSchema
) -> None:
    """Hold the owners' files against how many records each owner has published.

    Args:
        files: By owner, in the order in which they were published.
        records_of: By owner.
        schema: What is in the files.

    Raises:
        OtherRecordsError: An owner is missing or unknown, or has published another number of records.
        InputFileError: The first thing wrong with a file.
    """
    if set(files) != set(records_of):
        wanted = " ".join(f"--data {owner}=FILE" for owner in sorted(records_of))
        raise OtherRecordsError(
            f"the stream has chunks of {', '.join(sorted(records_of)) or 'nobody'}", hint=f"give {wanted}"
        )
    for owner, paths in files.items():
        records = sum(check_training_file(path, schema) for path in paths)
        if records != records_of[owner]:
            raise OtherRecordsError(
                f"owner '{owner}' has {records_of[owner]} accepted records in the stream, "
                f"and {records} in the files",
                hint="give its files in the order in which it published them, without what was refused; "
                "`privml status` shows whether chunks still wait for MU",
                file=paths[0],
            )


class RecordCutter:
    """Cuts the records of some files, one after the other.

    Args:
        files: CSV files; they were checked.
        schema: What is in them.
        words: Whether records carry their numbers.
    """

    def __init__(self, files: Sequence[Path], schema: DataSchema, *, words: bool) -> None:
        self._file = files[0]
        self._batches: Iterator[EncodedRecords] = (
            batch for file in files for batch in read_training_file(file, schema, words=words)
        )
        self._rest: EncodedRecords | None = None

    def take(self, count: int) -> EncodedRecords:
        """Return the next records.

        Args:
            count: How many; at least 1.

        Raises:
            OtherRecordsError: There are not so many any more.
        """
        taken: list[EncodedRecords] = []
        missing = count
        while missing:
            batch = next(self._batches, None) if self._rest is None else self._rest
            if batch is None:
                raise OtherRecordsError("a file has fewer records than a moment ago", file=self._file)
            taken.append(some_records(batch, slice(0, missing)))
            self._rest = some_records(batch, slice(missing, None)) if len(batch) > missing else None
            missing -= len(taken[-1])
        return join_records(taken)


def some_records(records: EncodedRecords, rows: slice) -> EncodedRecords:
    """Return some rows of records."""
    return EncodedRecords(
        records.indices[rows],
        None if records.labels is None else records.labels[rows],
        None if records.words is None else records.words[rows],
    )


def join_records(parts: Sequence[EncodedRecords]) -> EncodedRecords:
    """Return records of one kind, one after the other; at least one part."""
    return EncodedRecords(
        np.concatenate([part.indices for part in parts]),
        _joined([part.labels for part in parts]),
        _joined([part.words for part in parts]),
    )


def _joined(parts: Sequence[IndexArray | None]) -> IndexArray | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if there else None
