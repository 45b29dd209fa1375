"""A tenant in one process whose services each have their own handle on topics that lie elsewhere."""

import asyncio
from pathlib import Path
from types import TracebackType

from integration.services import House, MortalTransport

from pipeline.topic_urls import open_transport
from pipeline.transport import Message, Transport
from schemas.topics import TOPICS, TopicName, topic_name


class RemoteHouse(House):
    """A house over the transport of a URL."""

    def __init__(self, folder: Path, url: str, *, name: str = "small", owner_keys: bool = False) -> None:
        super().__init__(folder, name=name, owner_keys=owner_keys)
        self._url = url
        self._handles: list[Transport] = []

    def transport(self) -> MortalTransport:
        """Return a handle for one process."""
        handle = open_transport(self._url)
        self._handles.append(handle)
        # The services know it as a Transport; what a MortalTransport has beside that is not used here.
        return handle  # type: ignore[return-value]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(handle.close() for handle in self._handles))

    async def lying(self, topic: TopicName) -> list[Message]:
        """Return what lies on all partitions of a topic."""
        transport, found = self.transport(), []
        name = topic_name(self.tenant.name, topic)
        for partition in range(TOPICS[topic].partitions):
            offset, end = 0, await transport.end_offset(name, partition)
            while offset < end:
                messages = await transport.read(name, partition, offset, wait_seconds=1.0)
                found += messages
                offset = messages[-1].offset + 1
        return found
