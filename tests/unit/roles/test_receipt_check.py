"""Receipts beside the journal: early, late, repeated, missing."""

import pytest

from roles import receipt_check
from roles.findings import Findings, Place
from roles.journal_chain import Link
from roles.receipt_check import ReceiptCheck
from schemas.journal import JournalEntry, Receipt


def link(sequence: int, *, sender: str = "a", topic: str = "chunks", kind: str = "accept") -> Link:
    own = bytes([sequence]) * 32
    entry = JournalEntry(sequence, b"", kind, topic, 0, sequence, own, sender, sequence, 1, "", 1)
    return Link(entry, own, Place("journal", 0, sequence))


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
    check.expect(link(0), 0)
    check.expect(link(1), 1)
    check.offer(at(1), receipt(0))
    assert finish(check) == []
    assert check.checked == 2


def test_no_receipt_is_due_for_a_query_or_to_nobody() -> None:
    check = ReceiptCheck(Findings())
    check.expect(link(0, topic="queries", kind="query"), 0)
    check.expect(link(1, sender=""), 0)
    check.expect(link(2, kind="answered"), None)
    assert not check.wants_more
    assert finish(check) == []


def test_a_receipt_for_what_is_due_none() -> None:
    check = ReceiptCheck(Findings())
    check.expect(link(0, topic="queries", kind="query"), 0)
    check.offer(at(0), receipt(0))
    assert finish(check) == ["receipt_contradicts"]


def test_the_number_of_a_message_that_is_gone_is_not_compared() -> None:
    check = ReceiptCheck(Findings())
    check.expect(link(0), None)
    check.offer(at(0), receipt(0))
    assert finish(check) == []


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
        check.expect(link(sequence), sequence)
    # Two are told while reading goes on.
    assert len(check.findings.found) == 2
    assert check.wants_more
    for sequence in (10, 11):
        check.offer(at(sequence), receipt(sequence))
    assert not check.wants_more
    assert finish(check) == ["receipt_missing"] * 2 + ["receipt_contradicts"] * 2 + ["receipt_missing"] * 2
