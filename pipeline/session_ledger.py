"""SU's ledger: which request of which session got which reply, and where to resume reading.

One SQLite file, durable before a reply leaves. Shares and replies are not in it: SU recomputes
them from the requests (docs/security.md, rule 3).
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from pipeline.errors import StorageError, StorageFullError

_TABLES = """
CREATE TABLE IF NOT EXISTS step (
    session BLOB NOT NULL, step INTEGER NOT NULL, request_hash BLOB NOT NULL, reply_hash BLOB NOT NULL,
    PRIMARY KEY (session, step)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answered (
    client TEXT NOT NULL, query_id BLOB NOT NULL, session BLOB NOT NULL, PRIMARY KEY (client, query_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS resume (partition INTEGER PRIMARY KEY, offset INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """What the ledger holds of a step."""

    request_hash: bytes
    reply_hash: bytes


class SessionLedger:
    """The ledger in one file; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_TABLES)
        except (sqlite3.Error, OSError) as error:
            raise StorageError("SU's ledger cannot be opened", file=path) from error
        self._path = path
        self._lock = Lock()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def step(self, session: bytes, step: int) -> Answered | None:
        """Return what was answered to a step, None if nothing was."""
        rows = self._run(
            "SELECT request_hash, reply_hash FROM step WHERE session = ? AND step = ?", session, step
        )
        return Answered(*rows[0]) if rows else None

    def record(self, session: bytes, step: int, answered: Answered) -> None:
        """Write what is about to be answered; durable when it returns."""
        self._run(
            "INSERT INTO step VALUES (?, ?, ?, ?)", session, step, answered.request_hash, answered.reply_hash
        )

    def claim(self, client: str, query_id: bytes, session: bytes) -> bool:
        """Give a query to a session; return False if another session has it: one answer each."""
        self._run("INSERT OR IGNORE INTO answered VALUES (?, ?, ?)", client, query_id, session)
        rows = self._run("SELECT session FROM answered WHERE client = ? AND query_id = ?", client, query_id)
        return bytes(rows[0][0]) == session

    def resume_offset(self, partition: int) -> int:
        """Return where to go on reading a partition of the requests."""
        rows = self._run("SELECT offset FROM resume WHERE partition = ?", partition)
        return int(rows[0][0]) if rows else 0

    def set_resume_offset(self, partition: int, offset: int) -> None:
        """Note that everything before an offset is answered and belongs to no open session."""
        self._run("INSERT OR REPLACE INTO resume VALUES (?, ?)", partition, offset)

    def _run(self, statement: str, *values: object) -> list[tuple[bytes, ...]]:
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                kind = StorageFullError if "full" in str(error) else StorageError
                raise kind("SU's ledger cannot be written", file=self._path) from error
