"""Audits of what the services themselves wrote: without findings, until somebody changes a byte."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from fixed_topics import FixedTopics, flip, wire_body
from integration.services import House, SplittingPublisher, let_die, until
from written_log import changed

from pipeline import rounds
from pipeline.audit import audit
from pipeline.audit_report import AuditReport
from pipeline.master_self_audit import audit_master
from pipeline.secondary_self_audit import audit_secondary
from pipeline.transport import Transport
from roles.session import session_name
from roles.unit_keys import UnitKeys
from schemas.codec import decode, encode
from schemas.configuration import Limits
from schemas.journal import JournalEntry
from schemas.rounds import Reply, Request
from schemas.topics import TOPICS, TopicName

LIMITS = Limits(1000, 1 << 20, 100, 30, 2, 15)
PARTITIONS = range(16)


async def use(house: House) -> None:
    """Publish, withdraw and ask, with both units restarted in between."""
    batches = [house.records(20, i) for i in range(5)]
    async with house.units_running():
        sent = await house.publish("a", batches[0], batches[1])
        await house.publish("b", batches[2])
        await asyncio.gather(*(house.ask(house.records(2 + i, f"asked {i}"), "cd"[i % 2]) for i in range(4)))
    async with house.units_running():
        await house.owner("a").withdraw(sent[0].sequence)
        await until(lambda: house.journal()[-1].kind == "withdraw")
        await house.publish("b", batches[3], batches[4])
        await house.ask(house.records(3, "later"))


async def public(house: House, transport: Transport) -> AuditReport:
    return await audit(transport, house.tenant, grace_seconds=0.0)


async def master(house: House, transport: Transport, keys: UnitKeys | None = None) -> AuditReport:
    with ThreadPoolExecutor(1) as pool:
        own = keys or house.units["mu"].open()
        return await audit_master(transport, house.tenant, own, pool, grace_seconds=0.0)


async def secondary(house: House, transport: Transport, keys: UnitKeys | None = None) -> AuditReport:
    return await audit_secondary(transport, house.tenant, keys or house.units["su"].open())


def codes(report: AuditReport) -> list[str]:
    return [finding.code.value for finding in report.findings]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Return a tenant after some use; no test writes to it."""

    async def make() -> House:
        made = House(tmp_path_factory.mktemp("house"), limits=LIMITS)
        async with made:
            await use(made)
        return made

    return asyncio.run(make())


@pytest.fixture
def topics(house: House) -> FixedTopics:
    return FixedTopics.of(house.broker, house.tenant.name)


async def test_what_the_services_wrote_has_no_findings(house: House, topics: FixedTopics) -> None:
    reports = [await check(house, topics) for check in (public, master, secondary)]
    assert [codes(report) for report in reports] == [[], [], []]
    everybody, mu, su = reports
    # Base transfers, two refreshes, five queries.
    assert [report.checked.sessions_recomputed for report in reports] == [0, 8, 8]
    assert mu.checked.journal_entries == everybody.checked.journal_entries == len(house.journal())
    assert everybody.as_dict()["model"]["matches"] is True
    assert (everybody.skipped, mu.skipped, su.skipped) == ([], ["proofs"], [])
    assert su.as_dict()["to"] == {"journal_sequence": None, "snapshot": None}


async def test_su_leaves_out_sessions_whose_query_is_gone(house: House, topics: FixedTopics) -> None:
    topics.trim_before(TopicName.QUERIES, 2)
    report = await secondary(house, topics)
    assert (codes(report), report.skipped) == ([], ["sessions whose beginning, or query, is not kept"])
    assert report.checked.sessions_recomputed == 6


async def trained_and_asked(house: House) -> None:
    async with house.mu():
        await house.publish("a", house.records(20, 0))
    await house.put_query(house.records(4, "asked"))


async def no_findings(house: House) -> None:
    for check in (public, master, secondary):
        report = await check(house, house.transport())
        assert codes(report) == [], report.findings


