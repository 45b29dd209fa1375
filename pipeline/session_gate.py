"""Who runs sessions, and who waits until nobody does: a key epoch begins while none is under way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class SessionGate:
    """Counts those who are inside; whoever closes the gate waits until they are out."""

    def __init__(self) -> None:
        self._inside = 0
        self._open = asyncio.Event()
        self._open.set()
        self._empty = asyncio.Event()
        self._empty.set()

    async def enter(self) -> None:
        """Go in, once the gate is open."""
        while not self._open.is_set():
            await self._open.wait()
        self.hold()

    def hold(self) -> None:
        """Go in at once: for what was begun before the gate could be closed."""
        self._inside += 1
        self._empty.clear()

    def leave(self, _: object = None) -> None:
        """Go out; takes the place of a callback of a task as well."""
        self._inside -= 1
        if not self._inside:
            self._empty.set()

    @asynccontextmanager
    async def inside(self) -> AsyncIterator[None]:
        """Be inside for a block."""
        await self.enter()
        try:
            yield
        finally:
            self.leave()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Let nobody in for a block, which begins when all are out."""
        self._open.clear()
        try:
            await self._empty.wait()
            yield
        finally:
            self._open.set()
