"""Feeding a replay's target: messages in order, at full speed or with the pauses that they had."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator

from pipeline.chunk_desk import CHUNKS_AT_ONCE
from pipeline.errors import PipelineError
from pipeline.replay_report import Speed
from pipeline.transport import Message, Transport
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name, topic_specs

IN_FLIGHT = 2 * CHUNKS_AT_ONCE


class TargetInUseError(PipelineError):
    """The target has messages of the tenant; a replay goes into empty topics only."""

    code = ReasonCode.USAGE


async def check_target(target: Transport, tenant: str) -> None:
    """Refuse a target that holds anything of a tenant of that name.

    Raises:
        TargetInUseError: It does.
    """
    own = {spec.topic for spec in topic_specs(tenant)}
    for info in await target.topics():
        if info.topic in own and any(info.next_offset):
            raise TargetInUseError(
                f"{info.topic} has messages at the target",
                hint="name an empty folder: a replay never adds to topics that are in use",
            )


class Feed:
    """Copies messages to a chunks topic, no more at a time than the unit keeps up with.

    Args:
        target: Where the topic is.
        tenant: The tenant's name there.
        speed: With which pauses.

    Attributes:
        messages: How many are on the topic.
        bytes: Their size.
        ended: Whether these are all.
        started: When the first was appended, on a clock that never goes back.
    """

    def __init__(self, target: Transport, tenant: str, speed: Speed) -> None:
        self._target = target
        self._topic = topic_name(tenant, TopicName.CHUNKS)
        self._speed = speed
        self._free = asyncio.Semaphore(IN_FLIGHT)
        # Of what is in flight, in the order of the target's offsets.
        self._fed_at: deque[float] = deque()
        self.messages = 0
        self.bytes = 0
        self.ended = False
        self.started = time.monotonic()

    async def run(self, stream: AsyncIterator[Message]) -> None:
        """Copy everything; `written_at` of the messages says when each was due."""
        first_written: int | None = None
        self.started = time.monotonic()
        async with asyncio.TaskGroup() as appends:
            async for message in stream:
                if self._speed is Speed.RECORDED:
                    first_written = message.written_at if first_written is None else first_written
                    due = self.started + (message.written_at - first_written) / 1e9
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                await self._free.acquire()
                # Begun in order, so that they stand in order, and committed together.
                appends.create_task(self._append(message))
        self.ended = True

    async def _append(self, message: Message) -> None:
        self._fed_at.append(time.monotonic())
        await self._target.append(self._topic, message.key, message.value, message.headers, partition=0)
        self.messages += 1
        self.bytes += len(message.value)

    def taken(self) -> float:
        """Note that the unit has taken in the next message; return when it was appended."""
        self._free.release()
        return self._fed_at.popleft()
