"""Receipts beside the journal: early, late, repeated, missing."""

import pytest
from msgspec import structs

from roles import receipt_check
from roles.findings import Findings, Place
from roles.journal_chain import Link
from roles.receipt_check import UNKNOWN_NUMBER, ReceiptCheck
from roles.receipts import receipts_due
from schemas.journal import JournalEntry, Receipt
from schemas.snapshots import WaitingChunk


def link(sequence: int, *, sender: str = "a", topic: str = "chunks", kind: str = "accept") -> Link:
    own = bytes([sequence]) * 32
    entry = JournalEntry(sequence, b"", kind, topic, 0, sequence, own, sender, sequence, 1, "")
    return Link(entry, own, Place("journal", 0, sequence))


def due(of: Link, number: int) -> list[Receipt]:
    return [receipt for _, receipt in receipts_due(of.entry, of.entry_id, number)]


def expect(check: ReceiptCheck, of: Link, number: int | None = None) -> None:
    """Note an entry about a message of that number, by default the entry's own."""
    check.expect(of, due(of, of.entry.sequence if number is None else number))


def receipt(sequence: int) -> Receipt:
    return Receipt(bytes([sequence]) * 32, sequence, "", sequence, bytes([sequence]) * 32)


def at(offset: int) -> Place:
    return Place("receipts", 0, offset)


def finish(check: ReceiptCheck, *, excused: bool = False) -> list[str]:
    check.end(lambda _: excused)
    check.close()
    return [finding.code.value for finding in check.findings.found]


def test_receipts_may_come_before_and_after_their_entries_are_read() -> None:
    check = ReceiptCheck(Findings())
    check.offer(at(0), receipt(1))
    expect(check, link(0))
    expect(check, link(1))
    check.offer(at(1), receipt(0))
    assert finish(check) == []
    assert check.checked == 2


def test_no_receipt_is_due_for_a_query_or_to_nobody() -> None:
    check = ReceiptCheck(Findings())
    expect(check, link(0, topic="queries", kind="query"))
    expect(check, link(1, sender=""))
    expect(check, link(2, topic="queries", kind="answered"), UNKNOWN_NUMBER)
    expect(check, link(3, topic="queries", kind="reject"))
    assert not check.wants_more
    assert finish(check) == []


def test_a_receipt_for_what_is_due_none() -> None:
    check = ReceiptCheck(Findings())
    expect(check, link(0, topic="queries", kind="query"))
    check.offer(at(0), receipt(0))
    assert finish(check) == ["receipt_contradicts"]


def test_the_number_of_a_message_that_is_gone_is_not_compared() -> None:
    check = ReceiptCheck(Findings())
    expect(check, link(0), UNKNOWN_NUMBER)
    check.offer(at(0), receipt(0))
    assert finish(check) == []


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"message_hash": b"1" * 32}, "decides another message"),
        ({"reason": "bad_proof"}, "decides otherwise"),
        ({"model_id": "m"}, "decides otherwise"),
        ({"invalid": 1}, "decides otherwise"),
        ({"journal_head": b"1" * 32}, "has another id"),
        ({"owner_sequence": 7}, "of another number"),
    ],
)
def test_a_receipt_that_says_something_else(changes: dict[str, object], detail: str) -> None:
    check = ReceiptCheck(Findings())
    expect(check, link(0))
    check.offer(at(3), structs.replace(receipt(0), **changes))
    (finding,) = check.findings.found
    assert (finding.code.value, finding.place.offset) == ("receipt_contradicts", 3)
    assert detail in finding.detail
    # The right one is still missing.
    assert check.missing_since(0)
    assert finish(check) == ["receipt_contradicts", "receipt_missing"]


