"""The embedded log's files after somebody edited them by hand, row by row and byte by byte."""

import shutil
import sqlite3
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import msgpack
import pytest
from fuzz.drawing import Draws
from fuzz.mutants import INTEGERS, Corpus, mutate_bytes, noise
from fuzz.verdicts import INPUTS, Tally

from pipeline.log_files import NewMessage, TopicFile, create_topic_file, unpack_headers
from pipeline.transport import Message, Position
from schemas.topics import Durability, Kept, TopicSpec

SPEC = TopicSpec("small.chunks", 2, Kept.AUDIT_WINDOW, Durability.NORMAL)
FILES = 2_000
"""Files with changed bytes: each is opened anew, which costs a millisecond."""

_TABLES = {
    "message": ("partition", '"offset"', "key", "headers", "value", "written_at"),
    "bounds": ("partition", "first_offset", "next_offset"),
    "topic": ("format", "name", "partitions", "durability", "kept"),
}
_SMALL = tuple(number for number in INTEGERS if -(2**63) <= number < 2**63)


def rows() -> list[tuple[object, ...]]:
    headers = msgpack.packb([["kind", b"chunk"]])
    return [(p, at, b"a", headers, b"value of %d %d" % (p, at), 10**18) for p in (0, 1) for at in (0, 1, 2)]


@pytest.fixture
def edited(memory_folder: Path) -> Iterator[sqlite3.Connection]:
    """Give the connection of somebody who edits the topic's file."""
    create_topic_file(memory_folder, SPEC)
    with closing(sqlite3.connect(memory_folder / f"{SPEC.topic}.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        fill(connection)
        yield connection


_GOOD: dict[str, list[tuple[object, ...]]] = {
    "message": rows(),
    "bounds": [(0, 0, 3), (1, 0, 3)],
    "topic": [(1, SPEC.topic, 2, SPEC.durability, SPEC.kept)],
}


def fill(connection: sqlite3.Connection, tables: Iterable[str] = _TABLES) -> None:
    """Write what a good file holds."""
    for table in tables:
        connection.execute(f"DELETE FROM {table}")
        places = ", ".join("?" * len(_TABLES[table]))
        connection.executemany(f"INSERT INTO {table} VALUES ({places})", _GOOD[table])


def hostile_value(draws: Draws, headers: bytes) -> object:
    """Return a value of any of SQLite's types."""
    match draws.below(9):
        case 0:
            return None
        case 1 | 2:
            return draws.pick(_SMALL)
        case 3:
            return draws.pick((0.0, 0.5, 1.5, -1.5, 1e18, 9.3e18, 1e300, float("inf")))
        case 4:
            return draws.pick(("", "x", "1x", "abc", "\x00", "é", "1e5", "9" * 40, "full", "normal"))
        case 5:
            return draws.pick((b"", b"\xff\xfe", b"1", draws.up_to(60)))
        case 6:
            return mutate_bytes(draws, headers, headers)
        case 7:
            return noise(draws)
        case _:
            return draws.below(9) - 2


def edit(draws: Draws, connection: sqlite3.Connection, table: str) -> bytes:
    """Change the file as any user of sqlite3 can; return the bytes and texts that were put into it."""
    columns = _TABLES[table]
    headers = msgpack.packb([["kind", b"chunk"]])
    put: list[object] = []
    for _ in range(draws.pick((1, 1, 1, 2, 3))):
        value = hostile_value(draws, headers)
        where = draws.pick(("rowid = 1", "rowid = 2", "rowid % 3 = 0", "1"))
        statements: tuple[tuple[str, list[object]], ...] = (
            *(((f"UPDATE OR REPLACE {table} SET {draws.pick(columns)} = ? WHERE {where}"), [value]),) * 5,
            (f"DELETE FROM {table} WHERE {where}", []),
            (f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(columns))})",
             [hostile_value(draws, headers) for _ in columns]),
        )  # fmt: skip
        statement, values = draws.pick(statements)
        try:
            connection.execute(statement, values)
        except sqlite3.IntegrityError:
            continue
        put += values
    # Offsets are no secret.
    return b" ".join(
        value if isinstance(value, bytes) else value.encode()
        for value in put
        if isinstance(value, bytes | str)
    )


def read_all(file: TopicFile) -> list[Message]:
    """Do with a topic what a reader does."""
    found: list[Message] = []
    for partition in (0, 1):
        offset, _ = file.bounds(partition)
        for _ in range(20):
            messages = file.read(partition, offset, 2, 1 << 20)
            if not messages:
                break
            offset = messages[-1].offset + 1
            found += messages
    return found


