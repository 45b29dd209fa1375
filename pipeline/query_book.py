"""What a client remembers of its own queries, so that another process of it can read their answers.

An answer is sealed to the client's key and names its query; how many rows it has, of which model, and
whether scores were asked for, only the client knows for sure. No row and no label is kept.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StorageError, StorageFullError
from schemas.queries import Query

_TABLE = """
CREATE TABLE IF NOT EXISTS asked (
    query_id BLOB PRIMARY KEY, model TEXT NOT NULL, rows INTEGER NOT NULL, scores INTEGER NOT NULL,
    answers_from INTEGER NOT NULL, shown INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
"""
BUSY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class AskedBefore:
    """A query that this client has asked.

    Attributes:
        query_id: Its id.
        model_id: The model asked.
        rows: How many rows.
        scores: Whether more than labels was asked for.
        shown: Whether a command has shown its answer.
    """

    query_id: bytes
    model_id: str
    rows: int
    scores: bool
    shown: bool


class QueryBook:
    """One client's queries, in one SQLite file; several processes of the client may use it."""

    def __init__(self, path: Path) -> None:
        """Open the book, or begin one.

        Raises:
            StorageError: The file is damaged or cannot be used.
        """
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError("the book of queries cannot be opened", file=path) from error
        with self._translated():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute(_TABLE)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def add(self, query: Query, answers_from: int) -> None:
        """Note a query that is about to be published.

        Args:
            query: The query.
            answers_from: Where on the answers topic its answer may stand at the earliest.
        """
        values = (query.query_id, query.model_id, query.rows, query.scores, answers_from)
        with self._translated():
            self._connection.execute("INSERT OR IGNORE INTO asked VALUES (?, ?, ?, ?, ?, 0)", values)

    def find(self, query_id: bytes) -> AskedBefore | None:
        """Return a query of this client; None if it is another's."""
        with self._translated():
            row = self._connection.execute(
                "SELECT model, rows, scores, shown FROM asked WHERE query_id = ?", (query_id,)
            ).fetchone()
        return None if row is None else AskedBefore(query_id, row[0], row[1], bool(row[2]), bool(row[3]))

    def mark_shown(self, query_id: bytes) -> None:
        """Note that a query's answer was shown."""
        with self._translated():
            self._connection.execute("UPDATE asked SET shown = 1 WHERE query_id = ?", (query_id,))

    def unshown_from(self) -> int | None:
        """Return where answers that were not shown may begin; None if there are none."""
        with self._translated():
            (offset,) = self._connection.execute(
                "SELECT min(answers_from) FROM asked WHERE NOT shown"
            ).fetchone()
        return None if offset is None else int(offset)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
            kind = StorageFullError if full else StorageError
            raise kind("the book of queries cannot be used", file=self._path) from error
