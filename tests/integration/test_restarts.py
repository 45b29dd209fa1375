"""Units that die at any moment: what they decided stays decided, what was asked is answered once."""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from integration.services import INDEX, LEDGER, CrashError, House, let_die, model_of, until, wire_body
from round_trips import replace_subject

from crypto.errors import LocalProtocolError
from pipeline import rounds
from pipeline.errors import StorageError
from pipeline.journal import JournalRolledBackError
from pipeline.mailbox import sequence_of
from pipeline.session_ledger import Answered, Claim, SessionLedger
from pipeline.transport import Message
from roles.session import session_name
from schemas.codec import decode, encode
from schemas.queries import Query
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
        model_of(state).hash(house.tenant),
        [message.value for message in house.messages(TopicName.JOURNAL)],
        Counter(message.value for message in house.messages(TopicName.RECEIPTS)),
        Counter(message.value for message in house.messages(TopicName.DEAD_LETTERS)),
    )


def told(house: House) -> bool:
    return (len(house.receipts()), len(house.dead_letters())) == (5, 2)


def answered(house: House) -> bool:
    return len(house.answers()) == 1


def reported(house: House, count: int) -> bool:
    return len(house.dead_letters()) == count


async def test_mu_may_die_at_any_append_and_becomes_the_same(tmp_path: Path) -> None:
    async with House(tmp_path / "whole") as house:
        await offer(house)
        # Copied, since encrypting the same records again gives other bytes.
        offered = list(house.messages(TopicName.CHUNKS))
        counted = house.transport()
        async with house.mu(counted):
            await until(partial(told, house))
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
                    await until(partial(told, house))
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
    # Journal, dead letter, answer: MU dies after any of them.
    for call in (1, 2, 3):
        async with House(tmp_path / str(call)) as house:
            await house.put_query(house.records(2, "asked"))
            dying = house.transport()
            dying.die(None, call, written=True)
            await let_die(house.mu(dying))
            async with house.mu():
                await until(partial(answered, house))
            assert [answer.reason for answer in house.answers()] == ["not_enough_records"]
            assert [letter.reason for letter in house.dead_letters()] == ["not_enough_records"]
            assert len(house.journal()) == 1


async def trained_and_asked(house: House) -> tuple[Query, list[int]]:
    """Train on one chunk, put a query on its topic; return it and the labels it must get."""
    async with house.mu():
        await house.publish("a", house.records(20, 0))
    rows = house.records(4, "asked")
    twin = house.twin([house.records(20, 0)])
    return await house.put_query(rows), twin.predict(rows.indices).tolist()


# Query, base transfers (2), refresh, query steps (3), answered, answer.
@pytest.mark.parametrize("call", range(1, 10))
@pytest.mark.parametrize("written", [False, True])
async def test_mu_may_die_at_any_append_of_a_query(tmp_path: Path, call: int, *, written: bool) -> None:
    async with House(tmp_path) as house, house.su():
        query, expected = await trained_and_asked(house)
        dying = house.transport()
        dying.die(None, call, written=written)
        await let_die(house.mu(dying))
        async with house.mu():
            await until(partial(answered, house))
        # Nothing more comes of a further life.
        async with house.mu():
            await house.publish("a", house.records(20, 1))
        assert house.labels(query) == expected
        kinds = [entry.kind for entry in house.journal()]
        assert kinds == ["accept", "query", "answered", "accept"]
        assert not house.dead_letters()


class MortalLedger(SessionLedger):
    """Its process dies at the n-th record: before it is written, or just after."""

    def __init__(self, path: Path, call: int, *, written: bool) -> None:
        super().__init__(path)
        self._left = call
        self._written = written

    def record(
        self, session: bytes, step: int, answered: Answered, partition: int, claim: Claim | None = None
    ) -> None:
        self._left -= 1
        if self._left or self._written:
            super().record(session, step, answered, partition, claim)
        if not self._left:
            raise CrashError


