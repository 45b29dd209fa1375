"""The contract every topic transport keeps; tests/contracts/transport_contract.py checks it.

A topic has partitions; a partition is a sequence of messages with offsets 0, 1, 2, …. Readers
say from which offset they read: a transport stores no reader's position and knows no groups.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from pipeline.errors import MessageTooLargeError
from schemas.codec import MAX_MESSAGE_BYTES
from schemas.topics import TopicSpec

# A message of the wire limit passes with its key and headers.
MAX_APPEND_BYTES = MAX_MESSAGE_BYTES + 4096

DEFAULT_MAX_MESSAGES = 256
# Two messages of the largest size, so that a read never depends on a single one fitting.
DEFAULT_MAX_BYTES = 2 * MAX_APPEND_BYTES


@dataclass(frozen=True, slots=True)
class Position:
    """Where an appended message stands."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Message:
    """One message as read. Key and headers are not signed: routing hints, never facts.

    `written_at` is the clock of the writing host, or of the broker, in nanoseconds since 1970;
    for people, not for decisions.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Mapping[str, bytes]
    value: bytes = field(repr=False)
    written_at: int


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """Size and bounds of a topic; the offsets are per partition.

    `messages` counts offsets: compaction may have emptied some. `bytes` counts keys and values; it
    is None where the transport does not know.
    """

    topic: str
    partitions: int
    messages: int
    bytes: int | None
    oldest_offset: tuple[int, ...]
    next_offset: tuple[int, ...]


class Transport(Protocol):
    """Topics, as roles' processes see them. An asynchronous context manager; leaving it closes it.

    Every call but `close` raises TransportClosedError after `close`, and UnknownTopicError for
    a topic or partition that does not exist.
    """

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Make topics; one that exists with the same number of partitions is left as it is.

        Raises:
            TopicMismatchError: A topic exists with another number of partitions.
        """
        ...

    async def topics(self) -> list[TopicInfo]:
        """Return all topics in the order of their names."""
        ...

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: Mapping[str, bytes] | None = None,
        partition: int | None = None,
    ) -> Position:
        """Add a message and return where it stands; it is as durable as its topic says by then.

        Appends are in the order in which they were called, within a handle and partition. One
        that fails takes with it those called after it and before its caller could know, so that
        no message stands behind the gap of a missing one. A cancelled append may or may not have
        happened.

        Args:
            topic: The full name.
            key: Chooses the partition by `partition_for_key` unless one is given; without a
                key it is partition 0.
            value: The message.
            headers: Unsigned hints.
            partition: Overrides the key's choice.

        Raises:
            MessageTooLargeError: Value, key and headers are above `MAX_APPEND_BYTES`.
            StorageFullError: No room; nothing was added.
        """
        ...

    async def read(
        self,
        topic: str,
        partition: int,
        offset: int,
        max_messages: int = DEFAULT_MAX_MESSAGES,
        max_bytes: int = DEFAULT_MAX_BYTES,
        wait_seconds: float = 0.0,
    ) -> list[Message]:
        """Return messages from `offset` on, in order.

        The next read starts at the last message's offset plus one. At the end it waits for at
        least one message, and returns an empty list after `wait_seconds`. At least one
        message is returned if there is one, however small `max_bytes`.

        Raises:
            OffsetOutOfRangeError: `offset` is older than what the partition keeps.
            LogRolledBackError: `offset` is beyond the end.
        """
        ...

    async def beginning_offset(self, topic: str, partition: int) -> int:
        """Return the oldest offset that may be read."""
        ...

    async def end_offset(self, topic: str, partition: int) -> int:
        """Return the offset the next message will get."""
        ...

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """Drop messages with offsets below `before`, at most all; offsets are never reused."""
        ...

    async def close(self) -> None:
        """Finish the appends already called, end waiting reads and release what is held; idempotent."""
        ...

    async def __aenter__(self) -> Self:
        """Return the transport itself."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        ...


def partition_for_key(key: bytes | None, partitions: int) -> int:
    """Return the partition of a key: SHA-256, first 8 bytes big-endian, modulo their number.

    Fixed for ever, as shards of a unit rely on it. It is not Kafka's default hash; a Kafka
    transport passes the partition explicitly.
    """
    if key is None:
        return 0
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") % partitions


def check_append_size(key: bytes | None, value: bytes, headers: Mapping[str, bytes]) -> None:
    """Refuse what no transport takes.

    Raises:
        MessageTooLargeError: Value, key and headers are above `MAX_APPEND_BYTES`.
    """
    size = len(value) + len(key or b"") + sum(len(k.encode()) + len(v) for k, v in headers.items())
    if size > MAX_APPEND_BYTES:
        raise MessageTooLargeError(size, MAX_APPEND_BYTES)
