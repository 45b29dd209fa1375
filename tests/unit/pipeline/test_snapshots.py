"""MU's start from a snapshot: the newest that will do, be it not the newest of all."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cut_log import LIMITS, CutLog, written
from tenants import SmallTenant, small_tenant

from pipeline.errors import StorageError
from pipeline.journal import Journal
from pipeline.journal_index_file import JournalIndexFile
from pipeline.snapshots import capture, usable_snapshot
from roles.journal_index import MemoryIndex
from schemas.topics import TopicName, topic_name


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant(limits=LIMITS)


async def recovered(cut: CutLog, folder: Path) -> Journal:
    with closing(JournalIndexFile(folder / "mu.index")) as index:
        journal = Journal(cut.log.transport, cut.log.small.tenant, cut.publisher(), index)
        await journal.recover()
        return journal


def spoil(cut: CutLog, number: int) -> None:
    """Put nonsense into the place of a message of the snapshots topic."""
    (kept,) = cut.log.broker.partitions(topic_name("small", TopicName.SNAPSHOTS))
    kept.messages[number] = replace(kept.messages[number], value=b"gone")


async def test_a_start_takes_an_older_snapshot_where_the_newest_will_not_do(
    small: SmallTenant, tmp_path: Path
) -> None:
    cut = await written(small)
    await recovered(cut, tmp_path)
    # What the first snapshot holds cannot be folded any more.
    await cut.forget(0, TopicName.CHUNKS)
    (kept,) = cut.log.broker.partitions(topic_name("small", TopicName.SNAPSHOTS))
    models = [number for number, message in enumerate(kept.messages) if b"model" in message.value[:200]]
    assert len(models) > 1
    spoil(cut, models[-1])
    journal = await recovered(cut, tmp_path)
    assert journal.unit.head == cut.log.unit.head
    model = journal.unit.models["m"].model
    assert model.hash(small.tenant) == cut.log.model.hash(small.tenant)
    spoil(cut, models[0])
    with pytest.raises(StorageError):
        await recovered(cut, tmp_path)


def compact(cut: CutLog) -> None:
    """Leave the last message of each key, as a broker does."""
    (kept,) = cut.log.broker.partitions(topic_name("small", TopicName.SNAPSHOTS))
    last = {message.key: message.offset for message in kept.messages}
    for message in list(kept.messages):
        if last[message.key] != message.offset:
            spoil(cut, message.offset)


async def test_a_compacted_topic_keeps_several_snapshots_that_will_do(small: SmallTenant) -> None:
    cut = CutLog(small)
    await cut.log.learn(0)
    kept = cut.log.unit.models["m"]
    for number in range(1, 8):
        # One after every 512 chunks, as a stream without a pause has them.
        version = replace(kept.model, version=512 * number, sealed_at=None)
        (model,) = capture(cut.log.unit, 1).models
        moved = (model[0], version, version, model[3])
        await cut.take_snapshot(journal_sequence=512 * number - 1, models=(moved,))
    compact(cut)
    usable = []
    for until in range(511, 512 * 7, 512):
        found = await usable_snapshot(cut.log.transport, small.tenant, MemoryIndex(), until)
        usable.append(None if found is None else found[1].models["m"].model.version)
    assert usable == [None, None, None, *(512 * number for number in (4, 5, 6, 7))]


async def test_a_snapshot_of_later_entries_than_the_index_has_is_passed_over(
    small: SmallTenant, tmp_path: Path
) -> None:
    cut = CutLog(small)
    await cut.log.learn(0)
    await cut.take_snapshot()
    await cut.log.learn(1)
    await recovered(cut, tmp_path)
    await cut.log.learn(2)
    await cut.take_snapshot()
    # The first chunk alone is gone: the first snapshot is what is needed.
    await cut.forget(0, TopicName.CHUNKS)
    journal = await recovered(cut, tmp_path)
    assert journal.unit.head == cut.log.unit.head
