"""A new key epoch while the units run: what is asked when, whoever dies meanwhile, what audits say."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from fixed_topics import FixedTopics
from integration.services import LEDGER, House, let_die, model_of, until
from integration.test_enrolment import configured, findings, in_force, refusals
from integration.test_learners import ALL, LIMITS, learnt, twins
from msgspec import structs

from pipeline import journal, rounds
from pipeline.audit import audit
from pipeline.mailbox import sequence_of
from pipeline.master_self_audit import audit_master
from pipeline.memory_transport import MemoryTransport
from pipeline.replay import replay
from pipeline.rounds import PARTITIONS, place_of_round
from pipeline.rounds_record import RoundsRecord
from pipeline.secondary_self_audit import audit_secondary
from pipeline.session_ledger import SessionLedger
from pipeline.shard import Shard
from roles.findings import Findings
from roles.refusal import Refusal
from roles.session import session_name
from roles.unit_channels import UnitChannels
from roles.unit_keys import MissingKeysError
from schemas.codec import encode
from schemas.configuration import Limits
from schemas.journal import EntryKind
from schemas.reasons import ReasonCode
from schemas.rounds import Request
from schemas.topics import TopicName


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", 0.05)


async def renewed(house: House) -> None:
    """Begin the next key epoch, and wait until it is in force."""
    await in_force(house, (await house.renew()).version)


def kinds(house: House) -> list[str]:
    return [entry.kind for entry in house.journal()]


async def requests(house: House) -> list[tuple[int, Request]]:
    """Return all requests with the key epoch that they name, each once, as MU reads them."""
    tenant = (await house.state()).tenant
    channels = UnitChannels(tenant, "mu", house.units["mu"].open())
    record = RoundsRecord(house.transport(), tenant, channels, Findings(), house.meters["mu"])
    await record.open()
    found = {
        request_hash: (arrival.key_epoch, request)
        for partition in PARTITIONS
        async for arrival, request_hash, request in record.requests(partition)
    }
    assert not record.findings.found
    return list(found.values())


async def test_all_models_go_on_in_a_new_key_epoch(tmp_path: Path) -> None:
    async with House(tmp_path, models=ALL, limits=LIMITS) as house:
        batches = [house.records(24, i) for i in range(4)]
        rows = house.records(5, "asked")
        for epoch in (1, 2):
            # Both units start again in every epoch, from what was sealed in the one before.
            async with house.units_running() as master:
                if epoch > 1:
                    await renewed(house)
                await house.publish("ab"[epoch % 2], *batches[2 * epoch - 2 : 2 * epoch])
                await learnt(house, master, 2 * epoch)
                plain = twins(house, batches[: 2 * epoch])
                for spec in ALL:
                    answered = await house.ask(rows, model_id=spec.model_id)
                    assert answered == plain[spec.model_id].predict(rows).tolist(), (epoch, spec.model_id)
        assert {epoch for epoch, _ in await requests(house)} == {1, 2}
        assert await findings(house) == []


async def test_secrets_and_masks_of_two_key_epochs_have_nothing_in_common(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        async with house.units_running():
            await house.publish("a", house.records(20, 0))
            await house.ask(house.records(2, "asked"))
            await renewed(house)
            await house.ask(house.records(2, "asked"))
        refresh = {e: r for e, r in await requests(house) if r.subject.purpose == "refresh"}
        # The same model is refreshed in both: one subject, and nothing else that is the same but T2.
        assert refresh[1].subject == refresh[2].subject
        assert refresh[1].session != refresh[2].session
        masked, t2, *others = zip(refresh[1].sections, refresh[2].sections, strict=True)
        assert t2[0] == t2[1]
        assert all(one != other for one, other in (masked, *others))
        base = {e: r for e, r in await requests(house) if r.subject.purpose == "base_ot" and r.step == 1}
        assert all(one != other for one, other in zip(base[1].sections, base[2].sections, strict=True))
        for unit in house.units.values():
            names = ("seed", "delta", "exchange", "receiver_seeds", "sender_seeds")
            assert all(unit.secrets[name] != unit.secrets[f"{name}.2"] for name in names)
        tenant = (await house.state()).tenant
        later = tenant.in_key_epoch(house.configurations[1])
        channels = UnitChannels(tenant, "su", house.units["su"].open())
        sealed = [channels.of(epoch).seal(b"body", "topic", 0) for epoch in (1, 2)]
        assert sealed[0] != sealed[1]
        # Even under one seed the names of sessions, and so all coins, would be others.
        assert session_name(tenant, refresh[1].subject) != session_name(later, refresh[1].subject)


# --- what is under way


async def test_a_query_that_is_open_is_answered_before_the_key_epoch_begins(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        async with house.mu():
            await house.publish("a", house.records(20, 0))
            rows = house.records(3, "asked")
            query = await house.put_query(rows)
            await until(lambda: "query" in kinds(house))
            await house.renew()
            # SU is away: chunks are taken in, queries wait, and so does the key epoch.
            await house.publish("b", house.records(20, 1))
            later = await house.put_query(rows, seed=1)
            await asyncio.sleep(0.2)
            assert kinds(house).count("query") == 1
            assert configured(house) == []
            async with house.su():
                await in_force(house, 2)
                await until(lambda: len(house.answers()) == 2)
        assert kinds(house) == ["accept", "query", "accept", "answered", "configured", "query", "answered"]
        # MU had read the second one before the key epoch began: it is judged by where it stands.
        assert [answer.query_id for answer in house.answers()] == [query.query_id, later.query_id]
        assert await findings(house) == []


def at_the_switch(role: str, topic: TopicName, call: int, *, written: bool) -> object:
    return pytest.param(role, topic, call, written, id=f"{role} {topic} {call} {written}")


@pytest.mark.parametrize(
    ("role", "topic", "call", "written"),
    [
        *(at_the_switch("mu", TopicName.JOURNAL, 1, written=written) for written in (False, True)),
        at_the_switch("mu", TopicName.HEADS, 1, written=False),
        *(at_the_switch("mu", TopicName.ROUND_REQUESTS, n, written=True) for n in (1, 2)),
        *(at_the_switch("su", TopicName.ROUND_REPLIES, n, written=w) for n in (1, 2) for w in (False, True)),
    ],
)
async def test_either_unit_may_die_at_the_switch(
    tmp_path: Path, role: str, topic: TopicName, call: int, *, written: bool
) -> None:
    async with House(tmp_path) as house:
        rows = house.records(3, "asked")
        async with house.units_running():
            await house.publish("a", house.records(20, 0))
            before = await house.ask(rows)
        await house.renew()
        dying = house.transport()
        dying.die(topic, call, written=written)
        other = house.su() if role == "mu" else house.mu()
        async with other:
            await let_die(house.mu(dying) if role == "mu" else house.su(dying))
            async with house.mu() if role == "mu" else house.su():
                await in_force(house, 2)
                assert await house.ask(rows) == before
        assert configured(house) == [2]
        # Whatever died: the base transfers of the key epoch are the same at both, and asked for once.
        assert await findings(house) == []


def answered(house: House, count: int) -> bool:
    return len(house.answers()) == count


async def test_mu_that_dies_with_a_query_open_ends_it_in_its_key_epoch(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        async with house.units_running():
            await house.publish("a", house.records(20, 0))
            await house.ask(house.records(3, "first"))
        for call in range(1, 4):
            query = await house.put_query(house.records(3, "asked"), seed=call)
            await house.renew()
            async with house.su():
                dying = house.transport()
                dying.die(TopicName.ROUND_REQUESTS, call, written=True)
                await let_die(house.mu(dying))
                async with house.mu():
                    await in_force(house, 1 + call)
                    await until(partial(answered, house, 1 + call))
            assert house.answers()[-1].query_id == query.query_id
            assert house.answers()[-1].reason == ""
            assert kinds(house)[-3:] == ["query", "answered", "configured"]
            house.key_epoch += 1
        assert await findings(house) == []


async def test_mu_that_dies_in_a_lesson_ends_it_in_its_key_epoch(tmp_path: Path) -> None:
    models = (ALL[0], ALL[2])
    async with House(tmp_path, models=models, limits=LIMITS) as house:
        batches = [house.records(24, i) for i in range(2)]
        async with house.su():
            async with house.mu() as master:
                await house.publish("a", batches[0])
                await learnt(house, master, 1)
            _ = [sent async for sent in house.owner("a").publish(batches[1:])]
            dying = house.transport()
            dying.die(TopicName.ROUND_REQUESTS, 3, written=True)
            await let_die(house.mu(dying))
            await house.renew()
            async with house.mu() as master:
                await in_force(house, 2)
                await learnt(house, master, 2)
                rows = house.records(5, "asked")
                plain = twins(house, batches)["lr"]
                assert await house.ask(rows, model_id="lr") == plain.predict(rows).tolist()
        assert kinds(house)[2:5] == ["accept", "learnt", "configured"]
        assert {e for e, r in await requests(house) if r.subject.purpose == "learn"} == {1}
        assert await findings(house) == []


async def test_every_shard_follows(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        async with house.mu(), house.su(shard=Shard(1, 2)), house.su(shard=Shard(2, 2)):
            await house.publish("a", house.records(20, 0))
            rows = house.records(3, "asked")
            before = [await house.ask(rows, client) for client in "cd"]
            await renewed(house)
            assert [await house.ask(rows, client) for client in "cd"] == before
        # In another number, who know nothing of what was answered but the topics.
        shards = [house.su(shard=Shard(number, 3)) for number in (1, 2, 3)]
        async with house.mu(), shards[0], shards[1], shards[2]:
            await renewed(house)
            assert [await house.ask(rows, client) for client in "cd"] == before
        assert await findings(house) == []


async def test_a_snapshot_remembers_the_key_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_ENTRIES", 2)
    async with House(tmp_path) as house:
        async with house.units_running():
            await house.publish("a", house.records(20, 0))
            await renewed(house)
            await house.publish("a", house.records(20, 1), house.records(20, 2))
            await until(lambda: any(one.in_force for one in house.snapshots()))
        # SU starts without its ledger, and folds the rounds of both key epochs.
        (tmp_path / LEDGER).unlink()
        async with house.units_running():
            assert len(await house.ask(house.records(3, "asked"))) == 3
        assert await findings(house) == []


@pytest.mark.parametrize("journal_too", [False, True])
async def test_an_audit_may_begin_in_a_later_key_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, journal_too: bool
) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_ENTRIES", 2)
    limits = Limits(40, 1 << 16, 20, 1, 1, 0, query_quota=6)
    async with House(tmp_path, limits=limits) as house:
        async with house.units_running():
            await house.publish("a", house.records(20, 0))
            await house.ask(house.records(3, "asked"))
            await renewed(house)
            await house.ask(house.records(3, "asked"))
            await until(lambda: any(one.in_force for one in house.snapshots()))
            await renewed(house)
            await house.publish("b", house.records(20, 1))
            await house.ask(house.records(3, "asked"))
        topics = FixedTopics.of(house.broker, house.tenant.name)
        snapshot = next(one for one in house.snapshots() if one.in_force)
        for name, _, offset in snapshot.next_offsets:
            # Of the config topic every version is kept.
            if name != TopicName.CONFIG:
                topics.trim_before(TopicName(name), offset)
        if journal_too:
            topics.trim_before(TopicName.JOURNAL, snapshot.journal_offset)
        mu, su = house.units["mu"].open(), house.units["su"].open()
        with ThreadPoolExecutor(1) as pool:
            reports = [
                await audit(topics, replace(house.tenant), grace_seconds=0.0),
                await audit_master(topics, replace(house.tenant), mu, pool, grace_seconds=0.0),
                await audit_secondary(topics, replace(house.tenant), su, pool),
            ]
        assert [report.findings for report in reports] == [[], [], []]
        assert reports[1].checked.sessions_recomputed > 0


async def test_a_replay_takes_chunks_of_all_key_epochs(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        async with house.units_running():
            await house.publish("a", house.records(5, 0))
            await renewed(house)
            await house.publish("a", house.records(5, 1))
            await house.look_up()
            await house.publish("b", house.records(5, 2))
        whole = await replay(house.transport(), MemoryTransport(), replace(house.tenant))
        assert (whole.accepted, whole.rejected, whole.differs) == (3, 0, False)


# --- messages of another key epoch


async def test_a_chunk_of_an_earlier_key_epoch_counts_once_and_one_of_a_later_never(tmp_path: Path) -> None:
    async with House(tmp_path, part_limit=4000) as house, house.units_running():
        late = house.records(20, 1)
        await house.publish("a", house.records(20, 0))
        # In parts, of which the last one comes after the switch.
        stored = house.owner("a").prepare(late)
        *first, last = stored.wires
        topic = house.messages(TopicName.CHUNKS)[0].topic
        for wire in first:
            await house.transport().append(topic, b"a", wire)
        house.key_epoch = 2
        ahead = house.owner("b").prepare(house.records(20, "ahead"))
        for wire in ahead.wires:
            await house.transport().append(topic, b"b", wire)
        house.key_epoch = 1
        await until(lambda: len(refusals(house)) == len(ahead.wires))
        await renewed(house)
        for wire in (last, *stored.wires):
            await house.transport().append(topic, b"a", wire)
        await until(lambda: ("chunks", "duplicate") in refusals(house))
        assert set(refusals(house)) == {("chunks", "wrong_key_epoch"), ("chunks", "duplicate")}
        # Its owner puts the same bytes on the topic once more, now that they are in time.
        for wire in ahead.wires:
            await house.transport().append(topic, b"b", wire)
        await until(lambda: kinds(house).count("accept") == 3)
        rows = house.records(4, "asked")
        twin = house.twin([house.records(20, 0), late, house.records(20, "ahead")])
        assert await house.ask(rows) == list(twin.predict(rows.indices))
        assert model_of(await house.state()).records == 60
        assert await findings(house) == []


async def test_a_client_asks_again_in_the_key_epoch_in_force(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        await house.publish("a", house.records(20, 0))
        rows = house.records(3, "asked")
        client = await house.client()
        learner = house.learner()
        before = (await client.ask(learner, rows, 30.0)).labels
        await renewed(house)
        # It was started before; a client that does not look is told.
        assert (await client.ask(learner, rows, 30.0)).labels == before
        assert refusals(house) == [("queries", "wrong_key_epoch")]
        client._publisher = replace(client._publisher, key_epoch=1)
        client._key_epoch = None
        with pytest.raises(Refusal) as refused:
            await client.ask(learner, rows, 30.0)
        assert refused.value.reason == ReasonCode.WRONG_KEY_EPOCH
        assert await findings(house) == []


async def test_the_quota_begins_anew_with_every_key_epoch(tmp_path: Path) -> None:
    limits = Limits(40, 1 << 16, 20, 1, 1, 0, query_quota=4)
    async with House(tmp_path, limits=limits) as house:

        async def ask(rows: int, client: str = "c") -> str:
            try:
                await house.ask(house.records(rows, "asked"), client)
            except Refusal as refused:
                return refused.reason.value
            return ""

        async with house.units_running():
            await house.publish("a", house.records(20, 0))
            assert [await ask(3), await ask(2), await ask(1)] == ["", "quota_exceeded", ""]
            refused = next(e for e in house.journal() if e.reason == "quota_exceeded")
            await renewed(house)
            assert [await ask(3), await ask(2), await ask(4, "d")] == ["", "quota_exceeded", ""]
            # What the last key epoch refused does not use up the quota of this one.
            again = house.messages(TopicName.QUERIES)[refused.offset]
            await house.transport().append(again.topic, b"c", again.value)
            await until(lambda: ("queries", "wrong_key_epoch") in refusals(house)[-1:])
        # Both units know what was asked in which key epoch after they have lost their files.
        for file in (LEDGER, "mu.index"):
            (tmp_path / file).unlink()
        async with house.units_running():
            assert [await ask(2), await ask(1), await ask(1)] == ["quota_exceeded", "", "quota_exceeded"]
        with contextlib.closing(SessionLedger(tmp_path / LEDGER)) as ledger:
            assert [ledger.rows_asked("c", epoch) for epoch in (1, 2, 3)] == [4, 4, 0]
        assert await findings(house) == []


async def test_su_computes_nothing_in_an_earlier_key_epoch(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        await house.publish("a", house.records(20, 0))
        await house.ask(house.records(3, "asked"))
        old = [
            (partition, message)
            for partition in PARTITIONS
            for message in house.messages(TopicName.ROUND_REQUESTS, partition)
        ]
        await renewed(house)
        await house.ask(house.records(3, "asked"))
        computed = sum(activity.times for activity in house.meters["su"].activities.values())
        letters = refusals(house)
        # Late repetitions of what was answered are no offence.
        for partition, message in old:
            await house.transport().append(message.topic, None, message.value, partition=partition)
        # A session that was never begun, sealed and named as in the key epoch before.
        asked = [(e, r) for e, r in await requests(house) if r.subject.purpose == "query" and r.step == 1]
        request = next(r for e, r in asked if e == 1)
        other = structs.replace(request, sections=(bytes(len(request.sections[0])), *request.sections[1:]))
        partition = rounds.partition_of(request.subject)
        body, topic = encode(other), TopicName.ROUND_REQUESTS
        sealed = house.channel.seal(body, *place_of_round(topic, partition))
        await house.publisher("mu").publish(topic, "request", sequence_of(body), sealed, partition=partition)
        await until(lambda: len(refusals(house)) > len(letters))
        assert refusals(house) == [*letters, ("rounds.requests", "wrong_key_epoch")]
        # Of a key epoch that there is not yet, nothing can even be read.
        early = replace(house.publisher("mu"), key_epoch=3)
        await early.publish(topic, "request", sequence_of(body), sealed, partition=partition)
        await until(lambda: len(refusals(house)) > len(letters) + 1)
        assert refusals(house)[-1] == ("rounds.requests", "wrong_key_epoch")
        assert computed == sum(activity.times for activity in house.meters["su"].activities.values())
        found = [finding.split(":")[0] for finding in await findings(house)]
        assert set(found) == {"request_differs", "bad_message"}


# --- keystores


@pytest.mark.parametrize("role", ["mu", "su"])
async def test_a_unit_without_the_secrets_of_a_key_epoch_stops(tmp_path: Path, role: str) -> None:
    async with House(tmp_path) as house:
        async with house.units_running():
            await house.publish("a", house.records(20, 0))
            before = await house.ask(house.records(3, "asked"))
        kept = dict(house.units[role].secrets)
        await house.renew()
        drawn, house.units[role].secrets = house.units[role].secrets, kept
        with pytest.raises(BaseExceptionGroup) as ended:
            await run_units(house)
        assert _holds(ended.value, MissingKeysError)
        # MU looks before it writes the entry, SU cannot but follow.
        assert configured(house) == ([] if role == "mu" else [2])
        house.units[role].secrets = drawn
        async with house.units_running():
            await in_force(house, 2)
            assert await house.ask(house.records(3, "asked")) == before
        assert await findings(house) == []


async def run_units(house: House) -> None:
    async with house.units_running():
        await asyncio.sleep(30.0)


def _holds(error: BaseException, kind: type[BaseException]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_holds(one, kind) for one in error.exceptions)
    return isinstance(error, kind)


async def test_a_self_audit_needs_the_secrets_of_every_key_epoch(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        async with house.units_running():
            await house.publish("a", house.records(20, 0))
            await renewed(house)
            await house.ask(house.records(3, "asked"))
        unit = house.units["mu"]
        unit.secrets = {name: value for name, value in unit.secrets.items() if not name.endswith(".2")}
        with ThreadPoolExecutor(1) as pool, pytest.raises(MissingKeysError):
            await audit_master(house.transport(), replace(house.tenant), unit.open(), pool, grace_seconds=0.0)


async def test_versions_follow_one_another_across_key_epochs(tmp_path: Path) -> None:
    from schemas.topics import Role

    async with House(tmp_path) as house, house.units_running():
        await house.publish("a", house.records(20, 0))
        await house.configure(house.newcomer("e", Role.OWNER))
        await house.renew()
        await house.configure(house.newcomer("f", Role.CLIENT), revoked=["d"])
        await renewed(house)
        assert configured(house) == [2, 3, 4, 5]
        # MU tells right after each entry.
        await until(lambda: sum(b"succession" in m.value for m in house.messages(TopicName.HEADS)) == 4)
        assert await house.look_up() == 3
        await house.publish("e", house.records(20, 1))
        assert len(await house.ask(house.records(2, "asked"), "f")) == 2
        assert await findings(house) == []
        assert [e.kind for e in house.journal()][-1] == EntryKind.ANSWERED
