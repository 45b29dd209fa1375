"""Owners and clients that come and go while the units run: who judges what, whoever dies meanwhile."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from integration.services import House, let_die, model_of, until
from msgspec import structs

from pipeline import journal, rounds
from pipeline.audit import audit
from pipeline.master_self_audit import audit_master
from pipeline.memory_transport import MemoryTransport
from pipeline.replay import replay
from pipeline.secondary_self_audit import audit_secondary
from roles.tenant import configuration_digest
from schemas.codec import encode
from schemas.journal import EntryKind
from schemas.topics import Role, TopicName


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", 0.05)


def configured(house: House) -> list[int]:
    """Return the versions that the journal brought into force."""
    return [e.sender_sequence for e in house.journal() if e.kind == EntryKind.CONFIGURED]


async def in_force(house: House, version: int) -> None:
    await until(lambda: configured(house)[-1:] == [version])


def refusals(house: House) -> list[tuple[str, str]]:
    return [(letter.topic, letter.reason) for letter in house.dead_letters()]


async def findings(house: House) -> list[str]:
    """Return what the public audit and both self-audits find."""
    transport = house.transport()
    units = house.units["mu"].open(), house.units["su"].open()
    with ThreadPoolExecutor(1) as pool:
        reports = [
            await audit(transport, replace(house.tenant), grace_seconds=0.0),
            await audit_master(transport, replace(house.tenant), units[0], pool, grace_seconds=0.0),
            await audit_secondary(transport, replace(house.tenant), units[1], pool),
        ]
    return [f"{f.code.value}: {f.detail}" for report in reports for f in report.findings]


async def test_a_new_owner_and_a_new_client_take_part_at_once(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        await house.publish("a", house.records(20, 0))
        owner, client = house.newcomer("e", Role.OWNER), house.newcomer("f", Role.CLIENT)
        version = await house.configure(owner, client)
        await in_force(house, 2)
        await house.publish("e", house.records(20, 1))
        rows = house.records(4, "asked")
        twin = house.twin([house.records(20, 0), house.records(20, 1)])
        assert await house.ask(rows, "f") == list(twin.predict(rows.indices))
        entry = next(e for e in house.journal() if e.kind == EntryKind.CONFIGURED)
        assert entry.result == configuration_digest(version)
        assert await findings(house) == []


async def test_a_revoked_owner_and_client_are_refused_and_their_past_stays(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        await house.publish("a", house.records(20, 0))
        await house.publish("b", house.records(20, 1))
        await house.ask(house.records(2, "before"), "d")
        await house.configure(revoked=["b", "d"])
        await in_force(house, 2)
        _ = [s async for s in house.owner("b").publish([house.records(20, 2)])]
        await house.put_query(house.records(2, "after"), "d")
        await until(lambda: len(house.dead_letters()) == 2)
        assert sorted(refusals(house)) == [("chunks", "revoked"), ("queries", "revoked")]
        model = model_of(await house.state())
        assert (model.records, model.owners) == (40, 2)
        rows = house.records(3, "asked")
        twin = house.twin([house.records(20, 0), house.records(20, 1)])
        assert await house.ask(rows, "c") == list(twin.predict(rows.indices))
        assert await findings(house) == []


async def test_what_was_sent_before_enrolment_stays_refused(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        owner = house.newcomer("e", Role.OWNER)
        _ = [s async for s in house.owner("e").publish([house.records(5, 0)])]
        await until(lambda: refusals(house) == [("chunks", "unknown_sender")])
        await house.configure(owner)
        await in_force(house, 2)
        await house.publish("e", house.records(5, 1))
        assert await findings(house) == []


async def test_parties_come_while_chunks_flow(tmp_path: Path) -> None:
    async with House(tmp_path, part_limit=8000) as house, house.units_running():
        flowing = asyncio.create_task(house.publish("a", *(house.records(5, f"flow {i}") for i in range(12))))
        for name in "ef":
            await asyncio.sleep(0.02)
            await house.configure(house.newcomer(name, Role.OWNER))
        await in_force(house, 3)
        await asyncio.gather(*(house.publish(name, house.records(5, name)) for name in "ef"), flowing)
        model = model_of(await house.state())
        assert (model.records, model.owners) == (70, 3)
        assert await findings(house) == []


@pytest.mark.parametrize("written", [False, True])
async def test_mu_dies_between_a_configuration_and_its_entry(tmp_path: Path, *, written: bool) -> None:
    async with House(tmp_path) as house, house.su():
        async with house.mu():
            await house.publish("a", house.records(20, 0))
        await house.configure(
            house.newcomer("e", Role.OWNER), house.newcomer("f", Role.CLIENT), revoked=["d"]
        )
        _ = [s async for s in house.owner("e").publish([house.records(20, 1)])]
        # MU reads the chunk by the version that is in force where it stands, whenever that begins.
        dying = house.transport()
        dying.die(TopicName.JOURNAL, 1, written=written)
        await let_die(house.mu(dying))
        async with house.mu():
            await in_force(house, 2)
            await house.publish("e", house.records(20, 2))
            rows = house.records(2, "asked")
            assert len(await house.ask(rows, "f")) == 2
            await house.put_query(rows, "d")
            await until(lambda: ("queries", "revoked") in refusals(house))
        assert configured(house) == [2]
        assert await findings(house) == []


async def test_mu_dies_before_it_has_told_su(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.su():
        async with house.mu():
            await house.publish("a", house.records(20, 0))
        await house.configure(house.newcomer("f", Role.CLIENT))
        dying = house.transport()
        dying.die(TopicName.HEADS, 1)
        await let_die(house.mu(dying))
        assert configured(house) == [2]
        async with house.mu():
            assert len(await house.ask(house.records(2, "asked"), "f")) == 2
        assert await findings(house) == []


async def test_a_snapshot_remembers_the_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_ENTRIES", 2)
    async with House(tmp_path) as house:
        async with house.units_running():
            await house.configure(house.newcomer("e", Role.OWNER), revoked=["b"])
            await in_force(house, 2)
            for i in range(3):
                await house.publish("e", house.records(5, i))
            await until(lambda: bool(house.snapshots()))
        assert [entered.version for entered in house.snapshots()[-1].in_force] == [2]
        async with house.units_running():
            _ = [s async for s in house.owner("b").publish([house.records(5, "b")])]
            await until(lambda: refusals(house) == [("chunks", "revoked")])
            await house.publish("e", house.records(5, "more"))
        assert await findings(house) == []


async def test_a_replay_judges_by_the_same_versions(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        async with house.units_running():
            await house.publish("b", house.records(5, 0))
            await house.configure(house.newcomer("e", Role.OWNER), revoked=["b"])
            await in_force(house, 2)
            await house.publish("e", house.records(5, 1))
            _ = [s async for s in house.owner("b").publish([house.records(5, 2)])]
            await until(lambda: refusals(house) == [("chunks", "revoked")])
        source = house.transport()
        whole = await replay(source, MemoryTransport(), replace(house.tenant))
        assert (whole.accepted, whole.rejected, whole.differs) == (2, 1, False)
        part = await replay(source, MemoryTransport(), replace(house.tenant), (1, None))
        assert (part.accepted, part.rejected) == (1, 1)


# --- hostile versions


async def test_no_version_but_the_next_signed_one_is_taken_up(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        base = house.configurations[0]
        second = await house.configure(house.newcomer("e", Role.OWNER))
        await in_force(house, 2)
        digest = configuration_digest(second)
        fork = structs.replace(second, parties=(*base.parties, house.newcomer("x", Role.OWNER)))
        skipped = structs.replace(second, version=4, previous=digest)
        limits = structs.replace(base.limits, min_records=2)
        loosened = structs.replace(second, version=3, previous=digest, limits=limits)
        shortened = structs.replace(second, version=3, previous=digest, parties=second.parties[:-1])
        rekeyed = structs.replace(
            second,
            version=3,
            previous=digest,
            parties=(*second.parties[:-1], structs.replace(second.parties[-1], verify_key=bytes(32))),
        )
        unit = structs.replace(second.parties[1], revoked=True)
        no_unit = structs.replace(
            second, version=3, previous=digest, parties=(second.parties[0], unit, *second.parties[2:])
        )
        refused = [fork, skipped, loosened, shortened, rekeyed, no_unit]
        for version in refused:
            await house.put_configuration(version)
        third = structs.replace(second, version=3, previous=digest)
        await house.put_configuration(third, sender="a")
        # What is in force already is neither taken up again nor refused.
        await house.put_configuration(base)
        await house.put_configuration(second)
        await house.put("authority", TopicName.CONFIG, "configuration", b"no configuration")
        await until(lambda: len(house.dead_letters()) == 8)
        assert refusals(house) == [
            *[("config", "not_successor")] * len(refused),
            ("config", "wrong_topic"),
            ("config", "malformed"),
        ]
        assert configured(house) == [2]
        await house.publish("e", house.records(5, 0))
        found = await findings(house)
        assert sum(f.startswith("configuration_forked") for f in found) == len(refused) + 1
        assert {f.split(":")[0] for f in found} == {"configuration_forked", "bad_message"}


async def test_su_goes_by_no_word_that_its_topic_does_not_bear_out(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        await house.publish("a", house.records(20, 0))
        await house.configure(house.newcomer("f", Role.CLIENT))
        await in_force(house, 2)
        await house.ask(house.records(2, "asked"), "f")
        word = next(m for m in house.messages(TopicName.HEADS) if b"succession" in m.value)
        from integration.services import wire_body

        from schemas.codec import decode
        from schemas.succession import Succession

        (entered,) = decode(Succession, wire_body(word.value)).versions
        elsewhere = Succession((structs.replace(entered, judges_from=(0, 0)),))
        await house.put("mu", TopicName.HEADS, "succession", encode(elsewhere))
        longer = Succession((entered, structs.replace(entered, version=3, offset=7)))
        await house.put("mu", TopicName.HEADS, "succession", encode(longer))
        # SU reads both before it answers the next query, and is as before.
        assert len(await house.ask(house.records(2, "again"), "f")) == 2
        found = await findings(house)
        assert [f.split(":")[0] for f in found] == ["head_contradicts"] * 6
