"""SU on topics that are older than what it has seen: it stops rather than answer again."""

import asyncio
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from integration.services import PATIENCE, House, until

from pipeline import rounds
from pipeline.high_water import Mark, TopicRolledBackError
from pipeline.session_ledger import Place, SessionLedger
from pipeline.shard import WHOLE
from schemas.topics import TopicName


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", 0.05)


async def refuses_to_start(house: House) -> str:
    """Start SU, which must stop; return why."""
    with pytest.raises(BaseExceptionGroup) as ended:
        async with house.su():
            await asyncio.sleep(30)
    (error,) = ended.value.exceptions
    assert isinstance(error, TopicRolledBackError), error
    assert error.code == "log_rolled_back"
    return str(error)


async def used(house: House) -> None:
    async with house.units_running():
        await house.publish("a", house.records(20, 0))
        await house.ask(house.records(2, "asked"))
        await house.publish("a", house.records(20, 1))
        await house.ask(house.records(2, "again"))


@pytest.mark.parametrize(
    "topic", [TopicName.HEADS, TopicName.QUERIES, TopicName.ROUND_REQUESTS, TopicName.ROUND_REPLIES]
)
async def test_su_stops_if_a_topic_ends_before_what_it_has_seen(tmp_path: Path, topic: TopicName) -> None:
    async with House(tmp_path) as house:
        await used(house)
        async with house.su():
            # As it is, nothing is amiss.
            pass
        # MU may have repeated a request that SU has not seen any more: what it has seen is in its ledger.
        mark = max((m for m in opened(house) if m.topic == topic), key=lambda m: m.next_offset)
        cut, kept = mark.partition, 1 if topic is TopicName.HEADS else mark.next_offset - 1
        whole = list(house.messages(topic, cut))
        del house.messages(topic, cut)[kept:]
        assert f"{topic} partition {cut} ends at offset {kept}" in await refuses_to_start(house)
        house.messages(topic, cut).extend(whole[kept:])
        async with house.su(), house.mu():
            assert len(await house.ask(house.records(2, "more"))) == 2


async def test_su_stops_if_another_head_stands_where_it_has_seen_one(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await used(house)
        heads = house.messages(TopicName.HEADS)
        (mark,) = (m for m in opened(house) if m.topic == TopicName.HEADS)
        last = heads[mark.next_offset - 1]
        # The older copy went on: as long as before, with something else.
        heads[mark.next_offset - 1] = type(last)(
            **{name: getattr(last, name) for name in last.__slots__} | {"value": heads[0].value}
        )
        assert "another message" in await refuses_to_start(house)


async def test_marks_whose_note_was_interrupted_are_noted_at_the_end(tmp_path: Path) -> None:
    noting, release = threading.Event(), threading.Event()

    class Stuck(SessionLedger):
        def set_places(self, places: Mapping[int, Place], marks: Iterable[Mark] = ()) -> None:
            if marks := list(marks):
                noting.set()
                release.wait(PATIENCE)
            else:
                super().set_places(places, marks)

    async with House(tmp_path) as house:
        async with house.mu():
            async with house.su(ledger=Stuck(WHOLE.ledger(house.folder))):
                await house.publish("a", house.records(20, 0))
                asking = asyncio.create_task(house.ask(house.records(2, "asked")))
                await until(noting.is_set)
            release.set()
            asking.cancel()
        replies = [mark for mark in opened(house) if mark.topic == TopicName.ROUND_REPLIES]
        assert any(mark.next_offset for mark in replies)


def opened(house: House) -> list[Mark]:
    ledger = house.ledger()
    try:
        return ledger.marks()
    finally:
        ledger.close()


def test_a_mark_never_goes_back(tmp_path: Path) -> None:
    ledger = SessionLedger(tmp_path / "su.ledger")
    ledger.note([Mark("heads", 0, 5, b"five")])
    ledger.note([Mark("heads", 0, 3, b"three"), Mark("queries", 0, 2)])
    ledger.close()
    again = SessionLedger(tmp_path / "su.ledger")
    assert again.marks() == [Mark("heads", 0, 5, b"five"), Mark("queries", 0, 2)]
    again.close()
