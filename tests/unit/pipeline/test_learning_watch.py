"""How a replay notices that its fresh tenant has learnt, or that it does not."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tenants import small_tenant
from written_log import WrittenLog

from pipeline import learning_watch
from pipeline.learning_watch import LearningWatch, StalledError
from pipeline.memory_transport import MemoryTransport
from pipeline.replay_feed import Feed
from pipeline.replay_report import ReplayReport, Speed, Stretch
from pipeline.role_processes import StepFailedError
from pipeline.transport import Message
from schemas.topics import TopicName, topic_name


def fine() -> None:
    """Find both units running."""


async def messages_of(transport: MemoryTransport, tenant: str) -> AsyncIterator[Message]:
    for message in await transport.read(topic_name(tenant, TopicName.CHUNKS), 0, 0):
        yield message


async def fed(log: WrittenLog) -> tuple[Feed, ReplayReport]:
    """Return a feed whose messages are those of a log, all of them fed."""
    elsewhere = WrittenLog(log.small)
    feed = Feed(elsewhere.transport, log.tenant.name, Speed.FULL)
    await feed.run(messages_of(log.transport, log.tenant.name))
    return feed, ReplayReport(Stretch(0, feed.messages, whole=True), Speed.FULL)


async def test_decisions_are_counted_and_timed() -> None:
    log = WrittenLog(small_tenant())
    await log.learn(0)
    await log.learn(1, part_bytes=300)
    await log.decide(await log.put_chunk(0))
    feed, report = await fed(log)
    watch = LearningWatch(log.transport, log.tenant, feed, report)
    assert not watch.is_done
    await asyncio.wait_for(watch.run(fine), 30)
    assert (report.accepted, report.rejected) == (2, 1)
    assert report.records == log.model.records == watch.totals.models["m"].model.records
    # One per message, though one of them came in parts; rejected ones teach no model.
    assert (len(report.latencies), len(watch.latencies["m"])) == (3, 2)
    assert feed.messages > 3
    assert 0 < max(report.latencies) <= report.seconds


async def test_a_unit_that_ended_is_noticed() -> None:
    log = WrittenLog(small_tenant())
    await log.learn(0)
    await log.put_chunk(1)
    watch = LearningWatch(log.transport, log.tenant, *await fed(log))

    def gone() -> None:
        raise StepFailedError("mu ended", "")

    with pytest.raises(StepFailedError, match="mu ended"):
        await asyncio.wait_for(watch.run(gone), 30)


async def test_units_that_learn_no_more_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_watch, "STALL_SECONDS", 0.0)
    monkeypatch.setattr(learning_watch, "LOOK_SECONDS", 0.01)
    log = WrittenLog(small_tenant())
    await log.learn(0)
    await log.put_chunk(1)
    watch = LearningWatch(log.transport, log.tenant, *await fed(log))
    with pytest.raises(StalledError):
        await asyncio.wait_for(watch.run(fine), 30)
