"""A broker that dies, halts or is not there: nothing acknowledged is lost, nothing waits for ever."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

import pytest

from kafka.broker import KafkaBroker
from pipeline.errors import BrokerUnreachableError, TransportClosedError
from pipeline.kafka_transport import KafkaTransport
from pipeline.topic_urls import open_transport
from pipeline.transport import Message
from schemas.topics import Durability, Kept, TopicSpec

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(90)]

ONE = TopicSpec("t.one", 1, Kept.FOREVER, Durability.FULL)
MANY = TopicSpec("t.many", 16, Kept.SHORT, Durability.NORMAL)
PATIENCE = 30.0


def opened(broker: KafkaBroker, **options: float) -> KafkaTransport:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    transport = open_transport(f"kafka://{broker.address}" + (f"?{query}" if query else ""))
    assert isinstance(transport, KafkaTransport)
    return transport


def firsts(values: Iterable[bytes]) -> list[bytes]:
    """Return the values without those that came before."""
    return list(dict.fromkeys(values))


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    for _ in range(3000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited in vain")


class Stream:
    """A writer and a reader of numbered messages on one partition."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.acknowledged: list[bytes] = []
        self.seen: list[bytes] = []

    async def write(self, transport: KafkaTransport, count: int, together: int = 5) -> None:
        """Append numbers, some at a time, and note what is acknowledged."""
        for start in range(0, count, together):
            values = [b"%d" % i for i in range(start, start + together)]
            appends = [transport.append(self.topic, None, v, partition=self.partition) for v in values]
            positions = await asyncio.gather(*appends)
            assert [p.offset for p in positions] == sorted(p.offset for p in positions)
            self.acknowledged += values
            await asyncio.sleep(0.005)

    async def until_acknowledged(self, count: int) -> None:
        """Wait until so many are acknowledged."""
        await until(lambda: len(self.acknowledged) >= count)

    async def read(self, transport: KafkaTransport, count: int) -> None:
        """Read on until that many different messages were seen."""
        offset = 0
        while len(set(self.seen)) < count:
            messages = await transport.read(self.topic, self.partition, offset, wait_seconds=1.0)
            if messages:
                assert messages[0].offset == offset
                offset = messages[-1].offset + 1
            self.seen += [message.value for message in messages]

    def check(self, count: int) -> None:
        """Check that all is there, in order, whatever else was repeated."""
        assert self.acknowledged == [b"%d" % i for i in range(count)]
        assert firsts(self.seen) == self.acknowledged


async def test_a_broker_killed_in_mid_stream_loses_nothing(own_broker: KafkaBroker) -> None:
    streams = [Stream(ONE.topic, 0), Stream(MANY.topic, 3), Stream(MANY.topic, 11)]
    async with opened(own_broker) as writer, opened(own_broker) as reader:
        await writer.create_topics([ONE, MANY])
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for stream in streams:
                group.create_task(stream.write(writer, 400))
                group.create_task(stream.read(reader, 400))
            for _ in range(2):
                # All may be there by the time that the restart is noticed here.
                await streams[0].until_acknowledged(min(len(streams[0].acknowledged) + 50, 400))
                own_broker.kill()
                await asyncio.sleep(0.5)
                await asyncio.to_thread(own_broker.restart)
        for stream in streams:
            stream.check(400)


async def test_a_halted_broker_is_waited_for_and_followed_again(own_broker: KafkaBroker) -> None:
    stream = Stream(ONE.topic, 0)
    async with opened(own_broker) as writer, opened(own_broker) as reader:
        await writer.create_topics([ONE])
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(stream.write(writer, 100))
            reading = group.create_task(stream.read(reader, 200))
            await stream.until_acknowledged(100)
            # From then on nothing has to be looked up.
            async with asyncio.TaskGroup() as waiting:
                waiting.create_task(until(lambda: len(set(stream.seen)) == 100))
                waiting.create_task(until(lambda: reader._follower.follows((ONE.topic, 0), 100)))
            own_broker.pause()
            writing = group.create_task(writer.append(ONE.topic, None, b"100"))
            # A read that waits comes back with nothing, though nobody answers.
            async with asyncio.timeout(PATIENCE):
                assert await reader.read(ONE.topic, 0, 100, wait_seconds=1.0) == []
            await asyncio.sleep(4)
            assert not writing.done()
            own_broker.resume()
            assert (await writing).offset >= 100
            for i in range(101, 200):
                await writer.append(ONE.topic, None, b"%d" % i)
            await reading
        assert firsts(stream.seen) == [b"%d" % i for i in range(200)]


