"""What the Kafka transport does beyond the contract: following, fetching ahead, topics' settings."""

import asyncio
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.record.util import calc_crc32c

from pipeline.errors import UnknownTopicError
from pipeline.kafka_follower import READ_MESSAGES, UNREAD_BYTES
from pipeline.kafka_settings import FETCH_PARTITION_BYTES, topic_settings
from pipeline.kafka_transport import KafkaTransport
from pipeline.topic_urls import open_transport
from pipeline.transport import Transport
from schemas.topics import Durability, Kept, TopicSpec, topic_specs

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(60)]

ONE = TopicSpec("t.one", 1, Kept.FOREVER, Durability.NORMAL)
MANY = TopicSpec("t.many", 16, Kept.SHORT, Durability.NORMAL)
PATIENCE = 30.0


def opened(address: str) -> KafkaTransport:
    transport = open_transport(f"kafka://{address}")
    assert isinstance(transport, KafkaTransport)
    return transport


def connections(address: str) -> int:
    """Return how many connections to a port of this machine are established."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for line in lines if line[2].endswith(port) and line[3] == "01")


async def test_all_partitions_are_waited_for_on_one_connection(empty_kafka: str) -> None:
    before = connections(empty_kafka)
    async with opened(empty_kafka) as transport:
        await transport.create_topics([ONE, MANY])
        reads = [
            asyncio.create_task(transport.read(MANY.topic, p, 0, wait_seconds=PATIENCE)) for p in range(16)
        ]
        await asyncio.sleep(1.0)
        for partition in range(16):
            await transport.append(MANY.topic, None, b"%d" % partition, partition=partition)
        assert [m.value for found in await asyncio.gather(*reads) for m in found] == [
            b"%d" % p for p in range(16)
        ]
        # For appending, following, looking up and administration.
        assert connections(empty_kafka) - before <= 4


async def test_one_reader_follows_while_others_replay(empty_kafka: str) -> None:
    count = 300
    async with opened(empty_kafka) as transport:
        await transport.create_topics([ONE])

        async def read_on(offset: int, wait: float) -> list[int]:
            seen: list[int] = []
            while offset < count:
                messages = await transport.read(ONE.topic, 0, offset, max_messages=7, wait_seconds=wait)
                seen += [int(message.value) for message in messages]
                offset = messages[-1].offset + 1 if messages else offset
            return seen

        async def write() -> None:
            for i in range(count):
                await transport.append(ONE.topic, None, b"%d" % i)

        followers = [asyncio.create_task(read_on(0, PATIENCE)) for _ in range(2)]
        replays = [asyncio.create_task(read_on(0, 0.0)) for _ in range(2)]
        await write()
        late = [asyncio.create_task(read_on(start, PATIENCE)) for start in (100, 290)]
        assert await asyncio.gather(*followers) == [list(range(count))] * 2
        assert await asyncio.gather(*replays) == [list(range(count))] * 2
        assert await asyncio.gather(*late) == [list(range(100, count)), list(range(290, count))]


async def test_a_tail_that_nobody_reads_is_paused(empty_kafka: str) -> None:
    size, count = 1024 * 1024, 40
    async with opened(empty_kafka) as reader, opened(empty_kafka) as writer:
        await reader.create_topics([ONE])
        assert await reader.read(ONE.topic, 0, 0, wait_seconds=0.2) == []
        for i in range(count):
            await writer.append(ONE.topic, None, b"%d" % i + bytes(size))
        tail = reader._follower._tails[ONE.topic, 0]
        async with asyncio.timeout(PATIENCE):
            while not tail.paused:  # noqa: ASYNC110 - nobody is told of it
                await asyncio.sleep(0.05)
        # What was on its way when the tail was paused comes or does not; then nothing does.
        await asyncio.sleep(0.5)
        assert UNREAD_BYTES < tail.unread_bytes <= UNREAD_BYTES + FETCH_PARTITION_BYTES
        offset = 0
        while offset < count:
            for message in await reader.read(ONE.topic, 0, offset, wait_seconds=PATIENCE):
                assert (message.offset, message.value) == (offset, b"%d" % offset + bytes(size))
                offset += 1
        assert not tail.paused
        assert tail.unread_bytes == 0
        assert len(tail.messages) <= READ_MESSAGES


async def test_a_record_that_cannot_be_decoded_is_passed_by(empty_kafka: str) -> None:
    async with opened(empty_kafka) as transport:
        await transport.create_topics([ONE])
        following = asyncio.create_task(_read_all(transport, 5))
        await transport.append(ONE.topic, None, b"0")
        await transport.append(ONE.topic, None, b"1")
        await append_undecodable(empty_kafka, ONE.topic)
        await transport.append(ONE.topic, None, b"3")
        await transport.append(ONE.topic, None, b"4")
        expected = [b"0", b"1", b"", b"3", b"4"]
        assert await following == expected
        assert await _read_all(transport, 5) == expected


async def _read_all(transport: KafkaTransport, count: int) -> list[bytes]:
    values: list[bytes] = []
    while len(values) < count:
        messages = await transport.read(ONE.topic, 0, len(values), wait_seconds=PATIENCE)
        assert [m.offset for m in messages] == list(range(len(values), len(values) + len(messages)))
        values += [message.value for message in messages]
    return values


async def append_undecodable(address: str, topic: str) -> None:
    """Append a record with a header name that is no UTF-8, as a program of one's own can."""
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        batch = producer.create_batch()
        batch.append(key=None, value=b"v", timestamp=None, headers=[("NAME", b"")])
        batch.close()
        data = bytearray(batch._build())
        at = data.index(b"NAME")
        data[at : at + 4] = b"\xff\xfe\xff\xfe"
        # The checksum stands behind the lengths and covers what follows it.
        data[17:21] = calc_crc32c(bytes(data[21:])).to_bytes(4, "big")
        batch._buffer = bytes(data)
        await (await producer.send_batch(batch, topic, partition=0))


