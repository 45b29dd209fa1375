"""A unit's metrics and readiness, against what it did."""

import asyncio
from pathlib import Path

import pytest
from integration.services import PATIENCE, House, MortalTransport, until
from integration.test_learners import LIMITS, learnt
from prometheus_client.parser import text_string_to_metric_families

from pipeline import rounds
from pipeline.errors import BrokerUnreachableError
from pipeline.unit_probe import UnitProbe
from schemas.models import LogisticSpec, NaiveBayesSpec
from schemas.topics import TopicName

Samples = dict[tuple[str, tuple[str, ...]], float]


async def samples(probe: UnitProbe) -> Samples:
    """Return every sample by its name and the values of its labels."""
    text = (await probe.metrics()).decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics_count_what_the_units_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # MU repeats nothing, however slow the machine is: SU counts what is repeated again.
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", PATIENCE)
    wild = LogisticSpec("wild", passes=8, rate_256=1 << 15)
    models = (wild, NaiveBayesSpec("m"))
    async with House(tmp_path, models=models, limits=LIMITS) as house, house.su() as su, house.mu() as mu:
        probes = {
            role: UnitProbe(role, house.transport(), house.tenant, house.meters[role])
            for role in ("mu", "su")
        }
        probes["mu"].started(mu)
        probes["su"].started(su)
        await house.publish("a", house.records(30, 0))
        await house.put("a", TopicName.CHUNKS, "chunk", b"nonsense")
        await house.ask(house.records(3, "asked"))
        await house.put("c", TopicName.QUERIES, "query", b"nonsense")
        await learnt(house, mu, 1)
        await until(lambda: len(house.dead_letters()) == 3)
        found = await samples(probes["mu"])
        assert found["privml_chunks_accepted_total", ()] == 1
        assert found["privml_chunks_rejected_total", ("malformed",)] == 1
        assert found["privml_queries_answered_total", ()] == 1
        assert found["privml_queries_refused_total", ("malformed",)] == 1
        assert found["privml_chunks_passed_over_total", ("wild", "overflow")] == 1
        assert found["privml_dead_letters_total", ("malformed",)] == 2
        assert found["privml_dead_letters_total", ("overflow",)] == 1
        assert found["privml_model_records", ("m",)] == 30
        assert found["privml_model_version", ("wild",)] == 1
        assert found["privml_model_answering_version", ("m",)] == 1
        assert found["privml_model_chunks_waiting", ("wild",)] == 0
        assert found["privml_queries_open", ()] == 0
        assert found["privml_messages_behind", ("chunks",)] == 0
        assert found["privml_activity_cpu_seconds_total", ("chunk",)] > 0
        asked = found["privml_round_seconds_count", ("query_rounds",)]
        assert asked == house.meters["mu"].activities["query_rounds"].rounds == 3
        assert found["privml_round_seconds_bucket", ("query_rounds", "+Inf")] == asked
        at_su = await samples(probes["su"])
        assert at_su["privml_round_seconds_count", ("query_rounds",)] == asked
        assert at_su["privml_rounds_total", ()] == found["privml_rounds_total", ()]
        assert not [labels for name, labels in at_su if name == "privml_rounds_refused_total"]
        assert not [name for name, _ in at_su if name.startswith(("privml_model", "privml_chunks"))]
        # Nobody's name but those of models, topics, reasons and activities.
        told = {value for (name, labels) in (*found, *at_su) if "unit_info" not in name for value in labels}
        assert told.isdisjoint({"a", "b", "c", "d"})
        infos = [next(labels for name, labels in one if name == "privml_unit_info") for one in (found, at_su)]
        assert [set(info) ^ set(infos[0]) for info in infos] == [set(), {"mu", "su"}]


class Unreachable(MortalTransport):
    """A handle that nobody answers, once it is cut off."""

    cut_off = False

    async def end_offset(self, topic: str, partition: int) -> int:
        if self.cut_off:
            raise BrokerUnreachableError("nobody answers")
        return await super().end_offset(topic, partition)


async def test_a_unit_is_ready_when_it_has_read_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with House(tmp_path, limits=LIMITS) as house:
        _ = [sent async for sent in house.owner("a").publish([house.records(24, 0)])]
        handle = Unreachable(house.broker)
        probe = UnitProbe("mu", handle, house.tenant, house.meters["mu"])
        assert (await probe.unready()).startswith("starting")
        async with house.mu() as mu:
            probe.started(mu)
            assert (await probe.unready()).startswith("starting")
            probe.listening()
            first = mu.inboxes[0]
            read = first.next_offset
            monkeypatch.setattr(first, "next_offset", -1)
            assert (await probe.unready()).startswith("catching up: 1 partitions")
            monkeypatch.setattr(first, "next_offset", read)
            await until(lambda: mu.inboxes[0].next_offset == 1)
            assert await probe.unready() == ""
            # What comes later does not make it unready again.
            monkeypatch.setattr(first, "next_offset", -1)
            assert await probe.unready() == ""
            monkeypatch.setattr(first, "next_offset", 1)
            handle.cut_off = True
            assert await probe.unready() == "its topics are out of reach"
            assert ("privml_messages_behind", ("chunks",)) not in await samples(probe)
            handle.cut_off = False
            assert await probe.unready() == ""
            await asyncio.sleep(0)
