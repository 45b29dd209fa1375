"""SU's ledger: which request of which session got which reply, where to resume, how far topics reached.

One SQLite file, durable before a reply leaves. Shares and replies are not in it: SU recomputes
them from the requests (docs/security.md, rule 3).
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from pipeline.errors import StorageError, StorageFullError
from pipeline.high_water import Mark
from schemas.topics import TopicName

_TABLES = """
CREATE TABLE IF NOT EXISTS step (
    session BLOB NOT NULL, step INTEGER NOT NULL, request_hash BLOB NOT NULL, reply_hash BLOB NOT NULL,
    PRIMARY KEY (session, step)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answered (
    client TEXT NOT NULL, query_id BLOB NOT NULL, session BLOB NOT NULL, rows INTEGER NOT NULL,
    PRIMARY KEY (client, query_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asked (client TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS place (
    partition INTEGER PRIMARY KEY, resume INTEGER NOT NULL, judged INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS mark (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    message_hash BLOB NOT NULL, PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """What the ledger holds of a step."""

    request_hash: bytes
    reply_hash: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The one query that a session answers.

    Attributes:
        client: Who asks.
        query_id: The query's id.
        rows: Rows asked.
    """

    client: str
    query_id: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class Place:
    """How far a partition of the requests was read.

    Attributes:
        resume: What stands before it is answered and belongs to no open session.
        judged: What stands before it was answered or refused once, and reported if refused.
    """

    resume: int = 0
    judged: int = 0


class SessionLedger:
    """The ledger in one file; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Open the ledger, or make it.

        Raises:
            StorageError: The file is damaged or cannot be used.
            StorageFullError: There is no room to make it.
        """
        self._path = path
        self._lock = Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError("SU's ledger cannot be opened", file=path) from error
        with self._translated("opened"):
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_TABLES)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def step(self, session: bytes, step: int) -> Answered | None:
        """Return what was answered to a step, None if nothing was."""
        rows = self._run(
            "SELECT request_hash, reply_hash FROM step WHERE session = ? AND step = ?", session, step
        )
        return Answered(*rows[0]) if rows else None

    def record(self, session: bytes, step: int, answered: Answered, claim: Claim | None = None) -> None:
        """Write what is about to be answered; durable when it returns.

        Args:
            session: Name of the session.
            step: Number of the step.
            answered: Hashes of request and reply.
            claim: The query that the session answers, at its first step.
        """
        with self._transaction():
            values = (session, step, answered.request_hash, answered.reply_hash)
            self._connection.execute("INSERT INTO step VALUES (?, ?, ?, ?)", values)
            if claim is not None:
                answering = (claim.client, claim.query_id, session, claim.rows)
                self._connection.execute("INSERT INTO answered VALUES (?, ?, ?, ?)", answering)
                self._connection.execute(
                    "INSERT INTO asked VALUES (?, ?)"
                    " ON CONFLICT (client) DO UPDATE SET rows = rows + excluded.rows",
                    (claim.client, claim.rows),
                )

    def session_of(self, client: str, query_id: bytes) -> bytes | None:
        """Return the session that answers a query, None if it was not begun: one answer each."""
        rows = self._run("SELECT session FROM answered WHERE client = ? AND query_id = ?", client, query_id)
        return bytes(rows[0][0]) if rows else None

    def rows_asked(self, client: str) -> int:
        """Return how many rows were answered to a client, or are about to be."""
        rows = self._run("SELECT rows FROM asked WHERE client = ?", client)
        return int(rows[0][0]) if rows else 0

    def place(self, partition: int) -> Place:
        """Return how far a partition of the requests was read."""
        rows = self._run("SELECT resume, judged FROM place WHERE partition = ?", partition)
        return Place(int(rows[0][0]), int(rows[0][1])) if rows else Place()

    def set_place(self, partition: int, place: Place, marks: Iterable[Mark] = ()) -> None:
        """Note how far a partition was read, and how far other topics reached."""
        with self._transaction():
            values = (partition, place.resume, place.judged)
            self._connection.execute("INSERT OR REPLACE INTO place VALUES (?, ?, ?)", values)
            self._note(marks)

    def note(self, marks: Iterable[Mark]) -> None:
        """Note how far topics reached; what was seen before to reach farther stays."""
        with self._transaction():
            self._note(marks)

    def marks(self) -> list[Mark]:
        """Return how far topics reached; of the requests, how far they were judged."""
        rows = self._run("SELECT topic, partition, next_offset, message_hash FROM mark")
        marks = [Mark(str(t), int(p), int(n), bytes(h)) for t, p, n, h in rows]
        places = self._run("SELECT partition, judged FROM place")
        return [*marks, *(Mark(TopicName.ROUND_REQUESTS, int(p), int(judged)) for p, judged in places)]

    def _note(self, marks: Iterable[Mark]) -> None:
        for mark in marks:
            self._connection.execute(
                "INSERT INTO mark VALUES (?, ?, ?, ?) ON CONFLICT (topic, partition) DO UPDATE"
                " SET next_offset = excluded.next_offset, message_hash = excluded.message_hash"
                " WHERE excluded.next_offset > next_offset",
                (str(mark.topic), mark.partition, mark.next_offset, mark.message_hash),
            )

    def _run(self, statement: str, *values: object) -> list[tuple[bytes, ...]]:
        with self._lock, self._translated("written"):
            return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._translated("written"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                # SQLite has already rolled back after some errors, a full disk among them.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
            kind = StorageFullError if full else StorageError
            raise kind(f"SU's ledger cannot be {what}", file=self._path) from error
