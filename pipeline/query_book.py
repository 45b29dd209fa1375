"""What a client remembers of its own queries, so that another process of it can read their answers.

An answer is sealed to the client's key and names its query; how many rows it has, of which model, and
whether scores were asked for, only the client knows for sure. No row and no label is kept.
"""

from dataclasses import dataclass
from pathlib import Path

from pipeline.sqlite_file import SqliteFile
from schemas.queries import Query

_TABLE = """
CREATE TABLE IF NOT EXISTS asked (
    query_id BLOB PRIMARY KEY, model TEXT NOT NULL, rows INTEGER NOT NULL, scores INTEGER NOT NULL,
    answers_from INTEGER NOT NULL, shown INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
"""


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
        self._file = SqliteFile(path, "the book of queries", _TABLE)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def add(self, query: Query, answers_from: int) -> None:
        """Note a query that is about to be published.

        Args:
            query: The query.
            answers_from: Where on the answers topic its answer may stand at the earliest.
        """
        values = (query.query_id, query.model_id, query.rows, query.scores, answers_from)
        self._file.change("INSERT OR IGNORE INTO asked VALUES (?, ?, ?, ?, ?, 0)", *values)

    def find(self, query_id: bytes) -> AskedBefore | None:
        """Return a query of this client; None if it is another's."""
        rows = self._file.rows("SELECT model, rows, scores, shown FROM asked WHERE query_id = ?", query_id)
        if not rows:
            return None
        model, count, scores, shown = rows[0]
        return AskedBefore(query_id, model, count, bool(scores), bool(shown))

    def mark_shown(self, query_id: bytes) -> None:
        """Note that a query's answer was shown."""
        self._file.change("UPDATE asked SET shown = 1 WHERE query_id = ?", query_id)

    def unshown_from(self) -> int | None:
        """Return where answers that were not shown may begin; None if there are none."""
        ((offset,),) = self._file.rows("SELECT min(answers_from) FROM asked WHERE NOT shown")
        return None if offset is None else int(offset)