Replies = dict[tuple[bytes, int], list[bytes]]


def replies(house: House, *, refused: bool = False) -> Replies:
    """Return the bodies of all replies, or of all refusals, by session and step."""
    found: Replies = defaultdict(list)
    for partition in PARTITIONS:
        for message in house.messages(TopicName.ROUND_REPLIES, partition):
            body = house.round_body(TopicName.ROUND_REPLIES, partition, message.value)
            reply = decode(Reply, body)
            if bool(reply.reason) is refused:
                found[reply.session, reply.step].append(body)
    return found


# Base transfers (2), refresh, query steps (3).
@pytest.mark.parametrize("call", range(1, 7))
@pytest.mark.parametrize("moment", ["before the record", "before the reply", "after the reply"])
async def test_su_may_die_in_the_middle_of_a_query(tmp_path: Path, call: int, moment: str) -> None:
    async with House(tmp_path) as house:
        query, expected = await trained_and_asked(house)
        async with house.mu():
            if moment == "before the record":
                await let_die(house.su(ledger=MortalLedger(house.folder / LEDGER, call, written=False)))
            else:
                dying = house.transport()
                dying.die(TopicName.ROUND_REPLIES, call, written=moment == "after the reply")
                await let_die(house.su(dying))
            async with house.su():
                await until(partial(answered, house))
        assert house.labels(query) == expected
        # Repeated steps got the same bytes. A late repetition may find its session closed, no more.
        assert len(replies(house)) == 6
        assert all(len(set(bodies)) == 1 for bodies in replies(house).values())
        refusals = [
            decode(Reply, body) for bodies in replies(house, refused=True).values() for body in bodies
        ]
        assert {refusal.reason for refusal in refusals} <= {"plan_violation"}
        assert not house.dead_letters()


