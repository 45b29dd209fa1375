"""Training and asking through the services of all roles, against the twin in the clear."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from doubles import seeded_coins
from integration.services import (
    LEDGER,
    PATIENCE,
    CrashError,
    House,
    SplittingPublisher,
    model_of,
    until,
)

from pipeline import query_desk, rounds
from pipeline.client_service import ClientService, NoAnswerError
from pipeline.errors import StorageError
from pipeline.rounds import PARTITIONS
from roles.classifiers import naive_bayes
from roles.client import make_query
from roles.refusal import Refusal
from roles.secondary_unit import SecondaryUnit
from schemas.codec import MAX_MESSAGE_BYTES, encode
from schemas.configuration import Limits
from schemas.data_schema import SCHEMA_VERSION, CategoricalAttribute, ClassLabel, DataSchema, Missing
from schemas.journal import EntryKind
from schemas.queries import Query
from schemas.reasons import ReasonCode
from schemas.rounds import Reply, Request
from schemas.topics import TopicName

# Chunks and queries are cut into a few parts, the units' messages into up to a hundred.
PART_BYTES = 400
UNITS_PART_BYTES = 8000


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have MU repeat nothing, however slow the machine is: rounds are counted here."""
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", PATIENCE)


async def test_training_and_a_query_equal_the_twin(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running() as master:
        batches = [house.records(30, i) for i in range(4)]
        await house.publish("a", *batches[:2])
        await house.publish("b", *batches[2:])
        rows = house.records(12, "asked")
        answered = await house.ask_all(rows)
        assert list(answered.labels) == house.twin(batches).predict(rows.indices).tolist()
        assert answered.model_version == 4
        # What anyone folds from the log is what MU holds.
        state = await house.state()
        assert model_of(state).records == 120
        assert dict(model_of(state).records_of) == {"a": 60, "b": 60}
        assert model_of(state).hash(house.tenant) == model_of(master.unit).hash(house.tenant)
        assert state.head == master.unit.head
        assert [entry.kind for entry in house.journal()] == ["accept"] * 4 + ["query", "answered"]
        assert not house.dead_letters()


async def test_base_transfers_run_once_in_a_key_epoch(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        for life in range(2):
            async with house.units_running():
                await house.publish("a", house.records(20, life))
                await asyncio.gather(*(house.ask(house.records(2, i)) for i in range(3)))
        assert {role: memory.saves for role, memory in house.units.items()} == {"mu": 1, "su": 1}
        assert house.meters["su"].activities["base_transfers"].times == 1
        # One table for each of the two models, however many asked.
        assert house.meters["su"].activities["refresh"].times == 2


async def test_clients_ask_at_the_same_time_and_each_gets_its_own(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        batches = [house.records(40, i) for i in range(2)]
        await house.publish("a", *batches)
        asked = [house.records(1 + i, f"asked {i}") for i in range(8)]
        labels = await asyncio.gather(*(house.ask(rows, "cd"[i % 2]) for i, rows in enumerate(asked)))
        twin = house.twin(batches)
        assert labels == [twin.predict(rows.indices).tolist() for rows in asked]
        assert len(house.answers()) == 8


async def test_training_goes_on_while_questions_are_answered(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        batches = [house.records(25, i) for i in range(6)]
        await house.publish("a", batches[0])
        rows = house.records(5, "asked")
        answered, _ = await asyncio.gather(
            asyncio.gather(*(house.ask_all(rows, "cd"[i % 2]) for i in range(4))),
            house.publish("b", *batches[1:]),
        )
        for labels in answered:
            # Whatever version answered: it is exactly that many chunks.
            twin = house.twin(batches[: labels.model_version])
            assert list(labels.labels) == twin.predict(rows.indices).tolist()
        assert model_of(await house.state()).chunks == 6


async def test_a_query_with_a_proof_of_another_is_refused(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        await house.publish("a", house.records(20, 0))
        good, other = (
            make_query(house.learner(), "c", (house.records(2, i)), seeded_coins(i)) for i in range(2)
        )
        fields = {name: getattr(good, name) for name in good.__struct_fields__}
        body = encode(Query(**{**fields, "proof": other.proof}))
        sent = await house.put("c", TopicName.QUERIES, "query", body)
        await until(lambda: len(house.answers()) == 1)
        (answer,) = house.answers()
        assert (answer.query_id, answer.reason, answer.ciphertexts) == (good.query_id, "bad_proof", b"")
        (letter,) = house.dead_letters()
        assert (letter.reason, letter.message_hash) == ("bad_proof", sent.message_hash)
        assert house.journal()[-1].kind == EntryKind.REJECT
        # SU never heard of it.
        assert "query_rounds" not in house.meters["su"].activities
        assert len(await house.ask(house.records(3, "next"))) == 3


async def test_a_model_with_too_few_records_does_not_answer_yet(tmp_path: Path) -> None:
    limits = Limits(1000, 1 << 20, 100, 50, 2, 0)
    async with House(tmp_path, limits=limits) as house, house.units_running():
        rows = house.records(2, "asked")
        batches = [house.records(40, i) for i in range(2)]
        for publish in (None, ("a", batches[0])):
            if publish is not None:
                await house.publish(*publish)
            with pytest.raises(Refusal) as refused:
                await house.ask(rows)
            assert refused.value.reason == ReasonCode.NOT_ENOUGH_RECORDS
        await house.publish("b", batches[1])
        assert await house.ask(rows) == house.twin(batches).predict(rows.indices).tolist()
        assert [letter.reason for letter in house.dead_letters()] == ["not_enough_records"] * 2


async def test_a_repeated_query_message_is_answered_once(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        await house.publish("a", house.records(20, 0))
        first = await house.ask_all(house.records(3, "asked"))
        (message,) = house.messages(TopicName.QUERIES)
        for _ in range(2):
            await house.transport().append(message.topic, b"c", message.value)
        await until(lambda: len(house.dead_letters()) == 2)
        assert [letter.reason for letter in house.dead_letters()] == ["duplicate"] * 2
        assert [answer.query_id for answer in house.answers()] == [first.query_id]
        assert house.meters["su"].activities["query_rounds"].times == 1


async def test_the_answering_model_moves_in_steps(tmp_path: Path) -> None:
    limits = Limits(1000, 1 << 20, 100, 1, 1, 50)
    async with House(tmp_path, limits=limits) as house:
        batches = [house.records(30, i) for i in range(4)]
        rows = house.records(6, "asked")
        versions = []
        for batch in batches:
            # A restart in between changes nothing.
            async with house.units_running():
                await house.publish("a", batch)
                answered = await house.ask_all(rows)
                versions.append(answered.model_version)
                twin = house.twin(batches[: answered.model_version])
                assert list(answered.labels) == twin.predict(rows.indices).tolist()
        assert versions == [1, 1, 3, 3]


async def test_a_withdrawn_chunk_has_never_been_there(tmp_path: Path) -> None:
    folders = [tmp_path / "with", tmp_path / "without"]
    async with House(folders[0]) as house, house.units_running() as master:
        batches = [house.records(30, i) for i in range(3)]
        sent = await house.publish("a", *batches)
        kept = [house.messages(TopicName.CHUNKS)[i].value for i in (0, 2)]
        owner = house.owner("a")
        start = await owner.receipts_end()
        assert owner.sequence_of_chunk(sent[1].chunk_id.hex()) == 1
        withdrawal = await owner.withdraw(1)
        async for receipt in owner.receipts({withdrawal.chunk_id}, start, PATIENCE):
            assert receipt.reason == ""
        remaining = model_of(master.unit)
        assert (remaining.version, remaining.chunks, remaining.records) == (4, 2, 60)
        rows = house.records(9, "asked")
        assert await house.ask(rows) == house.twin([batches[0], batches[2]]).predict(rows.indices).tolist()
        # A second time it is not there to be taken out.
        again = await owner.withdraw(1)
        async for receipt in owner.receipts({again.chunk_id}, start, PATIENCE):
            assert receipt.reason == "not_withdrawable"
        assert model_of(master.unit) == remaining
    async with House(folders[1]) as other, other.mu() as without:
        for wire in kept:
            await other.transport().append("small.chunks", b"a", wire)
        await until(lambda: model_of(without.unit).chunks == 2)
        assert model_of(without.unit).hash(other.tenant) == remaining.hash(house.tenant)


async def test_a_chunk_that_is_not_kept_stays_in_the_model(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running() as master:
        batches = [house.records(30, i) for i in range(3)]
        await house.publish("a", *batches)
        await house.transport().trim("small.chunks", 0, 2)
        owner = house.owner("a")
        start = await owner.receipts_end()
        for number, reason in ((0, "chunk_not_kept"), (2, "")):
            withdrawal = await owner.withdraw(number)
            async for receipt in owner.receipts({withdrawal.chunk_id}, start, PATIENCE):
                assert receipt.reason == reason
        assert model_of(master.unit).records == 60
        rows = house.records(9, "asked")
        assert await house.ask(rows) == house.twin(batches[:2]).predict(rows.indices).tolist()


async def test_a_chunk_that_is_damaged_stops_mu(tmp_path: Path) -> None:
    async with House(tmp_path) as house:

        async def withdraw_a_damaged_one() -> None:
            async with house.mu():
                await house.publish("a", house.records(30, 0))
                (chunk,) = house.messages(TopicName.CHUNKS)
                house.messages(TopicName.CHUNKS)[0] = replace(chunk, value=chunk.value[:-1] + b"?")
                await house.owner("a").withdraw(0)
                await asyncio.sleep(PATIENCE)

        with pytest.raises(BaseExceptionGroup) as ended:
            await withdraw_a_damaged_one()
        assert ended.group_contains(StorageError, match="not the one in the journal")


async def test_everything_may_come_in_parts(tmp_path: Path) -> None:
    async with House(tmp_path, part_limit=UNITS_PART_BYTES) as house, house.units_running():
        house.part_limit = PART_BYTES
        batches = [house.records(30, i) for i in range(3)]
        await asyncio.gather(house.publish("a", *batches[:2]), house.publish("b", batches[2]))
        assert len(house.messages(TopicName.CHUNKS)) > 3 * 3
        rows = house.records(20, "asked")
        assert await house.ask(rows) == house.twin(batches).predict(rows.indices).tolist()
        assert len(house.messages(TopicName.QUERIES)) > 1
        replies = sum(len(house.messages(TopicName.ROUND_REPLIES, p)) for p in range(16))
        assert replies > 10 * 6
        assert not house.dead_letters()
    async with house.mu() as master:
        assert model_of(master.unit).records == 90


async def test_parts_far_apart_and_across_a_restart_are_one_message(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.part_limit = PART_BYTES
        wires = {}
        for name in "ab":
            # Made and stored, not yet sent.
            stop = house.transport()
            stop.die(TopicName.CHUNKS, 1)
            owner = house.owner(name, house.publisher(name, stop))
            with pytest.raises(CrashError):
                _ = [sent async for sent in owner.publish([house.records(30, name)])]
            wires[name] = house.outbox(name).message(0).wires
        send = house.transport().append
        last, *first = reversed(wires["a"])
        for wire in reversed(first):
            await send("small.chunks", b"a", wire)
        house.part_limit = None
        async with house.mu() as master:
            await house.publish("b", *(house.records(5, i) for i in range(60)))
            assert model_of(master.unit).chunks == 60
        # What came in before the stop is only on the topic now.
        async with house.mu() as master:
            await send("small.chunks", b"a", last)
            await until(lambda: len(house.journal()) == 61)
            assert [entry.kind for entry in house.journal()] == ["accept"] * 61
            expected = model_of(master.unit).hash(house.tenant)
        async with house.mu() as master:
            assert model_of(master.unit).hash(house.tenant) == expected


async def test_a_part_pushed_out_by_newer_ones_is_reported(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.mu() as master:
        publisher = SplittingPublisher(house.transport(), "small", "a", 1, house.signing["a"], PART_BYTES)
        groups = [
            publisher.seal(TopicName.CHUNKS, "chunk", number, bytes(3 * PART_BYTES)) for number in range(6)
        ]
        for wires in groups:
            await publisher.append(TopicName.CHUNKS, wires[:1], key=b"a")
        await until(lambda: len(house.receipts()) == 2)
        assert [letter.reason for letter in house.dead_letters()] == ["incomplete_parts"] * 2
        told = {(receipt.owner_sequence, receipt.reason) for receipt in house.receipts()}
        assert told == {(0, "incomplete_parts"), (1, "incomplete_parts")}
        assert model_of(master.unit).version == 0


async def test_a_chunk_above_the_size_of_a_message_is_learnt(tmp_path: Path) -> None:
    # So many counts that their ciphertexts take more than 4 MiB.
    values = tuple(f"v{i}" for i in range(400))
    attributes = tuple(CategoricalAttribute(f"a{i}", values, Missing.REFUSE) for i in range(9))
    label = ClassLabel("kind", tuple(f"c{i}" for i in range(30)))
    schema = DataSchema(SCHEMA_VERSION, attributes, label)
    async with House(tmp_path, schema=schema) as house, house.mu() as master:
        (sent,) = await house.publish("a", house.records(10, 0))
        assert sent.bytes > MAX_MESSAGE_BYTES
        assert len(house.messages(TopicName.CHUNKS)) == 2
        model = model_of(master.unit)
    assert model_of(await house.state()) == model


# --- an SU that will not, and one that is not there


def answering(monkeypatch: pytest.MonkeyPatch, change: Callable[[Request, Reply], Reply]) -> None:
    """Change every reply of SU."""
    answer = SecondaryUnit.answer

    def changed(unit: SecondaryUnit, request: Request, body: bytes, query: Query | None) -> Reply:
        return change(request, answer(unit, request, body, query))

    monkeypatch.setattr(SecondaryUnit, "answer", changed)


def with_reason(reason: str) -> Callable[[Request, Reply], Reply]:
    return lambda request, reply: Reply(reply.session, reply.step, reply.request_hash, reason, ())


@pytest.mark.parametrize(
    ("given", "told", "attempts"),
    [
        ("plan_violation", "plan_violation", 3),
        ("invalid_ciphertext", "invalid_ciphertext", 1),
        ("no mood", "protocol_error", 1),
    ],
)
async def test_an_su_that_always_refuses_fails_the_query_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, told: str, attempts: int
) -> None:
    async with House(tmp_path) as house, house.units_running():
        await house.publish("a", house.records(20, 0))
        with monkeypatch.context() as stubborn:
            answering(stubborn, with_reason(given))
            for _ in range(2):
                with pytest.raises(Refusal) as refused:
                    await house.ask(house.records(2, "asked"))
                assert refused.value.reason == told
        requests = sum(len(house.messages(TopicName.ROUND_REQUESTS, p)) for p in range(16))
        assert requests == 2 * attempts
        assert [entry.kind for entry in house.journal()][1:] == ["query", "answered"] * 2
        # It comes to reason: the next query is answered, base transfers and all.
        assert len(await house.ask(house.records(2, "asked later"))) == 2


@pytest.mark.parametrize(
    ("purpose", "step", "section", "told"),
    [
        # A key that is none is found out; of a wrong label, SU is trusted to be curious and not to lie.
        ("base_ot", 1, 1, "invalid_key"),
        ("query", 3, 0, ""),
        ("query", 3, -1, ""),
    ],
)
async def test_an_su_that_replies_nonsense_fails_the_query_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, purpose: str, step: int, section: int, told: str
) -> None:
    def nonsense(request: Request, reply: Reply) -> Reply:
        if (request.subject.purpose, request.step) != (purpose, step):
            return reply
        sections = list(reply.sections)
        sections[section] = b"\xff" * len(sections[section])
        return Reply(reply.session, reply.step, reply.request_hash, "", tuple(sections))

    async with House(tmp_path) as house, house.mu() as master:
        await house.publish("a", house.records(20, 0))
        query = await house.put_query(house.records(2, "asked"))
        with monkeypatch.context() as mad:
            answering(mad, nonsense)
            async with house.su():
                await until(lambda: len(house.answers()) == 1)
        (answer,) = house.answers()
        assert (answer.query_id, answer.reason) == (query.query_id, told)
        assert not master.unit.open_queries
        # What SU noted of its nonsense, and what is on the topic, would hold it to it.
        (house.folder / LEDGER).unlink()
        for partition in PARTITIONS:
            given = house.messages(TopicName.ROUND_REPLIES, partition)
            given[:] = [replace(message, value=b"") for message in given]
        async with house.su():
            assert len(await house.ask(house.records(2, "asked later"))) == 2


async def test_a_plan_that_does_not_fit_fails_the_query_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with House(tmp_path) as house, house.units_running():
        await house.publish("a", house.records(20, 0))
        await house.ask(house.records(2, "small"))
        largest = max(len(m.value) for p in range(16) for m in house.messages(TopicName.ROUND_REPLIES, p))
        monkeypatch.setattr(rounds, "MAX_BODY_BYTES", largest + rounds.FRAME_BYTES)
        with pytest.raises(Refusal) as refused:
            await house.ask(house.records(100, "large"))
        assert refused.value.reason == ReasonCode.TOO_LARGE


async def test_queries_wait_on_their_topic_while_su_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_desk, "QUERIES_HELD", 3)
    async with House(tmp_path) as house, house.mu() as master:
        await house.publish("a", house.records(20, 0))
        for i in range(10):
            await house.put_query(house.records(1, f"asked {i}"), seed=i)
        await until(lambda: len(master.unit.open_queries) == 3)
        # Training does not wait for them.
        await house.publish("a", house.records(20, 1))
        assert len(master.unit.open_queries) == 3
        async with house.su():
            await until(lambda: len(house.answers()) == 10)
    assert {answer.reason for answer in house.answers()} == {""}
    assert len({answer.query_id for answer in house.answers()}) == 10


async def client_gives_up(client: ClientService, house: House) -> None:
    """Ask, and stop waiting at once."""
    with pytest.raises(NoAnswerError):
        await client.ask(house.learner(), (house.records(1, "asked")), 0.01)


async def test_a_client_that_asks_much_does_not_keep_another_waiting(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.mu() as master:
        await house.publish("a", house.records(20, 0))
        for i in range(12):
            await house.put_query(house.records(1, f"asked {i}"), seed=i)
        await house.put_query(house.records(1, "once"), client="d", seed=100)
        await until(lambda: len(master.unit.open_queries) == 13)
        async with house.su():
            await until(lambda: len(house.answers()) == 13)
        closed = [entry for entry in house.journal() if entry.kind == "answered"]
        clients = [entry.sender for entry in closed]
        # Some are being answered before the other client asks; then it has its turn.
        assert clients.index("d") <= query_desk.SESSIONS_AT_ONCE + 2
        own = [entry.about for entry in closed if entry.sender != "d"]
        assert len(own) == 12


async def test_queries_that_are_not_held_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_desk, "HELD_BYTES", 0)
    async with House(tmp_path) as house, house.units_running():
        await house.publish("a", house.records(20, 0))
        assert len(await house.ask(house.records(3, "asked"))) == 3


async def test_a_silent_unit_is_named(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        async with house.mu():
            await house.publish("a", house.records(20, 0))
            client = await house.client()
            # MU has asked SU by the time that the client looks.
            await client_gives_up(client, house)
            await until(lambda: any(house.messages(TopicName.ROUND_REQUESTS, p) for p in PARTITIONS))
            with pytest.raises(NoAnswerError, match="SU is silent"):
                await client.ask(house.learner(), (house.records(1, "asked")), 0.3)
        async with house.units_running():
            await until(lambda: len(house.answers()) == 2)
        client = await house.client()
        with pytest.raises(NoAnswerError, match="MU is silent"):
            await client.ask(house.learner(), (house.records(1, "asked")), 0.3)


async def test_an_unexpected_error_is_not_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with House(tmp_path) as house:
        async with house.mu():
            await house.publish("a", house.records(20, 0))
        query = await house.put_query(house.records(2, "asked"))

        def broken(*_: object) -> Reply:
            raise ZeroDivisionError

        with monkeypatch.context() as bug:
            bug.setattr(SecondaryUnit, "answer", broken)
            async with house.mu():
                with pytest.raises(BaseExceptionGroup) as ended:
                    async with house.su():
                        await asyncio.sleep(PATIENCE)
        assert ended.value.subgroup(ZeroDivisionError) is not None
        with monkeypatch.context() as bug:
            bug.setattr(naive_bayes, "query_master", broken)
            async with house.su():
                with pytest.raises(BaseExceptionGroup) as ended:
                    async with house.mu():
                        await asyncio.sleep(PATIENCE)
        assert ended.value.subgroup(ZeroDivisionError) is not None
        async with house.units_running():
            await until(lambda: len(house.answers()) == 1)
        assert len(house.labels(query)) == 2
