"""Following the ends of Kafka partitions: what is appended is here before it is asked for.

All partitions that reads wait for share one consumer and one connection. Each has a tail, the newest
messages of the partition; reads take from it, several at once if they like. A tail whose reader does
not keep up is paused, one that nobody reads is dropped.
"""

import asyncio
import time
from collections import deque
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from pipeline.errors import PipelineError
from pipeline.kafka_connection import KafkaConnection, Place, cancelled_by_caller, stop
from pipeline.kafka_lookup import READING, cut_of, message_of
from pipeline.kafka_settings import FETCH_BYTES, FETCH_PARTITION_BYTES
from pipeline.transport import Message

# How long the broker holds a fetch when nothing comes. A change of what is followed waits for it.
LONG_POLL_MILLISECONDS = 100
# Partitions that are to be followed at the same moment are assigned at once.
GATHER_SECONDS = 0.005
CHECK_SECONDS = 0.5
IDLE_SECONDS = 60.0
STUCK_SECONDS = 15.0
# Of a tail: what may wait to be read, and what is kept for a second reader.
UNREAD_BYTES = 8 * 1024 * 1024
READ_BYTES = 1024 * 1024
READ_MESSAGES = 256


class _Tail:
    """The newest messages of one partition."""

    def __init__(self, next_offset: int) -> None:
        self.messages: deque[Message] = deque()
        self.next_offset = next_offset
        self.read_to = next_offset
        self.unread_bytes = 0
        self.read_bytes = 0
        self.read_messages = 0
        self.paused = False
        self.used = time.monotonic()
        self.waiting: set[asyncio.Event] = set()

    def add(self, messages: list[Message]) -> None:
        self.messages.extend(messages)
        self.next_offset = messages[-1].offset + 1
        self.unread_bytes += sum(len(message.value) for message in messages)
        self.wake()

    def take(self, offset: int, max_messages: int, max_bytes: int) -> list[Message]:
        self.used = time.monotonic()
        if not self.messages or not self.messages[0].offset <= offset < self.next_offset:
            return []
        found: list[Message] = []
        for message in self.messages:
            if message.offset >= offset:
                found.append(message)
                if len(found) >= max_messages:
                    break
        del found[cut_of(found, max_messages, max_bytes) :]
        if found:
            self._mark_read(found)
        return found

    def wake(self) -> None:
        for event in self.waiting:
            event.set()

    def _mark_read(self, found: list[Message]) -> None:
        fresh = [len(message.value) for message in found if message.offset >= self.read_to]
        self.read_to = max(self.read_to, found[-1].offset + 1)
        self.unread_bytes -= sum(fresh)
        self.read_bytes += sum(fresh)
        self.read_messages += len(fresh)
        while self.read_messages and (self.read_messages > READ_MESSAGES or self.read_bytes > READ_BYTES):
            self.read_messages -= 1
            self.read_bytes -= len(self.messages.popleft().value)


