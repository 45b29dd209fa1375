"""What only the embedded log promises: other processes, sudden death, full disks, meddling."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pipeline import embedded_log, log_writer
from pipeline.doorbell import Doorbell
from pipeline.embedded_log import EmbeddedLog
from pipeline.errors import (
    InvalidTransportUrlError,
    StorageError,
    StorageFullError,
    TransportError,
    UnknownTopicError,
)
from pipeline.log_files import TopicFile, pack_headers, unpack_headers
from pipeline.memory_transport import MemoryTransport
from pipeline.off_loop import SMALL_BYTES
from pipeline.topic_urls import open_transport
from pipeline.transport import Message
from schemas.topics import Durability, Kept, TopicSpec

PATIENCE = 60.0
CHUNKS = TopicSpec("t.chunks", 1, Kept.AUDIT_WINDOW, Durability.FULL)
ROUNDS = TopicSpec("t.rounds.requests", 1, Kept.SHORT, Durability.NORMAL)
REPLIES = TopicSpec("t.rounds.replies", 1, Kept.SHORT, Durability.NORMAL)

ECHO = """
import asyncio, sys
from pathlib import Path
from pipeline.embedded_log import EmbeddedLog

async def main():
    async with EmbeddedLog(Path(sys.argv[1])) as log:
        for offset in range(int(sys.argv[2])):
            (message,) = await log.read("t.rounds.requests", 0, offset, 1, wait_seconds=60)
            await log.append("t.rounds.replies", message.key, message.value[::-1])

asyncio.run(main())
"""

WRITE_FOREVER = """
import asyncio, sys
from pathlib import Path
from pipeline.embedded_log import EmbeddedLog

async def write(log, name):
    for i in range(10**6):
        value = f"{name} {i}"
        position = await log.append("t.chunks", None, value.encode())
        print(position.offset, value, flush=True)

async def main():
    async with EmbeddedLog(Path(sys.argv[1])) as log:
        await asyncio.gather(*(write(log, f"{sys.argv[2]}{n}") for n in range(4)))

