"""Signed heads: MU's word on which model answers, and SU's memory of it.

MU publishes a head before it asks SU about a version; SU helps with a version only if it has seen MU's
head about it, and holds that head against rule 9 of docs/security.md (`roles.head_watch`).
"""

import asyncio

from pipeline.mailbox import Publisher, sequence_of
from schemas.codec import encode
from schemas.heads import Head
from schemas.topics import TopicName

KIND = "head"


class HeadBook:
    """Publishes heads as one unit, each once in this process."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._published: dict[str, Head] = {}
        self._turn = asyncio.Lock()

    async def publish(self, head: Head) -> None:
        """Publish a head, unless it was the last one of its model."""
        async with self._turn:
            if self._published.get(head.model_id) == head:
                return
            body = encode(head)
            key = head.model_id.encode()
            await self._publisher.publish(TopicName.HEADS, KIND, sequence_of(body), body, key=key)
            self._published[head.model_id] = head
