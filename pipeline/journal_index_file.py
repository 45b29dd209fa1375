"""MU's index of its journal in one SQLite file, with the mark of how far the journal was.

What it holds follows from the journal, and it can be made anew from it. The mark does not: a journal
that lacks the entry which the mark names was replaced by an older copy, and MU stops rather than go
on with it (docs/security.md, rule 7).
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from pipeline.sqlite_file import SqliteFile
from roles.journal_index import AcceptedChunk
from schemas.journal import GENESIS, JournalEntry
from schemas.snapshots import NOT_REKEYED

_VERSION = 2
_MAX_INTEGER = (1 << 63) - 1

_TABLES = """
CREATE TABLE IF NOT EXISTS chunk (
    owner TEXT NOT NULL, owner_sequence INTEGER NOT NULL, sequence INTEGER NOT NULL,
    message_hash BLOB NOT NULL, records INTEGER NOT NULL, partition INTEGER NOT NULL,
    "offset" INTEGER NOT NULL, withdrawn INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (owner, owner_sequence)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rekeyed (
    owner TEXT NOT NULL, owner_sequence INTEGER NOT NULL, partition INTEGER NOT NULL,
    "offset" INTEGER NOT NULL, message_hash BLOB NOT NULL, PRIMARY KEY (owner, owner_sequence)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS query (
    client TEXT NOT NULL, query_id BLOB NOT NULL, message_hash BLOB NOT NULL, rows INTEGER NOT NULL,
    PRIMARY KEY (client, query_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asked (
    client TEXT NOT NULL, key_epoch INTEGER NOT NULL, rows INTEGER NOT NULL, PRIMARY KEY (client, key_epoch)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mark (
    only INTEGER PRIMARY KEY CHECK (only = 0), sequence INTEGER NOT NULL, head BLOB NOT NULL,
    "offset" INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS reported (topic TEXT PRIMARY KEY, next_offset INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class JournalMark:
    """How far the journal was, as MU last made sure.

    Attributes:
        sequence: Of the last entry; −1 before the first.
        head: Its id.
        offset: Behind it on the journal's topic.
    """

    sequence: int = -1
    head: bytes = GENESIS
    offset: int = 0


class JournalIndexFile:
    """A `JournalIndex` on disk; safe to use from several threads.

    What is added becomes durable with the next `commit`, together with the mark.
    """

    def __init__(self, path: Path) -> None:
        """Open the index, or make it.

        Raises:
            StorageError: The file is damaged or cannot be used.
            StorageFullError: There is no room to make it.
        """
        self._file = SqliteFile(path, "MU's index", _TABLES, _VERSION)

    def close(self) -> None:
        """Close the file; what was not committed is dropped."""
        self._file.close()

    # --- the mark

    def mark(self) -> JournalMark:
        """Return how far the journal was."""
        rows = self._file.rows('SELECT sequence, head, "offset" FROM mark')
        if not rows:
            return JournalMark()
        sequence, head, offset = rows[0]
        return JournalMark(int(sequence), bytes(head), int(offset))

    def commit(self, mark: JournalMark) -> None:
        """Make everything added durable, and the mark with it."""
        with self._file.connection("written") as connection:
            _begin(connection)
            values = (mark.sequence, mark.head, mark.offset)
            connection.execute("INSERT OR REPLACE INTO mark VALUES (0, ?, ?, ?)", values)
            connection.execute("COMMIT")

    # --- what is refused without an entry

    def reported(self, topic: str) -> int:
        """Return behind which message of a topic no refusal was reported yet."""
        rows = self._file.rows("SELECT next_offset FROM reported WHERE topic = ?", topic)
        return int(rows[0][0]) if rows else 0

    def set_reported(self, topic: str, next_offset: int) -> None:
        """Note that whatever was to be refused before an offset was reported; durable when it returns.

        Only where nothing waits for `commit`.
        """
        self._file.change("INSERT OR REPLACE INTO reported VALUES (?, ?)", topic, next_offset)

    # --- JournalIndex

    def chunk(self, owner: str, sequence: int) -> AcceptedChunk | None:
        """See `JournalIndex.chunk`."""
        if not 0 <= sequence <= _MAX_INTEGER:
            # A withdrawal may name any number; envelopes carry none of these.
            return None
        rows = self._file.rows(
            'SELECT sequence, message_hash, records, partition, "offset", withdrawn FROM chunk'
            " WHERE owner = ? AND owner_sequence = ?",
            *(owner, sequence),
        )
        if not rows:
            return None
        number, message_hash, records, partition, offset, withdrawn = rows[0]
        place = partition, offset
        rekeyed = self._rekeyed(owner, sequence)
        return AcceptedChunk(number, bytes(message_hash), records, *place, bool(withdrawn), rekeyed)

    def _rekeyed(self, owner: str, sequence: int) -> tuple[int, int, bytes]:
        rows = self._file.rows(
            'SELECT partition, "offset", message_hash FROM rekeyed WHERE owner = ? AND owner_sequence = ?',
            *(owner, sequence),
        )
        if not rows:
            return NOT_REKEYED
        partition, offset, message_hash = rows[0]
        return int(partition), int(offset), bytes(message_hash)

    def query(self, client: str, query_id: bytes) -> bytes | None:
        """See `JournalIndex.query`."""
        rows = self._file.rows(
            "SELECT message_hash FROM query WHERE client = ? AND query_id = ?", client, query_id
        )
        return bytes(rows[0][0]) if rows else None

    def rows_asked(self, client: str, key_epoch: int) -> int:
        """See `JournalIndex.rows_asked`."""
        asked = "SELECT rows FROM asked WHERE client = ? AND key_epoch = ?"
        rows = self._file.rows(asked, client, key_epoch)
        return int(rows[0][0]) if rows else 0

    def add_chunk(self, entry: JournalEntry) -> None:
        """See `JournalIndex.add_chunk`."""
        self._change(
            "INSERT OR IGNORE INTO chunk (owner, owner_sequence, sequence, message_hash, records, partition,"
            ' "offset") VALUES (?, ?, ?, ?, ?, ?, ?)',
            *(entry.sender, entry.sender_sequence, entry.sequence, entry.message_hash, entry.records),
            *(entry.partition, entry.offset),
        )

    def rekey(self, entry: JournalEntry) -> None:
        """See `JournalIndex.rekey`."""
        self._change(
            "INSERT OR REPLACE INTO rekeyed VALUES (?, ?, ?, ?, ?)",
            *(entry.sender, entry.sender_sequence, entry.partition, entry.offset, entry.message_hash),
        )

    def withdraw(self, entry: JournalEntry) -> None:
        """See `JournalIndex.withdraw`."""
        self._change(
            "UPDATE chunk SET withdrawn = 1 WHERE owner = ? AND owner_sequence = ?",
            *(entry.sender, entry.sender_sequence),
        )

    def add_query(self, entry: JournalEntry, query_id: bytes, key_epoch: int) -> None:
        """See `JournalIndex.add_query`."""
        values = (entry.sender, query_id, entry.message_hash, entry.records)
        if self._change("INSERT OR IGNORE INTO query VALUES (?, ?, ?, ?)", *values):
            self._change(
                "INSERT INTO asked VALUES (?, ?, ?)"
                " ON CONFLICT (client, key_epoch) DO UPDATE SET rows = rows + excluded.rows",
                *(entry.sender, key_epoch, entry.records),
            )

    def _change(self, statement: str, *values: object) -> int:
        with self._file.connection("written") as connection:
            _begin(connection)
            return connection.execute(statement, values).rowcount


def _begin(connection: sqlite3.Connection) -> None:
    """Begin what the next `commit` ends."""
    if not connection.in_transaction:
        connection.execute("BEGIN IMMEDIATE")
