"""One SQLite file in which a party keeps state of its own: opened, locked, its errors translated."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from pipeline.errors import StorageError, StorageFullError

BUSY_SECONDS = 10.0
"""How long one process waits for another that is writing to the same file."""


class SqliteFile:
    """A file of tables, used from any thread, by one at a time.

    A thread goes on after the task that awaits it was cancelled. So closing, too, waits for its turn:
    SQLite crashes the process when a connection is closed under a statement.
    """

    def __init__(self, path: Path, what: str, tables: str, version: int = 1) -> None:
        """Open the file, or make it.

        Args:
            path: The file; its directory is made.
            what: The file's name in messages: "SU's ledger".
            tables: Statements that make the tables where they are not there.
            version: Of the tables.

        Raises:
            StorageError: The file is damaged, of another version, or cannot be used.
            StorageFullError: There is no room to make it.
        """
        self._path = path
        self._what = what
        self._lock = Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{what} cannot be opened", file=path) from error
        with self._translated("opened"):
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None
            )
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=FULL")
                self._make(tables, version)
            except BaseException:
                self._connection.close()
                raise

    def _make(self, tables: str, version: int) -> None:
        run = self._connection.execute
        if run("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {tables}; PRAGMA user_version = {version}; COMMIT;"
            )
        elif run("PRAGMA user_version").fetchone() != (version,):
            raise StorageError(
                f"{self._what} is of another version",
                hint="use the version of PrivML that made it",
                file=self._path,
            )

    def close(self) -> None:
        """Close the file; what was not committed is dropped."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def connection(self, use: str) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread for a block; statements commit themselves unless it begins one.

        Args:
            use: What the block does, for messages: "read".

        Raises:
            StorageError: The file is damaged, cannot be used, or was closed.
            StorageFullError: There is no room to write.
        """
        with self._lock, self._translated(use):
            yield self._connection

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        with self.connection("read") as connection:
            return connection.execute(statement, values).fetchall()

    def change(self, statement: str, *values: object) -> None:
        """Run one statement; durable when it returns."""
        with self.connection("written") as connection:
            connection.execute(statement, values)

    @contextmanager
    def transaction(self, *, wait_for_disk: bool = True) -> Iterator[sqlite3.Connection]:
        """Give the connection for changes of which all or none take place; durable when the block ends.

        Args:
            wait_for_disk: Without it they are durable with the next ones that are; only a power failure
                takes them before.
        """
        with self.connection("written") as connection:
            if not wait_for_disk:
                connection.execute("PRAGMA synchronous=NORMAL")
            try:
                with transaction(connection):
                    yield connection
            finally:
                if not wait_for_disk:
                    connection.execute("PRAGMA synchronous=FULL")

    @contextmanager
    def attached(self, path: Path, name: str) -> Iterator[sqlite3.Connection]:
        """Give the connection for a transaction as above, with another file's tables at hand.

        Args:
            path: The other file.
            name: What its tables are called by: ``name.table``.
        """
        with self.connection("extended") as connection:
            connection.execute(f"ATTACH ? AS {name}", (str(path),))
            try:
                with transaction(connection):
                    yield connection
            finally:
                connection.execute(f"DETACH {name}")

    @contextmanager
    def _translated(self, use: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
            kind = StorageFullError if full else StorageError
            raise kind(f"{self._what} cannot be {use}", file=self._path) from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit on leaving, or roll back and let the error pass."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has already rolled back after some errors, a full disk among them.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
