"""Topics in a directory of this host, one SQLite file each; the transport without a broker.

Appends of a topic are collected by one writer thread into one transaction (group commit). A reader
that waits looks in the event loop, as long as what it finds is little; all else is read in a small
thread pool. The loop never waits for a file that another process holds. Any process may be killed at
any moment: what `append` returned for is there, and nothing is half there.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pipeline.doorbell import Doorbell
from pipeline.errors import (
    PipelineError,
    StorageError,
    TransportClosedError,
    TransportError,
    UnknownTopicError,
)
from pipeline.log_files import SUFFIX, NewMessage, TopicFile, create_topic_file, pack_headers
from pipeline.log_writer import PendingAppend, TopicWriter, place_of
from pipeline.off_loop import SMALL_BYTES
from pipeline.transport import (
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_MESSAGES,
    Message,
    Position,
    TopicInfo,
    check_append_size,
)
from schemas.topics import TopicSpec

T = TypeVar("T")

# The net under the doorbell, which also sees what was written with sqlite3 by hand.
POLL_SECONDS = 0.2
_READ_THREADS = 4


class EmbeddedLog:
    """One process's handle on a directory of topics; see `Transport`.

    Used from one event loop. Any number of handles and processes of one host may share the
    directory, which must be on a local disk (SQLite's WAL needs shared memory).
    """

    def __init__(self, directory: Path) -> None:
        """Use `directory`; nothing is touched before the first call."""
        self._directory = directory.absolute()
        self._doorbell = Doorbell(self._directory / ".doorbells")
        self._threads = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="read topics")
        self._lock = threading.Lock()
        self._idle: dict[str, list[TopicFile]] = {}
        self._glancing: dict[str, TopicFile] = {}
        self._writers: dict[str, TopicWriter] = {}
        self._waiting: dict[bytes, set[asyncio.Event]] = {}
        self._closed = False

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """See `Transport.create_topics`."""
        await self._in_thread(lambda: self._create(specs))

    async def topics(self) -> list[TopicInfo]:
        """See `Transport.topics`."""
        return await self._in_thread(self._infos)

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: Mapping[str, bytes] | None = None,
        partition: int | None = None,
    ) -> Position:
        """See `Transport.append`."""
        self._check_open()
        headers = headers or {}
        check_append_size(key, value, headers)
        # Nothing is awaited before the message is in its queue: that keeps the order of calls.
        writer = self._writers.get(topic)
        if writer is None:
            writer = TopicWriter(self._directory, topic, self._doorbell.ring, self._wake)
            self._writers[topic] = writer
        loop = asyncio.get_running_loop()
        position: asyncio.Future[Position] = loop.create_future()
        writer.put(PendingAppend(NewMessage(partition, key, pack_headers(headers), value), position, loop))
        return await position

    async def read(
        self,
        topic: str,
        partition: int,
        offset: int,
        max_messages: int = DEFAULT_MAX_MESSAGES,
        max_bytes: int = DEFAULT_MAX_BYTES,
        wait_seconds: float = 0.0,
    ) -> list[Message]:
        """See `Transport.read`."""

        def look(file: TopicFile) -> list[Message]:
            return file.read(partition, offset, max_messages, max_bytes)

        if wait_seconds <= 0:
            return await self._with_file_in_thread(topic, look)
        self._doorbell.listen(self._wake)
        clock = asyncio.get_running_loop().time
        end = clock() + wait_seconds
        event = asyncio.Event()
        place = place_of(topic, partition)
        self._waiting.setdefault(place, set()).add(event)
        try:
            while True:
                self._check_open()
                # Cleared before looking, so that a ring during the look is not lost.
                event.clear()
                found = self._glance(topic, partition, offset, max_messages, look)
                if found is None:
                    found = await self._with_file_in_thread(topic, look)
                left = end - clock()
                if found or left <= 0:
                    return found
                await _wait(event, min(POLL_SECONDS, left))
        finally:
            self._waiting[place].discard(event)
            if not self._waiting[place]:
                del self._waiting[place]

    async def beginning_offset(self, topic: str, partition: int) -> int:
        """See `Transport.beginning_offset`."""
        bounds = await self._with_file_in_thread(topic, lambda file: file.bounds(partition))
        return bounds[0]

    async def end_offset(self, topic: str, partition: int) -> int:
        """See `Transport.end_offset`."""
        bounds = await self._with_file_in_thread(topic, lambda file: file.bounds(partition))
        return bounds[1]

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """See `Transport.trim`."""
        await self._with_file_in_thread(topic, lambda file: file.trim(partition, before))

    async def close(self) -> None:
        """See `Transport.close`."""
        if self._closed:
            return
        self._closed = True
        self._wake(None)
        await asyncio.to_thread(self._finish)
        self._doorbell.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise TransportClosedError("the embedded log is closed")

    async def _in_thread(self, function: Callable[[], T]) -> T:
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    async def _with_file_in_thread(self, topic: str, use: Callable[[TopicFile], T]) -> T:
        return await self._in_thread(lambda: self._with_file(topic, use))

    def _glance(
        self,
        topic: str,
        partition: int,
        offset: int,
        max_messages: int,
        look: Callable[[TopicFile], list[Message]],
    ) -> list[Message] | None:
        """Look in the loop for what is little and at hand; None if a thread has to look.

        The way to a thread and back costs more than this, and most looks find nothing. Nobody is waited
        for: who finds the file held looks in a thread.
        """
        file = self._glancing.pop(topic, None)
        try:
            file = file or TopicFile(self._directory, topic, busy_seconds=0.0)
            small = file.size(partition, offset, max_messages) <= SMALL_BYTES
            found = look(file) if small else None
        except PipelineError:
            # The thread will meet it again.
            if file is not None:
                file.close()
            return None
        self._glancing[topic] = file
        return found

    def _wake(self, places: set[bytes] | None) -> None:
        for place in list(self._waiting) if places is None else places:
            for event in self._waiting.get(place, ()):
                event.set()

    # In threads from here on.

    def _create(self, specs: Sequence[TopicSpec]) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TransportError(
                f"the topics' directory cannot be made (errno {error.errno})", file=self._directory
            ) from error
        for spec in specs:
            create_topic_file(self._directory, spec)

    def _infos(self) -> list[TopicInfo]:
        infos: list[TopicInfo] = []
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            try:
                infos.append(self._with_file(path.name.removesuffix(SUFFIX), TopicFile.info))
            except UnknownTopicError:
                continue  # its creation was interrupted
        return infos

    def _with_file(self, topic: str, use: Callable[[TopicFile], T]) -> T:
        """Run `use` on a connection of the topic that nobody else uses meanwhile."""
        with self._lock:
            idle = self._idle.get(topic)
            file = idle.pop() if idle else None
        if file is None:
            file = TopicFile(self._directory, topic)
        try:
            result = use(file)
        except StorageError:
            # A damaged file may be replaced; the next call opens it afresh.
            file.close()
            raise
        except BaseException:
            self._give_back(topic, file)
            raise
        self._give_back(topic, file)
        return result

    def _give_back(self, topic: str, file: TopicFile) -> None:
        with self._lock:
            self._idle.setdefault(topic, []).append(file)

    def _finish(self) -> None:
        for writer in self._writers.values():
            writer.finish()
        self._threads.shutdown(wait=True)
        for file in chain(self._glancing.values(), *self._idle.values()):
            file.close()
        self._glancing.clear()
        self._idle.clear()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
