"""SU's high-water marks: topics that end before what SU has seen were replaced by an older copy."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import OffsetOutOfRangeError, StorageError
from pipeline.transport import Transport
from roles.tenant import Tenant
from schemas.envelope import message_id
from schemas.errors import MalformedMessageError
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name


class TopicRolledBackError(StorageError):
    """A topic lacks what SU has seen on it."""

    code = ReasonCode.LOG_ROLLED_BACK


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a partition reached when SU last looked.

    Attributes:
        topic: Name within the tenant.
        partition: Of the topic.
        next_offset: Behind the last message seen.
        message_hash: Id of that message, where it must still be there and came in one part; else empty.
    """

    topic: str
    partition: int
    next_offset: int
    message_hash: bytes = b""


async def refuse_rolled_back(transport: Transport, tenant: Tenant, marks: Sequence[Mark]) -> None:
    """Hold topics against what was seen on them.

    Raises:
        TopicRolledBackError: One ends before its mark, or has another message there.
    """
    for mark in marks:
        name = topic_name(tenant.name, TopicName(mark.topic))
        end = await transport.end_offset(name, mark.partition)
        if end < mark.next_offset:
            raise TopicRolledBackError(
                f"{name} partition {mark.partition} ends at offset {end}, and SU has seen it reach "
                f"{mark.next_offset}",
                hint="the log was replaced by an older copy: restore the newer one",
            )
        if mark.message_hash and not await _has(transport, name, mark):
            raise TopicRolledBackError(
                f"{name} partition {mark.partition} has another message at offset {mark.next_offset - 1} "
                "than SU has seen there",
                hint="the log was replaced by another copy: restore the one that SU has worked on",
            )


async def _has(transport: Transport, name: str, mark: Mark) -> bool:
    offset = mark.next_offset - 1
    try:
        messages = await transport.read(name, mark.partition, offset, max_messages=1)
    except OffsetOutOfRangeError:
        # Older than what the topic keeps: not rolled back.
        return True
    if not messages or messages[0].offset != offset:
        return True
    try:
        found = await asyncio.to_thread(message_id, messages[0].value)
    except MalformedMessageError:
        return False
    return found == mark.message_hash
