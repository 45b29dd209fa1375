"""SU's ledger: which request of which session got which reply, where to resume, how far topics reached.

One SQLite file per shard, durable before a reply leaves. Shares and replies are not in it: SU
recomputes them from the requests (docs/security.md, rule 3).
"""

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StorageError
from pipeline.high_water import Mark
from pipeline.sqlite_file import SqliteFile
from schemas.topics import TopicName

_VERSION = 3
_TABLES = """
CREATE TABLE IF NOT EXISTS step (
    session BLOB NOT NULL, step INTEGER NOT NULL, request_hash BLOB NOT NULL, reply_hash BLOB NOT NULL,
    partition INTEGER NOT NULL, PRIMARY KEY (session, step)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answered (
    client TEXT NOT NULL, query_id BLOB NOT NULL, session BLOB NOT NULL, rows INTEGER NOT NULL,
    partition INTEGER NOT NULL, key_epoch INTEGER NOT NULL, PRIMARY KEY (client, query_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asked (
    client TEXT NOT NULL, key_epoch INTEGER NOT NULL, rows INTEGER NOT NULL, PRIMARY KEY (client, key_epoch)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS place (
    partition INTEGER PRIMARY KEY, resume INTEGER NOT NULL, judged INTEGER NOT NULL, replied INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS mark (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    message_hash BLOB NOT NULL, PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
"""
_MARK = """
INSERT INTO mark {source} ON CONFLICT (topic, partition) DO UPDATE
SET next_offset = excluded.next_offset, message_hash = excluded.message_hash
WHERE excluded.next_offset > next_offset
"""
_CONTRADICTION = """
SELECT count(*) FROM other.step AS theirs JOIN step AS ours USING (session, step)
WHERE theirs.request_hash != ours.request_hash OR theirs.reply_hash != ours.reply_hash
"""
_COUNT_ROWS = """
INSERT OR REPLACE INTO asked
SELECT client, key_epoch, sum(rows) FROM answered WHERE partition = ? GROUP BY client, key_epoch
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
        key_epoch: In which it is answered.
    """

    client: str
    query_id: bytes
    rows: int
    key_epoch: int


@dataclass(frozen=True, slots=True)
class Place:
    """How far a partition of the rounds was read.

    Attributes:
        resume: What stands before it among the requests is answered and belongs to no open session.
        judged: What stands before it among the requests was answered or refused, and reported if refused.
        replied: What stands before it among the replies is in the ledger.
    """

    resume: int = 0
    judged: int = 0
    replied: int = 0


