"""Several processes of SU for one tenant: each has its partitions, and any can take over another's."""

import asyncio
import contextlib
from collections import defaultdict
from functools import partial
from pathlib import Path

import pytest
from doubles import seeded_coins
from integration.services import LEDGER, House, let_die, until
from integration.test_learners import ALL, LIMITS, learnt, twins
from round_trips import replace_subject

from pipeline import rounds
from pipeline.errors import StorageError
from pipeline.mailbox import sequence_of
from pipeline.partition_fold import RoundsForgottenError
from pipeline.process_lock import AlreadyRunningError
from pipeline.rounds import PARTITIONS, partition_of
from pipeline.secondary_self_audit import audit_secondary
from pipeline.session_ledger import Answered, Place, SessionLedger
from pipeline.shard import Shard
from pipeline.unit_process import open_ledger
from roles.building_blocks.base_transfers import base_subject
from roles.client import read_answer
from roles.session import session_name
from schemas.codec import decode, encode
from schemas.queries import Query
from schemas.rounds import Reply, Request, Subject
from schemas.topics import TopicName, topic_name

EVEN, ODD = Shard(1, 2), Shard(2, 2)
"""Client ``c`` is on a partition of the first, base transfers and model ``m`` are on those of the second."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(rounds, "LONGEST_WAIT_SECONDS", 0.1)


def replies(house: House) -> dict[tuple[bytes, int], list[bytes]]:
    """Return the bodies of all replies that answer, by session and step."""
    found: dict[tuple[bytes, int], list[bytes]] = defaultdict(list)
    for partition in PARTITIONS:
        for message in house.messages(TopicName.ROUND_REPLIES, partition):
            body = house.round_body(TopicName.ROUND_REPLIES, partition, message.value)
            reply = decode(Reply, body)
            if not reply.reason:
                found[reply.session, reply.step].append(body)
    return found


def refusals(house: House, partition: int) -> list[str]:
    """Return why requests of a partition were refused."""
    bodies = [
        house.round_body(TopicName.ROUND_REPLIES, partition, message.value)
        for message in house.messages(TopicName.ROUND_REPLIES, partition)
    ]
    return [reason for body in bodies if (reason := decode(Reply, body).reason)]


def requests(house: House, purpose: str = "query") -> list[tuple[Request, int]]:
    """Return the requests of a kind of session with their partitions."""
    return [
        (request, partition)
        for partition in PARTITIONS
        for message in house.messages(TopicName.ROUND_REQUESTS, partition)
        for request in [decode(Request, house.round_body(TopicName.ROUND_REQUESTS, partition, message.value))]
        if request.subject.purpose == purpose
    ]


async def put_request(house: House, request: Request, partition: int) -> None:
    """Send a request in MU's name."""
    topic, body = TopicName.ROUND_REQUESTS, encode(request)
    sealed = house.sealed_round(topic, partition, body)
    await house.publisher("mu").publish(topic, "request", sequence_of(body), sealed, partition=partition)


def about(house: House, request: Request, **changes: object) -> Request:
    """Return the request of another session."""
    subject = replace_subject(request.subject, **changes)
    name = session_name(house.tenant, subject)
    return Request(name, subject, request.plan, request.step, request.sections)


def sizes(house: House) -> list[int]:
    return [len(house.messages(TopicName.ROUND_REPLIES, partition)) for partition in PARTITIONS]


# --- one partition for whatever belongs together


def test_a_client_and_a_model_have_one_partition_each(tmp_path: Path) -> None:
    house = House(tmp_path)
    queries = [
        Subject("query", model, version, client="c", offset=offset)
        for model in ("m", "lr")
        for version in range(3)
        for offset in range(3)
    ]
    assert len({partition_of(subject) for subject in queries}) == 1
    lessons = [Subject(purpose, "lr", version) for purpose in ("learn", "refresh") for version in range(3)]
    assert len({partition_of(subject) for subject in lessons}) == 1
    assert partition_of(Subject("query", client="d")) != partition_of(queries[0])
    assert {partition_of(base_subject()), partition_of(Subject("learn", "m"))} <= set(ODD.partitions)
    assert partition_of(queries[0]) in EVEN.partitions
    assert house.tenant.client_keys.keys() == {"c", "d"}