# Query, base transfers (2), refresh, query steps (3), answered, answer.
@pytest.mark.parametrize("call", [1, 3, 4, 6, 8, 9])
@pytest.mark.parametrize("written", [False, True])
async def test_an_mu_that_died_leaves_nothing_to_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, *, written: bool
) -> None:
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", 0.05)
    async with House(tmp_path) as house, house.su():
        await trained_and_asked(house)
        dying = house.transport()
        dying.die(None, call, written=written)
        await let_die(house.mu(dying))
        async with house.mu():
            await until(lambda: len(house.answers()) == 1)
        await no_findings(house)


@pytest.mark.parametrize("call", [1, 3, 5])
@pytest.mark.parametrize("written", [False, True])
async def test_an_su_that_died_leaves_nothing_to_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, *, written: bool
) -> None:
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", 0.05)
    async with House(tmp_path) as house:
        await trained_and_asked(house)
        async with house.mu():
            dying = house.transport()
            dying.die(TopicName.ROUND_REPLIES, call, written=written)
            await let_die(house.su(dying))
            async with house.su():
                await until(lambda: len(house.answers()) == 1)
        await no_findings(house)


async def test_an_audit_beside_running_units_finds_nothing(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.units_running():
        await house.publish("a", house.records(20, 0))
        asking = asyncio.gather(
            *(house.ask(house.records(2, f"asked {i}"), "cd"[i % 2]) for i in range(6)),
            house.publish("b", *(house.records(10, f"more {i}") for i in range(6))),
        )
        while not asking.done():
            for check in (public, master, secondary):
                report = await check(house, house.transport())
                # What is not announced yet is all that may be missing.
                assert set(codes(report)) <= {"receipt_missing"}
        await asking
        await no_findings(house)


async def test_messages_in_parts_are_audited_whole(tmp_path: Path) -> None:
    async with House(tmp_path, part_limit=8000) as house, house.units_running():
        small_parts = SplittingPublisher(
            house.transport(), house.tenant.name, "a", 1, house.signing["a"], 400
        )
        sent = [s async for s in house.owner("a", small_parts).publish([house.records(20, 0)])]
        await until(lambda: len(house.receipts()) == len(sent))
        await house.ask(house.records(12, "asked"))
        await no_findings(house)


# --- a changed byte


def resealed(house: House, topic: TopicName, partition: int, round_: Request | Reply) -> bytes:
    """Return a round that its unit sealed and signed, though it is not what its program gives."""
    sender, kind = ("mu", "request") if isinstance(round_, Request) else ("su", "reply")
    body = house.sealed_round(topic, partition, encode(round_))
    (wire,) = house.publisher(sender, house.transport()).seal(topic, kind, 1, body)
    return wire


def requests_of(house: House, topics: FixedTopics, partition: int) -> list[tuple[int, Request]]:
    """Return the requests of a partition with their offsets."""
    topic = TopicName.ROUND_REQUESTS
    return [
        (message.offset, decode(Request, house.round_body(topic, partition, message.value)))
        for message in topics.messages(topic, partition)
    ]


def find_reply(house: House, topics: FixedTopics, purpose: str, step: int) -> tuple[int, int, Reply]:
    """Return partition, offset and body of SU's reply to a step of a session of that purpose."""
    topic = TopicName.ROUND_REPLIES
    for partition in PARTITIONS:
        sessions = {
            request.session: request.subject.purpose for _, request in requests_of(house, topics, partition)
        }
        for message in topics.messages(topic, partition):
            reply = decode(Reply, house.round_body(topic, partition, message.value))
            if (sessions[reply.session], reply.step) == (purpose, step):
                return partition, message.offset, reply
    raise AssertionError("there is no such reply")


@pytest.mark.parametrize(
    ("purpose", "step"), [("base_ot", 1), ("base_ot", 2), ("refresh", 1), ("query", 1), ("query", 3)]
)
async def test_a_changed_byte_of_a_reply_that_su_signed(
    house: House, topics: FixedTopics, purpose: str, step: int
) -> None:
    partition, offset, reply = find_reply(house, topics, purpose, step)
    sections = (*reply.sections[:-1], flip(reply.sections[-1], -1))
    other = resealed(house, TopicName.ROUND_REPLIES, partition, changed(reply, sections=sections))
    topics.substitute(TopicName.ROUND_REPLIES, offset, other, partition)
    (finding,) = (await secondary(house, topics)).findings
    assert (finding.code, finding.place.partition, finding.place.offset) == (
        "reply_differs",
        partition,
        offset,
    )
    assert f"step {step} of a {purpose} session" in finding.detail
    # MU has acted on what SU says it never said.
    assert (codes(await master(house, topics)) == []) is ((purpose, step) == ("base_ot", 2))
    assert codes(await public(house, topics)) == []


async def test_a_flipped_bit_of_a_reply(house: House, topics: FixedTopics) -> None:
    partition, offset, _ = find_reply(house, topics, "query", 2)
    value = next(m.value for m in topics.messages(TopicName.ROUND_REPLIES, partition) if m.offset == offset)
    topics.substitute(TopicName.ROUND_REPLIES, offset, flip(value), partition)
    assert codes(await secondary(house, topics)) == ["bad_message", "reply_missing"]
    assert codes(await public(house, topics)) == ["bad_message"]


async def test_a_refusal_instead_of_a_reply(house: House, topics: FixedTopics) -> None:
    partition, offset, reply = find_reply(house, topics, "query", 2)
    for reason in ("not_openable", "plan_violation"):
        refusal = changed(reply, sections=(), reason=reason)
        other = resealed(house, TopicName.ROUND_REPLIES, partition, refusal)
        topics.substitute(TopicName.ROUND_REPLIES, offset, other, partition)
        # The second is true of a moment; but the step after it was answered.
        assert codes(await secondary(house, topics)) == ["reply_differs"]


async def test_a_reply_that_nothing_asks_for(house: House, topics: FixedTopics) -> None:
    topic = TopicName.ROUND_REPLIES
    partition, _, reply = find_reply(house, topics, "query", 2)
    other = resealed(house, topic, partition, changed(reply, request_hash=bytes(32)))
    offset = topics.add(topic, other, partition)
    (finding,) = (await secondary(house, topics)).findings
    assert (finding.code, finding.place.offset) == ("reply_unexplained", offset)


def find_request(house: House, topics: FixedTopics, purpose: str, step: int) -> tuple[int, int, Request]:
    for partition in PARTITIONS:
        for offset, request in requests_of(house, topics, partition):
            if (request.subject.purpose, request.step) == (purpose, step):
                return partition, offset, request
    raise AssertionError("there is no such request")


@pytest.mark.parametrize(("purpose", "step"), [("base_ot", 2), ("refresh", 1), ("query", 2)])
async def test_a_changed_byte_of_a_request_that_mu_signed(
    house: House, topics: FixedTopics, purpose: str, step: int
) -> None:
    partition, offset, request = find_request(house, topics, purpose, step)
    sections = (*request.sections[:-1], flip(request.sections[-1], -1))
    other = resealed(house, TopicName.ROUND_REQUESTS, partition, changed(request, sections=sections))
    topics.substitute(TopicName.ROUND_REQUESTS, offset, other, partition)
    report = await master(house, topics)
    assert "request_differs" in codes(report)
    assert (partition, offset) in {(f.place.partition, f.place.offset) for f in report.findings}
    assert "reply_unexplained" in codes(await secondary(house, topics))


async def test_a_request_that_is_gone(house: House, topics: FixedTopics) -> None:
    partition, offset, _ = find_request(house, topics, "query", 2)
    topics.drop_everywhere(TopicName.ROUND_REQUESTS, offset, partition)
    assert codes(await master(house, topics)) == ["request_missing"]


async def test_a_request_that_the_journal_does_not_ask_for(house: House, topics: FixedTopics) -> None:
    partition, _, request = find_request(house, topics, "refresh", 1)
    subject = changed(request.subject, model_hash=bytes(32))
    other = changed(request, subject=subject, session=session_name(house.tenant, subject))
    topic = TopicName.ROUND_REQUESTS
    offset = topics.add(topic, resealed(house, topic, partition, other), partition)
    (finding,) = (await master(house, topics)).findings
    assert (finding.code, finding.place.offset) == ("request_unexplained", offset)


async def test_another_answer_than_the_one_in_the_journal(house: House, topics: FixedTopics) -> None:
    last = topics.messages(TopicName.JOURNAL)[-1]
    entry = decode(JournalEntry, wire_body(last.value))
    assert entry.kind == "answered"
    (other,) = house.publisher("mu", house.transport()).seal(
        TopicName.JOURNAL, "entry", entry.sequence, encode(changed(entry, result=bytes(32)))
    )
    topics.alter(TopicName.JOURNAL, last.offset, lambda _: other)
    assert codes(await master(house, topics)) == ["answer_differs"]
    assert codes(await public(house, topics)) == []


async def test_rounds_that_are_not_kept_are_left_out(house: House, topics: FixedTopics) -> None:
    for partition in PARTITIONS:
        topics.messages(TopicName.ROUND_REQUESTS, partition).clear()
        topics.messages(TopicName.ROUND_REPLIES, partition).clear()
    mu, su = await master(house, topics), await secondary(house, topics)
    assert (codes(mu), codes(su)) == ([], [])
    assert mu.checked.sessions_recomputed == su.checked.sessions_recomputed == 0
    assert "sessions whose rounds are not kept" in mu.skipped


# --- other keys


def other_seed(keys: UnitKeys) -> UnitKeys:
    return replace(keys, seed=flip(keys.seed, 0))


def other_bases(keys: UnitKeys) -> UnitKeys:
    assert keys.bases is not None
    receiver = keys.bases.receiver
    zero = (flip(receiver.seeds_zero[0], 0), *receiver.seeds_zero[1:])
    return replace(keys, bases=replace(keys.bases, receiver=replace(receiver, seeds_zero=zero)))


def no_bases(keys: UnitKeys) -> UnitKeys:
    return replace(keys, bases=None)


async def test_another_seed_is_found(house: House, topics: FixedTopics) -> None:
    su = await secondary(house, topics, other_seed(house.units["su"].open()))
    assert {"reply_differs"} <= set(codes(su))
    mu = await master(house, topics, other_seed(house.units["mu"].open()))
    assert {"request_differs"} <= set(codes(mu))


async def test_other_base_transfers_in_the_keystore_are_found(house: House, topics: FixedTopics) -> None:
    assert "bases_differ" in codes(await secondary(house, topics, other_bases(house.units["su"].open())))
    assert "bases_differ" in codes(await master(house, topics, other_bases(house.units["mu"].open())))


async def test_a_keystore_from_before_the_base_transfers_will_do(house: House, topics: FixedTopics) -> None:
    assert codes(await secondary(house, topics, no_bases(house.units["su"].open()))) == []
    assert codes(await master(house, topics, no_bases(house.units["mu"].open()))) == []


async def test_self_audits_change_nothing(house: House) -> None:
    saves = {role: unit.saves for role, unit in house.units.items()}
    appends = [len(house.messages(topic, p)) for topic, p in every_partition()]
    await no_findings(house)
    assert {role: unit.saves for role, unit in house.units.items()} == saves
    assert [len(house.messages(topic, p)) for topic, p in every_partition()] == appends


def every_partition() -> list[tuple[TopicName, int]]:
    return [(topic, p) for topic in TopicName for p in range(TOPICS[topic].partitions)]