class SessionLedger:
    """The ledger in one file; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Open the ledger, or make it.

        Raises:
            StorageError: The file is damaged or cannot be used.
            StorageFullError: There is no room to make it.
        """
        self._file = SqliteFile(path, "SU's ledger", _TABLES, _VERSION)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def step(self, session: bytes, step: int) -> Answered | None:
        """Return what was answered to a step, None if nothing was."""
        rows = self._file.rows(
            "SELECT request_hash, reply_hash FROM step WHERE session = ? AND step = ?", session, step
        )
        return Answered(*rows[0]) if rows else None

    def record(
        self, session: bytes, step: int, answered: Answered, partition: int, claim: Claim | None = None
    ) -> None:
        """Write what is about to be answered; durable when it returns.

        Args:
            session: Name of the session.
            step: Number of the step.
            answered: Hashes of request and reply.
            partition: Where the session's rounds go.
            claim: The query that the session answers, at its first step.
        """
        with self._file.transaction() as connection:
            values = (session, step, answered.request_hash, answered.reply_hash, partition)
            connection.execute("INSERT INTO step VALUES (?, ?, ?, ?, ?)", values)
            if claim is not None:
                answering = (claim.client, claim.query_id, session, claim.rows, partition, claim.key_epoch)
                connection.execute("INSERT INTO answered VALUES (?, ?, ?, ?, ?, ?)", answering)
                connection.execute(
                    "INSERT INTO asked VALUES (?, ?, ?)"
                    " ON CONFLICT (client, key_epoch) DO UPDATE SET rows = rows + excluded.rows",
                    (claim.client, claim.key_epoch, claim.rows),
                )

    def session_of(self, client: str, query_id: bytes) -> bytes | None:
        """Return the session that answers a query, None if it was not begun: one answer each."""
        rows = self._file.rows(
            "SELECT session FROM answered WHERE client = ? AND query_id = ?", *(client, query_id)
        )
        return bytes(rows[0][0]) if rows else None

    def rows_asked(self, client: str, key_epoch: int) -> int:
        """Return how many rows were answered to a client in a key epoch, or are about to be."""
        asked = "SELECT rows FROM asked WHERE client = ? AND key_epoch = ?"
        rows = self._file.rows(asked, client, key_epoch)
        return int(rows[0][0]) if rows else 0

    def place(self, partition: int) -> Place:
        """Return how far a partition was read."""
        rows = self._file.rows("SELECT resume, judged, replied FROM place WHERE partition = ?", partition)
        return Place(*map(int, rows[0])) if rows else Place()

    def set_places(self, places: Mapping[int, Place], marks: Iterable[Mark] = ()) -> None:
        """Note how far partitions were read, and how far other topics reached."""
        rows = [(partition, at.resume, at.judged, at.replied) for partition, at in places.items()]
        # Whatever of it a power failure takes is read again, so it need not wait for the disk.
        with self._file.transaction(wait_for_disk=False) as connection:
            connection.executemany("INSERT OR REPLACE INTO place VALUES (?, ?, ?, ?)", rows)
            _note(connection, marks)

    def note(self, marks: Iterable[Mark]) -> None:
        """Note how far topics reached; what was seen before to reach farther stays."""
        with self._file.transaction() as connection:
            _note(connection, marks)

    def marks(self) -> list[Mark]:
        """Return how far topics reached; of the rounds, how far they were judged and answered."""
        rows = self._file.rows("SELECT topic, partition, next_offset, message_hash FROM mark")
        marks = [Mark(str(t), int(p), int(n), bytes(h)) for t, p, n, h in rows]
        for partition, judged, replied in self._file.rows("SELECT partition, judged, replied FROM place"):
            marks.append(Mark(TopicName.ROUND_REQUESTS, int(partition), int(judged)))
            marks.append(Mark(TopicName.ROUND_REPLIES, int(partition), int(replied)))
        return marks

    def adopt(self, path: Path, partitions: Collection[int]) -> list[int]:
        """Take over what another shard's ledger has of these partitions, where it is further than this one.

        Args:
            path: The other ledger; it is only read.
            partitions: Of which this process is in charge now.

        Returns:
            The partitions that were taken over.

        Raises:
            StorageError: The ledgers contradict each other, or the other one cannot be read.
        """
        with self._file.attached(path, "other") as connection:
            if connection.execute("PRAGMA other.user_version").fetchone() != (_VERSION,):
                return []
            return _take_over(connection, path, partitions)


def _note(connection: sqlite3.Connection, marks: Iterable[Mark]) -> None:
    for mark in marks:
        values = (str(mark.topic), mark.partition, mark.next_offset, mark.message_hash)
        connection.execute(_MARK.format(source="VALUES (?, ?, ?, ?)"), values)


def _take_over(connection: sqlite3.Connection, path: Path, partitions: Collection[int]) -> list[int]:
    run = connection.execute
    own = dict(run("SELECT partition, replied FROM place").fetchall())
    theirs = run("SELECT partition, replied FROM other.place").fetchall()
    taken = [number for number, replied in theirs if number in partitions and replied > own.get(number, 0)]
    if taken and run(_CONTRADICTION).fetchone()[0]:
        raise StorageError("two ledgers of SU have different replies to one step", file=path)
    for partition in taken:
        for table in ("step", "answered"):
            # Table names are those above.
            statement = f"INSERT OR IGNORE INTO {table} SELECT * FROM other.{table} WHERE partition = ?"  # noqa: S608
            run(statement, (partition,))
        run("INSERT OR REPLACE INTO place SELECT * FROM other.place WHERE partition = ?", (partition,))
        run(_COUNT_ROWS, (partition,))
    run(_MARK.format(source="SELECT * FROM other.mark WHERE true"))
    return taken
