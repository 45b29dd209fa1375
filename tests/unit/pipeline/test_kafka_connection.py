"""Calls on a Kafka connection, without a broker: what ends a call from inside is not the caller's end."""

import asyncio

import pytest

from pipeline.errors import BrokerUnreachableError
from pipeline.kafka_address import parse_kafka_url
from pipeline.kafka_connection import KafkaConnection, cancelled_by_caller


def connection(seconds: float = 5.0) -> KafkaConnection:
    return KafkaConnection(parse_kafka_url(f"kafka://127.0.0.1:1?connect={seconds}"))


async def end_from_inside() -> None:
    """Be cancelled as by a library that cancels its own task when a connection goes."""
    task = asyncio.get_running_loop().create_future()
    task.cancel()
    await task


async def test_a_call_that_the_library_cancels_is_repeated() -> None:
    attempts = 0

    async def call() -> str:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            await end_from_inside()
        return "answered"

    assert await connection().retrying(call) == "answered"
    assert attempts == 3


async def test_a_call_that_the_library_goes_on_cancelling_ends_as_unreachable() -> None:
    with pytest.raises(BrokerUnreachableError):
        await connection(0.5).retrying(end_from_inside)


async def test_a_caller_may_cancel_a_call() -> None:
    started = asyncio.Event()

    async def call() -> None:
        started.set()
        await asyncio.sleep(60)

    calling = asyncio.create_task(connection().retrying(call))
    await started.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_who_cancelled() -> None:
    found: list[bool] = []

    async def inside() -> None:
        try:
            await end_from_inside()
        except asyncio.CancelledError:
            found.append(cancelled_by_caller())

    async def outside() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            found.append(cancelled_by_caller())
            raise

    await asyncio.create_task(inside())
    task = asyncio.create_task(outside())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert found == [False, True]
