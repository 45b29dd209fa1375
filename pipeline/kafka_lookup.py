"""Reading Kafka at any offset, now, and asking where a partition begins and ends.

One consumer is assigned to one partition at a time and put where the caller reads. What it fetched
ahead serves the reads that follow on; whoever reads elsewhere costs a new fetch.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka import ConsumerRecord as Record
from aiokafka.errors import KafkaTimeoutError
from aiokafka.errors import OffsetOutOfRangeError as KafkaOffsetOutOfRangeError

from pipeline.errors import LogRolledBackError, OffsetOutOfRangeError
from pipeline.kafka_connection import REQUEST_SECONDS, KafkaConnection, Place, stop
from pipeline.transport import Message

T = TypeVar("T")

# A record above it comes whole all the same, being the first of its fetch.
FETCH_AHEAD_BYTES = 1024 * 1024
LOOK_MILLISECONDS = 200


class KafkaLookup:
    """Reads that do not wait for messages to come."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._consumer: Any = None
        self._lock = asyncio.Lock()
        self._starting = asyncio.Lock()
        # Where the consumer stands, unless that is unknown.
        self._at: tuple[Place, int] | None = None
        # Read but not returned: they come before where the consumer stands.
        self._left_over: list[Message] = []
        # An offset below a partition's last known end needs no question whether it is there.
        self._ends: dict[Place, int] = {}

    async def read(self, place: Place, offset: int, max_messages: int, max_bytes: int) -> list[Message]:
        """Return messages from `offset` on that are there now; empty at the end.

        Raises:
            OffsetOutOfRangeError, LogRolledBackError: see `Transport.read`.
        """
        async with self._lock:
            found = self._left_over
            if not (found and self._is_at(place, found[-1].offset + 1) and found[0].offset == offset):
                found = await self._retrying(lambda: self._fetch(place, offset, max_messages))
            cut = cut_of(found, max_messages, max_bytes)
            self._left_over = found[cut:]
            return found[:cut]

    async def bounds(self, place: Place) -> tuple[int, int]:
        """Return the oldest offset and the next one."""
        return (await self.all_bounds([place]))[place]

    async def all_bounds(self, places: list[Place]) -> dict[Place, tuple[int, int]]:
        """Return (oldest offset, next offset) of each place."""
        return await self._retrying(lambda: self._ask_bounds(places))

    async def beginning(self, place: Place) -> int:
        """Return the oldest offset."""
        return await self._retrying(lambda: self._ask(place, "beginning_offsets"))

    async def end(self, place: Place) -> int:
        """Return the offset the next message will get."""
        self._ends[place] = end = await self._retrying(lambda: self._ask(place, "end_offsets"))
        return end

    def forget(self) -> None:
        """Drop what was read ahead: it may have been trimmed."""
        self._at, self._left_over = None, []

    async def close(self) -> None:
        """Close the consumer."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop(consumer)

    async def _fetch(self, place: Place, offset: int, max_messages: int) -> list[Message]:
        await self._connection.check(*place)
        if offset < 0 or offset >= self._ends.get(place, 0):
            await self._check_offset(place, offset)
            if offset == self._ends[place]:
                return []
        consumer = await self._started()
        partition = TopicPartition(*place)
        self._seek(consumer, place, offset)
        at, self._at = offset, None
        try:
            records: list[Record] = []
            while not records and at < self._ends[place]:
                records = await self._next(consumer, partition, max_messages)
                # Past the records, or past a hole that compaction left.
                at = await consumer.position(partition)
        except KafkaOffsetOutOfRangeError:
            await self._check_offset(place, offset)
            raise KafkaTimeoutError("the offset was out of range and is not any more") from None
        except ValueError:
            return await self._fetch_past_unreadable(consumer, place, offset)
        self._at = (place, at)
        if at >= self._ends[place]:
            # Else the consumer would go on asking for what comes, and the next seek would wait for that.
            consumer.pause(partition)
        return [message_of(record) for record in records]

    async def _next(self, consumer: Any, partition: TopicPartition, max_messages: int) -> list[Record]:
        """Return the next records; none if there was only a hole."""
        before = await consumer.position(partition)
        clock = asyncio.get_running_loop().time
        deadline = clock() + REQUEST_SECONDS
        while clock() < deadline:
            batches = await consumer.getmany(
                partition, timeout_ms=LOOK_MILLISECONDS, max_records=max_messages
            )
            # aiokafka goes past a hole without a word.
            if batches or await consumer.position(partition) != before:
                records: list[Record] = batches.get(partition, [])
                return records
        await self.close()
        raise KafkaTimeoutError("no answer to a fetch")

    async def _fetch_past_unreadable(self, consumer: Any, place: Place, offset: int) -> list[Message]:
        """Return the one message at `offset`, empty if aiokafka cannot decode its record.

        A record may hold header names that are no UTF-8, which no broker refuses. It must not stop the
        reader: it becomes a message that the roles refuse.
        """
        partition = TopicPartition(*place)
        consumer.seek(partition, offset)
        try:
            records = await self._next(consumer, partition, 1)
        except ValueError:
            return [Message(place[0], place[1], offset, None, {}, b"", 0)]
        return [message_of(record) for record in records]

    def _seek(self, consumer: Any, place: Place, offset: int) -> None:
        partition = TopicPartition(*place)
        if partition not in consumer.assignment():
            consumer.assign([partition])
        if not self._is_at(place, offset):
            consumer.seek(partition, offset)
        consumer.resume(partition)

    def _is_at(self, place: Place, offset: int) -> bool:
        return self._at == (place, offset)

    async def _check_offset(self, place: Place, offset: int) -> None:
        oldest, next_ = (await self._ask_bounds([place]))[place]
        if offset > next_:
            raise LogRolledBackError(*place, offset, oldest=oldest, next_=next_)
        if offset < oldest:
            raise OffsetOutOfRangeError(*place, offset, oldest=oldest, next_=next_)

    async def _ask_bounds(self, places: list[Place]) -> dict[Place, tuple[int, int]]:
        for place in places:
            await self._connection.check(*place)
        consumer = await self._started()
        partitions = [TopicPartition(*place) for place in places]
        # The end last: in between, a trim may raise the beginning up to the end, but not beyond.
        oldest = await consumer.beginning_offsets(partitions)
        next_ = await consumer.end_offsets(partitions)
        found = {(p.topic, p.partition): (oldest[p], next_[p]) for p in partitions}
        self._ends |= {place: end for place, (_, end) in found.items()}
        return found

    async def _ask(self, place: Place, question: str) -> int:
        await self._connection.check(*place)
        partition = TopicPartition(*place)
        answers: dict[TopicPartition, int] = await getattr(await self._started(), question)([partition])
        return answers[partition]

    async def _retrying(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        # Started before, since what fails then can be explained better.
        await self._started()
        return await self._connection.retrying(call)

    async def _started(self) -> Any:
        async with self._starting:
            if self._consumer is None:
                self.forget()
                self._consumer = await self._connection.start(self._new_consumer)
            return self._consumer

    def _new_consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._connection.options(),
            **READING,
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=FETCH_AHEAD_BYTES,
        )


READING: dict[str, Any] = {
    # Offsets belong to the roles: no groups, nothing committed, no jump to another offset.
    "enable_auto_commit": False,
    "auto_offset_reset": "none",
    # PrivML writes no transactions; waiting for a stranger's to end would let one stop every reader.
    "isolation_level": "read_uncommitted",
    "fetch_min_bytes": 1,
}


def message_of(record: Record) -> Message:
    """Return a Kafka record as a message; absent values are empty."""
    return Message(
        record.topic,
        record.partition,
        record.offset,
        record.key,
        {name: value or b"" for name, value in record.headers},
        record.value or b"",
        record.timestamp * 1_000_000,
    )


def cut_of(messages: list[Message], max_messages: int, max_bytes: int) -> int:
    """Return how many of the messages a read may return: at least one, if there is one."""
    size = 0
    for count, message in enumerate(messages[:max_messages]):
        size += len(message.value)
        if count and size > max_bytes:
            return count
    return min(len(messages), max_messages)
