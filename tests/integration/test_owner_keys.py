"""Owners with keys of their own: re-keyed once, learnt by every model, audited, opened again by the owner."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from doubles import seeded_coins
from fixed_topics import FixedTopics, flip
from integration.services import MODEL, House, UnitMemory, let_die, model_of, until, wire_body
from integration.test_audits import find_reply, resealed
from integration.test_key_epochs import renewed
from integration.test_learners import DT, LIMITS, LR, learnt, twins
from written_log import changed

from crypto.errors import InvalidKeyError, NotOpenableError
from crypto.share_sealing import encode_share
from crypto.strong_key import RootShare
from pipeline import chunk_desk, journal, master_service, rounds
from pipeline.audit import audit
from pipeline.audit_report import AuditReport
from pipeline.master_self_audit import audit_master
from pipeline.owner_history import NoOwnKeyError, own_history, own_message
from pipeline.recorded_stream import public_totals, read_stream
from pipeline.replay import NeedsPlaintextError, replay
from pipeline.secondary_self_audit import audit_secondary
from pipeline.stored_chunks import KIND
from pipeline.transport import Transport
from roles import master_unit
from roles.chunk_encodings import ChunkEncodings
from roles.data_owner import make_chunk
from roles.encoding import Counts, EncodedRecords, count_table
from roles.own_chunks import OwnChunks
from schemas.chunks import RekeyedChunk
from schemas.codec import decode, encode
from schemas.journal import EVERY_MODEL
from schemas.models import ModelSpec, NaiveBayesSpec
from schemas.topics import Role, TopicName

NB = NaiveBayesSpec(MODEL)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", 0.05)


def rekeyed(house: House, count: int) -> Callable[[], bool]:
    """Return whether so many receipts say that models can learn a chunk."""
    return lambda: sum(receipt.model_id == EVERY_MODEL for receipt in house.receipts()) == count


async def audits(house: House, transport: Transport) -> list[AuditReport]:
    """Run the public audit and both units' own."""
    with ThreadPoolExecutor(1) as pool:
        return [
            await audit(transport, house.tenant, grace_seconds=0.0),
            await audit_master(
                transport, house.tenant, house.units["mu"].open(house.tenant), pool, grace_seconds=0.0
            ),
            await audit_secondary(transport, house.tenant, house.units["su"].open(house.tenant)),
        ]


def found(reports: list[AuditReport]) -> list[set[str]]:
    return [{finding.code.value for finding in report.findings} for report in reports]


async def test_naive_bayes_learns_what_is_rekeyed(tmp_path: Path) -> None:
    async with House(tmp_path, owner_keys=True) as house, house.units_running() as master:
        batches = [house.records(30, i) for i in range(3)]
        await house.publish("a", *batches[:2])
        await house.publish("b", batches[2])
        await until(rekeyed(house, 3))
        rows = house.records(12, "asked")
        assert await house.ask(rows) == house.twin(batches).predict(rows.indices).tolist()
        state = await house.state()
        assert model_of(state).records == 90
        assert model_of(state).hash(house.tenant) == model_of(master.unit).hash(house.tenant)
        kinds = [entry.kind for entry in house.journal()]
        assert sorted(kinds[:6]) == ["accept"] * 3 + ["rekeyed"] * 3
        assert [entry.about for entry in house.journal() if entry.kind == "rekeyed"] == [
            entry.sequence for entry in house.journal() if entry.kind == "accept"
        ]
        assert house.meters["su"].activities["rekey"].times == 3
        reports = await audits(house, house.transport())
        assert found(reports) == [set(), set(), set()]
        assert not [report.skipped for report in reports if report.skipped and report.skipped != ["proofs"]]


