"""Replay: the recorded chunks, taken in once more elsewhere, give the recorded model."""

import asyncio
from dataclasses import replace

import pytest
from round_trips import chunk_of
from tenants import SmallTenant, small_tenant
from written_log import WrittenLog

from pipeline.memory_transport import MemoryTransport
from pipeline.replay import ReplayReport, Speed, TargetInUseError, replay
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name

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
    assert report.model["sha256_recorded"] is None
    assert report.model["matches"] is None
    assert report.model["sha256_replayed"] != log.model.hash(log.tenant).hex()
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
        monkeypatch.setattr("pipeline.replay.asyncio.sleep", note)
        report = run(log, MemoryTransport(), speed=Speed.RECORDED)
    finally:
        source.messages[:] = originals
    assert report.model["matches"] is True
    assert len([seconds for seconds in slept if seconds > 0]) >= report.messages - 1
    assert max(slept) <= report.messages * SPREAD_NANOSECONDS / 1e9