@pytest.mark.parametrize(("excused", "expected"), [(False, ["receipt_contradicts"]), (True, [])])
def test_a_receipt_of_an_entry_that_was_not_read(excused: bool, expected: list[str]) -> None:
    check = ReceiptCheck(Findings())
    check.offer(at(0), receipt(7))
    assert finish(check, excused=excused) == expected


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt_check, "WINDOW", 2)
    monkeypatch.setattr(receipt_check, "EARLY_RECEIPTS", 2)
    check = ReceiptCheck(Findings())
    for sequence in range(4):
        expect(check, link(sequence))
    # Two are told while reading goes on.
    assert len(check.findings.found) == 2
    assert check.wants_more
    for sequence in (10, 11):
        check.offer(at(sequence), receipt(sequence))
    assert not check.wants_more
    assert finish(check) == ["receipt_missing"] * 2 + ["receipt_contradicts"] * 2 + ["receipt_missing"] * 2


# --- lessons: one entry, a receipt for every chunk


def lesson(reason: str = "") -> tuple[Link, list[WaitingChunk]]:
    """Return an entry that closes chunks 3 and 4 of two owners, or the second alone for a reason."""
    chunks = [
        WaitingChunk(3, "a", 30, 5, 0, 13, b"3" * 32),
        WaitingChunk(4, "b", 40, 6, 0, 14, b"4" * 32),
    ]
    if reason:
        chunks = chunks[1:]
    last, invalid = chunks[-1], (0,) if reason else (0, 2)
    entry = JournalEntry(
        9,
        b"",
        "learnt",
        "chunks" if reason else "snapshots",
        0,
        1,
        b"9" * 32,
        last.owner,
        last.owner_sequence,
        sum(chunk.records for chunk in chunks),
        reason,
        "t",
        2,
        last.sequence,
        invalid,
    )
    return Link(entry, b"j" * 32, Place("journal", 0, 9)), chunks


def test_every_owner_is_told_what_a_model_made_of_its_chunk() -> None:
    of, chunks = lesson()
    told = receipts_due(of.entry, of.entry_id, UNKNOWN_NUMBER, chunks)
    assert told == [
        ("a", Receipt(b"3" * 32, 30, "", 9, b"j" * 32, "t", 0)),
        ("b", Receipt(b"4" * 32, 40, "", 9, b"j" * 32, "t", 2)),
    ]


def test_the_owner_of_a_chunk_that_was_passed_over_is_told_why() -> None:
    # The entry stands on the chunk's place, but is no second decision on the chunk.
    of, chunks = lesson("overflow")
    told = receipts_due(of.entry, of.entry_id, UNKNOWN_NUMBER, chunks)
    assert told == [("b", Receipt(b"4" * 32, 40, "overflow", 9, b"j" * 32, "t", 0))]


def test_each_receipt_of_a_lesson_is_due_by_itself() -> None:
    of, chunks = lesson()
    first, second = (given for _, given in receipts_due(of.entry, of.entry_id, UNKNOWN_NUMBER, chunks))
    check = ReceiptCheck(Findings())
    check.offer(at(0), second)
    check.expect(of, [first, second])
    assert check.wants_more
    assert check.missing_since(9)
    assert not check.missing_since(10)
    check.offer(at(1), first)
    assert not check.wants_more
    # Once more does no harm.
    check.offer(at(2), second)
    assert finish(check) == []
    assert check.checked == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"invalid": 0},
        {"reason": "overflow"},
        {"model_id": ""},
        {"model_id": "u"},
        {"message_hash": b"5" * 32},
    ],
)
def test_a_receipt_of_a_lesson_that_says_something_else(changes: dict[str, object]) -> None:
    of, chunks = lesson()
    first, second = (given for _, given in receipts_due(of.entry, of.entry_id, UNKNOWN_NUMBER, chunks))
    check = ReceiptCheck(Findings())
    check.expect(of, [first, second])
    check.offer(at(0), first)
    check.offer(at(1), structs.replace(second, **changes))
    assert finish(check) == ["receipt_contradicts", "receipt_missing"]
