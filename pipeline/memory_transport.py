"""Topics in memory, for tests and for roles in one process.

Handles that share a `MemoryBroker` see the same topics. Everything runs in one event loop.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from pipeline.errors import (
    LogRolledBackError,
    OffsetOutOfRangeError,
    TopicMismatchError,
    TransportClosedError,
    UnknownTopicError,
)
from pipeline.transport import (
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_MESSAGES,
    Message,
    Position,
    TopicInfo,
    check_append_size,
    partition_for_key,
)
from schemas.topics import TopicSpec


@dataclass(slots=True)
class _Partition:
    first: int = 0
    messages: list[Message] = field(default_factory=list)
    waiting: set[asyncio.Event] = field(default_factory=set)

    @property
    def next(self) -> int:
        return self.first + len(self.messages)

    def wake(self) -> None:
        for event in self.waiting:
            event.set()


class MemoryBroker:
    """What the handles share."""

    def __init__(self) -> None:
        self._topics: dict[str, list[_Partition]] = {}

    def create(self, spec: TopicSpec) -> None:
        """Make a topic unless it is there."""
        existing = self._topics.setdefault(spec.topic, [_Partition() for _ in range(spec.partitions)])
        if len(existing) != spec.partitions:
            raise TopicMismatchError(f"{spec.topic} exists with {len(existing)} partitions")

    def names(self) -> list[str]:
        """Return the topics' names in order."""
        return sorted(self._topics)

    def partitions(self, topic: str) -> list[_Partition]:
        """Return a topic's partitions."""
        if topic not in self._topics:
            raise UnknownTopicError(topic)
        return self._topics[topic]

    def partition(self, topic: str, partition: int) -> _Partition:
        """Return one partition."""
        partitions = self.partitions(topic)
        if not 0 <= partition < len(partitions):
            raise UnknownTopicError(topic, partition)
        return partitions[partition]


class MemoryTransport:
    """One handle on a broker; see `Transport`."""

    def __init__(self, broker: MemoryBroker | None = None) -> None:
        self.broker = broker if broker is not None else MemoryBroker()
        self._closed = False
        self._waiting: set[asyncio.Event] = set()

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """See `Transport.create_topics`."""
        self._check_open()
        for spec in specs:
            self.broker.create(spec)

    async def topics(self) -> list[TopicInfo]:
        """See `Transport.topics`."""
        self._check_open()
        return [self._info(name) for name in self.broker.names()]

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
        headers = dict(headers or {})
        check_append_size(key, value, headers)
        if partition is None:
            partition = partition_for_key(key, len(self.broker.partitions(topic)))
        target = self.broker.partition(topic, partition)
        position = Position(topic, partition, target.next)
        target.messages.append(
            Message(topic, partition, position.offset, key, headers, value, time.time_ns())
        )
        target.wake()
        # As every real transport, give other tasks a turn.
        await asyncio.sleep(0)
        return position

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
        self._check_open()
        source = self.broker.partition(topic, partition)
        if offset > source.next:
            raise LogRolledBackError(topic, partition, offset, oldest=source.first, next_=source.next)
        if offset == source.next and wait_seconds > 0:
            await self._wait(source, wait_seconds)
        if offset < source.first:
            raise OffsetOutOfRangeError(topic, partition, offset, oldest=source.first, next_=source.next)
        found: list[Message] = []
        size = 0
        for message in source.messages[offset - source.first :][:max_messages]:
            size += len(message.value)
            if found and size > max_bytes:
                break
            found.append(message)
        return found

    async def beginning_offset(self, topic: str, partition: int) -> int:
        """See `Transport.beginning_offset`."""
        self._check_open()
        return self.broker.partition(topic, partition).first

    async def end_offset(self, topic: str, partition: int) -> int:
        """See `Transport.end_offset`."""
        self._check_open()
        return self.broker.partition(topic, partition).next

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """See `Transport.trim`."""
        self._check_open()
        target = self.broker.partition(topic, partition)
        dropped = max(min(before, target.next) - target.first, 0)
        del target.messages[:dropped]
        target.first += dropped

    async def close(self) -> None:
        """See `Transport.close`."""
        self._closed = True
        for event in self._waiting:
            event.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _wait(self, source: _Partition, seconds: float) -> None:
        event = asyncio.Event()
        source.waiting.add(event)
        self._waiting.add(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
        finally:
            source.waiting.discard(event)
            self._waiting.discard(event)
        self._check_open()

    def _check_open(self) -> None:
        if self._closed:
            raise TransportClosedError("the memory transport is closed")

    def _info(self, topic: str) -> TopicInfo:
        partitions = self.broker.partitions(topic)
        messages = [message for partition in partitions for message in partition.messages]
        return TopicInfo(
            topic,
            len(partitions),
            len(messages),
            sum(len(message.value) + len(message.key or b"") for message in messages),
            tuple(partition.first for partition in partitions),
            tuple(partition.next for partition in partitions),
        )
