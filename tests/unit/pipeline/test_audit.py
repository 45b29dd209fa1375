"""The public audit on logs written and changed by hand: each kind of tampering has its finding."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fixed_topics import FixedTopics, flip, wire_body
from round_trips import chunk_of
from tenants import SmallTenant, small_tenant
from written_log import WrittenLog, changed

from pipeline import check_pool, judged_entries
from pipeline.audit import audit
from pipeline.audit_report import AuditReport
from pipeline.errors import BrokerRefusedError
from pipeline.transport import Message
from roles.findings import MAX_FINDINGS
from roles.judging import judge_messages
from roles.screening import ScreenedChunk
from schemas.chunks import Withdrawal
from schemas.codec import decode, encode
from schemas.configuration import Limits
from schemas.journal import JournalEntry, Receipt
from schemas.reasons import ReasonCode
from schemas.topics import TopicName

LIMITS = Limits(1000, 1 << 20, 100, 30, 1, 0)


def run_audit(small: SmallTenant, topics: FixedTopics, *, proofs: bool = True) -> AuditReport:
    return asyncio.run(audit(topics, small.tenant, proofs=proofs, grace_seconds=0.0))


def codes(report: AuditReport) -> list[str]:
    return [finding.code.value for finding in report.findings]


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant(limits=LIMITS)


async def write_all_kinds(log: WrittenLog) -> None:
    """Write every kind of decision there is."""
    chunks, queries = TopicName.CHUNKS, TopicName.QUERIES
    await log.ask("too early")  # 0: not enough records
    await log.learn(0)  # 1
    first = await log.put_chunk(1, part_bytes=300)
    await log.decide(first)  # 2: a chunk in parts
    await log.refuse(await log.put_garbage(chunks, b"nothing"), ReasonCode.MALFORMED)  # 3
    again = await log.put_chunk(0)
    await log.decide(again)  # 4: duplicate
    await log.decide(await log.put_chunk(0, records=19))  # 5: equivocation
    await log.decide(await log.put_chunk(2, proof=chunk_of(log.small, 3).proof))  # 6: bad proof
    await log.learn(4)  # 7
    asked = await log.ask("first")  # 8
    await log.withdraw(1, 5)  # 9
    await log.withdraw(1, 6)  # 10: not withdrawable
    await log.refuse(await log.put_garbage(queries, b"\xff" * 40), ReasonCode.MALFORMED)  # 11
    other = await log.ask("second")  # 12
    await log.answer(other)  # 13
    await log.answer(asked)  # 14
    await log.learn(7)  # 15
    await log.decide(await log.put("owner", chunks, "nonsense", 8, b"x"))  # 16: malformed
    await log.put_chunk(9)  # not decided yet


@pytest.fixture(scope="module")
def written(small: SmallTenant) -> WrittenLog:
    log = WrittenLog(small)
    asyncio.run(write_all_kinds(log))
    return log


@pytest.fixture
def topics(written: WrittenLog) -> FixedTopics:
    return FixedTopics.of(written.broker, "small")


# --- a log as it must be


def test_a_clean_log_has_no_findings(small: SmallTenant, written: WrittenLog, topics: FixedTopics) -> None:
    report = run_audit(small, topics)
    assert codes(report) == []
    result = report.as_dict()
    assert result["ok"] is True
    assert result["from"] == {"journal_sequence": 0, "snapshot": None, "chunks_before": 0}
    assert result["to"] == {"journal_sequence": 16, "snapshot": None}
    counted = {name: n for name, n in result["checked"].items() if name != "signatures"}
    assert counted == {
        "journal_entries": 17,
        "chunks_accepted": 4,
        "chunks_rejected": 6,
        "withdrawals": 1,
        "receipts": 10,
        "snapshots": 0,
        "sessions_recomputed": 0,
    }
    model = written.model
    assert result["model"] == {
        "id": "m",
        "version": model.version,
        "sha256_recorded": None,
        "sha256_recomputed": model.hash(small.tenant).hex(),
        "matches": None,
    }
    assert result["skipped"] == []


@pytest.mark.parametrize(("entries", "size"), [(1, 1 << 20), (3, 1 << 20), (128, 500)])
def test_the_size_of_batches_changes_nothing(
    small: SmallTenant, topics: FixedTopics, monkeypatch: pytest.MonkeyPatch, entries: int, size: int
) -> None:
    whole = run_audit(small, topics)
    monkeypatch.setattr(judged_entries, "BATCH_ENTRIES", entries)
    monkeypatch.setattr(judged_entries, "BATCH_BYTES", size)
    assert run_audit(small, topics).as_dict() == whole.as_dict()


def test_processes_find_what_threads_find(
    small: SmallTenant, topics: FixedTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics.alter(TopicName.JOURNAL, 5, lambda data: flip(data, -1))
    topics.alter(TopicName.RECEIPTS, 2, lambda data: flip(data, -1))
    in_threads = run_audit(small, topics)
    assert "bad_message" in codes(in_threads)
    monkeypatch.setattr(check_pool, "THREADS_CHECK", 0)
    assert run_audit(small, topics).as_dict() == in_threads.as_dict()


def test_without_proofs_the_report_says_so(small: SmallTenant, topics: FixedTopics) -> None:
    report = run_audit(small, topics, proofs=False)
    assert codes(report) == []
    assert report.skipped == ["proofs"]


def test_an_empty_log_has_no_findings(small: SmallTenant) -> None:
    report = run_audit(small, FixedTopics.of(WrittenLog(small).broker, "small"))
    assert (report.ok, report.last) == (True, -1)


def test_of_two_bodies_in_one_batch_the_second_may_be_refused_for_what_it_holds(small: SmallTenant) -> None:
    async def write(reason: ReasonCode) -> FixedTopics:
        log = WrittenLog(small)
        first = await log.put_chunk(0)
        second = await log.put_chunk(0, proof=chunk_of(small, 1).proof)
        await log.decide(first)
        await log.refuse(second, reason)
        return FixedTopics.of(log.broker, "small")

    for reason in (ReasonCode.EQUIVOCATION, ReasonCode.BAD_PROOF):
        assert codes(run_audit(small, asyncio.run(write(reason)))) == []
    assert codes(run_audit(small, asyncio.run(write(ReasonCode.DUPLICATE)))) == ["wrong_decision"]


def test_a_query_may_have_been_screened_before_the_chunk_that_makes_the_model_answer(
    small: SmallTenant,
) -> None:
    async def write(*, asked_before: bool) -> FixedTopics:
        log = WrittenLog(small)
        await log.learn(0)
        query = await log.put_query("early")
        await log.learn(1)
        if asked_before:
            await log.ask("one more")
            # The one before was journaled with enough records already.
        await log.refuse(query, ReasonCode.NOT_ENOUGH_RECORDS)
        return FixedTopics.of(log.broker, "small")

    assert codes(run_audit(small, asyncio.run(write(asked_before=False)))) == []
    # Queries are journaled in their order; this one is late as well as wrong.
    assert "message_missing" in codes(run_audit(small, asyncio.run(write(asked_before=True))))


# --- the journal


def test_a_flipped_bit_in_an_entry(small: SmallTenant, topics: FixedTopics) -> None:
    topics.alter(TopicName.JOURNAL, 7, flip)
    report = run_audit(small, topics)
    assert codes(report) == ["bad_message", "chain_broken"]
    assert [finding.place.offset for finding in report.findings] == [7, 8]
    assert report.as_dict()["model"]["sha256_recomputed"] is None


def test_a_missing_entry(small: SmallTenant, topics: FixedTopics) -> None:
    topics.drop(TopicName.JOURNAL, 7)
    report = run_audit(small, topics)
    assert codes(report) == ["chain_broken"]
    assert report.findings[0].place.offset == 8
    assert report.as_dict()["to"]["journal_sequence"] == 6


def test_a_truncated_journal_contradicts_the_receipts(small: SmallTenant, topics: FixedTopics) -> None:
    for offset in range(15, 17):
        topics.drop(TopicName.JOURNAL, offset)
    assert codes(run_audit(small, topics)) == ["receipt_contradicts"] * 2


def test_a_repeated_entry(small: SmallTenant, topics: FixedTopics) -> None:
    value = topics.messages(TopicName.JOURNAL)[3].value
    topics.insert(TopicName.JOURNAL, 6, value)
    assert codes(run_audit(small, topics)) == ["entry_repeated"]


def test_entries_in_another_order(small: SmallTenant, topics: FixedTopics) -> None:
    topics.swap(TopicName.JOURNAL, 7, 8)
    assert codes(run_audit(small, topics)) == ["chain_broken", "chain_broken"]


def test_a_second_entry_under_a_number(small: SmallTenant, written: WrittenLog, topics: FixedTopics) -> None:
    entry = changed(JournalEntry(3, bytes(32), "reject", "chunks", 0, 0, b"", "", 0, 0, "malformed"))
    (value,) = written.seal("mu", TopicName.JOURNAL, "entry", 3, encode(entry))
    topics.insert(TopicName.JOURNAL, 6, value)
    report = run_audit(small, topics)
    assert codes(report) == ["chain_forked"]
    # What follows is judged all the same.
    assert report.last == 16


def test_an_entry_that_mu_did_not_sign(small: SmallTenant, written: WrittenLog, topics: FixedTopics) -> None:
    (value,) = written.seal("su", TopicName.HEADS, "head", 3, b"x")
    topics.insert(TopicName.JOURNAL, 6, value)
    assert codes(run_audit(small, topics)) == ["bad_message"]


# --- decisions


Write = Callable[[WrittenLog], Awaitable[object]]


def audit_of(small: SmallTenant, write: Write, *, proofs: bool = True) -> AuditReport:
    async def run() -> FixedTopics:
        log = WrittenLog(small)
        await log.learn(0)
        await log.learn(1)
        await write(log)
        return FixedTopics.of(log.broker, "small")

    return run_audit(small, asyncio.run(run()), proofs=proofs)


async def accept_bad_proof(log: WrittenLog) -> None:
    arrival = await log.put_chunk(2, proof=chunk_of(log.small, 3).proof)
    (judged,) = judge_messages(log.unit, [arrival])
    assert judged.reason == ReasonCode.BAD_PROOF
    assert isinstance(judged.screened, ScreenedChunk)
    await log.write(log.unit.decide_chunk(judged.screened), arrival, judged)
    await log.learn(4)


def test_a_chunk_with_a_bad_proof_that_was_accepted(small: SmallTenant) -> None:
    report = audit_of(small, accept_bad_proof)
    assert codes(report) == ["wrong_decision"]
    (finding,) = report.findings
    assert "accept of 20 records; the rules give reject (bad_proof)" in finding.detail
    assert (finding.place.topic, finding.place.offset) == ("journal", 2)
    # The model is the one that MU has.
    assert report.as_dict()["model"]["sha256_recomputed"] is not None


def test_without_proofs_it_passes(small: SmallTenant) -> None:
    assert codes(audit_of(small, accept_bad_proof, proofs=False)) == []


async def accept_invalid_ciphertext(log: WrittenLog) -> None:
    chunk = chunk_of(log.small, 2)
    size = len(chunk.vectors[0].ciphertexts)
    vector = changed(chunk.vectors[0], ciphertexts=bytes([1]) + bytes(size - 2) + bytes([1]))
    arrival = await log.put_chunk(2, vectors=(vector,))
    (judged,) = judge_messages(log.unit, [arrival])
    assert judged.reason == ReasonCode.INVALID_CIPHERTEXT
    entry = log.unit.decide_reject(arrival, ReasonCode.MALFORMED)
    accepted = changed(entry, kind="accept", reason="", records=20, model_version=3)
    await log.write(accepted, arrival, fold=False)


async def reject_good_chunk(log: WrittenLog) -> None:
    await log.refuse(await log.put_chunk(2), ReasonCode.BAD_PROOF)


async def count_other_records(log: WrittenLog) -> None:
    arrival = await log.put_chunk(2)
    (judged,) = judge_messages(log.unit, [arrival])
    assert isinstance(judged.screened, ScreenedChunk)
    entry = changed(log.unit.decide_chunk(judged.screened), records=21)
    await log.write(entry, arrival, judged)


async def accept_twice(log: WrittenLog) -> None:
    arrival = await log.put_chunk(1)
    (judged,) = judge_messages(log.unit, [arrival])
    assert judged.reason == ReasonCode.DUPLICATE
    entry = log.unit.decide_reject(arrival, ReasonCode.DUPLICATE)
    accepted = changed(entry, kind="accept", reason="", records=20, model_version=3)
    await log.write(accepted, arrival, fold=False)


async def withdraw_nothing(log: WrittenLog) -> None:
    await log.withdraw(1, 2)
    entry = await log.withdraw(1, 3)
    assert entry.reason == ReasonCode.NOT_WITHDRAWABLE


async def answer_with_another_version(log: WrittenLog) -> None:
    arrival = await log.put_query("asked")
    (judged,) = judge_messages(log.unit, [arrival])
    entry = log._entry(judged)
    await log.write(changed(entry, model_version=1), arrival, judged)


async def answer_too_early(log: WrittenLog) -> None:
    await log.withdraw(0, 2)
    arrival = await log.put_query("asked")
    entry = log.unit.decide_reject(arrival, ReasonCode.NOT_ENOUGH_RECORDS)
    refused = await log.put_query("before")
    await log.write(entry, arrival)
    (judged,) = judge_messages(log.unit, [refused])
    assert judged.reason == ReasonCode.NOT_ENOUGH_RECORDS
    accepted = log.unit.decide_reject(refused, ReasonCode.NOT_ENOUGH_RECORDS)
    await log.write(changed(accepted, kind="query", reason="", records=2, model_id="m"), refused)


async def close_unknown_query(log: WrittenLog) -> None:
    asked = await log.ask("asked")
    await log.answer(asked)
    await log.answer(asked)


@pytest.mark.parametrize(
    "write",
    [
        accept_invalid_ciphertext,
        accept_twice,
        reject_good_chunk,
        count_other_records,
        answer_with_another_version,
        answer_too_early,
        close_unknown_query,
    ],
)
def test_a_decision_that_the_rules_do_not_give(small: SmallTenant, write: Write) -> None:
    report = audit_of(small, write)
    assert codes(report) == ["wrong_decision"]
    assert report.findings[0].place.topic == "journal"


def test_decisions_after_a_rightful_refusal_are_judged_by_it(small: SmallTenant) -> None:
    assert codes(audit_of(small, withdraw_nothing)) == []


async def withdraw_against_the_rules(log: WrittenLog) -> None:
    body = encode(Withdrawal(7))
    arrival = await log.put("owner", TopicName.CHUNKS, "withdrawal", 2, body)
    entry = log.unit.decide_reject(arrival, ReasonCode.NOT_WITHDRAWABLE)
    taken_out = changed(entry, kind="withdraw", reason="", records=20, model_version=3, sender_sequence=7)
    await log.write(taken_out, arrival, fold=False)


def test_a_withdrawal_of_what_is_not_in_ends_the_fold(small: SmallTenant) -> None:
    report = audit_of(small, withdraw_against_the_rules)
    assert codes(report) == ["wrong_decision", "wrong_decision"]
    assert "cannot be folded" in report.findings[1].detail
    assert report.as_dict()["model"]["sha256_recomputed"] is None


# --- the messages decided


def test_a_flipped_bit_in_an_accepted_chunk(small: SmallTenant, topics: FixedTopics) -> None:
    topics.alter(TopicName.CHUNKS, 0, flip)
    report = run_audit(small, topics)
    assert codes(report) == ["message_missing"]
    assert "refused (bad_signature)" in report.findings[0].detail
    assert report.as_dict()["model"]["sha256_recomputed"] is None


def test_a_chunk_that_is_gone(small: SmallTenant, topics: FixedTopics) -> None:
    topics.drop(TopicName.CHUNKS, 0)
    report = run_audit(small, topics)
    assert codes(report) == ["message_missing"]
    assert (report.findings[0].place.topic, report.findings[0].place.offset) == ("chunks", 0)


def test_a_part_that_is_gone(small: SmallTenant, topics: FixedTopics) -> None:
    topics.drop(TopicName.CHUNKS, 2)
    assert codes(run_audit(small, topics)) == ["message_missing"]


def test_a_refused_message_that_is_gone(small: SmallTenant, topics: FixedTopics) -> None:
    offset = next(m.offset for m in topics.messages(TopicName.CHUNKS) if m.value == b"nothing")
    topics.drop(TopicName.CHUNKS, offset)
    report = run_audit(small, topics)
    assert codes(report) == ["message_missing"]
    # No chunk is missing: the model can be told.
    assert report.as_dict()["model"]["sha256_recomputed"] is not None


def test_a_query_that_is_gone(small: SmallTenant, topics: FixedTopics) -> None:
    topics.drop(TopicName.QUERIES, 1)
    assert codes(run_audit(small, topics)) == ["message_missing"]


def test_another_message_in_its_place(small: SmallTenant, written: WrittenLog, topics: FixedTopics) -> None:
    (other,) = written.seal("owner", TopicName.CHUNKS, "chunk", 0, encode(chunk_of(small, 0, seed="other")))
    topics.alter(TopicName.CHUNKS, 0, lambda _: other)
    report = run_audit(small, topics)
    assert codes(report) == ["message_missing"]
    assert "another one is" in report.findings[0].detail


def test_a_message_that_was_passed_over(small: SmallTenant, written: WrittenLog, topics: FixedTopics) -> None:
    async def write(log: WrittenLog) -> None:
        await log.put_chunk(2)
        await log.learn(3)

    report = audit_of(small, write)
    assert codes(report) == ["message_undecided"]
    assert (report.findings[0].place.topic, report.findings[0].place.offset) == ("chunks", 2)


def test_topics_that_may_not_be_read_are_named(
    small: SmallTenant, topics: FixedTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = {TopicName.QUERIES, TopicName.ANSWERS, TopicName.ROUND_REQUESTS, TopicName.HEADS}
    read = FixedTopics.read

    async def refuse(self: FixedTopics, topic: str, *arguments: int, **options: int) -> list[Message]:
        if topic.split(".", 1)[1] in hidden:
            raise BrokerRefusedError("not allowed")
        return await read(self, topic, *arguments, **options)

    monkeypatch.setattr(FixedTopics, "read", refuse)
    report = run_audit(small, topics)
    assert codes(report) == []
    assert set(report.skipped) == set(hidden)


# --- other topics


@pytest.mark.parametrize(
    "topic", [TopicName.CONFIG, TopicName.ANSWERS, TopicName.DEAD_LETTERS, TopicName.SNAPSHOTS]
)
def test_garbage_where_only_a_unit_or_the_authority_writes(
    small: SmallTenant, topics: FixedTopics, topic: TopicName
) -> None:
    offset = topics.add(topic, b"garbage")
    report = run_audit(small, topics)
    assert codes(report) == ["bad_message"]
    assert (report.findings[0].place.topic, report.findings[0].place.offset) == (topic, offset)


@pytest.mark.parametrize("topic", [TopicName.ROUND_REQUESTS, TopicName.ROUND_REPLIES])
def test_garbage_in_the_rounds(small: SmallTenant, topics: FixedTopics, topic: TopicName) -> None:
    topics.add(topic, b"garbage", partition=11)
    (finding,) = run_audit(small, topics).findings
    assert (finding.code.value, finding.place.partition) == ("bad_message", 11)


# --- receipts


def receipts_of(topics: FixedTopics) -> list[int]:
    return [message.offset for message in topics.messages(TopicName.RECEIPTS)]


def sealed_receipt(written: WrittenLog, receipt: Receipt) -> bytes:
    (value,) = written.seal("mu", TopicName.RECEIPTS, "receipt", 1, encode(receipt))
    return value


def receipt_at(topics: FixedTopics, offset: int) -> Receipt:
    return decode(Receipt, wire_body(topics.messages(TopicName.RECEIPTS)[offset].value))


def test_a_missing_receipt(small: SmallTenant, topics: FixedTopics) -> None:
    topics.drop(TopicName.RECEIPTS, 2)
    report = run_audit(small, topics)
    assert codes(report) == ["receipt_missing"]
    assert (report.findings[0].place.topic, report.findings[0].place.offset) == ("journal", 4)


@pytest.mark.parametrize(
    "changes",
    [
        {"journal_head": bytes(32)},
        {"message_hash": bytes(32)},
        {"reason": "malformed"},
        {"owner_sequence": 77},
        {"journal_sequence": 6},
    ],
)
def test_a_receipt_that_says_something_else(
    small: SmallTenant, written: WrittenLog, topics: FixedTopics, changes: dict[str, object]
) -> None:
    other = sealed_receipt(written, changed(receipt_at(topics, 2), **changes))
    topics.alter(TopicName.RECEIPTS, 2, lambda _: other)
    report = run_audit(small, topics)
    assert sorted(codes(report)) == ["receipt_contradicts", "receipt_missing"]


def test_a_second_receipt_that_says_something_else(
    small: SmallTenant, written: WrittenLog, topics: FixedTopics
) -> None:
    topics.add(
        TopicName.RECEIPTS, sealed_receipt(written, changed(receipt_at(topics, 0), reason="malformed"))
    )
    report = run_audit(small, topics)
    assert codes(report) == ["receipt_contradicts"]


def test_receipts_repeated_and_in_another_order(
    small: SmallTenant, written: WrittenLog, topics: FixedTopics
) -> None:
    values = [message.value for message in topics.messages(TopicName.RECEIPTS)]
    topics.add(TopicName.RECEIPTS, values[0])
    topics.swap(TopicName.RECEIPTS, 1, 6)
    assert codes(run_audit(small, topics)) == []


# --- what is recorded of the model


async def write_with_heads(log: WrittenLog, **changes: object) -> None:
    await log.learn(0)
    late = log.head()
    await log.put_head(log.head())
    await log.learn(1)
    await log.put_head(log.head(**changes))
    # SU signs later.
    await log.put_head(late, "su")


def heads_of(small: SmallTenant, **changes: object) -> AuditReport:
    log = WrittenLog(small)
    asyncio.run(write_with_heads(log, **changes))
    return run_audit(small, FixedTopics.of(log.broker, "small"))


def test_a_recorded_hash_is_the_one_recomputed(small: SmallTenant) -> None:
    report = heads_of(small)
    assert codes(report) == []
    model = report.as_dict()["model"]
    assert model["matches"] is True
    assert model["version"] == 2
    assert model["sha256_recorded"] == model["sha256_recomputed"]


def test_a_head_with_another_model_hash(small: SmallTenant) -> None:
    report = heads_of(small, model_hash=bytes(32))
    assert codes(report) == ["model_differs"]
    model = report.as_dict()["model"]
    assert (model["matches"], model["sha256_recorded"]) == (False, "00" * 32)


@pytest.mark.parametrize(
    "changes",
    [
        {"journal_head": bytes(32)},
        {"records": 41},
        {"owners": 2},
        {"journal_sequence": 2},
    ],
)
def test_a_head_that_says_something_else(small: SmallTenant, changes: dict[str, object]) -> None:
    assert codes(heads_of(small, **changes)) == ["head_contradicts"]


def test_heads_show_that_the_journal_was_longer(small: SmallTenant) -> None:
    log = WrittenLog(small)
    asyncio.run(write_with_heads(log))
    topics = FixedTopics.of(log.broker, "small")
    topics.drop(TopicName.JOURNAL, 1)
    topics.drop(TopicName.RECEIPTS, 1)
    assert codes(run_audit(small, topics)) == ["head_contradicts"]


def test_rounds_are_for_the_units_alone(small: SmallTenant) -> None:
    log = WrittenLog(small)
    asyncio.run(write_with_heads(log))
    topics = FixedTopics.of(log.broker, "small")
    # Whatever the units sealed: the public audit looks at the signature and no further.
    (sealed,) = log.seal("mu", TopicName.ROUND_REQUESTS, "request", 2, bytes(100))
    topics.add(TopicName.ROUND_REQUESTS, sealed, partition=3)
    assert codes(run_audit(small, topics)) == []
    topics.add(TopicName.ROUND_REQUESTS, flip(sealed), partition=3)
    (finding,) = run_audit(small, topics).findings
    assert (finding.code, finding.place.topic, finding.place.partition) == (
        "bad_message",
        "rounds.requests",
        3,
    )


def test_findings_are_bounded(small: SmallTenant, topics: FixedTopics) -> None:
    for _ in range(MAX_FINDINGS + 5):
        topics.add(TopicName.ANSWERS, b"garbage")
    report = run_audit(small, topics)
    assert len(report.findings) == MAX_FINDINGS + 1
    assert codes(report)[-1] == "more_findings"
