"""What a second process of SU brings: the same recorded requests, answered by one process and by two.

MU's requests are recorded once, with all roles as processes. Then SU alone gets them all at once, on
topics without replies, so that nothing but SU is measured.
"""

import asyncio
import shutil
import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks.naive_bayes import SPEC
from benchmarks.stream import Stream
from pipeline.rounds import BASE_KEY, PARTITIONS
from pipeline.topic_urls import open_transport
from pipeline.transport import Message, partition_for_key
from schemas.topics import TopicName, topic_name

CLIENTS_EACH = 2
PATIENCE = 600.0


def balanced_clients() -> list[str]:
    """Return names of clients, as many of them on even partitions as on odd ones, each on its own."""
    taken = {partition_for_key(key, len(PARTITIONS)) for key in (BASE_KEY, SPEC.model_id.encode())}
    found: dict[int, str] = dict.fromkeys(taken, "")
    for number in range(200):
        found.setdefault(partition_for_key(f"c{number}".encode(), len(PARTITIONS)), f"c{number}")
    chosen = [[name for place, name in found.items() if name and place % 2 == side] for side in (0, 1)]
    return [name for side in chosen for name in side[:CLIENTS_EACH]]


class Shards:
    """A tenant whose queries are answered again and again.

    Args:
        folder: Where everything goes.
        profile: Which sizes.
        queries: Of each client, one row each.
    """

    def __init__(self, folder: Path, profile: str, queries: int) -> None:
        self._clients = balanced_clients()
        self._stream = Stream(folder, profile, self._clients)
        self._tenant = folder / "tenant"
        self._name = self._stream.tenant_name
        with self._stream.unit("su"), self._stream.unit("mu"):
            self._stream.publish(1000)
            for client in self._clients:
                self._stream.ask(client, queries)
        self._requests = asyncio.run(self._recorded())

    def rate(self, count: int) -> float:
        """Return how many rounds a second so many processes of SU answer together."""
        topics = self._tenant / "topics"
        for topic in (TopicName.ROUND_REPLIES, TopicName.ROUND_REQUESTS):
            with closing(sqlite3.connect(topics / f"{topic_name(self._name, topic)}.sqlite")) as file, file:
                file.execute("DELETE FROM message")
                file.execute("UPDATE bounds SET next_offset = 0")
        for ledger in (self._tenant / "state").glob("su*.ledger*"):
            ledger.unlink()
        shutil.rmtree(topics / ".doorbells", ignore_errors=True)
        with ExitStack() as stack:
            for number in range(1, count + 1):
                stack.enter_context(self._stream.unit("su", "--shard", f"{number}/{count}"))
            return asyncio.run(self._answered())

    async def _recorded(self) -> list[Message]:
        name = topic_name(self._name, TopicName.ROUND_REQUESTS)
        partitions = [partition_for_key(client.encode(), len(PARTITIONS)) for client in self._clients]
        async with open_transport(f"log:{self._tenant / 'topics'}") as transport:
            lists = [
                await transport.read(name, p, 0, max_messages=1 << 20, max_bytes=1 << 30) for p in partitions
            ]
        # In turns, as if the clients had asked at the same time.
        # What MU repeated, because the machine was slow, is left out.
        once = [list({message.value: message for message in messages}.values()) for messages in lists]
        return [message for turn in zip(*once, strict=True) for message in turn]

    async def _answered(self) -> float:
        requests, replies = (
            topic_name(self._name, topic) for topic in (TopicName.ROUND_REQUESTS, TopicName.ROUND_REPLIES)
        )
        partitions = {message.partition for message in self._requests}
        async with open_transport(f"log:{self._tenant / 'topics'}") as transport, asyncio.timeout(PATIENCE):
            start = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for message in self._requests:
                    append = transport.append(requests, None, message.value, partition=message.partition)
                    group.create_task(append)
            answered = 0
            while answered < len(self._requests):
                await asyncio.sleep(0.02)
                answered = sum([await transport.end_offset(replies, partition) for partition in partitions])
            return len(self._requests) / (time.perf_counter() - start)