class KafkaFollower:
    """The tails of one transport."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._tails: dict[Place, _Tail] = {}
        self._consumer: Any = None
        self._task: asyncio.Task[None] | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._error: PipelineError | None = None
        # When the consumer last had a reason to be silent.
        self._touched = 0.0

    def take(self, place: Place, offset: int, max_messages: int, max_bytes: int) -> list[Message]:
        """Return messages from `offset` on, if the tail has them."""
        tail = self._tails.get(place)
        if tail is None:
            return []
        found = tail.take(offset, max_messages, max_bytes)
        if tail.paused and tail.unread_bytes < UNREAD_BYTES // 2:
            self._set_paused(place, tail, paused=False)
        return found

    def follows(self, place: Place, offset: int) -> bool:
        """Return whether what comes next to the tail is what would be read at that offset."""
        tail = self._tails.get(place)
        return tail is not None and tail.next_offset == offset

    def follow(self, place: Place, offset: int) -> None:
        """Follow a partition from its end, which was just seen to be `offset`."""
        former = self._tails.get(place)
        if former is not None and former.next_offset <= offset and not former.paused:
            return  # it is about to get there
        self._tails[place] = _Tail(offset)
        if former is not None:
            former.wake()
        if self._gathering is None and self._consumer is not None:
            loop = asyncio.get_running_loop()
            self._gathering = loop.call_later(GATHER_SECONDS, self._assign)

    async def wait(self, place: Place, seconds: float) -> None:
        """Wait until something came to a followed partition, or the time is over.

        Raises:
            PipelineError: The cluster is out of reach for longer than patience, or refuses.
        """
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        tail = self._tails[place]
        event = asyncio.Event()
        tail.waiting.add(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            if self._connection.silence() > self._connection.patience:
                raise self._connection.unreachable() from None
        finally:
            tail.waiting.discard(event)
            tail.used = time.monotonic()
        if self._error is not None and place not in self._tails:
            raise self._error

    def drop(self, place: Place) -> None:
        """Forget what is kept of a partition: it may have been trimmed."""
        self._drop([place])

    async def close(self) -> None:
        """Wake all who wait and close the consumer."""
        self._drop(list(self._tails))
        if self._gathering is not None:
            self._gathering.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    # --- the task

    async def _run(self) -> None:
        while self._tails:
            try:
                self._consumer = await self._connection.start(self._new_consumer)
            except PipelineError as error:
                self._error = error
                self._drop(list(self._tails))
                return
            self._error = None
            try:
                self._assign()
                await self._poll()
            finally:
                consumer, self._consumer = self._consumer, None
                self._connection.bury(stop(consumer))

    async def _poll(self) -> None:
        """Move messages from the consumer to the tails, until no tail is left or the consumer is stuck."""
        while self._tails and not self._stuck():
            try:
                batches = await self._consumer.getmany(timeout_ms=int(CHECK_SECONDS * 1000))
            except (KafkaError, ValueError):
                # Out of range, too large, undecodable: a read by lookup finds out which and says so.
                self._drop(list(self._tails))
                return
            except asyncio.CancelledError:
                if cancelled_by_caller():
                    raise
                return  # a connection went away; `_run` makes another consumer
            for partition, records in batches.items():
                place = (partition.topic, partition.partition)
                tail = self._tails.get(place)
                if tail is None or records[0].offset < tail.next_offset:
                    continue  # not wanted any more, or from before it was followed anew
                tail.add([message_of(record) for record in records])
                if tail.unread_bytes > UNREAD_BYTES:
                    self._set_paused(place, tail, paused=True)
            idle = time.monotonic() - IDLE_SECONDS
            unread = [place for place, tail in self._tails.items() if tail.used < idle and not tail.waiting]
            if unread:
                self._drop(unread)
                self._assign()

    def _assign(self) -> None:
        """Tell the consumer which partitions it reads, and where."""
        self._gathering = None
        if self._consumer is None or not self._tails:
            return
        self._touched = time.time()
        self._consumer.assign([TopicPartition(*place) for place in self._tails])
        for place, tail in self._tails.items():
            self._consumer.seek(TopicPartition(*place), tail.next_offset)
            if tail.paused:
                self._consumer.pause(TopicPartition(*place))

    def _set_paused(self, place: Place, tail: _Tail, *, paused: bool) -> None:
        tail.paused = paused
        partition = TopicPartition(*place)
        if self._consumer is not None and partition in self._consumer.assignment():
            self._touched = time.time()
            (self._consumer.pause if paused else self._consumer.resume)(partition)

    def _stuck(self) -> bool:
        """Return whether the consumer has had no answer for too long; note when it has had one."""
        assigned = self._consumer.assignment()
        polled = [
            (self._consumer.last_poll_timestamp(TopicPartition(*place)) or 0) / 1000
            for place, tail in self._tails.items()
            if not tail.paused and TopicPartition(*place) in assigned
        ]
        if not polled:
            self._touched = time.time()
            return False
        silent = time.time() - max(polled)
        if silent < 2 * CHECK_SECONDS:
            self._connection.answered()
        return min(silent, time.time() - self._touched) > STUCK_SECONDS

    def _drop(self, places: list[Place]) -> None:
        for place in places:
            tail = self._tails.pop(place, None)
            if tail is not None:
                tail.wake()

    def _new_consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._connection.options(),
            **READING,
            fetch_max_wait_ms=LONG_POLL_MILLISECONDS,
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=FETCH_PARTITION_BYTES,
        )
