"""Hostile bytes on every topic: a dead letter each, and nothing else happens."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from integration.hostile import (
    Hostile,
    damaged,
    hostile_chunks,
    hostile_queries,
    hostile_replies,
    hostile_requests,
    sealed,
    with_fields,
)
from integration.services import House, model_of, until

from pipeline.transport import Message
from schemas.codec import decode, encode
from schemas.journal import EntryKind
from schemas.reasons import ReasonCode
from schemas.rounds import Reply, Request
from schemas.topics import TOPICS, TopicName, topic_name


def drop(house: House, topic: TopicName, value: bytes, partition: int = 0) -> int:
    """Lay bytes on a topic as somebody does who does not ask the transport."""
    target = house.broker.partition(topic_name(house.tenant.name, topic), partition)
    target.messages.append(Message(topic, partition, target.next, None, {}, value, 0))
    target.wake()
    return target.next - 1


def forget(house: House, topic: TopicName, partition: int) -> None:
    """Leave the places of what stands on a topic, and nothing in them."""
    given = house.messages(topic, partition)
    given[:] = [replace(message, value=b"") for message in given]


async def all_refused(
    house: House, topic: TopicName, messages: Iterable[Hostile], partition: int, by: str
) -> int:
    """Lay each on the topic; every one must get exactly one dead letter with its reason."""
    before = len(house.dead_letters())
    expected = {}
    for hostile in messages:
        place = partition if hostile.partition is None else hostile.partition
        expected[place, drop(house, topic, hostile.value, place)] = hostile
    await until(lambda: len(house.dead_letters()) >= before + len(expected))
    letters = house.dead_letters()[before:]
    assert {letter.reported_by for letter in letters} == {by}
    found = {(letter.partition, letter.offset): letter.reason for letter in letters}
    wanted = {at: hostile.reason for at, hostile in expected.items()}
    wrong = {expected[at].name: (found.get(at), wanted[at]) for at in expected if found.get(at) != wanted[at]}
    assert not wrong
    assert sorted((letter.partition, letter.offset) for letter in letters) == sorted(expected)
    assert {letter.topic for letter in letters} == {str(topic)}
    return len(expected)


async def trained(house: House) -> None:
    await house.publish("a", house.records(20, 0), house.records(20, 1))
    await house.ask(house.records(3, "asked"))


async def goes_on(house: House) -> None:
    """Train and ask as if nothing had happened."""
    batches = [house.records(20, i) for i in range(3)]
    await house.publish("b", batches[2])
    rows = house.records(4, "asked afterwards")
    assert await house.ask(rows) == house.twin(batches).predict(rows.indices).tolist()


async def test_hostile_chunks(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        async with house.units_running() as master:
            await trained(house)
            model = model_of(master.unit)
            entries = len(house.journal())
            count = await all_refused(house, TopicName.CHUNKS, hostile_chunks(house), 0, "mu")
            assert count > 50
            assert model_of(master.unit) == model
            assert [entry.kind for entry in house.journal()[entries:]] == [EntryKind.REJECT] * count
            letters = {letter.offset: letter for letter in house.dead_letters()}
            for entry in house.journal()[entries:]:
                letter = letters[entry.offset]
                assert (entry.reason, entry.message_hash) == (letter.reason, letter.message_hash)
            await goes_on(house)
        letters_then = house.dead_letters()
        async with house.units_running() as master:
            await house.publish("b", house.records(5, 3))
        assert house.dead_letters() == letters_then


async def test_hostile_queries(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running() as master:
        await trained(house)
        model, entries = model_of(master.unit), len(house.journal())
        sessions = house.meters["su"].activities["query_rounds"].times
        count = await all_refused(house, TopicName.QUERIES, hostile_queries(house), 0, "mu")
        assert count > 30
        assert (model_of(master.unit), len(master.unit.open_queries)) == (model, 0)
        assert [entry.kind for entry in house.journal()[entries:]] == [EntryKind.REJECT] * count
        # No session was begun for any of them, and no answer holds anything.
        assert house.meters["su"].activities["query_rounds"].times == sessions
        assert all(answer.reason for answer in house.answers()[1:])
        await goes_on(house)


def query_step(house: House, topic: TopicName, type_: type[Request] | type[Reply]) -> tuple[int, bytes]:
    """Return partition and wire form of the first message of the query session on a rounds topic."""
    for partition in range(TOPICS[topic].partitions):
        for message in house.messages(topic, partition):
            found = decode(type_, house.round_body(topic, partition, message.value))
            if isinstance(found, Reply) or found.subject.purpose == "query":
                return partition, message.value
    raise AssertionError("there was no query")


async def test_hostile_requests(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running() as master:
        await trained(house)
        model = model_of(master.unit)
        partition, wire = query_step(house, TopicName.ROUND_REQUESTS, Request)
        request = decode(Request, house.round_body(TopicName.ROUND_REQUESTS, partition, wire))
        messages = hostile_requests(house, wire, request, partition)
        assert await all_refused(house, TopicName.ROUND_REQUESTS, messages, partition, "su") > 30
        # The request itself again is no offence: it gets the same reply.
        drop(house, TopicName.ROUND_REQUESTS, wire, partition)
        await goes_on(house)
        assert model_of(master.unit).chunks == model.chunks + 1


async def test_hostile_replies(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        await trained(house)
        partition, wire = query_step(house, TopicName.ROUND_REPLIES, Reply)
        topic = TopicName.ROUND_REPLIES
        reply = decode(Reply, house.round_body(topic, partition, wire))
        messages = hostile_replies(house, wire, reply, partition)
        count = await all_refused(house, TopicName.ROUND_REPLIES, messages, partition, "mu")
        assert count > 20
        # Nobody waits for these: late, of an unknown step, with a reason that nobody knows.
        for changes in ({}, {"step": 9}, {"session": b""}, {"reason": "no mood"}, {"sections": ()}):
            body = house.sealed_round(topic, partition, with_fields(reply, **changes))
            drop(house, topic, sealed(house, topic, "su", body), partition)
        await all_refused(house, topic, [Hostile("the end", b"", ReasonCode.MALFORMED)], partition, "mu")
        # MU has seen them. SU must not: what it seems to have said it would stand by, or stop.
        forget(house, topic, partition)
        await goes_on(house)
        assert len(house.dead_letters()) == count + 1


async def test_a_reply_to_another_request_of_the_step_is_not_taken(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.mu():
        await house.publish("a", house.records(20, 0))
        asking = asyncio.create_task(house.ask(house.records(3, "asked")))
        topic = TopicName.ROUND_REQUESTS
        await until(lambda: any(house.messages(topic, p) for p in range(TOPICS[topic].partitions)))
        partition, (message,) = next(
            (p, messages[:1]) for p in range(16) if (messages := house.messages(topic, p))
        )
        request = decode(Request, house.round_body(topic, partition, message.value))
        # As SU may have signed them for another life of MU.
        for reply in (
            Reply(request.session, request.step, bytes(32), "plan_violation", ()),
            Reply(request.session, request.step, bytes(32), "", request.sections),
        ):
            body = house.sealed_round(TopicName.ROUND_REPLIES, partition, encode(reply))
            wire = sealed(house, TopicName.ROUND_REPLIES, "su", body, kind="reply")
            drop(house, TopicName.ROUND_REPLIES, wire, partition)
        # MU has seen them, and asks again. SU must not: it would stand by what it seems to have said.
        await until(lambda: len(house.messages(topic, partition)) > 1)
        forget(house, TopicName.ROUND_REPLIES, partition)
        async with house.su():
            rows = house.records(3, "asked")
            assert await asking == house.twin([house.records(20, 0)]).predict(rows.indices).tolist()


async def test_owners_and_clients_pass_over_what_is_not_for_them(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        await trained(house)
        receipt, answer = house.messages(TopicName.RECEIPTS)[0], house.messages(TopicName.ANSWERS)[0]
        for topic, good, sender in (
            (TopicName.RECEIPTS, receipt.value, "mu"),
            (TopicName.ANSWERS, answer.value, "mu"),
        ):
            for hostile in damaged(house, topic, sender, good, "su"):
                drop(house, topic, hostile.value)
            drop(house, topic, good)
            drop(house, topic, sealed(house, topic, "mu", b"\x90", kind="receipt"))
        waiting = asyncio.gather(goes_on(house), house.ask(house.records(1, "meanwhile"), "d"))
        for topic, good in ((TopicName.RECEIPTS, receipt.value), (TopicName.ANSWERS, answer.value)):
            drop(house, topic, good[:-1])
        await waiting
        assert not house.dead_letters()


async def test_what_others_write_to_the_journal_is_passed_over(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        async with house.units_running():
            await trained(house)
            entry = house.messages(TopicName.JOURNAL)[0].value
            for hostile in damaged(house, TopicName.JOURNAL, "mu", entry, "a"):
                drop(house, TopicName.JOURNAL, hostile.value)
            await goes_on(house)
        model = model_of(await house.state())
        async with house.units_running() as master:
            assert model_of(master.unit) == model
            await house.publish("a", house.records(5, 4))
        assert not house.dead_letters()