async def test_every_learner_reads_what_was_rekeyed(tmp_path: Path) -> None:
    models: tuple[ModelSpec, ...] = (NB, LR, DT)
    async with House(tmp_path, owner_keys=True, limits=LIMITS, models=models) as house:
        async with house.units_running() as service:
            batches = [house.records(40, i) for i in range(4)]
            await house.publish("a", *batches[:2])
            await until(rekeyed(house, 2))
            await house.publish("b", *batches[2:])
            await learnt(house, service, len(batches))
            rows = house.records(10, "asked")
            plain = twins(house, batches)
            for model_id, twin in plain.items():
                assert await house.ask(rows, model_id=model_id) == twin.predict(rows).tolist(), model_id
        # Who folds without ciphertexts comes to the same totals.
        stream = await read_stream(house.transport(), replace(house.tenant))
        assert stream.records_of() == {"a": 80, "b": 80}
        assert stream.models[MODEL] == public_totals(service.unit.models[MODEL])
        assert stream.models["lr"] == public_totals(service.unit.models["lr"])
        assert found(await audits(house, house.transport())) == [set(), set(), set()]


async def test_a_chunk_is_withdrawn_from_what_was_rekeyed(tmp_path: Path) -> None:
    async with House(tmp_path, owner_keys=True) as house:
        batches = [house.records(20, i) for i in range(2)]
        async with house.mu():
            # Without SU nothing is in, so nothing can go.
            (first,) = await house.publish("a", batches[0])
            refused = await house.owner("a").withdraw(first.sequence)
            await until(lambda: house.receipts()[-1].message_hash == refused.chunk_id)
            assert house.receipts()[-1].reason == "not_withdrawable"
        async with house.units_running():
            await house.publish("a", batches[1])
            await until(rekeyed(house, 2))
            gone = await house.owner("a").withdraw(first.sequence)
            await until(lambda: house.receipts()[-1].message_hash == gone.chunk_id)
            assert house.receipts()[-1].reason == ""
            rows = house.records(12, "asked")
            assert await house.ask(rows) == house.twin(batches[1:]).predict(rows.indices).tolist()
        # What was re-keyed in an earlier life is divided out again.
        async with house.units_running():
            (third,) = await house.publish("a", house.records(20, 2))
            await until(rekeyed(house, 3))
        async with house.mu():
            gone = await house.owner("a").withdraw(third.sequence)
            await until(lambda: house.receipts()[-1].message_hash == gone.chunk_id)
            assert house.receipts()[-1].reason == ""
        assert model_of(await house.state()).records == 20
        assert found(await audits(house, house.transport())) == [set(), set(), set()]
        states = [chunk.state for chunk in await own_history(house.transport(), house.tenant, "a")]
        assert states == ["withdrawn", "accepted", "withdrawn"]


async def test_newcomers_have_keys_of_their_own_too(tmp_path: Path) -> None:
    async with House(tmp_path, owner_keys=True) as house, house.units_running():
        newcomer = house.newcomer("e", Role.OWNER)
        assert newcomer.public_key
        await house.configure(newcomer)
        await until(lambda: "configured" in [entry.kind for entry in house.journal()])
        h = int.from_bytes(newcomer.public_key, "big")
        key = replace(house.owner_keys["a"].public, h=h)
        house.tenant.owner_keys["e"] = key
        house.tenant.roster.owner_keys["e"] = key
        await house.publish("e", house.records(20, 0))
        await until(rekeyed(house, 1))
        assert model_of(await house.state()).records == 20


# --- what is refused


async def refused_chunk(house: House, sender: str, body: bytes, sequence: int = 0) -> str:
    publisher = house.publisher(sender)
    sent = await publisher.publish(TopicName.CHUNKS, "chunk", sequence, body)
    await until(lambda: sent.message_hash in {receipt.message_hash for receipt in house.receipts()})
    return next(r.reason for r in house.receipts() if r.message_hash == sent.message_hash)


