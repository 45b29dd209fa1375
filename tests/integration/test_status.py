"""What `privml status` shows, against what MU holds; its warnings, and what it leaves out."""

from pathlib import Path
from typing import Any

import pytest
from integration.services import PATIENCE, House, MortalTransport, until
from integration.test_learners import ALL, LIMITS, learnt

from pipeline import journal, rounds, status_warnings
from pipeline.errors import BrokerRefusedError
from pipeline.status import StatusWatch
from pipeline.transport import Message
from schemas.models import LogisticSpec, NaiveBayesSpec
from schemas.topics import TopicName


def shown(found: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the figures of every model."""
    names = ("version", "records", "chunks", "owners", "waiting")
    return {model["id"]: tuple(model[name] for name in names) for model in found["models"]}


def held(service: Any) -> dict[str, tuple[int, ...]]:
    """Return the same as MU holds it."""
    kept_models = service.unit.models.values()
    models = {kept.learner.model_id: (kept.model, len(kept.waiting)) for kept in kept_models}
    return {
        name: (model.version, model.records, model.chunks, model.owners, waiting)
        for name, (model, waiting) in models.items()
    }


@pytest.mark.parametrize("entries", [3, 512], ids=["from a snapshot", "from the first entry"])
async def test_the_figures_are_those_that_mu_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_ENTRIES", entries)
    # MU repeats nothing, however slow the machine is: a repeated request waits for one more reply.
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", PATIENCE)
    async with House(tmp_path, models=ALL, limits=LIMITS) as house, house.units_running() as master:
        early = StatusWatch(house.transport(), house.tenant)
        assert set(shown(await early.look()).values()) == {(0, 0, 0, 0, 0)}
        for i in range(3):
            await house.publish("ab"[i % 2], house.records(24, i))
        await learnt(house, master, 3)
        await house.ask(house.records(4, "asked"))
        if entries == 3:
            await until(lambda: bool(house.snapshots()))
            await house.publish("a", house.records(24, 3))
            await learnt(house, master, 4)
        for watch in (early, StatusWatch(house.transport(), house.tenant)):
            found = await watch.look()
            assert shown(found) == held(master)
            assert found["journal"]["entries"] == master.unit.next_sequence
            assert (found["lag"], found["queries_open"]) == ({"chunks": 0, "queries": 0}, 0)
            assert found["rounds"]["waiting"] == 0
            assert found["rounds"]["per_second"] > 0
            assert found["last_receipt"]["at"] is not None
            assert not found["warnings"]
            assert not found["unseen"]


async def test_a_withdrawal_shows_and_an_empty_tenant_has_no_moments(tmp_path: Path) -> None:
    async with House(tmp_path, limits=LIMITS) as house, house.units_running() as master:
        watch = StatusWatch(house.transport(), house.tenant)
        empty = await watch.look()
        assert empty["last_receipt"] == {"at": None, "seconds": None}
        assert empty["models"][0]["answering"] is None
        sent = await house.publish("a", house.records(24, 0), house.records(20, 1))
        await house.owner("a").withdraw(sent[0].sequence)
        await until(lambda: len(house.journal()) == 3)
        found = await watch.look()
        assert shown(found) == held(master) == {"m": (3, 20, 1, 1, 0)}
        assert found["models"][0]["answering"] == {"version": 3, "records": 20}


async def test_what_waits_for_a_silent_unit_is_counted_and_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_warnings, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", 0.05)
    async with House(tmp_path, limits=LIMITS) as house:
        _ = [sent async for sent in house.owner("a").publish([house.records(24, 0), house.records(24, 1)])]
        watch = StatusWatch(house.transport(), house.tenant)
        found = await watch.look()
        assert found["lag"] == {"chunks": 2, "queries": 0}
        assert [warning["code"] for warning in found["warnings"]] == ["mu_silent"]
        async with house.mu():
            await until(lambda: len(house.journal()) == 2)
            await house.put_query(house.records(3, "asked"))
            await until(lambda: len(house.journal()) == 3)
            # MU repeats its request to SU, which is not there; it counts once.
            await until(lambda: sum(map(len, requests(house))) > 2)
            found = await watch.look()
        assert (found["lag"], found["queries_open"]) == ({"chunks": 0, "queries": 0}, 1)
        assert found["rounds"]["waiting"] == 1
        assert found["rounds"]["waiting_seconds"] > 0
        assert [warning["code"] for warning in found["warnings"]] == ["su_silent"]


def requests(house: House) -> list[list[Message]]:
    return [house.messages(TopicName.ROUND_REQUESTS, partition) for partition in range(16)]


async def test_a_model_that_overflows_again_and_again_is_warned_of(tmp_path: Path) -> None:
    wild = LogisticSpec("lr", passes=8, rate_256=1 << 15)
    models = (wild, NaiveBayesSpec("m"))
    async with House(tmp_path, models=models, limits=LIMITS) as house, house.units_running() as master:
        watch = StatusWatch(house.transport(), house.tenant)
        await house.publish("a", house.records(30, 0))
        await learnt(house, master, 1)
        assert not (await watch.look())["warnings"]
        await house.publish("a", house.records(30, 1))
        await learnt(house, master, 2)
        found = await watch.look()
        assert found["models"][0]["recent"] == {"chunks": 2, "passed_over": {"overflow": 2}}
        (warning,) = found["warnings"]
        assert (warning["code"], warning["model"]) == ("overflow", "lr")
        assert warning["message"].startswith("model lr passed over 2 of the last 2 chunks as overflow: lower")


class Refusing(MortalTransport):
    """A handle whose login may not use some topics."""

    refused: tuple[TopicName, ...] = ()

    async def read(self, topic: str, *arguments: Any, **options: Any) -> list[Message]:
        self._check(topic)
        return await super().read(topic, *arguments, **options)

    async def end_offset(self, topic: str, partition: int) -> int:
        self._check(topic)
        return await super().end_offset(topic, partition)

    def _check(self, topic: str) -> None:
        if topic.split(".", 1)[1] in self.refused:
            raise BrokerRefusedError("not for this user")


async def test_what_a_login_may_not_read_is_left_out_and_named(tmp_path: Path) -> None:
    async with House(tmp_path, limits=LIMITS) as house, house.units_running():
        await house.publish("a", house.records(24, 0))
        handle = Refusing(house.broker)
        handle.refused = (TopicName.QUERIES, TopicName.ROUND_REQUESTS, TopicName.RECEIPTS)
        found = await StatusWatch(handle, house.tenant).look()
        assert found["unseen"] == ["queries", "receipts", "rounds.requests"]
        assert found["lag"] == {"chunks": 0, "queries": None}
        assert found["rounds"] is None
        assert found["models"][0]["records"] == 24
