"""Handles on simulated topics: every call takes a while, and may go wrong as the schedule says.

What a broker promises (tests/contracts/transport_contract.py) holds, with one exception that real
ones know too: whoever reads may be shown an older end.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from simulation.machine import Process
from simulation.schedules import Trouble

from pipeline.errors import BrokerUnreachableError
from pipeline.memory_transport import MemoryBroker, MemoryTransport
from pipeline.transport import DEFAULT_MAX_BYTES, DEFAULT_MAX_MESSAGES, Message, Position, partition_for_key

LONGEST_CALL_SECONDS = 0.05
SLOW_SECONDS = 20.0
LATE_SECONDS = 3.0
STALE_MESSAGES = 2

Headers = Mapping[str, bytes] | None


class Remembering(list[Message]):
    """Messages of a partition, with a note of every one that ever stood behind the others there."""

    def __init__(self, ever: list[bytes], messages: Iterable[Message] = ()) -> None:
        super().__init__(messages)
        self.ever = ever

    def append(self, message: Message) -> None:
        """Take a message, and note it."""
        self.ever.append(message.value)
        super().append(message)


class View(MemoryBroker):
    """The topics as one unit sees them: as all do, until the broker forks one of them.

    Attributes:
        common: What all see.
    """

    def __init__(self, common: MemoryBroker) -> None:
        super().__init__()
        self.common = common

    def names(self) -> list[str]:
        """Return the topics' names in order."""
        return self.common.names()

    def partitions(self, topic: str) -> list[Any]:
        """Return a topic's partitions, on this unit's branch if there is one."""
        return self._topics.get(topic) or self.common.partitions(topic)

    def fork(self, topic: str, back: int) -> None:
        """Begin a branch of a topic that lacks the last messages of each partition."""
        branch = []
        for one in self.partitions(topic):
            kept = one.messages[: max(0, len(one.messages) - back)]
            if isinstance(one.messages, Remembering):
                kept = Remembering(one.messages.ever, kept)
            branch.append(replace(one, messages=kept, waiting=set()))
        self._topics[topic] = branch


@dataclass(slots=True)
class _Lane:
    """Appends of one handle to one partition: in order, and none behind one that failed."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    failures: int = 0


class SimulatedTransport(MemoryTransport):
    """One process's handle."""

    def __init__(self, broker: MemoryBroker, process: Process, random: Random) -> None:
        super().__init__(broker)
        self._process = process
        self._random = random
        self._lanes: dict[tuple[str, int], _Lane] = {}

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: Headers = None,
        partition: int | None = None,
    ) -> Position:
        """Append, if nothing goes wrong."""
        self._process.check()
        if partition is None:
            partition = partition_for_key(key, len(self.broker.partitions(topic)))
        trouble = self._process.troubles.at(self._process.role, "append", "any")
        lane = self._lanes.setdefault((topic, partition), _Lane())
        failures = lane.failures
        self._process.busy += 1
        try:
            async with lane.turn:
                await self._begin(trouble)
                if lane.failures != failures:
                    raise BrokerUnreachableError("an append before this one failed")
                return await self._append(lane, trouble, (topic, key, value, headers, partition))
        finally:
            self._process.busy -= 1

    async def _append(
        self,
        lane: _Lane,
        trouble: Trouble | None,
        call: tuple[str, bytes | None, bytes, Headers, int],
    ) -> Position:
        topic, key, value, headers, partition = call
        if trouble is Trouble.LATE:
            loop = asyncio.get_running_loop()
            loop.call_later(LATE_SECONDS, arrive_late, self.broker, (topic, key, value, headers, partition))
            raise self._process.die()
        if trouble is Trouble.LOST:
            lane.failures += 1
            raise BrokerUnreachableError("the append did not happen")
        if trouble is Trouble.TORN:
            value = value[: len(value) // 2]
        position = await super().append(topic, key, value, headers, partition)
        if trouble is Trouble.TWICE:
            await super().append(topic, key, value, headers, partition)
        if trouble in {Trouble.CRASH_AFTER, Trouble.TORN}:
            raise self._process.die()
        if trouble is Trouble.LOST_REPLY:
            lane.failures += 1
            raise BrokerUnreachableError("nobody heard that the append happened")
        await self._pause()
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
        """Read, if nothing goes wrong."""
        self._process.check()
        trouble = self._process.troubles.at(self._process.role, "read", "any")
        await self._begin(trouble)
        found = await super().read(topic, partition, offset, max_messages, max_bytes, wait_seconds)
        if trouble is Trouble.CRASH_AFTER:
            raise self._process.die()
        self._process.check()
        return found[:-STALE_MESSAGES] if trouble is Trouble.STALE else found

    async def end_offset(self, topic: str, partition: int) -> int:
        """Return the end, or what it was a while ago."""
        self._process.check()
        trouble = self._process.troubles.at(self._process.role, "read", "any")
        await self._begin(trouble)
        end = await super().end_offset(topic, partition)
        if trouble is Trouble.CRASH_AFTER:
            raise self._process.die()
        return max(0, end - STALE_MESSAGES) if trouble is Trouble.STALE else end

    async def _begin(self, trouble: Trouble | None) -> None:
        """Let what goes wrong before a call go wrong, and the call take its time."""
        if trouble is Trouble.CRASH_BEFORE:
            raise self._process.die()
        if trouble in {Trouble.TWIN, Trouble.USURPED}:
            self._process.fork(self._process)
        if trouble in {Trouble.SLOW, Trouble.USURPED}:
            self._process.busy += 1
            await asyncio.sleep(SLOW_SECONDS * self._random.random())
            self._process.busy -= 1
        await self._pause()
        self._process.check()

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.uniform(0, LONGEST_CALL_SECONDS))


def put(broker: MemoryBroker, topic: str, partition: int, value: bytes, key: bytes | None = None) -> None:
    """Put a message on a topic at once, as if its writer had not waited."""
    target = broker.partition(topic, partition)
    target.messages.append(Message(topic, partition, target.next, key, {}, value, 0))
    target.wake()


def arrive_late(broker: MemoryBroker, call: tuple[str, bytes | None, bytes, Headers, int]) -> None:
    """Let an append of a process that is no more happen."""
    topic, key, value, _, partition = call
    put(broker, topic, partition, value, key)
