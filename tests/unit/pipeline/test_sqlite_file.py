"""A party's own SQLite file, in threads that outlive what waits for them."""

import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest

from pipeline.errors import StorageError, StorageFullError
from pipeline.sqlite_file import SqliteFile

TABLES = "CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"


@pytest.fixture
def file(tmp_path: Path) -> SqliteFile:
    return SqliteFile(tmp_path / "new" / "state.sqlite", "the state", TABLES)


def values(file: SqliteFile) -> list[tuple[str, int]]:
    return [(name, value) for name, value in file.rows("SELECT name, value FROM fact ORDER BY name")]


def test_what_was_changed_is_there_after_opening_again(file: SqliteFile, tmp_path: Path) -> None:
    file.change("INSERT INTO fact VALUES (?, ?)", "one", 1)
    file.close()
    again = SqliteFile(tmp_path / "new" / "state.sqlite", "the state", TABLES)
    assert values(again) == [("one", 1)]
    assert again.rows("PRAGMA journal_mode") == [("wal",)]
    assert again.rows("PRAGMA synchronous") == [(2,)]
    again.close()


def test_of_a_failed_transaction_nothing_takes_place(file: SqliteFile) -> None:
    def add(*names: str) -> None:
        with file.transaction() as connection:
            for name in names:
                connection.execute("INSERT INTO fact VALUES (?, ?)", (name, len(names)))
            if "bad" in names:
                raise KeyError

    add("one")
    with pytest.raises(StorageError, match="the state cannot be written"):
        add("two", "one")
    with pytest.raises(KeyError):
        add("three", "bad")
    assert values(file) == [("one", 1)]
    file.close()


def test_closing_waits_for_the_statement_of_another_thread(file: SqliteFile) -> None:
    running, go_on, closed = threading.Event(), threading.Event(), threading.Event()
    found: list[tuple[int]] = []

    def read() -> None:
        with file.connection("read") as connection:
            running.set()
            assert go_on.wait(30)
            found.extend(connection.execute("SELECT count(*) FROM fact").fetchall())

    def close() -> None:
        file.close()
        closed.set()

    threads = [threading.Thread(target=read), threading.Thread(target=close)]
    threads[0].start()
    assert running.wait(30)
    threads[1].start()
    assert not closed.wait(0.2)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert (found, closed.is_set()) == ([(0,)], True)
    with pytest.raises(StorageError, match="the state cannot be read"):
        file.rows("SELECT 1")


def test_what_cannot_be_opened_or_written_says_so(file: SqliteFile, tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"no tables" * 1000)
    (tmp_path / "a file").touch()
    for path in (tmp_path / "damaged", tmp_path / "a file" / "state"):
        with pytest.raises(StorageError, match="the state cannot be opened") as refused:
            SqliteFile(path, "the state", TABLES)
        assert refused.value.file == path
    file.rows("PRAGMA max_page_count=1")
    with pytest.raises(StorageFullError, match="the state cannot be written"):
        file.change("INSERT INTO fact VALUES (?, 0)", "long" * 10_000)
    with pytest.raises(StorageError, match="the state is of another version") as refused:
        SqliteFile(tmp_path / "new" / "state.sqlite", "the state", TABLES, version=2)
    assert refused.value.file == tmp_path / "new" / "state.sqlite"
    with contextlib.closing(sqlite3.connect(tmp_path / "new" / "state.sqlite")) as beside:
        assert beside.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    file.close()
