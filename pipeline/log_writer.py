"""The thread that appends to one topic of the embedded log: all that waits in one transaction.

What `EmbeddedLog.append` returned for is durable as the topic asks; appends stay in the order of calls.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from pipeline.errors import PipelineError
from pipeline.log_files import NewMessage, TopicFile
from pipeline.transport import Position

_LOOP_CHECK_SECONDS = 1.0
# One transaction holds at most this; more waits for the next.
_BATCH_MESSAGES = 512
_BATCH_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PendingAppend:
    """A message, and its caller, who waits in a loop for its place."""

    message: NewMessage
    position: asyncio.Future[Position]
    loop: asyncio.AbstractEventLoop


class TopicWriter:
    """The thread that appends to one topic."""

    def __init__(
        self,
        directory: Path,
        topic: str,
        ring: Callable[[set[bytes]], None],
        wake: Callable[[set[bytes]], None],
    ) -> None:
        """Start the thread.

        Args:
            directory: Of the topics.
            topic: Its name.
            ring: Tells other processes where something new is; called in the thread.
            wake: Tells this process; called in the loop of the callers.
        """
        self._wake = wake
        self._directory = directory
        self._topic = topic
        self._ring = ring
        self._queue: SimpleQueue[PendingAppend | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"append {topic}", daemon=True)
        self._thread.start()

    def put(self, pending: PendingAppend) -> None:
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
            places = {place_of(at.topic, at.partition) for at in outcomes if isinstance(at, Position)}
            # Others first: they have the longer way.
            self._ring(places)
            _settle(batch, outcomes, self._wake, places)
        if file is not None:
            file.close()

    def _fail(self, batch: list[PendingAppend], error: PipelineError) -> bool:
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

    def _take(self) -> tuple[list[PendingAppend], bool]:
        """Wait for a message, take what else is there; False when the thread shall end."""
        batch: list[PendingAppend] = []
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


def place_of(topic: str, partition: int) -> bytes:
    """Return what a place is called by in rings."""
    return f"{topic}/{partition}".encode()


def _settle(
    batch: list[PendingAppend],
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
