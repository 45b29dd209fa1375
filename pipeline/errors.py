"""What can go wrong outside the protocol: topics, storage, configuration.

`retriable` tells the runner whether the same call may succeed later with nothing changed.
"""

from pathlib import Path
from typing import ClassVar

from crypto.errors import PrivMLError
from schemas.errors import MessageTooLargeError
from schemas.reasons import ReasonCode

__all__ = [
    "BrokerRefusedError",
    "BrokerUnreachableError",
    "InvalidTransportUrlError",
    "LogRolledBackError",
    "MessageTooLargeError",
    "OffsetOutOfRangeError",
    "PipelineError",
    "StorageError",
    "StorageFullError",
    "TopicMismatchError",
    "TransportBusyError",
    "TransportClosedError",
    "TransportError",
    "UnknownTopicError",
]


class PipelineError(PrivMLError):
    """Base of the errors of this layer.

    Attributes:
        hint: What to do about it, where more is known than the reason code's own hint.
        file: The file concerned.
    """

    retriable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None, file: Path | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.file = file


class TransportError(PipelineError):
    """Topics cannot be reached or used."""

    code = ReasonCode.TRANSPORT_UNREACHABLE


class TransportBusyError(TransportError):
    """Another process held the topic for too long; trying again is fine."""

    retriable = True


class BrokerUnreachableError(TransportError):
    """No broker has answered for too long; works again when one does.

    Of an append it is not known whether it happened.
    """

    retriable = True


class BrokerRefusedError(TransportError):
    """The broker answered and refused: the login, the operation, or the message."""


class TransportClosedError(TransportError):
    """The transport was closed, before the call or during it."""

    code = ReasonCode.TRANSPORT_CLOSED


class UnknownTopicError(TransportError):
    """No such topic, or the topic has no such partition."""

    code = ReasonCode.UNKNOWN_TOPIC

    def __init__(self, topic: str, partition: int | None = None) -> None:
        place = topic if partition is None else f"{topic} partition {partition}"
        super().__init__(f"{place} does not exist")
        self.topic = topic
        self.partition = partition


class TopicMismatchError(TransportError):
    """A topic to be created exists with other properties."""

    code = ReasonCode.INVALID_CONFIG


class InvalidTransportUrlError(PipelineError):
    """The transport URL names nothing this version can open."""

    code = ReasonCode.INVALID_CONFIG


class OffsetOutOfRangeError(TransportError):
    """The offset is below what the partition keeps.

    Attributes:
        oldest: The oldest offset that can be read.
        next: The offset the next append will get.
    """

    code = ReasonCode.OFFSET_OUT_OF_RANGE

    def __init__(self, topic: str, partition: int, offset: int, *, oldest: int, next_: int) -> None:
        super().__init__(
            f"{topic} partition {partition} holds offsets {oldest} to {next_ - 1}; {offset} was asked for"
        )
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.oldest = oldest
        self.next = next_


class LogRolledBackError(OffsetOutOfRangeError):
    """The offset is beyond the end: messages that were there before are gone."""

    code = ReasonCode.LOG_ROLLED_BACK


class StorageError(PipelineError):
    """A stored file is damaged, or cannot be read or written."""

    code = ReasonCode.STORAGE_DAMAGED


class StorageFullError(StorageError):
    """No room is left; what was being written is not there. Works again when there is room."""

    code = ReasonCode.STORAGE_FULL
    retriable = True
