"""Topics as lists that a test may change in any way: messages can be dropped, repeated, moved, altered."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import msgpack

from pipeline.errors import OffsetOutOfRangeError
from pipeline.memory_transport import MemoryBroker
from pipeline.transport import (
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_MESSAGES,
    Message,
    Position,
    TopicInfo,
)
from schemas.topics import TopicName, TopicSpec, topic_name


@dataclass
class FixedTopics:
    """A transport for readers alone; offsets may have gaps, as in a log that somebody edited."""

    tenant: str
    partitions: dict[tuple[str, int], list[Message]] = field(default_factory=dict)
    beginnings: dict[tuple[str, int], int] = field(default_factory=dict)

    @classmethod
    def of(cls, broker: MemoryBroker, tenant: str) -> "FixedTopics":
        """Take a copy of what lies on a broker."""
        return cls(
            tenant,
            {
                (name, number): list(partition.messages)
                for name in broker.names()
                for number, partition in enumerate(broker.partitions(name))
            },
        )

    def copy(self) -> "FixedTopics":
        """Return another copy, to be changed."""
        return FixedTopics(
            self.tenant, {place: copy(messages) for place, messages in self.partitions.items()}
        )

    # --- changing them

    def messages(self, topic: TopicName, partition: int = 0) -> list[Message]:
        """Return the list itself."""
        return self.partitions[topic_name(self.tenant, topic), partition]

    def alter(
        self, topic: TopicName, offset: int, change: Callable[[bytes], bytes], partition: int = 0
    ) -> None:
        """Change a message's bytes."""
        messages = self.messages(topic, partition)
        index = next(i for i, message in enumerate(messages) if message.offset == offset)
        messages[index] = replace(messages[index], value=change(messages[index].value))

    def substitute(self, topic: TopicName, offset: int, value: bytes, partition: int = 0) -> None:
        """Change a message's bytes wherever it stands: the units repeat what is not answered at once."""
        messages = self.messages(topic, partition)
        old = next(message.value for message in messages if message.offset == offset)
        messages[:] = [replace(m, value=value) if m.value == old else m for m in messages]

    def drop(self, topic: TopicName, offset: int, partition: int = 0) -> None:
        """Take a message out; its offset stays empty."""
        messages = self.messages(topic, partition)
        messages[:] = [message for message in messages if message.offset != offset]

    def drop_everywhere(self, topic: TopicName, offset: int, partition: int = 0) -> None:
        """Take a message out, and its repetitions too."""
        messages = self.messages(topic, partition)
        old = next(message.value for message in messages if message.offset == offset)
        messages[:] = [message for message in messages if message.value != old]

    def add(self, topic: TopicName, value: bytes, partition: int = 0) -> int:
        """Put a message at the end; return its offset."""
        messages = self.messages(topic, partition)
        offset = messages[-1].offset + 1 if messages else 0
        messages.append(Message(topic_name(self.tenant, topic), partition, offset, None, {}, value, 0))
        return offset

    def insert(self, topic: TopicName, offset: int, value: bytes, partition: int = 0) -> None:
        """Put a message at an offset; what stood there and behind it moves on by one."""
        messages = self.messages(topic, partition)
        moved = [replace(m, offset=m.offset + 1) if m.offset >= offset else m for m in messages]
        moved.append(Message(topic_name(self.tenant, topic), partition, offset, None, {}, value, 0))
        messages[:] = sorted(moved, key=lambda message: message.offset)

    def swap(self, topic: TopicName, first: int, second: int) -> None:
        """Let two messages change places."""
        values = {m.offset: m.value for m in self.messages(topic)}
        self.alter(topic, first, lambda _: values[second])
        self.alter(topic, second, lambda _: values[first])

    def trim_before(self, topic: TopicName, offset: int) -> None:
        """Keep a topic from an offset on, as after the time that messages are kept."""
        messages = self.messages(topic)
        messages[:] = [message for message in messages if message.offset >= offset]
        self.beginnings[topic_name(self.tenant, topic), 0] = offset

    # --- the transport

    async def read(
        self,
        topic: str,
        partition: int,
        offset: int,
        max_messages: int = DEFAULT_MAX_MESSAGES,
        max_bytes: int = DEFAULT_MAX_BYTES,
        wait_seconds: float = 0.0,
    ) -> list[Message]:
        """See `Transport.read`; never waits."""
        if offset < (oldest := self.beginnings.get((topic, partition), 0)):
            raise OffsetOutOfRangeError(topic, partition, offset, oldest=oldest, next_=oldest)
        return [m for m in self.partitions[topic, partition] if m.offset >= offset][:max_messages]

    async def beginning_offset(self, topic: str, partition: int) -> int:
        """See `Transport.beginning_offset`."""
        return self.beginnings.get((topic, partition), 0)

    async def end_offset(self, topic: str, partition: int) -> int:
        """See `Transport.end_offset`."""
        messages = self.partitions[topic, partition]
        return messages[-1].offset + 1 if messages else 0

    async def topics(self) -> list[TopicInfo]:
        """See `Transport.topics`."""
        raise NotImplementedError

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Refuse: an audit makes nothing."""
        raise NotImplementedError

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: Mapping[str, bytes] | None = None,
        partition: int | None = None,
    ) -> Position:
        """Refuse: an audit writes nothing."""
        raise NotImplementedError

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """Refuse: an audit deletes nothing."""
        raise NotImplementedError

    async def close(self) -> None:
        """See `Transport.close`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


def flip(value: bytes, position: int = -70) -> bytes:
    """Return a message with one bit changed; by default the last byte but few before the signature."""
    changed = bytearray(value)
    changed[position] ^= 1
    return bytes(changed)


def wire_body(wire: bytes) -> bytes:
    """Return the body of a message without any check."""
    (signed, _) = msgpack.unpackb(wire)
    body: bytes = msgpack.unpackb(signed)[-1]
    return body
