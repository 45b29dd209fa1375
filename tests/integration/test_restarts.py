"""Units that die at any moment: what they decided stays decided, what was asked is answered once."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from integration.services import CrashError, House, MortalTransport, let_die, until, wire_body
from round_trips import replace_subject

from pipeline import rounds
from pipeline.errors import StorageError
from pipeline.mailbox import sequence_of
from pipeline.session_ledger import Answered, SessionLedger
from pipeline.transport import Message
from roles.session import session_name
from schemas.chunks import Withdrawal
from schemas.codec import decode, encode
from schemas.rounds import Reply, Request
from schemas.topics import TOPICS, TopicName

PARTITIONS = range(TOPICS[TopicName.ROUND_REQUESTS].partitions)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", 0.05)


async def offer(house: House) -> None:
    """Put on the topics: three chunks, a withdrawal, a repeated chunk, and something unreadable."""
    owner = house.owner("a")
    _ = [sent async for sent in owner.publish([house.records(20, i) for i in range(3)])]
    await owner.withdraw(1)
    first = house.messages(TopicName.CHUNKS)[0]
    await house.transport().append(first.topic, b"a", first.value)
    await house.transport().append(first.topic, b"a", b"not a message")


OFFERED = ["accept", "accept", "accept", "withdraw", "reject", "reject"]


@dataclass(frozen=True)
class Outcome:
    """All that must not depend on when MU died."""

    head: bytes
    model: bytes
    journal: list[bytes]
    receipts: Counter[bytes]
    dead_letters: Counter[bytes]


async def outcome(house: House) -> Outcome:
    state = await house.state()
    return Outcome(
        state.head,
        state.model.hash(house.tenant),
        [message.value for message in house.messages(TopicName.JOURNAL)],
        Counter(message.value for message in house.messages(TopicName.RECEIPTS)),
        Counter(message.value for message in house.messages(TopicName.DEAD_LETTERS)),
    )


def told(house: House) -> bool:
    return (len(house.receipts()), len(house.dead_letters())) == (5, 2)


async def test_mu_may_die_at_any_append_and_becomes_the_same(tmp_path: Path) -> None:
    async with House(tmp_path / "whole") as house:
        await offer(house)
        # Copied, since encrypting the same records again gives other bytes.
        offered = list(house.messages(TopicName.CHUNKS))
        counted = house.transport()
        async with house.mu(counted):
            await until(lambda: told(house))
        expected = await outcome(house)
        assert [entry.kind for entry in house.journal()] == OFFERED
    appends = sum(counted.appends.values())
    assert appends == len(OFFERED) + 5 + 2
    for call in range(1, appends + 1):
        for written in (False, True):
            async with House(tmp_path / f"{call} {written}") as house:
                house.messages(TopicName.CHUNKS).extend(offered)
                dying = house.transport()
                dying.die(None, call, written=written)
                await let_die(house.mu(dying))
                async with house.mu():
                    await until(lambda house=house: told(house))
                assert await outcome(house) == expected, (call, written)


async def test_mu_may_live_for_one_append_at_a_time(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await offer(house)
        lives = 0
        while not told(house):
            dying = house.transport()
            dying.die(None, 1, written=True)
            await let_die(house.mu(dying))
            lives += 1
        assert lives == len(OFFERED) + 5 + 2
        assert set((await outcome(house)).receipts.values()) == {1}
        assert set((await outcome(house)).dead_letters.values()) == {1}
        assert [entry.kind for entry in house.journal()] == OFFERED


async def test_a_refused_query_is_told_even_if_mu_dies_before(tmp_path: Path) -> None:
    # Journal, dead letter, answer: MU dies before or after each of them.
    for call in (1, 2, 3):
        async with House(tmp_path / str(call)) as house:
            client = await house.client()
            _, wires = client._seal("m", house.bits(house.records(2, "asked")))
            await client._publisher.append(TopicName.QUERIES, wires, key=b"c")
            dying = house.transport()
            dying.die(None, call, written=True)
            await let_die(house.mu(dying))
            async with house.mu():
                await until(lambda house=house: len(house.answers()) == 1)
            assert [answer.reason for answer in house.answers()] == ["not_enough_records"]
            assert [letter.reason for letter in house.dead_letters()] == ["not_enough_records"]
            assert len(house.journal()) == 1


async def ask_without_waiting(house: House) -> list[int]:
    """Put a query on its topic; return the labels it must get."""
    rows = house.records(4, "asked")
    client = await house.client()
    query, wires = client._seal("m", house.bits(rows))
    await client._publisher.append(TopicName.QUERIES, wires, key=b"c")
    house.asked = query
    return house.twin([house.records(20, 0)]).predict(rows.indices).tolist()


async def labels(house: House) -> list[int]:
    """Open the one answer."""
    from roles.client import read_answer

    (answer,) = house.answers()
    return list(read_answer(house.tenant, house.client_keys["c"], house.asked, answer))


async def test_mu_may_die_at_any_append_of_a_query_and_it_is_answered_once(tmp_path: Path) -> None:
    async def through(folder: str, dying: MortalTransport | None, house: House) -> bytes:
        async with house, house.su():
            async with house.mu():
                await house.publish("a", house.records(20, 0))
            expected = await ask_without_waiting(house)
            if dying is not None:
                await let_die(house.mu(dying))
            async with house.mu():
                await until(lambda: len(house.answers()) == 1)
            assert await labels(house) == expected
            assert [entry.kind for entry in house.journal()] == ["accept", "query", "answered"]
            assert not house.dead_letters()
        return folder.encode()

    # Query, base transfers (2), refresh, query steps (3), answered, answer.
    for call in range(1, 10):
        for written in (False, True):
            house = House(tmp_path / f"{call} {written}")
            dying = house.transport()
            dying.die(None, call, written=written)
            await through(str(call), dying, house)


class MortalLedger(SessionLedger):
    """Its process dies at the n-th record: before it is written, or just after."""

    def __init__(self, path: Path, call: int, *, written: bool) -> None:
        super().__init__(path)
        self._left = call
        self._written = written

    def record(self, session: bytes, step: int, answered: Answered) -> None:
        self._left -= 1
        if self._left or self._written:
            super().record(session, step, answered)
        if not self._left:
            raise CrashError


def replies(house: House) -> dict[tuple[bytes, int], list[bytes]]:
    """Return the bodies of all replies by session and step."""
    found = defaultdict(list)
    for partition in PARTITIONS:
        for message in house.messages(TopicName.ROUND_REPLIES, partition):
            body = wire_body(message.value)
            reply = decode(Reply, body)
            found[reply.session, reply.step].append(body)
    return found


# Base transfers (2), refresh, query steps (3).
@pytest.mark.parametrize("call", range(1, 7))
@pytest.mark.parametrize("moment", ["before the record", "before the reply", "after the reply"])
async def test_su_may_die_in_the_middle_of_a_query(tmp_path: Path, call: int, moment: str) -> None:
    async with House(tmp_path) as house, house.mu():
        await house.publish("a", house.records(20, 0))
        expected = await ask_without_waiting(house)
        if moment == "before the record":
            await let_die(house.su(ledger=MortalLedger(tmp_path / "su.ledger", call, written=False)))
        else:
            dying = house.transport()
            dying.die(TopicName.ROUND_REPLIES, call, written=moment == "after the reply")
            await let_die(house.su(dying))
        async with house.su():
            await until(lambda: len(house.answers()) == 1)
        assert await labels(house) == expected
        # Repeated steps got the same bytes, and none was refused.
        assert len(replies(house)) == 6
        assert all(len(set(bodies)) == 1 for bodies in replies(house).values())
        assert not house.dead_letters()


async def test_su_may_die_at_every_step(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.mu():
        await house.publish("a", house.records(20, 0))
        expected = await ask_without_waiting(house)
        for _ in range(6):
            await let_die(house.su(ledger=MortalLedger(tmp_path / "su.ledger", 1, written=True)))
        async with house.su():
            await until(lambda: len(house.answers()) == 1)
        assert await labels(house) == expected
        assert all(len(set(bodies)) == 1 for bodies in replies(house).values())
