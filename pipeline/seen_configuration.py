"""The newest version of the configuration that this host has seen: none before it is taken any more."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pipeline.sqlite_file import SqliteFile

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
        if not (self.folder / FILE).exists():
            return None
        with closing(self._open()) as file:
            rows = file.rows("SELECT version, configuration FROM seen")
        return Seen(int(rows[0][0]), bytes(rows[0][1])) if rows else None

    def note(self, version: int, configuration: bytes) -> None:
        """Note a version, durably, unless a newer one was seen.

        Raises:
            StorageError: The file cannot be written.
            StorageFullError: There is no room.
        """
        if (seen := self.read()) is not None and seen.version >= version:
            return
        with closing(self._open()) as file:
            file.change(
                "INSERT INTO seen VALUES (0, ?, ?) ON CONFLICT (only) DO UPDATE"
                " SET version = excluded.version, configuration = excluded.configuration"
                " WHERE excluded.version > version",
                *(version, configuration),
            )

    def _open(self) -> SqliteFile:
        return SqliteFile(self.folder / FILE, "what this host has seen", _TABLE)
