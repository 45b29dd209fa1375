"""How the rounds between the units go, from the rounds topics: how many wait, how fast they are.

Bodies are sealed; which reply belongs to which request is the units' secret. What all can see is in which
partition a request stands without a later reply, and when each was written.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from crypto.errors import SchemaError
from pipeline.transport import Message, Transport
from roles.tenant import Tenant
from schemas.envelope import open_envelope
from schemas.topics import TOPICS, TopicName, topic_name

TAIL_MESSAGES = 16
"""Messages looked at, at the end of each partition: MU repeats a request every 5 s, so that these cover
more than a minute of silence."""
RECENT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Whole:
    """A message of which the last part is there: its id and when it was written."""

    message_hash: bytes
    written_at: int


@dataclass(frozen=True, slots=True)
class _Tail:
    end: int
    messages: tuple[_Whole, ...]


class RoundsStatus:
    """Looks at the ends of the rounds topics; what has not grown is not read again."""

    def __init__(self, transport: Transport, tenant: Tenant) -> None:
        """Look at a tenant's rounds."""
        self._transport = transport
        self._tenant = tenant
        self._tails: dict[tuple[TopicName, int], _Tail] = {}

    async def look(self, now: int) -> dict[str, Any]:
        """Return {waiting, waiting_seconds, per_second}.

        `waiting` counts requests written since the last reply of their partition, a repeated one once;
        `waiting_seconds` is the age of the oldest of these, null without any. `per_second` is the rate of
        replies over the last minute.

        Args:
            now: Nanoseconds since 1970.
        """
        partitions = range(TOPICS[TopicName.ROUND_REQUESTS].partitions)
        pairs = await asyncio.gather(*(self._pair(partition) for partition in partitions))
        waiting: dict[bytes, int] = {}
        rate = 0.0
        for requests, replies in pairs:
            answered_at = max((reply.written_at for reply in replies), default=-1)
            for request in requests:
                if request.written_at > answered_at:
                    waiting.setdefault(request.message_hash, request.written_at)
            rate += _rate(replies, now)
        oldest = min(waiting.values(), default=None)
        return {
            "waiting": len(waiting),
            "waiting_seconds": None if oldest is None else max(0.0, round((now - oldest) / 1e9, 3)),
            "per_second": round(rate, 3),
        }

    async def _pair(self, partition: int) -> tuple[tuple[_Whole, ...], tuple[_Whole, ...]]:
        requests = await self._tail(TopicName.ROUND_REQUESTS, partition)
        return requests, await self._tail(TopicName.ROUND_REPLIES, partition)

    async def _tail(self, topic: TopicName, partition: int) -> tuple[_Whole, ...]:
        name = topic_name(self._tenant.name, topic)
        end = await self._transport.end_offset(name, partition)
        known = self._tails.get((topic, partition))
        if known is None or known.end != end:
            offset = max(await self._transport.beginning_offset(name, partition), end - TAIL_MESSAGES)
            found: list[_Whole] = []
            while offset < end and (messages := await self._transport.read(name, partition, offset)):
                offset = messages[-1].offset + 1
                found += await asyncio.to_thread(self._wholes, topic, messages)
            known = self._tails[topic, partition] = _Tail(end, tuple(found))
        return known.messages

    def _wholes(self, topic: TopicName, messages: list[Message]) -> list[_Whole]:
        found = []
        for message in messages:
            try:
                sender = self._tenant.roster.sender(topic, message.offset)
                envelope = open_envelope(message.value, topic, self._tenant.name, sender)
            except SchemaError:
                continue
            if envelope.part == envelope.parts - 1:
                found.append(_Whole(envelope.message_id(), message.written_at))
        return found


def _rate(replies: tuple[_Whole, ...], now: int) -> float:
    """Return replies per second: over the last minute, or over what of it the tail reaches back to."""
    recent = {reply.message_hash: reply.written_at for reply in replies}
    since = now - int(RECENT_SECONDS * 1e9)
    times = [written_at for written_at in recent.values() if written_at >= since]
    if not times:
        return 0.0
    cut = len(times) == len(recent) and len(replies) >= TAIL_MESSAGES
    seconds = (now - min(times)) / 1e9 if cut else RECENT_SECONDS
    return len(times) / max(seconds, 1e-3)
