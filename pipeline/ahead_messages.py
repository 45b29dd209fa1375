"""Reading a partition ahead of whoever goes through it, so that signatures are checked meanwhile."""

import asyncio
from collections import deque
from collections.abc import Sequence

from crypto.errors import SchemaError
from pipeline.check_pool import CheckPool
from pipeline.transport import DEFAULT_MAX_MESSAGES, Message, Transport
from roles.tenant import Tenant
from schemas.envelope import Claim, Envelope, accept_claim, read_claim
from schemas.errors import BadSignatureError
from schemas.topics import TopicName, topic_name

AHEAD_BATCHES = 3
AHEAD_BYTES = 8 << 20

Opened = tuple[Message, Envelope | SchemaError]
"""A message, and its envelope or why it has none."""


class AheadMessages:
    """The messages of one partition from one offset to another, in order, with their envelopes.

    Args:
        transport: Where the topics are.
        tenant: Public facts; who may send is known for all of these messages.
        topic: Which.
        checks: Checks the signatures.
        end: Where to stop.
        partition: Of the topic.
        offset: Where to begin.
    """

    def __init__(
        self,
        transport: Transport,
        tenant: Tenant,
        topic: TopicName,
        checks: CheckPool,
        end: int,
        *,
        partition: int = 0,
        offset: int = 0,
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._topic = topic
        self._checks = checks
        self._end = end
        self._partition = partition
        self._offset = offset
        self._coming: deque[tuple[int, asyncio.Future[list[Opened]]]] = deque()

    async def next(self) -> list[Opened]:
        """Return the next messages; none at the end."""
        while (
            self._offset < self._end
            and len(self._coming) <= AHEAD_BATCHES
            and sum(size for size, _ in self._coming) < AHEAD_BYTES
        ):
            most = min(DEFAULT_MAX_MESSAGES, self._end - self._offset)
            name = topic_name(self._tenant.name, self._topic)
            read = await self._transport.read(name, self._partition, self._offset, max_messages=most)
            messages = [message for message in read if message.offset < self._end]
            if not messages:
                self._offset = self._end
                break
            self._offset = messages[-1].offset + 1
            size = sum(len(message.value) for message in messages)
            self._coming.append((size, asyncio.ensure_future(self._opened(messages))))
        if not self._coming:
            return []
        _, opening = self._coming.popleft()
        return await opening

    async def _opened(self, messages: Sequence[Message]) -> list[Opened]:
        claims = await asyncio.to_thread(lambda: [self._claim(message) for message in messages])
        verified = iter(await self._checks.verified([claim for claim in claims if isinstance(claim, Claim)]))
        return [
            (message, claim if isinstance(claim, SchemaError) else self._accepted(claim, next(verified)))
            for message, claim in zip(messages, claims, strict=True)
        ]

    def _claim(self, message: Message) -> Claim | SchemaError:
        try:
            sender = self._tenant.roster.sender(self._topic, message.offset)
            return read_claim(message.value, self._topic, sender)
        except SchemaError as error:
            return error

    def _accepted(self, claim: Claim, verified: bool) -> Envelope | SchemaError:
        if not verified:
            return BadSignatureError(f"not signed by {claim.party.name}")
        try:
            return accept_claim(claim, self._topic, self._tenant.name)
        except SchemaError as error:
            return error