async def test_an_outage_beyond_patience_is_an_error_and_passes(own_broker: KafkaBroker) -> None:
    async with opened(own_broker, patience=2) as transport:
        await transport.create_topics([ONE])
        await transport.append(ONE.topic, None, b"before")
        assert await transport.read(ONE.topic, 0, 1, wait_seconds=0.1) == []
        own_broker.pause()
        started = time.monotonic()
        calls = [
            transport.append(ONE.topic, None, b"during"),
            transport.end_offset(ONE.topic, 0),
            transport.read(ONE.topic, 0, 0),
            transport.read(ONE.topic, 0, 1, wait_seconds=8.0),
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - started < 25
        for outcome in outcomes:
            assert isinstance(outcome, BrokerUnreachableError)
            assert outcome.retriable
            assert outcome.code == "transport_unreachable"
            assert own_broker.address in str(outcome)
        own_broker.resume()
        async with asyncio.timeout(40):
            while True:
                try:
                    await transport.append(ONE.topic, None, b"after")
                    break
                except BrokerUnreachableError:
                    continue
            end = await transport.end_offset(ONE.topic, 0)
            values = [m.value for m in await transport.read(ONE.topic, 0, 0, wait_seconds=5.0)]
        assert values[0] == b"before"
        assert values[-1] == b"after"
        assert set(values) <= {b"before", b"during", b"after"}
        assert len(values) == end


async def test_closing_during_an_outage_is_bounded(own_broker: KafkaBroker) -> None:
    transport = opened(own_broker)
    await transport.create_topics([ONE])
    await transport.append(ONE.topic, None, b"before")
    waiting = asyncio.create_task(transport.read(ONE.topic, 0, 1, wait_seconds=PATIENCE))
    await asyncio.sleep(0.3)
    own_broker.pause()
    appending = asyncio.create_task(transport.append(ONE.topic, None, b"during"))
    await asyncio.sleep(0.3)
    started = time.monotonic()
    await transport.close()
    assert time.monotonic() - started < 45
    for task in (waiting, appending):
        with pytest.raises(TransportClosedError):
            await task


async def test_a_replaced_producer_sends_the_rest_again_in_order(
    kafka_address: str, empty_kafka: str
) -> None:
    async with open_transport(f"kafka://{empty_kafka}") as transport:
        assert isinstance(transport, KafkaTransport)
        await transport.create_topics([ONE])
        outbox = transport._outbox
        appends = [asyncio.create_task(transport.append(ONE.topic, None, b"%d" % i)) for i in range(3000)]
        for _ in range(3):
            await asyncio.sleep(0.05)
            # As after an error that the producer cannot survive.
            outbox._broken = True
            outbox._wake.set()
        positions = [await append for append in appends]
        messages: list[Message] = []
        while batch := await transport.read(ONE.topic, 0, len(messages)):
            messages += batch
        assert firsts(message.value for message in messages) == [b"%d" % i for i in range(3000)]
        assert all(messages[p.offset].value == b"%d" % i for i, p in enumerate(positions))


@pytest.mark.parametrize("call", ["append", "read", "topics", "create_topics"])
async def test_nobody_listens(call: str) -> None:
    # Port 1 is reserved, and nobody listens there.
    async with open_transport("kafka://127.0.0.1:1?connect=1") as transport:
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "append": lambda: transport.append(ONE.topic, None, b""),
            "read": lambda: transport.read(ONE.topic, 0, 0, wait_seconds=PATIENCE),
            "topics": transport.topics,
            "create_topics": lambda: transport.create_topics([ONE]),
        }
        started = time.monotonic()
        with pytest.raises(BrokerUnreachableError) as refused:
            await calls[call]()
        assert time.monotonic() - started < 10
        assert str(refused.value) == "no Kafka broker listens at 127.0.0.1:1"
        assert "that the broker runs" in str(refused.value.hint)


async def test_no_such_host() -> None:
    async with open_transport("kafka://no-such-host.invalid?connect=1") as transport:
        with pytest.raises(BrokerUnreachableError, match=r"no host of that name: no-such-host\.invalid:9092"):
            await transport.topics()


async def test_something_else_listens() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with open_transport(f"kafka://127.0.0.1:{port}?connect=1") as transport:
            with pytest.raises(BrokerUnreachableError, match="no Kafka connection with") as refused:
                await transport.topics()
        assert "TLS" in str(refused.value.hint)


async def test_a_broker_that_comes_late_is_waited_for(own_broker: KafkaBroker) -> None:
    own_broker.kill()
    async with opened(own_broker, connect=60) as transport:
        making = asyncio.create_task(transport.create_topics([ONE]))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(own_broker.restart)
        await making
        assert (await transport.append(ONE.topic, None, b"x")).offset == 0