async def test_holes_in_a_log_are_passed_over(empty_kafka: str) -> None:
    # The end of a stranger's transaction takes an offset and holds no message, as compaction may.
    async with opened(empty_kafka) as transport:
        await transport.create_topics([ONE])
        async with AIOKafkaProducer(bootstrap_servers=empty_kafka, transactional_id="stranger") as producer:
            for value in (b"0", b"2"):
                async with producer.transaction():
                    await producer.send_and_wait(ONE.topic, value, partition=0)
        # A broker notes the end of a transaction after it has acknowledged that.
        async with asyncio.timeout(PATIENCE):
            while await transport.end_offset(ONE.topic, 0) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await transport.end_offset(ONE.topic, 0) == 4
        assert await transport.read(ONE.topic, 0, 3) == []
        assert [m.offset for m in await transport.read(ONE.topic, 0, 1)] == [2]
        waiting = asyncio.create_task(transport.read(ONE.topic, 0, 3, wait_seconds=PATIENCE))
        await asyncio.sleep(0.3)
        assert (await transport.append(ONE.topic, None, b"4")).offset == 4
        assert [m.value for m in await waiting] == [b"4"]
        assert [m.offset for m in await transport.read(ONE.topic, 0, 0)] == [0, 2, 4]


async def test_topics_get_the_settings_of_the_table(empty_kafka: str) -> None:
    specs = topic_specs("tenant")
    async with opened(empty_kafka) as transport:
        await transport.create_topics(specs)
    admin = AIOKafkaAdminClient(bootstrap_servers=empty_kafka)
    await admin.start()
    try:
        for spec in specs:
            wanted = topic_settings(spec)
            asked = ConfigResource(ConfigResourceType.TOPIC, spec.topic, dict.fromkeys(wanted))
            (answer,) = await admin.describe_configs([asked])
            ((_, _, _, _, entries),) = answer.resources
            assert {entry[0]: entry[1] for entry in entries} == wanted
    finally:
        await admin.close()


async def all_unknown(transport: Transport) -> bool:
    """Return whether nothing can be done with the topic."""
    calls = [
        transport.append(ONE.topic, None, b"y"),
        transport.end_offset(ONE.topic, 0),
        transport.read(ONE.topic, 0, 0),
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    return all(isinstance(outcome, UnknownTopicError) for outcome in outcomes)


async def test_a_deleted_topic_is_unknown(empty_kafka: str) -> None:
    async with open_transport(f"kafka://{empty_kafka}?patience=20") as transport:
        await transport.create_topics([ONE])
        await transport.append(ONE.topic, None, b"x")
        assert await transport.end_offset(ONE.topic, 0) == 1
        admin = AIOKafkaAdminClient(bootstrap_servers=empty_kafka)
        await admin.start()
        await admin.delete_topics([ONE.topic])
        await admin.close()
        # A broker goes on for a moment with what it knows of the topic.
        while not await all_unknown(transport):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        assert await transport.topics() == []