asyncio.run(main())
"""


@contextlib.contextmanager
def process(program: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    started = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    with started:
        try:
            yield started
        finally:
            started.kill()


@pytest.fixture
def topics(tmp_path: Path) -> Path:
    return tmp_path / "topics"


@pytest.fixture
async def log(topics: Path) -> AsyncIterator[EmbeddedLog]:
    async with EmbeddedLog(topics) as log:
        await log.create_topics([CHUNKS, ROUNDS, REPLIES])
        yield log


def edit(topics: Path, statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(topics / "t.chunks.sqlite", timeout=30)) as connection:
        connection.execute(statement, values)
        connection.commit()


async def test_two_processes_converse(topics: Path, log: EmbeddedLog) -> None:
    with process(ECHO, topics, 20) as echo:
        for i in range(20):
            await log.append("t.rounds.requests", b"model", b"request %d" % i)
            (reply,) = await log.read("t.rounds.replies", 0, i, wait_seconds=PATIENCE)
            assert reply.value == (b"request %d" % i)[::-1]
        assert await asyncio.to_thread(echo.wait, PATIENCE) == 0


async def test_what_was_acknowledged_survives_kill_9(topics: Path, log: EmbeddedLog) -> None:
    acknowledged: dict[int, str] = {}

    def note(line: str) -> None:
        if line.endswith("\n"):  # the last one may be cut
            offset, value = line.split(" ", 1)
            acknowledged[int(offset)] = value.strip()

    for name in ("a", "b"):
        with process(WRITE_FOREVER, topics, name) as writer:
            assert writer.stdout is not None
            for _ in range(40):
                note(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGKILL)
            for line in writer.stdout:
                note(line)
    end = (await log.append("t.chunks", None, b"after")).offset
    stored = [m async for m in messages(log, "t.chunks")]
    assert [m.offset for m in stored] == list(range(end + 1))
    assert len(acknowledged) >= 80
    for offset, value in acknowledged.items():
        assert stored[offset].value.decode() == value


async def messages(log: EmbeddedLog, topic: str) -> AsyncIterator[Message]:
    offset = 0
    while batch := await log.read(topic, 0, offset):
        for message in batch:
            yield message
        offset = batch[-1].offset + 1


async def test_a_dead_readers_doorbell_is_removed(topics: Path, log: EmbeddedLog) -> None:
    bells = topics / ".doorbells"
    with process(ECHO, topics, 1) as echo:
        await log.append("t.rounds.requests", None, b"x")
        await log.read("t.rounds.replies", 0, 0, wait_seconds=PATIENCE)
        await asyncio.to_thread(echo.wait, PATIENCE)
    own = {path.name for path in bells.iterdir()}
    with process(ECHO, topics, 5) as echo:
        await log.read("t.rounds.replies", 0, 1, wait_seconds=PATIENCE)
        assert {path.name for path in bells.iterdir()} > own
        os.kill(echo.pid, signal.SIGKILL)
    await log.append("t.chunks", None, b"rings")
    await log.append("t.chunks", None, b"the writer has rung when the next append returns")
    assert {path.name for path in bells.iterdir()} == own


async def test_readers_wake_without_doorbells(
    topics: Path, log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Doorbell, "ring", lambda self, places: None)
    waiting = asyncio.create_task(log.read("t.chunks", 0, 0, wait_seconds=PATIENCE))
    async with EmbeddedLog(topics) as other:
        await other.append("t.chunks", None, b"found by looking")
        assert [m.value for m in await waiting] == [b"found by looking"]


async def test_doorbells_ring_at_the_end_of_a_long_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_log, "POLL_SECONDS", PATIENCE)
    async with EmbeddedLog(tmp_path / ("long" * 40)) as log:
        await log.create_topics([ROUNDS])
        waiting = asyncio.create_task(log.read("t.rounds.requests", 0, 0, wait_seconds=PATIENCE / 2))
        await asyncio.sleep(0.1)
        await log.append("t.rounds.requests", None, b"rung")
        assert [m.value for m in await waiting] == [b"rung"]


async def test_a_full_disk_loses_nothing_and_recovers(
    topics: Path, log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SmallDisk(TopicFile):
        pages = 40

        def append(self, messages):  # type: ignore[no-untyped-def]
            self._connection.execute(f"PRAGMA max_page_count={self.pages}")
            return super().append(messages)

    monkeypatch.setattr(log_writer, "TopicFile", SmallDisk)
    async with EmbeddedLog(topics) as small:
        stored = 0

        async def fill() -> None:
            nonlocal stored
            while True:
                await small.append("t.chunks", None, bytes(10_000))
                stored += 1

        with pytest.raises(StorageFullError) as refused:
            await fill()
        assert (refused.value.code, refused.value.retriable) == ("storage_full", True)
        assert stored > 0
        assert await small.end_offset("t.chunks", 0) == stored
        SmallDisk.pages = 4000
        assert (await small.append("t.chunks", None, bytes(10_000))).offset == stored


async def test_nothing_stands_behind_an_append_that_failed(
    topics: Path, log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    class FailsOnce(TopicFile):
        def append(self, messages):  # type: ignore[no-untyped-def]
            if not go_on.is_set():
                entered.set()
                go_on.wait(PATIENCE)
                raise StorageFullError("no room")
            return super().append(messages)

    monkeypatch.setattr(log_writer, "TopicFile", FailsOnce)
    async with EmbeddedLog(topics) as small:
        first = asyncio.create_task(small.append("t.chunks", None, b"first"))
        await asyncio.to_thread(entered.wait, PATIENCE)
        # Called while the first one is still under way: no caller knows yet that it fails.
        later = [asyncio.create_task(small.append("t.chunks", None, b"later")) for _ in range(20)]
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(StorageFullError):
            await first
        results = await asyncio.gather(*later, return_exceptions=True)
        assert {type(result) for result in results} == {StorageFullError}
        assert await small.end_offset("t.chunks", 0) == 0
        # Who knows of it may try again.
        assert (await small.append("t.chunks", None, b"again")).offset == 0


async def test_closing_ends_an_append_that_fails(topics: Path, log: EmbeddedLog) -> None:
    async with EmbeddedLog(topics) as other:
        appends = [asyncio.create_task(other.append("t.nothing", None, b"x")) for _ in range(5)]
        await asyncio.sleep(0)
    results = await asyncio.gather(*appends, return_exceptions=True)
    assert {type(result) for result in results} == {UnknownTopicError}


async def test_a_damaged_file_is_a_storage_error(topics: Path) -> None:
    async with EmbeddedLog(topics) as log:
        await log.create_topics([CHUNKS])
    (topics / "t.chunks.sqlite").write_bytes(b"not a database, not at all" * 200)
    async with EmbeddedLog(topics) as log:
        with pytest.raises(StorageError):
            await log.read("t.chunks", 0, 0)
        with pytest.raises(StorageError):
            await log.append("t.chunks", None, b"x")


@pytest.fixture
def interrupted(topics: Path) -> Path:
    topics.mkdir()
    (topics / "t.chunks.sqlite").touch()
    return topics


async def test_an_empty_file_is_no_topic_until_it_is_created(interrupted: Path) -> None:
    async with EmbeddedLog(interrupted) as log:
        with pytest.raises(UnknownTopicError):
            await log.end_offset("t.chunks", 0)
        assert await log.topics() == []
        await log.create_topics([CHUNKS])
        assert (await log.append("t.chunks", None, b"x")).offset == 0


async def test_what_is_edited_by_hand_is_delivered_as_it_stands(topics: Path, log: EmbeddedLog) -> None:
    for i in range(5):
        await log.append("t.chunks", b"k", b"%d" % i, {"h": b"v"})
    edit(topics, 'DELETE FROM message WHERE "offset" IN (0, 2)')
    edit(
        topics,
        "UPDATE message SET value = 'text', key = 5, headers = x'ff00', written_at = 'x'"
        ' WHERE "offset" = 1',
    )
    edit(
        topics,
        "INSERT INTO message SELECT partition, 5, key, headers, value, written_at"
        ' FROM message WHERE "offset" = 3',
    )
    found = await log.read("t.chunks", 0, 0)
    assert [(m.offset, m.value) for m in found] == [(1, b"text"), (3, b"3"), (4, b"4"), (5, b"3")]
    assert (found[0].key, found[0].headers, found[0].written_at) == (b"5", {}, 0)
    assert (await log.append("t.chunks", None, b"next")).offset == 6


async def test_a_waiting_read_sees_what_is_inserted_by_hand(topics: Path, log: EmbeddedLog) -> None:
    waiting = asyncio.create_task(log.read("t.chunks", 0, 0, wait_seconds=PATIENCE))
    await asyncio.to_thread(edit, topics, "INSERT INTO message VALUES (0, 0, NULL, NULL, x'01', 0)")
    assert [m.value for m in await waiting] == [b"\x01"]


async def test_little_is_read_in_the_loop_and_much_in_a_thread(
    log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[threading.Thread] = []
    read = TopicFile.read

    def noted(self: TopicFile, *arguments: int) -> list[Message]:
        readers.append(threading.current_thread())
        return read(self, *arguments)

    monkeypatch.setattr(TopicFile, "read", noted)
    for offset, size in enumerate((SMALL_BYTES, SMALL_BYTES + 1)):
        await log.append("t.chunks", None, bytes(size))
        (found,) = await log.read("t.chunks", 0, offset, wait_seconds=PATIENCE)
        assert len(found.value) == size
    assert [reader is threading.main_thread() for reader in readers] == [True, False]


async def test_a_file_that_is_held_is_waited_for_in_a_thread(topics: Path) -> None:
    async with EmbeddedLog(topics) as before:
        await before.create_topics([CHUNKS])
        await before.append("t.chunks", None, b"at last")
    async with EmbeddedLog(topics) as log:
        with contextlib.closing(sqlite3.connect(topics / "t.chunks.sqlite")) as holder:
            holder.execute("PRAGMA locking_mode=EXCLUSIVE")
            holder.execute("BEGIN EXCLUSIVE")
            waiting = asyncio.create_task(log.read("t.chunks", 0, 0, wait_seconds=PATIENCE))
            await asyncio.sleep(0.05)
            assert not waiting.done()
        assert [m.value for m in await waiting] == [b"at last"]
        # What looks in the loop would not have waited at all.
        await log.read("t.chunks", 0, 0, wait_seconds=PATIENCE)
        glancing = log._glancing["t.chunks"]._connection
        assert glancing.execute("PRAGMA busy_timeout").fetchone() == (0,)


async def test_offsets_of_deleted_messages_are_not_given_again(topics: Path, log: EmbeddedLog) -> None:
    for i in range(3):
        await log.append("t.chunks", None, b"%d" % i)
    edit(topics, "DELETE FROM message")
    assert await log.end_offset("t.chunks", 0) == 3
    assert (await log.append("t.chunks", None, b"next")).offset == 3


async def test_durability_is_what_the_topic_says(topics: Path, log: EmbeddedLog) -> None:
    for spec, level in ((CHUNKS, 2), (ROUNDS, 1)):
        file = TopicFile(topics, spec.topic)
        assert file._connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert file._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        file.close()


async def test_cancelled_appends_leave_the_log_usable(log: EmbeddedLog) -> None:
    appends = [asyncio.create_task(log.append("t.chunks", None, b"%d" % i)) for i in range(20)]
    await asyncio.sleep(0)
    for append in appends[::2]:
        append.cancel()
    outcomes = await asyncio.gather(*appends, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
    offset = (await log.append("t.chunks", None, b"last")).offset
    assert [m.offset async for m in messages(log, "t.chunks")] == list(range(offset + 1))


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with EmbeddedLog(tmp_path / "file" / "topics") as log:
        with pytest.raises(TransportError) as refused:
            await log.create_topics([CHUNKS])
    assert refused.value.code == "transport_unreachable"


@pytest.mark.parametrize(
    "damaged", [b"\xff", b"\x91\x01", b"\x91\x92\xa1a\xa1b", b"\x92\x92\xa1a\xc4\x00", b"\xc0", b"\x01"]
)
def test_damaged_headers_are_no_headers(damaged: bytes) -> None:
    assert unpack_headers(damaged) == {}


def test_headers_come_back() -> None:
    headers = {"a": b"1", "b": b""}
    assert unpack_headers(pack_headers(headers)) == headers
    assert pack_headers({}) is None


def test_urls_open_transports(tmp_path: Path) -> None:
    assert isinstance(open_transport(f"log:{tmp_path}"), EmbeddedLog)
    one, two, other = open_transport("memory:x"), open_transport("memory:x"), open_transport("memory:y")
    assert isinstance(one, MemoryTransport)
    assert isinstance(two, MemoryTransport)
    assert isinstance(other, MemoryTransport)
    assert one.broker is two.broker
    assert one.broker is not other.broker


@pytest.mark.parametrize("url", ["kafka://", "log:", "log", "http://x", ""])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidTransportUrlError) as refused:
        open_transport(url)
    assert refused.value.code == "invalid_config"
