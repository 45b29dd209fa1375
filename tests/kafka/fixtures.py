"""Fixtures of the tests that need a broker; `PRIVML_TEST_KAFKA=host:port` names one that runs already."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

from kafka.broker import JARS, KafkaBroker

RUNNING = "PRIVML_TEST_KAFKA"


@pytest.fixture(scope="session")
def kafka_address() -> Iterator[str]:
    """Return ``host:port`` of a broker without logins, shared by all tests."""
    running = os.environ.get(RUNNING)
    if running:
        names = asyncio.run(_topics(running))
        if names:
            pytest.fail(f"{RUNNING} must name a broker without topics, as the tests delete them: {names[:3]}")
        yield running
        return
    with KafkaBroker() as broker:
        yield broker.address


@pytest.fixture
def empty_kafka(kafka_address: str) -> Iterator[str]:
    """Return the shared broker's address, and leave the broker without topics."""
    yield kafka_address
    asyncio.run(_delete_topics(kafka_address))


@pytest.fixture
def own_broker() -> Iterator[KafkaBroker]:
    """Return a broker that the test may kill, stop and start again."""
    need_own_broker()
    with KafkaBroker() as broker:
        yield broker


def need_own_broker() -> None:
    """Skip a test that needs more than the broker that runs already."""
    if os.environ.get(RUNNING) and not JARS.is_dir():
        pytest.skip(f"{RUNNING} is no broker that tests may stop or configure; `make kafka` gets one")


async def _admin(address: str) -> Any:
    # Only here: every test run loads these fixtures.
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    return admin


async def _topics(address: str) -> list[str]:
    admin = await _admin(address)
    try:
        return [name for name in await admin.list_topics() if not name.startswith("__")]
    finally:
        await admin.close()


async def _delete_topics(address: str) -> None:
    admin = await _admin(address)
    try:
        while names := [name for name in await admin.list_topics() if not name.startswith("__")]:
            await admin.delete_topics(names)
            await asyncio.sleep(0.05)
    finally:
        await admin.close()
