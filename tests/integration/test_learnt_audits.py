"""Audits of models that the units learn in sessions: sealed on the log, some versions compacted away."""

import asyncio
from collections.abc import Callable

import pytest
from fixed_topics import FixedTopics, flip
from integration.services import House, until
from integration.test_audits import codes, find_reply, master, public, resealed, secondary
from integration.test_learners import ALL, DT, LIMITS, LR, learnt
from written_log import changed

from pipeline import audit, journal, master_service
from schemas.codec import decode, encode
from schemas.envelope import open_envelope
from schemas.journal import EntryKind, JournalEntry
from schemas.snapshots import Snapshot
from schemas.topics import TopicName

CHUNKS = 6
PARTITIONS = range(16)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Return a tenant whose models have learnt and answered; no test writes to it."""

    async def make() -> House:
        patched.setattr(journal, "SNAPSHOT_ENTRIES", 6)
        patched.setattr(master_service, "SNAPSHOT_LOOK_SECONDS", 0.02)
        made = House(tmp_path_factory.mktemp("house"), models=ALL, limits=LIMITS)
        async with made, made.units_running() as service:
            for i in range(CHUNKS):
                await made.publish("ab"[i % 2], made.records(24, i))
                if i in {3, CHUNKS - 1}:
                    await learnt(made, service, i + 1)
                    for spec in (LR, DT):
                        await made.ask(made.records(3, f"asked {i}"), model_id=spec.model_id)
                    wanted = 1 if i == 3 else 2
                    await until(lambda wanted=wanted: len(made.snapshots()) >= wanted)  # type: ignore[misc]
        return made

    with pytest.MonkeyPatch.context() as patched:
        return asyncio.run(make())


@pytest.fixture
def topics(house: House) -> FixedTopics:
    return FixedTopics.of(house.broker, house.tenant.name)


def lessons(house: House, model_id: str) -> list[JournalEntry]:
    return [e for e in house.journal() if e.kind == EntryKind.LEARNT and e.model_id == model_id]


def forget_rounds(topics: FixedTopics) -> None:
    """Leave nothing of what the units asked each other, as after the time that rounds are kept."""
    for topic in (TopicName.ROUND_REQUESTS, TopicName.ROUND_REPLIES):
        for partition in PARTITIONS:
            topics.messages(topic, partition).clear()


async def test_what_the_services_wrote_has_no_findings(house: House, topics: FixedTopics) -> None:
    reports = [await check(house, topics) for check in (public, master, secondary)]
    assert [codes(report) for report in reports] == [[], [], []], [r.findings for r in reports]
    everybody, mu, _ = reports
    assert (everybody.skipped, mu.skipped) == ([], ["proofs"])
    models = {model["id"]: model for model in everybody.as_dict()["models"]}
    assert set(models) == {"m", "smooth", "lr", "dt"}
    # Nobody but the units can learn what they learn in sessions.
    assert [models[name]["sha256_recomputed"] is None for name in ("m", "lr", "dt")] == [False, True, True]
    assert models["lr"]["version"] == CHUNKS
    assert everybody.checked.snapshots == mu.checked.snapshots == len(house.snapshots()) >= 2
    assert len(lessons(house, "lr")) == CHUNKS
    assert len(lessons(house, "dt")) >= 2


@pytest.mark.parametrize("model_id", ["lr", "dt"])
async def test_a_sealed_model_that_is_gone_is_found(house: House, topics: FixedTopics, model_id: str) -> None:
    entry = lessons(house, model_id)[1]
    topics.drop_everywhere(TopicName.SNAPSHOTS, entry.offset, entry.partition)
    report = await public(house, topics)
    # Once for the entry, and again if the newest snapshot names it.
    places = {(finding.code, finding.place.topic, finding.place.offset) for finding in report.findings}
    assert places == {("model_missing", TopicName.SNAPSHOTS, entry.offset)}
    # MU, which can run the lesson again, does not need it.
    assert codes(await master(house, topics)) == []


@pytest.mark.parametrize("model_id", ["lr", "dt"])
async def test_a_sealed_model_of_another_content_is_found(
    house: House, topics: FixedTopics, model_id: str
) -> None:
    entry = lessons(house, model_id)[-1]
    topics.alter(TopicName.SNAPSHOTS, entry.offset, flip, entry.partition)
    assert "model_missing" in codes(await public(house, topics))


async def test_old_versions_may_be_compacted_away(
    house: House, topics: FixedTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "KEPT_VERSIONS", 2)
    for model_id in ("lr", "dt"):
        for entry in lessons(house, model_id)[:1]:
            topics.drop_everywhere(TopicName.SNAPSHOTS, entry.offset, entry.partition)
    report = await public(house, topics)
    assert (codes(report), report.skipped) == ([], ["sealed models"])
    versions = {model["id"]: model["version"] for model in report.as_dict()["models"]}
    assert versions["lr"] == CHUNKS
    forget_rounds(topics)
    report = await master(house, topics)
    assert codes(report) == [], report.findings
    assert "sealed models" in report.skipped
    assert report.checked.sessions_recomputed == 0


@pytest.mark.parametrize("purpose", ["learn", "grow"])
async def test_a_changed_reply_in_a_lesson_is_found_by_both_units(
    house: House, topics: FixedTopics, purpose: str
) -> None:
    partition, offset, reply = find_reply(house, topics, purpose, 1)
    sections = (*reply.sections[:-1], flip(reply.sections[-1], -1))
    other = resealed(house, TopicName.ROUND_REPLIES, partition, changed(reply, sections=sections))
    topics.substitute(TopicName.ROUND_REPLIES, offset, other, partition)
    (finding,) = (await secondary(house, topics)).findings
    assert (finding.code, finding.place.offset) == ("reply_differs", offset)
    assert codes(await master(house, topics))


# --- snapshots


def snapshot_messages(house: House, topics: FixedTopics) -> list[tuple[int, Snapshot]]:
    """Return the snapshots with their offsets."""
    found = []
    for message in topics.messages(TopicName.SNAPSHOTS):
        envelope = open_envelope(
            message.value, TopicName.SNAPSHOTS, house.tenant.name, house.tenant.verifying.get
        )
        if envelope.kind == "snapshot":
            found.append((message.offset, decode(Snapshot, envelope.body)))
    return found


def forge(house: House, topics: FixedTopics, offset: int, snapshot: Snapshot) -> None:
    """Put another snapshot, signed by MU, in the place of one."""
    publisher = house.publisher("mu", house.transport())
    (wire,) = publisher.seal(TopicName.SNAPSHOTS, "snapshot", 1, encode(snapshot))
    topics.substitute(TopicName.SNAPSHOTS, offset, wire)


def other_model(snapshot: Snapshot, **fields: object) -> Snapshot:
    first, *others = snapshot.models
    return changed(snapshot, models=(changed(first, **fields), *others))


OTHER_SNAPSHOTS: dict[str, Callable[[Snapshot], Snapshot]] = {
    "another head": lambda s: changed(s, journal_head=bytes(32)),
    "an entry that is not there": lambda s: changed(s, journal_sequence=10_000),
    "another entry": lambda s: changed(s, journal_sequence=s.journal_sequence - 1),
    "another place to go on": lambda s: changed(s, next_offsets=(("chunks", 0, 0),)),
    "a model less": lambda s: changed(s, models=s.models[1:]),
    "another hash": lambda s: other_model(s, current=changed(s.models[0].current, model_hash=bytes(32))),
    "another version answers": lambda s: other_model(s, answering_at=(0, bytes(32))),
    "another version's hash": lambda s: other_model(
        s, answering=changed(s.models[0].answering, model_hash=bytes(32))
    ),
}


@pytest.mark.parametrize("name", OTHER_SNAPSHOTS)
async def test_a_snapshot_that_says_something_else(house: House, topics: FixedTopics, name: str) -> None:
    offset, snapshot = snapshot_messages(house, topics)[-1]
    forge(house, topics, offset, OTHER_SNAPSHOTS[name](snapshot))
    assert set(codes(await public(house, topics))) == {"snapshot_differs"}


@pytest.mark.parametrize("journal_too", [False, True])
async def test_units_and_everybody_begin_with_a_snapshot_where_chunks_are_gone(
    house: House, topics: FixedTopics, *, journal_too: bool
) -> None:
    _, snapshot = snapshot_messages(house, topics)[0]
    for name, _, offset in snapshot.next_offsets:
        topics.trim_before(TopicName(name), offset)
    if journal_too:
        topics.trim_before(TopicName.JOURNAL, snapshot.journal_offset)
    whole = await public(house, FixedTopics.of(house.broker, house.tenant.name))
    everybody, mu, su = [await check(house, topics) for check in (public, master, secondary)]
    assert [codes(report) for report in (everybody, mu, su)] == [[], [], []]
    for report in (everybody, mu):
        begun = report.as_dict()["from"]
        assert begun["journal_sequence"] == snapshot.journal_sequence + 1
        assert f"journal entry {snapshot.journal_sequence}," in begun["snapshot"]
    assert [model.as_dict() for model in everybody.models] == [model.as_dict() for model in whole.models]
    assert mu.checked.sessions_recomputed > 0
    assert "requests that the journal before the snapshot may explain" in mu.skipped
    assert su.checked.sessions_recomputed > 0


async def test_a_sealed_model_of_the_newest_snapshot_that_is_gone(house: House, topics: FixedTopics) -> None:
    _, snapshot = snapshot_messages(house, topics)[-1]
    place = snapshot.models[0].current
    topics.drop_everywhere(TopicName.SNAPSHOTS, place.offset, place.partition)
    (finding,) = (await public(house, topics)).findings
    assert (finding.code, finding.place.offset) == ("model_missing", place.offset)
