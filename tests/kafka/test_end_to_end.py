"""All roles over a real broker: training and queries equal the twin, with outages and without."""

import asyncio
from pathlib import Path
from types import TracebackType

import pytest
from integration.deployment import Deployment
from integration.services import House, MortalTransport, model_of

from kafka.broker import KafkaBroker
from pipeline import rounds
from pipeline.topic_urls import open_transport
from pipeline.transport import Transport

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(120)]


class KafkaHouse(House):
    """A tenant in one process whose services each have their own handle on a broker."""

    def __init__(self, folder: Path, address: str) -> None:
        super().__init__(folder)
        self._address = address
        self._handles: list[Transport] = []

    def transport(self) -> MortalTransport:
        handle = open_transport(f"kafka://{self._address}?connect=60")
        self._handles.append(handle)
        # The services know it as a Transport; what a MortalTransport has beside that is not used here.
        return handle  # type: ignore[return-value]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(handle.close() for handle in self._handles))


async def test_training_and_queries_equal_the_twin(empty_kafka: str, tmp_path: Path) -> None:
    async with KafkaHouse(tmp_path, empty_kafka) as house, house.units_running() as master:
        batches = [house.records(30, i) for i in range(4)]
        await house.publish("a", *batches[:2])
        await house.publish("b", *batches[2:])
        twin = house.twin(batches)
        asked = [house.records(4, f"asked {i}") for i in range(3)]
        labels = await asyncio.gather(*(house.ask(rows) for rows in asked))
        assert labels == [twin.predict(rows.indices).tolist() for rows in asked]
        # What anyone folds from the log is what MU holds.
        state = await house.state()
        assert model_of(state).hash(house.tenant) == model_of(master.unit).hash(house.tenant)
        assert state.head == master.unit.head


async def test_units_go_on_when_the_broker_comes_back(
    own_broker: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", 0.3)
    async with KafkaHouse(tmp_path, own_broker.address) as house, house.units_running():
        batches = [house.records(20, i) for i in range(6)]
        await house.publish("a", *batches[:3])
        publishing = asyncio.create_task(house.publish("b", *batches[3:]))
        asking = asyncio.create_task(house.ask(house.records(3, "during")))
        own_broker.kill()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(own_broker.restart)
        await publishing
        assert len(await asking) == 3
        rows = house.records(5, "after")
        assert await house.ask(rows) == house.twin(batches).predict(rows.indices).tolist()
        state = await house.state()
        assert model_of(state).records == 120


def test_the_commands_of_all_roles(empty_kafka: str, tmp_path: Path) -> None:
    deployment = Deployment.make(tmp_path, "--transport", f"kafka://{empty_kafka}")
    with deployment.units():
        deployment.publish(120, "a")
        deployment.publish(100, "b", seed=1)
        labels = deployment.predict(6)
        assert set(labels) <= {"x", "y", "z"}
    # Units that start anew answer the same.
    assert deployment.predict_with_units() == labels[:5]
    listed = {topic["topic"]: topic for topic in deployment.run("inspect", "topics").object["topics"]}
    assert listed["demo.chunks"]["messages"] == 3
    assert listed["demo.chunks"]["bytes"] is None
