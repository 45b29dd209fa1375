"""All roles over a real broker: training and queries equal the twin, with outages and without."""

import asyncio
from pathlib import Path

import pytest
from integration.deployment import Deployment
from integration.remote_house import RemoteHouse
from integration.services import model_of, until
from integration.sharded import kill_a_shard_in_mid_query
from integration.tenants_apart import check_tenants_apart

from kafka.broker import KafkaBroker
from pipeline import rounds
from pipeline.audit import audit
from pipeline.owner_history import own_history, own_message
from roles.chunk_encodings import ChunkEncodings
from roles.encoding import Counts, count_table
from roles.own_chunks import OwnChunks

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(120)]


def kafka_house(folder: Path, address: str) -> RemoteHouse:
    """Return a tenant whose topics are on a broker."""
    return RemoteHouse(folder, f"kafka://{address}?connect=60")


async def test_training_and_queries_equal_the_twin(empty_kafka: str, tmp_path: Path) -> None:
    async with kafka_house(tmp_path, empty_kafka) as house, house.units_running() as master:
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


async def test_owners_with_keys_of_their_own(empty_kafka: str, tmp_path: Path) -> None:
    async with (
        RemoteHouse(tmp_path, f"kafka://{empty_kafka}?connect=60", owner_keys=True) as house,
        house.units_running() as master,
    ):
        batches = [house.records(30, i) for i in range(3)]
        await house.publish("a", *batches[:2])
        await house.publish("b", batches[2])
        await until(lambda: model_of(master.unit).records == 90)
        rows = house.records(4, "asked")
        assert await house.ask(rows) == house.twin(batches).predict(rows.indices).tolist()
        assert model_of(await house.state()).hash(house.tenant) == model_of(master.unit).hash(house.tenant)
        chunks = await own_history(house.transport(), house.tenant, "a")
        opener = OwnChunks(ChunkEncodings(house.tenant), house.owner_keys["a"])
        opened = opener.open(await own_message(house.transport(), house.tenant, chunks[0]))
        assert isinstance(opened, Counts)
        assert (
            opened.class_counts.tolist() == count_table(house.tenant.schema, batches[0]).class_counts.tolist()
        )
        report = await audit(house.transport(), house.tenant)
        assert report.findings == []


async def test_units_go_on_when_the_broker_comes_back(
    own_broker: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", 0.3)
    async with kafka_house(tmp_path, own_broker.address) as house, house.units_running():
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


def test_a_killed_shard_is_taken_over(empty_kafka: str, tmp_path: Path) -> None:
    deployment = Deployment.make(tmp_path, "--transport", f"kafka://{empty_kafka}")
    kill_a_shard_in_mid_query(deployment, keep_ledgers=False)


async def test_tenants_share_a_broker(empty_kafka: str, tmp_path: Path) -> None:
    await check_tenants_apart(tmp_path, f"kafka://{empty_kafka}?connect=60")