def append_two(file: TopicFile) -> None:
    """Do with a topic what a writer does, and find it where it was put."""
    placed = file.append([NewMessage(0, b"k", None, b"new"), NewMessage(None, b"k", None, b"new")])
    for position in placed:
        if isinstance(position, Position):
            last = file.read(position.partition, position.offset, 1, 1)
            assert [message.value for message in last] == [b"new"]


def check_message(message: Message) -> None:
    assert type(message.offset) is int
    assert 0 <= message.offset < 1 << 63
    assert type(message.value) is bytes
    assert message.key is None or type(message.key) is bytes
    assert type(message.written_at) is int
    assert all(type(name) is str and type(value) is bytes for name, value in message.headers.items())


def test_any_rows_are_messages_or_a_reason(memory_folder: Path, edited: sqlite3.Connection) -> None:
    draws, tally = Draws("rows"), Tally()
    with closing(TopicFile(memory_folder, SPEC.topic)) as reading:
        for _ in range(INPUTS):
            table = draws.pick(("message", "message", "message", "message", "bounds", "topic"))
            appends = draws.chance(8)
            # A topic that is being read, or, where its facts are changed, one that is opened.
            opens = table == "topic" or draws.chance(20)
            edited.execute("BEGIN")
            data = edit(draws, edited, table)
            edited.execute("COMMIT")

            def use(_: bytes, *, opens: bool = opens, appends: bool = appends) -> list[Message]:
                if opens:
                    with closing(TopicFile(memory_folder, SPEC.topic)) as file:
                        return use_file(file, appends=appends)
                return use_file(reading, appends=appends)

            messages = tally.judge(use, data, mutated=True)
            for message in messages or ():
                check_message(message)
            for before, after in pairwise(messages or ()):
                assert (before.partition, before.offset) < (after.partition, after.offset)
            edited.execute("BEGIN")
            fill(edited, {table, "message", "bounds"} if appends else {table})
            edited.execute("COMMIT")
    tally.check(reasons=["storage_damaged", "unknown_topic", "log_rolled_back"])


def use_file(file: TopicFile, *, appends: bool) -> list[Message]:
    messages = read_all(file)
    if appends:
        file.info()
        append_two(file)
    return messages


def test_any_headers_are_headers_or_none() -> None:
    draws, tally = Draws("headers"), Tally()
    good = msgpack.packb([["kind", b"chunk"], ["x", b""]])
    corpus = Corpus.of_msgpack([good, msgpack.packb([["kind", b"receipt"]])])
    for _ in range(INPUTS):
        data, mutated = (noise(draws), False) if draws.chance(10) else corpus.mutant(draws)
        headers = tally.judge(unpack_headers, data, mutated=mutated)
        assert isinstance(headers, dict)
        assert all(isinstance(name, str) and isinstance(value, bytes) for name, value in headers.items())
    tally.check()
    assert not tally.refused


def test_headers_that_claim_a_length_take_no_memory() -> None:
    for claim in (
        b"\xdd" + b"\xff" * 4,
        b"\xdd\x00\x3f\xff\xff" * 1000,
        b"\xdf" + b"\xff" * 4,
        b"\x91" * 100_000,
    ):
        data = claim + bytes((4 << 20) - len(claim))
        tracemalloc.start()
        try:
            assert unpack_headers(data) == {}
            assert tracemalloc.get_traced_memory()[1] < 128 << 20
        finally:
            tracemalloc.stop()


def test_any_file_is_a_topic_or_a_reason(memory_folder: Path, edited: sqlite3.Connection) -> None:
    draws, tally = Draws("topic files"), Tally()
    edited.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    edited.close()
    name = f"{SPEC.topic}.sqlite"
    whole = (memory_folder / name).read_bytes()
    page = len(whole) // 4
    for number in range(FILES):
        folder = memory_folder / "changed"
        folder.mkdir()
        data, mutated = noise(draws), False
        if not draws.chance(20):
            # The first page names the format, the others hold the rows.
            at = draws.below(100) if draws.chance(4) else draws.below(len(whole))
            data = whole[:at] + mutate_bytes(draws, whole[at : at + 200], whole[:page]) + whole[at + 200 :]
            mutated = data != whole
        (folder / name).write_bytes(data)
        if draws.chance(30):
            (folder / f"{name}-wal").write_bytes(draws.bytes(200))

        def read(_: bytes, folder: Path = folder) -> list[Message]:
            with closing(TopicFile(folder, SPEC.topic)) as file:
                file.info()
                file.append([NewMessage(0, b"k", None, b"new")])
                return read_all(file)

        messages = tally.judge(read, data, mutated=mutated, secret=b"value of")
        for message in messages or ():
            check_message(message)
        shutil.rmtree(folder)
        assert number < FILES
    tally.check(FILES, reasons=["storage_damaged"])