async def test_a_chunk_under_another_key_is_refused(tmp_path: Path) -> None:
    async with House(tmp_path, owner_keys=True) as house, house.units_running():
        tenant, records = house.tenant, house.records(20, 0)
        for name, key in (
            ("the service key", tenant.service_key),
            ("the key of b", house.owner_keys["b"].public),
            ("a client's key", house.client_keys["c"].public),
        ):
            as_if = replace(tenant, owner_keys={"a": key})
            chunk = make_chunk(as_if, "a", 0, records, seeded_coins(name))
            assert await refused_chunk(house, "a", encode(chunk)) == "bad_proof", name
        (accepted,) = await house.publish("a", records)
        wire = house.messages(TopicName.CHUNKS)[-1]
        await house.transport().append(wire.topic, b"a", wire.value)
        await until(lambda: house.dead_letters()[-1].reason == "duplicate")
        # The very ciphertexts of a, sent by b: the proof is a's.
        copied = wire_body(wire.value)
        assert await refused_chunk(house, "b", copied) == "bad_proof"
        assert accepted.chunk_id
        await until(rekeyed(house, 1))
        assert house.meters["su"].activities["rekey"].times == 1


async def test_without_owner_keys_an_owners_own_key_is_another_one(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.mu():
        as_if = replace(house.tenant, owner_keys={"a": house.client_keys["c"].public})
        chunk = make_chunk(as_if, "a", 0, house.records(20, 0), seeded_coins("own"))
        assert await refused_chunk(house, "a", encode(chunk)) == "bad_proof"
        with pytest.raises(NoOwnKeyError):
            await own_history(house.transport(), house.tenant, "a")


def spoilt(unit: UnitMemory, house: House, change: int) -> RootShare:
    share = unit.open(house.tenant).strong_share
    assert share is not None
    return RootShare(share.parameters, share.exponent + change)


def test_a_unit_does_not_start_with_another_share(tmp_path: Path) -> None:
    house = House(tmp_path, owner_keys=True)
    unit = house.units["su"]
    unit.secrets["strong_share"] = encode_share(spoilt(unit, house, 2))
    with pytest.raises(InvalidKeyError):
        unit.open(house.tenant)
    del unit.secrets["strong_share"]
    with pytest.raises(InvalidKeyError):
        unit.open(house.tenant)


async def test_chunks_wait_while_su_is_away_and_nothing_is_passed_over(tmp_path: Path) -> None:
    async with House(tmp_path, owner_keys=True) as house:
        async with house.mu():
            await house.publish("a", house.records(20, 0), house.records(20, 1))
        assert model_of(await house.state()).records == 0
        async with house.units_running():
            await until(rekeyed(house, 2))
        assert model_of(await house.state()).records == 40


async def test_a_snapshot_tells_what_still_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_ENTRIES", 1)
    monkeypatch.setattr(master_service, "SNAPSHOT_LOOK_SECONDS", 0.01)
    async with House(tmp_path, owner_keys=True) as house:
        async with house.mu():
            await house.publish("a", house.records(20, 0), house.records(20, 1))
            await until(lambda: any(len(one.rekeying) == 2 for one in house.snapshots()))
        async with house.units_running() as master:
            # From the snapshot: the queue, and the index in its file.
            await until(rekeyed(house, 2))
            await until(lambda: any(not one.rekeying for one in house.snapshots()))
            assert model_of(master.unit).records == 40
        public, master_audit, secondary = await audits(house, house.transport())
        assert found([public, master_audit, secondary]) == [set(), set(), set()]
        assert public.checked.snapshots is not None
        assert public.checked.snapshots >= 2


async def test_mu_takes_no_more_chunks_than_it_can_have_rekeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(master_unit, "MAX_WAITING", 2)
    monkeypatch.setattr(chunk_desk, "CHUNKS_AT_ONCE", 1)
    async with House(tmp_path, owner_keys=True) as house:
        owner = house.owner("a")
        sent = [chunk async for chunk in owner.publish([house.records(10, i) for i in range(5)])]
        async with house.mu():
            await until(lambda: len(house.receipts()) == 2)
            await asyncio.sleep(0.1)
            assert len(house.journal()) == 2
            async with house.su():
                await until(rekeyed(house, len(sent)))
        assert model_of(await house.state()).records == 50


async def test_a_stream_under_owners_keys_is_not_replayed_as_it_is(tmp_path: Path) -> None:
    async with House(tmp_path, owner_keys=True) as house:
        with pytest.raises(NeedsPlaintextError, match="keys of their own"):
            await replay(house.transport(), house.transport(), house.tenant)


# --- crashes


async def test_mu_may_die_at_any_append_of_a_rekeying(tmp_path: Path) -> None:
    """Whatever was written before, the next life gives the same bytes."""
    async with House(tmp_path / "whole", owner_keys=True) as house:
        async with house.mu():
            await house.publish("a", house.records(20, 0))
        offered = {topic: list(house.messages(topic)) for topic in TopicName}
        whole = house.transport()
        async with house.su(), house.mu(whole):
            await until(rekeyed(house, 1))
        expected = [message.value for message in house.messages(TopicName.JOURNAL)]
        (stored,) = {message.value for message in house.messages(TopicName.REKEYED)}
        secrets = {role: dict(unit.secrets) for role, unit in house.units.items()}
    assert [whole.appends[name] for name in ("rekeyed", "journal", "receipts")] == [1, 1, 1]
    for topic in ("rounds.requests", "rekeyed", "journal", "receipts"):
        for written in (False, True):
            async with House(tmp_path / f"{topic} {written}", owner_keys=True) as house:
                for name, messages in offered.items():
                    house.messages(name).extend(messages)
                for role, unit in house.units.items():
                    unit.secrets.update(secrets[role])
                dying = house.transport()
                dying.die(TopicName(topic), 1, written=written)
                async with house.su():
                    await let_die(house.mu(dying))
                    async with house.mu():
                        await until(rekeyed(house, 1))
                again = {message.value for message in house.messages(TopicName.REKEYED)}
                assert again == {stored}, (topic, written)
                kinds = [entry.kind for entry in house.journal()]
                assert kinds == ["accept", "rekeyed"], (topic, written)
                results = [entry.result for entry in house.journal()]
                assert results[1] == decode_result(expected[1]), (topic, written)
                assert found(await audits(house, house.transport())) == [set(), set(), set()]


def decode_result(wire: bytes) -> bytes:
    from schemas.journal import JournalEntry

    return decode(JournalEntry, wire_body(wire)).result


# --- audits


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Return a tenant after some use; no test writes to it."""

    async def make() -> House:
        house = House(tmp_path_factory.mktemp("house"), owner_keys=True)
        async with house, house.units_running():
            await house.publish("a", house.records(20, 0), house.records(20, 1))
            await until(rekeyed(house, 2))
            await house.ask(house.records(2, "asked"))
        return house

    return asyncio.run(make())


@pytest.fixture
def topics(used: House) -> FixedTopics:
    return FixedTopics.of(used.broker, used.tenant.name)


async def test_a_rekeyed_chunk_that_is_gone_is_found(used: House, topics: FixedTopics) -> None:
    topics.drop_everywhere(TopicName.REKEYED, 0)
    public, master, _ = found(await audits(used, topics))
    assert public == {"message_missing"}
    assert "message_missing" in master


async def test_a_rekeyed_chunk_of_another_content_is_found(used: House, topics: FixedTopics) -> None:
    stored = decode(RekeyedChunk, wire_body(topics.messages(TopicName.REKEYED)[0].value))
    vector = stored.vectors[0]
    other = changed(stored, vectors=(changed(vector, ciphertexts=flip(vector.ciphertexts, -1)),))
    publisher = used.publisher("mu")
    (wire,) = publisher.seal(TopicName.REKEYED, KIND, 1, encode(other))
    topics.substitute(TopicName.REKEYED, 0, wire)
    public, master, _ = found(await audits(used, topics))
    assert "message_missing" in public
    assert "message_missing" in master


async def test_another_reply_of_su_is_found_by_both_units(used: House, topics: FixedTopics) -> None:
    partition, offset, reply = find_reply(used, topics, "rekey", 1)
    other = changed(reply, sections=(flip(reply.sections[0], -1),))
    topics.substitute(
        TopicName.ROUND_REPLIES,
        offset,
        resealed(used, TopicName.ROUND_REPLIES, partition, other),
        partition,
    )
    public, master, secondary = found(await audits(used, topics))
    assert public == set()
    assert "wrong_decision" in master
    assert "reply_differs" in secondary


# --- the owner's history


def opener(house: House, owner: str) -> OwnChunks:
    return OwnChunks(ChunkEncodings(house.tenant), house.owner_keys[owner])


async def opened(house: House, owner: str) -> list[EncodedRecords | Counts]:
    transport, opens = house.transport(), opener(house, owner)
    chunks = await own_history(transport, house.tenant, owner)
    return [opens.open(await own_message(transport, house.tenant, chunk)) for chunk in chunks]


async def test_counts_come_back_from_a_tenant_that_counts(tmp_path: Path) -> None:
    async with House(tmp_path, owner_keys=True) as house, house.units_running():
        batches = [house.records(20, i) for i in range(2)]
        await house.publish("a", *batches)
        await house.publish("b", house.records(20, "of b"))
        for batch, counts in zip(batches, await opened(house, "a"), strict=True):
            assert isinstance(counts, Counts)
            expected = count_table(house.tenant.schema, batch)
            assert np.array_equal(counts.feature_counts, expected.feature_counts)
            assert np.array_equal(counts.class_counts, expected.class_counts)
            rows = list(opener(house, "a").rows(counts))
            assert sum(int(row[-1]) for row in rows if row[0] == "kind") == 20
            assert sum(int(row[-1]) for row in rows if row[0] == "colour") == 20
        # Another owner's chunks stay closed.
        (chunk,) = await own_history(house.transport(), house.tenant, "b")
        with pytest.raises(NotOpenableError):
            opener(house, "a").open(await own_message(house.transport(), house.tenant, chunk))


async def test_records_come_back_where_models_read_records(tmp_path: Path) -> None:
    async with House(tmp_path, owner_keys=True, limits=LIMITS, models=(NB, LR)) as house, house.mu():
        batch = house.records(20, 0)
        await house.publish("a", batch)
        (records,) = await opened(house, "a")
        assert isinstance(records, EncodedRecords)
        assert records.labels is not None
        assert batch.labels is not None
        assert np.array_equal(records.labels, batch.labels)
        # Logistic regression reads the numeric attribute as a word, the others as bits.
        assert np.array_equal(records.indices[:, :2], batch.indices[:, :2])
        assert set(records.indices[:, 2]) == {-1}
        assert records.words is not None
        assert batch.words is not None
        assert np.array_equal(records.words, batch.words)
        opens = opener(house, "a")
        assert opens.header == ("colour", "size", "weight", "kind")
        first = next(iter(opens.rows(records)))
        assert first[0] == ("red", "green", "blue")[batch.indices[0, 0]]
        assert abs(float(first[2]) - (10 + 10 * batch.words[0, 0] / 1023)) < 1e-4


async def test_bins_come_back_where_a_tree_reads_records(tmp_path: Path) -> None:
    async with House(tmp_path, owner_keys=True, limits=LIMITS, models=(DT,)) as house, house.mu():
        batch = house.records(20, 0)
        await house.publish("a", batch)
        (records,) = await opened(house, "a")
        assert isinstance(records, EncodedRecords)
        assert np.array_equal(records.indices, batch.indices)
        first = next(iter(opener(house, "a").rows(records)))
        assert first[2] == house.tenant.schema.attributes[2].value_names[batch.indices[0, 2]]


async def test_chunks_are_rekeyed_in_a_later_key_epoch(tmp_path: Path) -> None:
    async with House(tmp_path, owner_keys=True) as house:
        async with house.units_running():
            await house.publish("a", house.records(20, 0))
            await until(rekeyed(house, 1))
            await renewed(house)
            await house.publish("b", house.records(20, 1))
            await until(rekeyed(house, 2))
        assert model_of(await house.state()).records == 40
        assert found(await audits(house, house.transport())) == [set(), set(), set()]