async def test_su_may_die_at_every_step(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        query, expected = await trained_and_asked(house)
        async with house.mu():
            for _ in range(6):
                await let_die(house.su(ledger=MortalLedger(house.folder / LEDGER, 1, written=True)))
            async with house.su():
                await until(partial(answered, house))
        assert house.labels(query) == expected
        assert all(len(set(bodies)) == 1 for bodies in replies(house).values())
        assert not house.dead_letters()


async def test_both_units_may_die_together(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        query, expected = await trained_and_asked(house)
        # Of the last life: refresh, first and second step of the query; the base transfers are done.
        for call in (2, 4, 3):
            dying = house.transport()
            dying.die(TopicName.ROUND_REPLIES, call)
            async with house.mu():
                await let_die(house.su(dying))
        async with house.units_running():
            await until(partial(answered, house))
        assert house.labels(query) == expected
        assert all(len(set(bodies)) == 1 for bodies in replies(house).values())
        assert not house.dead_letters()


# --- SU holds MU to what it first asked


async def put_request(house: House, request: Request, partition: int) -> None:
    """Send a request in MU's name."""
    topic, body = TopicName.ROUND_REQUESTS, encode(request)
    publisher = house.publisher("mu")
    sealed = house.sealed_round(topic, partition, body)
    await publisher.publish(topic, "request", sequence_of(body), sealed, partition=partition)


def query_requests(house: House) -> list[tuple[Request, int]]:
    """Return the requests of the query session with their partition, each once, by step."""
    found = {}
    for partition in PARTITIONS:
        for message in house.messages(TopicName.ROUND_REQUESTS, partition):
            request = decode(Request, house.round_body(TopicName.ROUND_REQUESTS, partition, message.value))
            if request.subject.purpose == "query":
                found[request.step] = (request, partition)
    return [found[step] for step in sorted(found)]


def changed(request: Request, **changes: object) -> Request:
    """Return a request with other fields."""
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    return Request(**{**fields, **changes})


@pytest.mark.parametrize("restarted", [False, True])
async def test_another_request_under_a_known_step_is_refused(tmp_path: Path, *, restarted: bool) -> None:
    async with House(tmp_path) as house, house.mu():
        await house.publish("a", house.records(20, 0))
        async with house.su():
            await house.ask(house.records(4, "asked"))
            requests = query_requests(house)
            if not restarted:
                await conflict(house, requests)
        if restarted:
            async with house.su():
                await conflict(house, requests)


async def conflict(house: House, requests: list[tuple[Request, int]]) -> None:
    for number, (request, partition) in enumerate(requests, start=1):
        first, *others = request.sections
        flipped = bytes([first[0] ^ 1]) + first[1:]
        await put_request(house, changed(request, sections=(flipped, *others)), partition)
        await until(partial(reported, house, number))
        assert house.dead_letters()[-1].reason == "conflicting_request"
        *_, refusal = replies(house, refused=True)[request.session, request.step]
        assert decode(Reply, refusal).reason == "conflicting_request"
        assert decode(Reply, refusal).sections == ()


async def test_a_query_has_one_session(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        await house.publish("a", house.records(20, 0))
        await house.ask(house.records(4, "asked"))
        (request, partition), *_ = query_requests(house)
        subject = replace_subject(request.subject, model_version=7)
        other = changed(request, subject=subject, session=session_name(house.tenant, subject))
        await put_request(house, other, partition)
        await until(partial(reported, house, 1))
        assert house.dead_letters()[0].reason == "conflicting_request"
        # Repeating the first one does no harm. MU may have repeated it too.
        before = len(replies(house)[request.session, 1])
        await put_request(house, request, partition)
        await until(lambda: len(replies(house)[request.session, 1]) > before)
        assert len(set(replies(house)[request.session, 1])) == 1


def judged(house: House, partition: int, offset: int) -> bool:
    """Return whether SU has noted that it is done with a message."""
    with contextlib.closing(house.ledger()) as ledger:
        return ledger.place(partition).judged > offset


async def test_su_reports_a_refused_request_once(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.transport().append("small.rounds.requests", None, b"not a message", partition=3)
        for _ in range(3):
            async with house.su():
                await until(partial(judged, house, 3, 0))
        assert [letter.reason for letter in house.dead_letters()] == ["malformed"]


async def test_su_reports_once_what_it_reads_again_for_an_open_session(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        async with house.units_running():
            await house.publish("a", house.records(20, 0))
            await house.ask(house.records(4, "asked"))
            partition = query_requests(house)[0][1]
        query = await house.put_query(house.records(4, "asked later"))
        async with house.mu():
            # Dead after the first step of the query, which is read again in every further life.
            dying = house.transport()
            dying.die(TopicName.ROUND_REPLIES, 2)
            await let_die(house.su(dying))
        junk = await house.transport().append(
            "small.rounds.requests", None, b"not a message", partition=partition
        )
        for _ in range(3):
            async with house.su():
                await until(partial(judged, house, partition, junk.offset))
        async with house.units_running():
            await until(lambda: len(house.answers()) == 2)
        assert house.answers()[-1].query_id == query.query_id
        assert [letter.reason for letter in house.dead_letters()] == ["malformed"]


async def test_su_that_would_answer_otherwise_stops(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.mu():
        await house.publish("a", house.records(20, 0))
        async with house.su():
            await house.ask(house.records(4, "asked"))
        # Another seed in a restored keystore: every reply would be another one.
        house.units["su"].secrets["seed"] = bytes(32)
        (request, partition), *_ = query_requests(house)
        given = replies(house)
        await put_request(house, request, partition)
        with pytest.raises(BaseExceptionGroup) as ended:
            async with house.su():
                await until(lambda: replies(house) != given)
        assert ended.value.subgroup(LocalProtocolError) is not None
        assert replies(house) == given


# --- a journal that somebody changed


async def with_history(house: House) -> bytes:
    """Make a journal of every kind of entry; return the model's hash."""
    await offer(house)
    async with house.units_running() as master:
        await until(partial(told, house))
        await house.ask(house.records(3, "asked"))
        return model_of(master.unit).hash(house.tenant)


ENTRIES = len(OFFERED) + 2


def flipped(message: Message, position: int) -> Message:
    """Return a message with one bit changed."""
    value = bytearray(message.value)
    value[position] ^= 1
    return replace(message, value=bytes(value))


def become(topic: list[Message], messages: Sequence[Message]) -> None:
    """Make a topic hold these messages, at offsets without gaps."""
    topic[:] = [replace(message, offset=offset) for offset, message in enumerate(messages)]


async def test_a_changed_deleted_or_moved_entry_stops_mu(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await with_history(house)
        journal = house.messages(TopicName.JOURNAL)
        whole = list(journal)
        assert len(whole) == ENTRIES
        tampered = {}
        for i in range(ENTRIES - 1):
            for position in (5, len(whole[i].value) // 2, -1):
                tampered[f"bit {position} of {i}"] = [
                    *whole[:i],
                    flipped(whole[i], position),
                    *whole[i + 1 :],
                ]
            tampered[f"without {i}"] = whole[:i] + whole[i + 1 :]
            tampered[f"{i} and {i + 1} swapped"] = [*whole[:i], whole[i + 1], whole[i], *whole[i + 2 :]]
        for name, entries in tampered.items():
            become(journal, entries)
            with pytest.raises(StorageError) as stopped:
                async with house.mu():
                    pass
            assert stopped.value.code == "storage_damaged", name
            assert [entry.value for entry in journal] == [entry.value for entry in entries], name


async def test_a_repeated_or_foreign_entry_changes_nothing(tmp_path: Path) -> None:
    async with House(tmp_path) as house, House(tmp_path / "other") as other:
        model = await with_history(house)
        await with_history(other)
        journal = house.messages(TopicName.JOURNAL)
        whole = list(journal)
        # What MU never signed, what it signed for another topic, what it signed before.
        receipt = house.messages(TopicName.RECEIPTS)[0]
        forged = await house.put("a", TopicName.JOURNAL, "entry", wire_body(whole[3].value))
        assert forged.position.offset == ENTRIES
        foreign = journal.pop()
        for i in range(ENTRIES):
            for added in (whole[i], receipt, foreign, flipped(whole[i], -1)):
                become(journal, [*whole[: i + 1], added, *whole[i + 1 :]])
                async with house.mu() as master:
                    assert model_of(master.unit).hash(house.tenant) == model
                    assert master.unit.next_sequence == ENTRIES
        # An entry of another history of the same MU, where the first one was already read.
        become(journal, [*whole, *other.messages(TopicName.JOURNAL)])
        async with house.mu() as master:
            assert model_of(master.unit).hash(house.tenant) == model


async def test_a_damaged_last_entry_is_decided_again_and_alike(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await offer(house)
        async with house.mu():
            await until(partial(told, house))
        expected = await outcome(house)
        journal = house.messages(TopicName.JOURNAL)
        journal[-1] = flipped(journal[-1], -1)
        # MU knows that it had written that entry.
        with pytest.raises(JournalRolledBackError, match="ends before entry"):
            async with house.mu():
                pass
        # Without its mark it does not, and decides the same once more.
        (house.folder / INDEX).unlink()
        async with house.mu() as master:
            await until(lambda: master.unit.next_sequence == len(OFFERED))
            await until(lambda: journal[-1].value == expected.journal[-1])
            assert master.unit.head == expected.head


async def test_an_accepted_chunk_that_was_changed_stops_mu(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await with_history(house)
        chunks = house.messages(TopicName.CHUNKS)
        for i in range(3):
            whole = list(chunks)
            chunks[i] = flipped(whole[i], -1)
            with pytest.raises(StorageError):
                async with house.mu():
                    pass
            chunks[:] = whole
