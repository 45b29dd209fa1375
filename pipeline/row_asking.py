"""Asking for rows block by block: all of a file, or as they come."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from pipeline.client_service import ClientService
from pipeline.csv_input import InputFileError, QueryRow, query_rows, read_query_file
from pipeline.csv_rows import csv_table
from pipeline.followed_file import STDIN, FollowedFile
from roles.chunk_encodings import WORDS
from roles.encoding import collect_records
from roles.learners import AnyLearner
from schemas.reasons import ReasonCode

Line = dict[str, Any]
T = TypeVar("T")


class RowAsker:
    """Turns rows into the lines that `privml predict` prints.

    Args:
        service: The client's, open.
        learner: Of the model asked.
        timeout_seconds: How long to wait for each answer.
        scores: Ask for more than labels.
    """

    def __init__(
        self, service: ClientService, learner: AnyLearner, timeout_seconds: float, *, scores: bool
    ) -> None:
        self._service = service
        self._learner = learner
        self._timeout = timeout_seconds
        self._scores = scores
        self._labels = (*learner.tenant.schema.label.labels, "invalid")

    @property
    def words(self) -> bool:
        """Whether the model reads numbers as numbers."""
        return WORDS in self._learner.query_encodings

    async def lines(self, block: list[QueryRow]) -> list[Line]:
        """Ask for one block and return a line per row, in order; raises as `ClientService.ask`."""
        asked = [row for row in block if row.indices is not None]
        answered: dict[int, Line] = {}
        if asked:
            words = [row.words or () for row in asked] if self.words else None
            records = collect_records([row.indices or () for row in asked], words=words)
            answer = await self._service.ask(self._learner, records, self._timeout, scores=self._scores)
            for place, (row, label) in enumerate(zip(asked, answer.labels, strict=True)):
                told = None if answer.scores is None else answer.scores[place]
                answered[row.row] = {
                    "row": row.row,
                    "label": self._labels[label],
                    "scores": None if told is None else self._learner.readable_scores(told),
                    "query_id": answer.query_id.hex(),
                    "model_version": answer.model_version,
                    "seconds": answer.seconds,
                }
        return [answered.get(row.row) or _refused(row) for row in block]

    async def blocks(self, file: Path, size: int, *, follow: bool) -> AsyncGenerator[list[QueryRow], None]:
        """Yield the rows of a file, or of stdin for ``-``, in blocks.

        Args:
            file: The file.
            size: Rows per block, at most.
            follow: Take what is there now as a block, and wait for more.

        Raises:
            InputFileError: The file is unreadable or empty, or its columns are wrong.
        """
        schema = self._learner.tenant.schema
        if not follow and file != STDIN:
            rows = await asyncio.to_thread(lambda: list(read_query_file(file, schema, words=self.words)))
            for start in range(0, len(rows), size):
                yield rows[start : start + size]
            return
        try:
            source = FollowedFile.open(file, grows=follow)
        except OSError as error:
            raise InputFileError(
                ReasonCode.UNREADABLE_FILE,
                "the file cannot be opened",
                error.strerror or "check the path",
                file=str(file),
            ) from error
        reading: list[asyncio.Future[Any]] = []

        async def read(work: Callable[[], T]) -> T:
            reading[:] = [asyncio.ensure_future(asyncio.to_thread(work))]
            result: T = await asyncio.shield(reading[0])
            return result

        with closing(source):
            try:
                table = await read(lambda: csv_table(source, str(file)))
                rows_to_come = query_rows(table, schema, words=self.words)
                while block := await read(lambda: _next_block(rows_to_come, source, size, hurry=follow)):
                    yield block
            finally:
                # The thread that reads must be gone before the file is closed.
                source.stop()
                if reading:
                    await asyncio.wait(reading)
                    _ = reading[0].cancelled() or reading[0].exception()


def _next_block(rows: Iterator[QueryRow], source: FollowedFile, size: int, *, hurry: bool) -> list[QueryRow]:
    """Wait for a row, and take those along that are there by then; none at the end."""
    block: list[QueryRow] = []
    while len(block) < size and not (hurry and block and not source.has_line()):
        row = next(rows, None)
        if row is None:
            break
        block.append(row)
    return block


def _refused(row: QueryRow) -> Line:
    error = row.error
    if error is None:
        raise ValueError("a row without indices has an error")
    return {
        "row": row.row,
        "error": {
            "code": str(error.code),
            "message": error.args[0],
            "hint": error.hint,
            "file": error.file,
            "line": error.line,
            "column": error.column,
        },
    }
