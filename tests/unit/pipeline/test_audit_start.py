"""Audits of logs of which the beginning is gone: they begin with a snapshot, and say so."""

from dataclasses import replace

import pytest
from cut_log import ALL, LIMITS, CutLog, written
from msgspec import structs
from tenants import SmallTenant, small_tenant

from pipeline.audit_report import AuditReport
from schemas.chunks import Withdrawal
from schemas.codec import encode
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant(limits=LIMITS)


def codes(report: AuditReport) -> list[str]:
    return [finding.code.value for finding in report.findings]


def begun(report: AuditReport) -> tuple[int, str | None, int]:
    start = report.as_dict()["from"]
    return start["journal_sequence"], start["snapshot"], start["chunks_before"]


async def test_a_whole_log_is_audited_from_its_first_entry(small: SmallTenant) -> None:
    cut = await written(small)
    report = await cut.audit()
    assert (codes(report), report.skipped, begun(report)) == ([], [], (0, None, 0))
    assert report.checked.snapshots == 2


@pytest.mark.parametrize(
    "gone", [ALL, (TopicName.CHUNKS,), (TopicName.QUERIES,), (TopicName.JOURNAL,), ALL[:2]], ids=str
)
async def test_the_audit_begins_with_the_oldest_snapshot_that_will_do(
    small: SmallTenant, gone: tuple[TopicName, ...]
) -> None:
    cut = await written(small)
    whole = await cut.audit()
    await cut.forget(0, *gone)
    report = await cut.audit()
    assert (codes(report), report.skipped) == ([], [])
    assert begun(report) == (4, "snapshot at journal entry 3, 2 chunks before it not checked", 2)
    assert (report.last, report.checked.journal_entries, report.checked.chunks_accepted) == (11, 8, 3)
    assert report.checked.snapshots == 2
    # The model is computed again from the snapshot on.
    assert report.models == whole.models
    assert report.models[0].recomputed is not None


async def test_a_later_snapshot_is_taken_where_an_older_one_will_not_do(small: SmallTenant) -> None:
    cut = await written(small)
    await cut.forget(1, *ALL)
    report = await cut.audit()
    assert (codes(report), begun(report)[0], begun(report)[2]) == ([], 9, 3)
    cut = await written(small)
    await cut.forget(0, *ALL)
    (kept,) = cut.log.broker.partitions(topic_name("small", TopicName.SNAPSHOTS))
    # The model that the first snapshot names lies before it.
    kept.messages[0] = replace(kept.messages[0], value=b"gone")
    report = await cut.audit()
    assert begun(report)[0] == 9


async def test_without_a_snapshot_that_will_do_what_is_missing_is_found(small: SmallTenant) -> None:
    cut = await written(small)
    await cut.log.transport.trim(topic_name("small", TopicName.JOURNAL), 0, 11)
    report = await cut.audit()
    assert "chain_broken" in codes(report)
    assert begun(report) == (0, None, 0)


async def test_a_snapshot_that_the_chain_does_not_have_is_found(small: SmallTenant) -> None:
    for gone in (TopicName.JOURNAL, TopicName.CHUNKS):
        cut = CutLog(small)
        await cut.log.learn(0)
        await cut.log.learn(1)
        await cut.take_snapshot(journal_head=bytes(32))
        await cut.log.learn(2)
        await cut.forget(0, gone)
        report = await cut.audit()
        assert codes(report) == ["snapshot_differs"]
        assert report.models[0].recomputed is None


async def test_a_wrong_decision_after_the_start_is_found(small: SmallTenant) -> None:
    async def run(gone: tuple[TopicName, ...], reason: ReasonCode) -> list[str]:
        cut = await written(small)
        await cut.log.refuse(await cut.log.put_chunk(9), reason)
        await cut.forget(0, *gone)
        return codes(await cut.audit())

    assert await run(ALL, ReasonCode.BAD_PROOF) == ["wrong_decision"]
    # Whether the number was there before is known from the journal, and from nothing else.
    assert await run((TopicName.CHUNKS,), ReasonCode.DUPLICATE) == ["wrong_decision"]
    assert await run(ALL, ReasonCode.DUPLICATE) == []


@pytest.mark.parametrize(("gone", "what"), [(ALL, "decisions and models"), ((TopicName.CHUNKS,), "models")])
async def test_the_withdrawal_of_a_chunk_that_is_gone_is_named(
    small: SmallTenant, gone: tuple[TopicName, ...], what: str
) -> None:
    cut = await written(small)
    await cut.log.withdraw(1, 20)
    await cut.log.learn(21)
    await cut.forget(0, *gone)
    report = await cut.audit()
    assert codes(report) == []
    assert report.skipped == [f"{what} from journal entry 12 on, which withdraws a chunk that is not kept"]
    assert report.models[0].recomputed is None


async def test_a_withdrawal_is_refused_rightly_only_if_the_chunk_is_gone(small: SmallTenant) -> None:
    async def run(number: int, *gone: TopicName) -> list[str]:
        cut = await written(small)
        body = encode(Withdrawal(number))
        wish = await cut.log.put("owner", TopicName.CHUNKS, "withdrawal", 20, body)
        await cut.log.refuse(wish, ReasonCode.CHUNK_NOT_KEPT)
        await cut.log.learn(21)
        await cut.forget(0, *gone)
        return codes(await cut.audit())

    assert await run(1, TopicName.CHUNKS) == []
    assert await run(1, *ALL) == []
    # Kept all the same, or not there to be taken out in any case.
    assert await run(7, TopicName.CHUNKS) == ["wrong_decision"]
    assert await run(1) == ["wrong_decision"]
    assert await run(3, TopicName.CHUNKS) == ["wrong_decision"]


async def test_heads_are_held_against_the_snapshot(small: SmallTenant) -> None:
    cut = await written(small)
    answering = cut.log.unit.models["m"].head(small.tenant)
    await cut.log.put_head(answering)
    await cut.forget(1, *ALL)
    assert codes(await cut.audit()) == []
    cut = await written(small)
    await cut.forget(1, *ALL)
    then = cut.taken[1].models[0]
    other = structs.replace(cut.log.head(), journal_sequence=then[3].answering_at[0])
    await cut.log.put_head(structs.replace(other, journal_head=then[3].answering_at[1], records=1))
    assert codes(await cut.audit()) == ["head_contradicts"]


async def test_a_receipt_that_is_not_due_is_found_after_the_start_alone(small: SmallTenant) -> None:
    cut = await written(small)
    await cut.forget(0, TopicName.CHUNKS)
    (receipts,) = cut.log.broker.partitions(topic_name("small", TopicName.RECEIPTS))
    receipts.messages.pop()
    assert codes(await cut.audit()) == ["receipt_missing"]
