"""The newest version of the configuration that this host has seen: none before it is taken any more."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StorageError, StorageFullError

FILE = "configuration.seen"
_TABLE = """
CREATE TABLE IF NOT EXISTS seen (
    only INTEGER PRIMARY KEY CHECK (only = 0), version INTEGER NOT NULL, configuration BLOB NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """A version: its number and its hash."""

    version: int
    configuration: bytes


@dataclass(frozen=True, slots=True)
class SeenConfiguration:
    """The memory in one file of a state folder; several processes may use it at a time."""

    folder: Path

    def read(self) -> Seen | None:
        """Return the newest version seen, None if none was.

        Raises:
            StorageError: The file is damaged.
        """
        path = self.folder / FILE
        if not path.exists():
            return None
        with self._translated("read"), closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT version, configuration FROM seen").fetchall()
        return Seen(int(rows[0][0]), bytes(rows[0][1])) if rows else None

    def note(self, version: int, configuration: bytes) -> None:
        """Note a version, durably, unless a newer one was seen.

        Raises:
            StorageError: The file cannot be written.
            StorageFullError: There is no room.
        """
        if (seen := self.read()) is not None and seen.version >= version:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError("the state folder cannot be written", file=self.folder) from error
        with self._translated("written"), closing(sqlite3.connect(self.folder / FILE)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(_TABLE)
            with connection:
                connection.execute(
                    "INSERT INTO seen VALUES (0, ?, ?) ON CONFLICT (only) DO UPDATE"
                    " SET version = excluded.version, configuration = excluded.configuration"
                    " WHERE excluded.version > version",
                    (version, configuration),
                )

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
            kind = StorageFullError if full else StorageError
            raise kind(f"what this host has seen cannot be {what}", file=self.folder / FILE) from error
