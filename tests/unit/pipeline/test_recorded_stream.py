"""What a journal tells of a stream: owners, sizes, order, times, and what is public of the models."""

import asyncio
from dataclasses import replace

import pytest
from tenants import small_tenant
from written_log import WrittenLog

from pipeline.fresh_tenant import fresh_name
from pipeline.recorded_stream import HasWithdrawalsError, read_stream
from pipeline.replay_report import Speed
from schemas.models import LogisticSpec, NaiveBayesSpec
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_specs


@pytest.fixture(scope="module")
def log() -> WrittenLog:
    """Return a log with a chunk in parts, one that is refused, a withdrawal, and one not decided yet."""

    async def write(log: WrittenLog) -> None:
        await log.learn(0)
        await log.learn(1, part_bytes=300)
        await log.refuse(await log.put_garbage(TopicName.CHUNKS, b"nothing"), ReasonCode.MALFORMED)
        await log.ask("asked")
        await log.learn(4)
        await log.withdraw(0, 5)
        await log.learn(7)
        await log.put_chunk(8)

    written = WrittenLog(small_tenant())
    asyncio.run(write(written))
    return written


def withdrawn_at(log: WrittenLog) -> int:
    """Return where the withdrawal lies: before the last two messages."""
    return len(log.broker.partition("small.chunks", 0).messages) - 3


def test_the_accepted_chunks_in_their_order(log: WrittenLog) -> None:
    stream = asyncio.run(read_stream(log.transport, log.tenant, (None, withdrawn_at(log))))
    assert [chunk.owner for chunk in stream.accepted] == ["a"] * 4
    offsets = [chunk.offset for chunk in stream.accepted]
    assert offsets == sorted(offsets)
    assert offsets[0] == 0
    # Of a message in parts the last one counts.
    assert offsets[1] > 1
    assert all(chunk.records > 0 for chunk in stream.accepted)
    assert stream.records_of() == {"a": sum(chunk.records for chunk in stream.accepted)}
    assert [stream.holds(chunk) for chunk in stream.accepted] == [True, True, True, False]
    assert not stream.stretch.whole
    assert stream.models["m"] == {
        "version": log.model.version,
        "records_of": {"a": log.model.records},
    }


def test_withdrawals_are_refused_where_they_are_meant(log: WrittenLog) -> None:
    at = withdrawn_at(log)
    for bounds in ((None, None), (at, at + 1)):
        with pytest.raises(HasWithdrawalsError):
            asyncio.run(read_stream(log.transport, log.tenant, bounds))
    stream = asyncio.run(read_stream(log.transport, log.tenant, (at + 1, None)))
    assert [stream.holds(chunk) for chunk in stream.accepted] == [False, False, False, True]


def test_times_are_those_of_the_chunks(log: WrittenLog) -> None:
    source = log.broker.partition("small.chunks", 0)
    originals = list(source.messages)
    try:
        source.messages[:] = [replace(m, written_at=1000 + m.offset) for m in originals]
        stop = withdrawn_at(log)
        timed = asyncio.run(read_stream(log.transport, log.tenant, (None, stop), Speed.RECORDED))
        untimed = asyncio.run(read_stream(log.transport, log.tenant, (None, stop)))
    finally:
        source.messages[:] = originals
    meant = [chunk for chunk in timed.accepted if timed.holds(chunk)]
    assert len(meant) == 3
    assert all(chunk.written_at == 1000 + chunk.offset for chunk in meant)
    assert not any(chunk.written_at for chunk in untimed.accepted)


@pytest.mark.parametrize("name", ["demo", "a" * 32, "demo-replay"])
def test_the_fresh_tenant_has_a_name_of_its_own(name: str) -> None:
    fresh = fresh_name(name)
    assert fresh != name
    assert fresh.endswith("-replay")
    # A name that topics cannot have is refused here.
    assert topic_specs(fresh)


def test_of_a_model_that_is_behind_nothing_is_known_yet() -> None:
    async def write(log: WrittenLog) -> None:
        await log.learn(0)

    behind = WrittenLog(small_tenant(models=(NaiveBayesSpec("m"), LogisticSpec("weights"))))
    asyncio.run(write(behind))
    stream = asyncio.run(read_stream(behind.transport, behind.tenant))
    assert stream.models["m"] is not None
    assert stream.models["weights"] is None
