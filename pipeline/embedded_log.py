"""Topics in a directory of this host, one SQLite file each; the transport without a broker.

Appends of a topic are collected by one writer thread into one transaction (group commit);
reads run in a small thread pool. The event loop never waits for SQLite. Any process may be
killed at any moment: what `append` returned for is there, and nothing is half there.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
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
_LOOP_CHECK_SECONDS = 1.0
# One transaction holds at most this; more waits for the next.
_BATCH_MESSAGES = 512
_BATCH_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Pending:
    message: NewMessage
    position: asyncio.Future[Position]
    loop: asyncio.AbstractEventLoop


class _Writer:
    """The thread that appends to one topic."""

    def __init__(
        self,
        directory: Path,
        topic: str,
        ring: Callable[[set[bytes]], None],
        wake: Callable[[set[bytes]], None],
    ) -> None:
        self._wake = wake
        self._directory = directory
        self._topic = topic
        self._ring = ring
        self._queue: SimpleQueue[_Pending | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"append {topic}", daemon=True)
        self._thread.start()

    def put(self, pending: _Pending) -> None:
        """Queue a message. The queue holds no more than callers are waiting with."""
        self._queue.put(pending)

    def finish(self) -> None:
        """Append what is queued and end the thread; blocks until then."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        file: TopicFile | None = None
        more = True
        while more:
            batch, more = self._take()
            if not batch:
                continue
            outcomes: Sequence[Position | PipelineError]
            try:
                file = file or TopicFile(self._directory, self._topic)
                outcomes = file.append([pending.message for pending in batch])
            except PipelineError as error:
                if file is not None and not error.retriable:
                    # The file may be replaced meanwhile; the next append opens it afresh.
                    file.close()
                    file = None
                more = self._fail(batch, error) and more
                continue
            places = {_place(at.topic, at.partition) for at in outcomes if isinstance(at, Position)}
            # Others first: they have the longer way.
            self._ring(places)
            _settle(batch, outcomes, self._wake, places)
        if file is not None:
            file.close()

    def _fail(self, batch: list[_Pending], error: PipelineError) -> bool:
        """Fail a batch and all that was called before its callers could know; False to end the thread.

        A message that a caller chained to a missing one must not come after it: so nothing is
        appended between a failure and the moment it is told.
        """
        told = threading.Event()
        go_on = True

        def tell() -> None:
            nonlocal go_on
            # In the loop, from which all calls come: what is queued now is all there is.
            while True:
                try:
                    pending = self._queue.get_nowait()
                except Empty:
                    break
                if pending is None:
                    go_on = False
                else:
                    batch.append(pending)
            for pending in batch:
                if not pending.position.done():
                    pending.position.set_exception(error)
            told.set()

        try:
            batch[0].loop.call_soon_threadsafe(tell)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            return False
        while not told.wait(_LOOP_CHECK_SECONDS):
            if batch[0].loop.is_closed():
                return False
        return go_on

    def _take(self) -> tuple[list[_Pending], bool]:
        """Wait for a message, take what else is there; False when the thread shall end."""
        batch: list[_Pending] = []
        size = 0
        pending = self._queue.get()
        while pending is not None:
            batch.append(pending)
            size += len(pending.message.value)
            if len(batch) >= _BATCH_MESSAGES or size >= _BATCH_BYTES:
                return batch, True
            try:
                pending = self._queue.get_nowait()
            except Empty:
                return batch, True
        return batch, False


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
        self._writers: dict[str, _Writer] = {}
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
            writer = _Writer(self._directory, topic, self._doorbell.ring, self._wake)
            self._writers[topic] = writer
        loop = asyncio.get_running_loop()
        position: asyncio.Future[Position] = loop.create_future()
        writer.put(_Pending(NewMessage(partition, key, pack_headers(headers), value), position, loop))
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
        self._check_open()
        self._doorbell.listen(self._wake)
        clock = asyncio.get_running_loop().time
        end = clock() + wait_seconds
        event = asyncio.Event()
        place = _place(topic, partition)
        self._waiting.setdefault(place, set()).add(event)
        try:
            while True:
                # Cleared before looking, so that a ring during the look is not lost.
                event.clear()
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
        for files in self._idle.values():
            for file in files:
                file.close()
        self._idle.clear()


def _place(topic: str, partition: int) -> bytes:
    return f"{topic}/{partition}".encode()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _settle(
    batch: list[_Pending],
    outcomes: Sequence[Position | PipelineError],
    wake: Callable[[set[bytes]], None],
    places: set[bytes],
) -> None:
    """Tell the waiting callers and this handle's waiting reads, in one visit to their loop."""

    def settle() -> None:
        for pending, outcome in zip(batch, outcomes, strict=True):
            if pending.position.done():
                continue  # its caller was cancelled
            if isinstance(outcome, Position):
                pending.position.set_result(outcome)
            else:
                pending.position.set_exception(outcome)
        wake(places)

    try:
        batch[0].loop.call_soon_threadsafe(settle)
    except RuntimeError:
        # The loop is closed: nobody waits any more.
        return
