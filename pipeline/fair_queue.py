"""A queue in which senders take turns: whoever has sent much waits longest, and nobody else does for it."""

import asyncio
from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items of several senders, one of each in turn; those of one sender in their order.

    A sender that comes new has its turn after those that wait already, each of whom is served once at
    most before it.
    """

    def __init__(self) -> None:
        # In the order of their turns; none without items.
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, sender: str, item: T) -> None:
        """Let an item wait."""
        self._waiting.setdefault(sender, deque()).append(item)
        self._filled.set()

    async def take(self) -> T:
        """Return the next item, once there is one. For one taker at a time."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        sender, items = self._waiting.popitem(last=False)
        item = items.popleft()
        if items:
            self._waiting[sender] = items
        return item
