"""Faults on real processes and the Kafka broker between them, drawn from a seed.

The script is run with the number of faults and a seed; see `integration/chaos.py`.
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeVar

from integration.chaos import ON_EMBEDDED_LOG, Blow, Chaos, report
from integration.deployment import TENANT, Deployment

from kafka.broker import KafkaBroker
from kafka.faulty_network import FaultyNetwork
from pipeline.settings import load_settings
from pipeline.topic_urls import open_transport
from pipeline.transport import Message, Transport
from schemas.topics import TopicName, topic_name

T = TypeVar("T")

ON_KAFKA = (
    *(blow for blow in ON_EMBEDDED_LOG if blow is not Blow.FULL_DISK),
    Blow.KILL_BROKER,
    Blow.PAUSE_BROKER,
    Blow.PARTITION,
    Blow.SLOW,
    Blow.RESET,
)
LONGEST_OUTAGE_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 0.05


class KafkaDeployment(Deployment):
    """A tenant whose topics are on a broker."""

    def drop(self, topic: TopicName, value: bytes, partition: int = 0) -> int:
        """Append a message as anybody can who may write to the topic; return its offset."""

        async def append(transport: Transport) -> int:
            name = topic_name(TENANT, topic)
            return (await transport.append(name, None, value, partition=partition)).offset

        return self._on_topics(append)

    def values(self, topic: TopicName, partition: int = 0) -> list[bytes]:
        """Return the messages of a partition."""

        async def read(transport: Transport) -> list[bytes]:
            name, found = topic_name(TENANT, topic), list[Message]()
            end = await transport.end_offset(name, partition)
            while len(found) < end:
                found += await transport.read(name, partition, len(found), wait_seconds=1.0)
            return [message.value for message in found]

        return self._on_topics(read)

    def _on_topics(self, use: Callable[[Transport], Awaitable[T]]) -> T:
        async def run() -> T:
            async with open_transport(load_settings(self.config).transport) as transport:
                return await use(transport)

        return asyncio.run(run())


@dataclass(kw_only=True)
class KafkaChaos(Chaos):
    """A tenant under blows, and the broker and the network between its parties.

    Attributes:
        broker: Where the topics are.
        network: How everybody reaches it.
    """

    broker: KafkaBroker
    network: FaultyNetwork
    blows: tuple[Blow, ...] = ON_KAFKA

    def _strike(self, blow: Blow) -> None:
        seconds = self.random.uniform(0, LONGEST_OUTAGE_SECONDS)
        match blow:
            case Blow.KILL_BROKER:
                self.broker.kill()
                time.sleep(seconds)
                self.broker.restart()
            case Blow.PAUSE_BROKER:
                self.broker.pause()
                time.sleep(seconds)
                self.broker.resume()
            case Blow.PARTITION:
                self.network.partition(seconds, self.random)
            case Blow.SLOW:
                self.network.slow(self.random.uniform(0, LONGEST_DELAY_SECONDS), seconds)
            case Blow.RESET:
                self.network.reset()
            case _:
                super()._strike(blow)


@contextlib.contextmanager
def on_kafka(folder: Path, random: Random) -> Iterator[KafkaChaos]:
    """Run a broker behind a network, and make a tenant on it."""
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(FaultyNetwork())
        # Whoever asks it where it is gets sent back through the network.
        advertised = {"advertised.listeners": f"CLIENT://{network.address}"}
        broker = stack.enter_context(KafkaBroker(settings=advertised))
        network.target = broker.port
        deployment = KafkaDeployment.make(folder, "--transport", f"kafka://{network.address}?connect=60")
        yield KafkaChaos(deployment, random, broker=broker, network=network)


def main(faults: int, seed: int) -> None:
    """Run so many faults of a seed on a broker."""
    print(f"seed {seed}, {faults} faults on Kafka")
    with tempfile.TemporaryDirectory() as folder, on_kafka(Path(folder), Random(seed)) as chaos:
        report(chaos, faults)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
