"""What every topic transport promises: one function per promise, run against each of them.

A promise gets `open_handle`, which opens another handle on the same topics; whoever calls
closes it. Time-outs here only bound how long a broken transport may hang.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pipeline.errors import (
    LogRolledBackError,
    MessageTooLargeError,
    OffsetOutOfRangeError,
    TopicMismatchError,
    TransportClosedError,
    UnknownTopicError,
)
from pipeline.transport import MAX_APPEND_BYTES, Message, Position, Transport, partition_for_key
from schemas.codec import MAX_MESSAGE_BYTES
from schemas.topics import Durability, Kept, TopicSpec

OpenHandle = Callable[[], Transport]
Promise = Callable[[OpenHandle], Awaitable[None]]

PATIENCE = 30.0
ONE = TopicSpec("t.one", 1, Kept.FOREVER, Durability.FULL)
MANY = TopicSpec("t.many", 16, Kept.SHORT, Durability.NORMAL)


async def _ready(open_handle: OpenHandle) -> Transport:
    transport = open_handle()
    await transport.create_topics([ONE, MANY])
    return transport


async def _all(transport: Transport, topic: str = ONE.topic, partition: int = 0) -> list[Message]:
    found: list[Message] = []
    while True:
        batch = await transport.read(topic, partition, len(found))
        if not batch:
            return found
        found += batch


async def offsets_are_dense_and_in_order(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as transport:
        positions = [await transport.append(ONE.topic, None, b"%d" % i) for i in range(20)]
        assert positions == [Position(ONE.topic, 0, i) for i in range(20)]
        assert [(m.offset, m.value) for m in await _all(transport)] == [(i, b"%d" % i) for i in range(20)]


async def any_offset_can_be_read_again(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as transport:
        for i in range(10):
            await transport.append(ONE.topic, None, b"%d" % i)
        once = await transport.read(ONE.topic, 0, 0)
        for start in range(11):
            assert await transport.read(ONE.topic, 0, start) == once[start:]


async def limits_bound_a_read(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as transport:
        for _ in range(6):
            await transport.append(ONE.topic, None, bytes(100))
        assert len(await transport.read(ONE.topic, 0, 0, max_messages=4)) == 4
        assert len(await transport.read(ONE.topic, 0, 0, max_bytes=350)) == 3
        assert len(await transport.read(ONE.topic, 0, 2, max_bytes=1)) == 1


async def content_survives_byte_for_byte(open_handle: OpenHandle) -> None:
    every_byte = bytes(range(256))
    async with await _ready(open_handle) as transport:
        await transport.append(ONE.topic, None, b"")
        await transport.append(ONE.topic, b"", every_byte, {})
        await transport.append(ONE.topic, every_byte, b"x", {"trace": every_byte, "ünï": b""})
        first, second, third = await transport.read(ONE.topic, 0, 0)
        assert (first.key, first.value, dict(first.headers)) == (None, b"", {})
        assert (second.key, second.value, dict(second.headers)) == (b"", every_byte, {})
        assert (third.key, third.value, dict(third.headers)) == (
            every_byte,
            b"x",
            {"trace": every_byte, "ünï": b""},
        )
        assert 0 < first.written_at <= third.written_at


async def keys_choose_stable_partitions(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as transport:
        for i in range(40):
            key = b"owner %d" % (i % 8)
            position = await transport.append(MANY.topic, key, b"%d" % i)
            assert position.partition == partition_for_key(key, 16)
        assert (await transport.append(MANY.topic, None, b"")).partition == 0
        assert (await transport.append(MANY.topic, b"owner 1", b"", partition=3)).partition == 3
        for partition in range(16):
            values = [int(m.value) for m in await _all(transport, MANY.topic, partition) if m.value and m.key]
            assert values == sorted(values)


async def handles_see_each_other(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as one, open_handle() as other:
        await one.append(ONE.topic, b"k", b"from one")
        await other.append(ONE.topic, b"k", b"from other")
        assert await _all(one) == await _all(other)
        assert [m.value for m in await _all(one)] == [b"from one", b"from other"]


async def a_waiting_read_wakes_up(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as writer, open_handle() as reader:
        for i in range(5):
            waiting = asyncio.create_task(reader.read(ONE.topic, 0, i, wait_seconds=PATIENCE))
            await asyncio.sleep(0.01)
            assert not waiting.done()
            await writer.append(ONE.topic, None, b"%d" % i)
            assert [m.value for m in await waiting] == [b"%d" % i]


async def a_read_at_the_end_returns_nothing(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as transport:
        assert await transport.read(ONE.topic, 0, 0) == []
        assert await transport.read(ONE.topic, 0, 0, wait_seconds=0.05) == []
        await transport.append(MANY.topic, None, b"elsewhere", partition=5)
        assert await transport.read(MANY.topic, 4, 0, wait_seconds=0.05) == []


async def a_waiting_read_can_be_cancelled(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as transport:
        waiting = asyncio.create_task(transport.read(ONE.topic, 0, 0, wait_seconds=PATIENCE))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await transport.append(ONE.topic, None, b"after")
        assert [m.value for m in await transport.read(ONE.topic, 0, 0, wait_seconds=PATIENCE)] == [b"after"]


async def concurrent_writers_keep_dense_offsets(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as one, open_handle() as other:

        async def write(transport: Transport, name: str) -> list[int]:
            return [
                (await transport.append(ONE.topic, None, f"{name} {i}".encode())).offset for i in range(15)
            ]

        runs = await asyncio.gather(*(write(t, f"{n}") for n in range(4) for t in (one, other)))
        assert sorted(offset for run in runs for offset in run) == list(range(120))
        assert all(run == sorted(run) for run in runs)
        messages = await _all(one)
        assert [m.offset for m in messages] == list(range(120))
        assert len({m.value for m in messages}) == 60


async def appends_keep_the_order_of_calls(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as transport:
        done: list[int] = []

        async def write(i: int) -> int:
            offset = (await transport.append(ONE.topic, None, b"%d" % i)).offset
            done.append(offset)
            return offset

        assert await asyncio.gather(*(write(i) for i in range(50))) == list(range(50))
        assert done == list(range(50))


async def too_large_is_refused(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as transport:
        await transport.append(ONE.topic, b"owner", bytes(MAX_MESSAGE_BYTES), {"h": b"x"})
        for key, value, headers in (
            (None, bytes(MAX_APPEND_BYTES + 1), {}),
            (bytes(MAX_APPEND_BYTES), b"x", {}),
            (None, b"", {"h": bytes(MAX_APPEND_BYTES)}),
        ):
            with pytest.raises(MessageTooLargeError):
                await transport.append(ONE.topic, key, value, headers)
        (message,) = await transport.read(ONE.topic, 0, 0)
        assert message.value == bytes(MAX_MESSAGE_BYTES)


async def unknown_topics_and_partitions_are_named(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as transport:
        for topic, partition in (("t.none", 0), ("../t.one", 0), (ONE.topic, 1), (MANY.topic, -1)):
            with pytest.raises(UnknownTopicError):
                await transport.append(topic, None, b"", partition=partition)
            with pytest.raises(UnknownTopicError):
                await transport.read(topic, partition, 0)
            with pytest.raises(UnknownTopicError):
                await transport.read(topic, partition, 0, wait_seconds=PATIENCE)
            with pytest.raises(UnknownTopicError):
                await transport.end_offset(topic, partition)
            with pytest.raises(UnknownTopicError):
                await transport.beginning_offset(topic, partition)
        # A refused append harms no other.
        outcomes = await asyncio.gather(
            transport.append(ONE.topic, None, b"good"),
            transport.append(ONE.topic, None, b"bad", partition=9),
            transport.append(ONE.topic, None, b"good"),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], UnknownTopicError)
        assert [m.value for m in await _all(transport)] == [b"good", b"good"]


async def creating_again_changes_nothing(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as transport:
        await transport.append(ONE.topic, None, b"kept")
        await transport.create_topics([ONE, MANY])
        assert [m.value for m in await _all(transport)] == [b"kept"]
        with pytest.raises(TopicMismatchError):
            await transport.create_topics([TopicSpec(ONE.topic, 2, Kept.FOREVER, Durability.FULL)])


async def topics_are_described(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as transport:
        await transport.append(ONE.topic, b"key", b"12345")
        await transport.append(MANY.topic, None, b"", partition=2)
        many, one = await transport.topics()
        assert (one.topic, one.partitions, one.messages) == (ONE.topic, 1, 1)
        assert one.bytes in {8, None}
        assert (one.oldest_offset, one.next_offset) == ((0,), (1,))
        assert (many.messages, many.next_offset[2], sum(many.next_offset)) == (1, 1, 1)


async def trimmed_messages_are_gone_and_offsets_go_on(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as transport:
        for i in range(6):
            await transport.append(ONE.topic, None, b"%d" % i)
        await transport.trim(ONE.topic, 0, 4)
        await transport.trim(ONE.topic, 0, 2)
        assert await transport.beginning_offset(ONE.topic, 0) == 4
        assert [m.offset for m in await transport.read(ONE.topic, 0, 4)] == [4, 5]
        with pytest.raises(OffsetOutOfRangeError) as refused:
            await transport.read(ONE.topic, 0, 3)
        assert (refused.value.oldest, refused.value.next) == (4, 6)
        await transport.trim(ONE.topic, 0, 99)
        assert await transport.beginning_offset(ONE.topic, 0) == 6
        assert (await transport.append(ONE.topic, None, b"next")).offset == 6


async def reading_beyond_the_end_is_a_rollback(open_handle: OpenHandle) -> None:
    async with await _ready(open_handle) as transport:
        await transport.append(ONE.topic, None, b"0")
        with pytest.raises(LogRolledBackError):
            await transport.read(ONE.topic, 0, 2, wait_seconds=PATIENCE)
        with pytest.raises(OffsetOutOfRangeError):
            await transport.read(ONE.topic, 0, -1)


async def a_closed_transport_says_so(open_handle: OpenHandle) -> None:
    transport = await _ready(open_handle)
    waiting = asyncio.create_task(transport.read(ONE.topic, 0, 0, wait_seconds=PATIENCE))
    await asyncio.sleep(0.01)
    await transport.close()
    await transport.close()
    with pytest.raises(TransportClosedError):
        await waiting
    calls: list[Awaitable[object]] = [
        transport.append(ONE.topic, None, b""),
        transport.read(ONE.topic, 0, 0),
        transport.topics(),
        transport.create_topics([ONE]),
        transport.end_offset(ONE.topic, 0),
        transport.trim(ONE.topic, 0, 0),
    ]
    for call in calls:
        with pytest.raises(TransportClosedError):
            await call


async def closing_finishes_appends(open_handle: OpenHandle) -> None:
    async with open_handle() as other:
        transport = await _ready(open_handle)
        appends = [asyncio.create_task(transport.append(ONE.topic, None, b"%d" % i)) for i in range(30)]
        await asyncio.sleep(0)
        await transport.close()
        assert [position.offset for position in await asyncio.gather(*appends)] == list(range(30))
        assert len(await _all(other)) == 30


PROMISES: list[Promise] = [
    offsets_are_dense_and_in_order,
    any_offset_can_be_read_again,
    limits_bound_a_read,
    content_survives_byte_for_byte,
    keys_choose_stable_partitions,
    handles_see_each_other,
    a_waiting_read_wakes_up,
    a_read_at_the_end_returns_nothing,
    a_waiting_read_can_be_cancelled,
    concurrent_writers_keep_dense_offsets,
    appends_keep_the_order_of_calls,
    too_large_is_refused,
    unknown_topics_and_partitions_are_named,
    creating_again_changes_nothing,
    topics_are_described,
    trimmed_messages_are_gone_and_offsets_go_on,
    reading_beyond_the_end_is_a_rollback,
    a_closed_transport_says_so,
    closing_finishes_appends,
]
