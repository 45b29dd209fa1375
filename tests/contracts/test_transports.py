"""Every promise of the transport contract, against every transport."""

import inspect
from functools import partial
from pathlib import Path

import pytest
from contracts import transport_contract
from contracts.transport_contract import PROMISES, OpenHandle, Promise

from pipeline.embedded_log import EmbeddedLog
from pipeline.memory_transport import MemoryBroker, MemoryTransport
from pipeline.topic_urls import open_transport

KAFKA = pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(60)])


@pytest.fixture(params=["memory", "embedded_log", KAFKA])
def open_handle(request: pytest.FixtureRequest, tmp_path: Path) -> OpenHandle:
    if request.param == "memory":
        return partial(MemoryTransport, MemoryBroker())
    if request.param == "kafka":
        address: str = request.getfixturevalue("empty_kafka")
        return partial(open_transport, f"kafka://{address}")
    return partial(EmbeddedLog, tmp_path / "topics")


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_promise(promise: Promise, open_handle: OpenHandle) -> None:
    await promise(open_handle)


def test_no_promise_is_forgotten() -> None:
    written = {
        function
        for name, function in inspect.getmembers(transport_contract, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    assert written == set(PROMISES)
