"""Replay: the recorded chunks, taken in once more elsewhere, give the recorded model."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from integration.services import until
from round_trips import chunk_of
from tenants import SmallTenant, small_tenant
from written_log import WrittenLog

from pipeline.memory_transport import MemoryTransport
from pipeline.replay import NeedsPlaintextError, replay
from pipeline.replay_feed import IN_FLIGHT, Feed, TargetInUseError
from pipeline.replay_report import ReplayedModel, ReplayReport, Speed, Stretch
from pipeline.transport import Message
from roles.master_unit import MasterUnit
from schemas.models import LogisticSpec, NaiveBayesSpec
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name, topic_specs

SPREAD_NANOSECONDS = 30_000_000


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


@pytest.fixture(scope="module")
def log(small: SmallTenant) -> WrittenLog:
    """Return a log with chunks of every fate, a query, and one chunk that is not decided yet."""

    async def write(log: WrittenLog) -> None:
        await log.put("authority", TopicName.CONFIG, "configuration", 1, b"whatever it says")
        await log.learn(0)
        await log.learn(1, part_bytes=300)
        await log.refuse(await log.put_garbage(TopicName.CHUNKS, b"nothing"), ReasonCode.MALFORMED)
        await log.decide(await log.put_chunk(2, proof=chunk_of(log.small, 3).proof))
        await log.decide(await log.put_chunk(0))
        await log.ask("asked")
        await log.learn(4)
        await log.withdraw(0, 5)
        await log.put_chunk(6)

    written = WrittenLog(small)
    asyncio.run(write(written))
    return written


def run(
    log: WrittenLog,
    target: MemoryTransport,
    chunks: tuple[int | None, int | None] = (None, None),
    speed: Speed = Speed.FULL,
) -> ReplayReport:
    return asyncio.run(replay(log.transport, target, log.tenant, chunks, speed))


def messages_of(transport: MemoryTransport, topic: TopicName) -> list[bytes]:
    return [m.value for m in transport.broker.partition(topic_name("small", topic), 0).messages]


def test_the_whole_stream_gives_the_recorded_model(log: WrittenLog) -> None:
    target = MemoryTransport()
    report = run(log, target)
    result = report.as_dict()
    assert (result["chunks_accepted"], result["chunks_rejected"], result["withdrawals"]) == (3, 3, 1)
    assert result["model"]["sha256_replayed"] == log.model.hash(log.tenant).hex()
    assert result["model"]["matches"] is True
    assert not report.differs
    # All but the chunk that MU has not decided, as it was signed.
    copied = messages_of(target, TopicName.CHUNKS)
    assert copied == messages_of(log.transport, TopicName.CHUNKS)[: len(copied)]
    assert result["messages"] == len(copied) == result["to_offset"]
    assert result["bytes"] == sum(map(len, copied))
    # Of a message in parts the last one is timed.
    assert len(report.latencies) == 7 < len(copied)
    assert 0 < result["chunk_seconds_median"] <= result["chunk_seconds_p95"] <= result["seconds"]
    assert result["chunks_per_second"] == pytest.approx(7 / result["seconds"])


def test_a_replay_writes_chunks_and_configuration_only(log: WrittenLog) -> None:
    target = MemoryTransport()
    before = {info.topic: info.messages for info in asyncio.run(log.transport.topics())}
    run(log, target)
    assert {info.topic: info.messages for info in asyncio.run(log.transport.topics())} == before
    written = {info.topic for info in asyncio.run(target.topics()) if info.messages}
    assert written == {"small.config", "small.chunks"}
    assert messages_of(target, TopicName.CONFIG) == messages_of(log.transport, TopicName.CONFIG)


def test_a_part_of_the_stream_has_a_model_of_its_own(log: WrittenLog) -> None:
    report = run(log, MemoryTransport(), (0, 1))
    assert (report.messages, report.accepted) == (1, 1)
    assert report.models[0].recorded_hash is None
    assert report.models[0].matches is None
    assert report.models[0].replayed_hash != log.model.hash(log.tenant).hex()
    assert not report.differs


@pytest.mark.parametrize(
    ("chunks", "stretch"),
    [((1, 1), (1, 1)), ((5, 2), (5, 5)), ((None, 10**6), (0, None)), ((10**6, None), None)],
)
def test_bounds_are_cut_to_what_mu_has_decided(
    log: WrittenLog, chunks: tuple[int | None, int | None], stretch: tuple[int, int | None] | None
) -> None:
    decided = log.unit.next_offset[TopicName.CHUNKS, 0]
    report = run(log, MemoryTransport(), chunks)
    expected = (decided, decided) if stretch is None else tuple(decided if n is None else n for n in stretch)
    assert (report.stretch.start, report.stretch.stop) == expected
    if expected[0] == expected[1]:
        assert (report.messages, report.as_dict()["chunk_seconds_median"]) == (0, None)


def test_a_target_in_use_is_refused(log: WrittenLog) -> None:
    target = MemoryTransport()
    run(log, target, (0, 1))
    with pytest.raises(TargetInUseError):
        run(log, target)
    with pytest.raises(TargetInUseError):
        run(log, log.transport)


def test_a_stream_with_its_pauses_takes_as_long_as_it_did(
    log: WrittenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    source = log.broker.partition("small.chunks", 0)
    originals = list(source.messages)
    try:
        source.messages[:] = [replace(m, written_at=m.offset * SPREAD_NANOSECONDS) for m in originals]
        monkeypatch.setattr("pipeline.replay_feed.asyncio.sleep", note)
        report = run(log, MemoryTransport(), speed=Speed.RECORDED)
    finally:
        source.messages[:] = originals
    assert report.models[0].matches is True
    assert len([seconds for seconds in slept if seconds > 0]) >= report.messages - 1
    assert max(slept) <= report.messages * SPREAD_NANOSECONDS / 1e9


def test_what_learns_in_sessions_is_not_replayed_as_it_is_encrypted() -> None:
    taught = WrittenLog(small_tenant(models=(NaiveBayesSpec("m"), LogisticSpec("weights"))))
    target = MemoryTransport()
    with pytest.raises(NeedsPlaintextError, match="weights") as refused:
        run(taught, target)
    assert "--data a=FILE" in str(refused.value.hint)
    assert not asyncio.run(target.topics())


@pytest.mark.parametrize(
    ("matches", "agreement", "differs"),
    [(None, None, False), (True, 1.0, False), (False, 1.0, True), (True, 0.99, True), (None, 0.0, True)],
)
def test_a_replay_differs_if_any_model_does(
    small: SmallTenant, matches: bool | None, agreement: float | None, differs: bool
) -> None:
    kept = MasterUnit.starting(small.tenant).models["m"]
    other = ReplayedModel(kept, matches=matches, twin_agreement=agreement)
    report = ReplayReport(Stretch(0, 1, whole=True), Speed.FULL, models=[ReplayedModel(kept), other])
    assert report.differs is differs


def test_what_was_accepted_once_must_be_accepted_again(small: SmallTenant) -> None:
    models = [ReplayedModel(MasterUnit.starting(small.tenant).models["m"])]
    stretch = Stretch(0, 1, whole=False)
    # As it is encrypted, the stream holds what was refused as well.
    assert not ReplayReport(stretch, Speed.FULL, rejected=1, models=models).differs
    assert ReplayReport(stretch, Speed.FULL, reencrypted=True, rejected=1, models=models).differs


async def test_no_more_is_fed_than_is_taken_in() -> None:
    target = MemoryTransport()
    await target.create_topics(topic_specs("small"))

    async def messages() -> AsyncIterator[Message]:
        for i in range(IN_FLIGHT + 5):
            yield Message("", 0, 0, b"a", {}, b"%d" % i, 0)

    feed = Feed(target, "small", Speed.FULL)
    async with asyncio.TaskGroup() as group:
        group.create_task(feed.run(messages()))
        await until(lambda: feed.messages >= IN_FLIGHT)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (feed.messages, feed.ended) == (IN_FLIGHT, False)
        fed_at = [feed.taken() for _ in range(5)]
        await until(lambda: feed.ended)
    assert fed_at == sorted(fed_at)
    assert fed_at[0] >= feed.started
    assert messages_of(target, TopicName.CHUNKS) == [b"%d" % i for i in range(IN_FLIGHT + 5)]
