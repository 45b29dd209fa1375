"""A network in front of a broker that halts, is slow, or breaks connections: a TCP proxy in a thread."""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

_CHUNK_BYTES = 1 << 16
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing sends a reset instead of what is left."""


@dataclass(eq=False)
class _Link:
    """One connection of a client, and the proxy's own to the broker."""

    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter
    passes: asyncio.Event = field(default_factory=asyncio.Event)

    def reset(self) -> None:
        """Break both connections at once."""
        for writer in (self.client, self.broker):
            connection: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()


class FaultyNetwork:
    """A proxy on a port of its own.

    Attributes:
        address: ``host:port`` where clients connect.
        target: Port of the broker on this host; set before the first client comes.
    """

    def __init__(self) -> None:
        self.target = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._links: set[_Link] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._delay = 0.0
        self._all_pass = True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty network")

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._accept, sock=self._listening))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- what befalls it

    def partition(self, seconds: float, random: Random) -> None:
        """Let nothing pass on some connections, nor on new ones, for a while; none of them is closed.

        Some are those of a unit, of a client or of half a unit: who is cut off is drawn.
        """

        def cut() -> None:
            self._all_pass = False
            for link in self._links:
                if random.random() < 0.5:
                    link.passes.clear()

        def mend() -> None:
            self._all_pass = True
            for link in self._links:
                link.passes.set()

        self._call(cut)
        time.sleep(seconds)
        self._call(mend)

    def slow(self, delay: float, seconds: float) -> None:
        """Hold everything back by a delay in either direction, for a while."""
        self._delay = delay
        time.sleep(seconds)
        self._delay = 0.0

    def reset(self) -> None:
        """Break all connections, as a firewall that has forgotten them does."""

        def reset() -> None:
            for link in list(self._links):
                link.reset()

        self._call(reset)

    # --- the proxy

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            answers, broker = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            # As a closed port does, a moment later.
            client.transport.abort()
            return
        link = _Link(client, broker)
        if self._all_pass:
            link.passes.set()
        self._links.add(link)
        for source, sink in ((reader, broker), (answers, client)):
            pump = asyncio.create_task(self._pump(link, source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(_CHUNK_BYTES):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await link.passes.wait()
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            # Whoever closes one half has ended the other.
            self._links.discard(link)
            link.client.close()
            link.broker.close()

    async def _stop(self) -> None:
        self._server.close()
        for link in list(self._links):
            link.reset()
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _call(self, function: Callable[[], None]) -> None:
        async def call() -> None:
            function()

        self._run(call())