async def test_a_request_beside_its_partition_is_refused(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        await house.publish("a", house.records(20, 0))
        await house.ask(house.records(2, "asked"))
        given = replies(house)
        (request, partition), *_ = requests(house)
        other = (partition + 1) % len(PARTITIONS)
        before = len(refusals(house, other))
        await put_request(house, request, other)
        await until(lambda: len(refusals(house, other)) > before)
        assert refusals(house, other)[before:] == ["plan_violation"]
        assert replies(house) == given


# --- two shards


async def test_two_shards_serve_one_tenant_with_all_learners(tmp_path: Path) -> None:
    async with House(tmp_path, models=ALL, limits=LIMITS) as house:
        async with house.su(shard=EVEN), house.su(shard=ODD), house.mu() as master:
            batches = [house.records(24, i) for i in range(3)]
            await house.publish("a", *batches)
            await learnt(house, master, 3)
            rows, plain = house.records(5, "asked"), twins(house, batches)
            for spec in ALL:
                labels = await asyncio.gather(
                    *(house.ask(rows, client, model_id=spec.model_id) for client in "cd")
                )
                assert labels == [plain[spec.model_id].predict(rows).tolist()] * 2
        for shard in (EVEN, ODD):
            assert sum(sizes(house)[partition] for partition in shard.partitions) > 0
        assert all(len(set(bodies)) == 1 for bodies in replies(house).values())
        assert not house.dead_letters()
        report = await audit_secondary(house.transport(), house.tenant, house.units["su"].open())
        assert not report.findings
        # Each has a ledger of its own, of its own partitions.
        steps = 0
        for shard in (EVEN, ODD):
            with contextlib.closing(house.ledger(shard)) as ledger:
                places = {partition for partition in PARTITIONS if ledger.place(partition).replied}
                assert places
                assert places <= set(shard.partitions)
                steps += sum(ledger.step(*step) is not None for step in replies(house))
        assert steps == len(replies(house))


async def take_over(house: House) -> None:
    """Serve everything with nothing but the topics, until all queries are answered."""
    assert not (house.folder / LEDGER).exists()
    asked = len(house.messages(TopicName.QUERIES))
    async with house.su():
        await until(lambda: len(house.answers()) == asked)


# The steps of a query of client ``c``, for whom the dying shard has nothing else to do.
@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("written", [False, True])
async def test_a_dead_shard_is_taken_over_in_mid_query(tmp_path: Path, call: int, *, written: bool) -> None:
    async with House(tmp_path) as house, house.mu():
        await house.publish("a", house.records(20, 0))
        rows = house.records(4, "asked")
        expected = house.twin([house.records(20, 0)]).predict(rows.indices).tolist()
        dying = house.transport()
        dying.die(TopicName.ROUND_REPLIES, call, written=written)
        asked: list[Query] = []
        async with house.su(shard=ODD):
            asked.append(await house.put_query(rows, "c"))
            asked.append(await house.put_query(rows, "d"))
            await let_die(house.su(dying, shard=EVEN))
        await take_over(house)
        assert sorted(a.query_id for a in house.answers()) == sorted(q.query_id for q in asked)
        for answer in house.answers():
            key, query = next(
                (house.client_keys[name], query)
                for name, query in zip("cd", asked, strict=True)
                if query.query_id == answer.query_id
            )
            assert list(read_answer(house.learner(), key, query, answer).labels) == expected
        assert all(len(set(bodies)) == 1 for bodies in replies(house).values())
        assert not house.dead_letters()


async def test_what_was_answered_stays_answered_for_whoever_takes_over(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.mu():
        await house.publish("a", house.records(20, 0))
        async with house.su(shard=EVEN), house.su(shard=ODD):
            await house.ask(house.records(4, "asked"))
        given, before = replies(house), sizes(house)
        (request, partition), *later = requests(house)
        async with house.su():
            # Nothing is sent again by itself.
            assert sizes(house) == before
            first, *others = request.sections
            flipped = (bytes([first[0] ^ 1]) + first[1:], *others)
            await put_request(
                house, Request(request.session, request.subject, request.plan, 1, flipped), partition
            )
            await put_request(house, about(house, request, model_version=7), partition)
            await until(lambda: len(refusals(house, partition)) == 2)
            assert refusals(house, partition) == ["conflicting_request"] * 2
            assert replies(house) == given
            # Asked for again, the session has the same replies.
            for again in (request, *(step for step, _ in later)):
                await put_request(house, again, partition)
            # At least: MU may have repeated a request before, which SU has read only now.
            await until(lambda: sum(map(len, replies(house).values())) >= sum(map(len, given.values())) + 3)
            assert {key: set(bodies) for key, bodies in replies(house).items()} == {
                key: set(bodies) for key, bodies in given.items()
            }
        with contextlib.closing(house.ledger()) as ledger:
            assert ledger.rows_asked("c", 1) == 4


async def test_an_old_ledger_learns_what_others_answered_since(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.mu():
        await house.publish("a", house.records(20, 0))
        async with house.su():
            await house.ask(house.records(4, "asked"))
        async with house.su(shard=EVEN), house.su(shard=ODD):
            await house.ask(house.records(3, "asked meanwhile"))
        before = sizes(house)
        async with house.su():
            assert sizes(house) == before
        with contextlib.closing(house.ledger()) as ledger:
            assert all(ledger.step(*step) is not None for step in replies(house))
            assert ledger.rows_asked("c", 1) == 7


# --- what must not happen


async def test_rounds_that_are_not_kept_need_the_ledger_of_who_served_them(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.mu():
        await house.publish("a", house.records(20, 0))
        async with house.su(shard=EVEN), house.su(shard=ODD):
            await house.ask(house.records(4, "asked"))
        for topic in (TopicName.ROUND_REPLIES, TopicName.ROUND_REQUESTS):
            for partition in PARTITIONS:
                name = topic_name(house.tenant.name, topic)
                await house.transport().trim(name, partition, 1 << 40)
        with pytest.raises(BaseExceptionGroup) as ended:
            async with house.su():
                await asyncio.sleep(10)
        assert ended.value.subgroup(RoundsForgottenError) is not None
        async with house.su(ledger=open_ledger(house.folder, Shard())):
            assert len(await house.ask(house.records(3, "asked later"))) == 3
        with contextlib.closing(house.ledger()) as ledger:
            assert ledger.rows_asked("c", 1) == 7


async def test_a_second_process_of_a_partition_is_noticed(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.mu():
        await house.publish("a", house.records(20, 0))
        with pytest.raises(BaseExceptionGroup) as ended:
            await serve_beside_another(house)
        assert ended.value.subgroup(AlreadyRunningError) is not None


async def serve_beside_another(house: House) -> None:
    async with house.su():
        await house.ask(house.records(2, "asked"))
        (request, partition), *_ = requests(house)
        # What another process of SU has answered to a request of its own.
        body = encode(Reply(bytes(32), 1, bytes(32), "", (b"other",)))
        sealed = house.sealed_round(TopicName.ROUND_REPLIES, partition, body)
        publisher = house.publisher("su")
        await publisher.publish(TopicName.ROUND_REPLIES, "reply", 1, sealed, partition=partition)
        await put_request(house, request, partition)
        await asyncio.sleep(10)


def test_ledgers_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    coins = seeded_coins("ledgers")
    session, first, second = (coins.bytes(32) for _ in range(3))
    for name, reply in (("su-1of2", first), ("su", second)):
        with contextlib.closing(SessionLedger(tmp_path / f"{name}.ledger")) as ledger:
            ledger.record(session, 1, Answered(first, reply), 2)
            ledger.set_places({2: Place(1, 1, 2 if name == "su-1of2" else 1)})
    with pytest.raises(StorageError, match="different replies"):
        open_ledger(tmp_path, Shard())
    # Of a partition that is not its own a shard takes nothing.
    with contextlib.closing(open_ledger(tmp_path, ODD)) as ledger:
        assert ledger.step(session, 1) is None


async def test_an_open_session_goes_on_without_a_new_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long that nothing is asked twice.
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", 20.0)
    async with House(tmp_path) as house, house.mu():
        await house.publish("a", house.records(20, 0))
        dying = house.transport()
        dying.die(TopicName.ROUND_REPLIES, 2, written=True)
        async with house.su(shard=ODD):
            await house.put_query(house.records(2, "asked"), "c")
            await let_die(house.su(dying, shard=EVEN))
        await until(partial(_asked, house, 3))
        await take_over(house)
        steps = [request.step for request, _ in requests(house)]
        assert max(steps) == 3
        assert steps.count(1) == 1


def _asked(house: House, step: int) -> bool:
    return any(request.step == step for request, _ in requests(house))
