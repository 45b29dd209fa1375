"""Receipts against the journal: each decision on an owner's message has one, and it says the same.

Receipts come nearly in the order of the entries, so that a window of both is enough.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from roles.findings import FindingCode, Findings, Place
from roles.journal_chain import Link
from schemas.journal import EntryKind, JournalEntry, Receipt
from schemas.topics import TopicName

WINDOW = 4096
"""Entries for which a receipt may still come, or come again."""
EARLY_RECEIPTS = 512
"""Receipts of entries to come that are read ahead of them."""


@dataclass(slots=True)
class _Due:
    link: Link
    owner_sequence: int | None
    given: bool = False


@dataclass(slots=True)
class ReceiptCheck:
    """The receipts that are due, and those that came.

    Attributes:
        findings: Where findings go.
        checked: Receipts that were held against their entry.
    """

    findings: Findings
    checked: int = 0
    _due: OrderedDict[int, _Due] = field(default_factory=OrderedDict)
    _missing: set[int] = field(default_factory=set)
    _early: dict[int, list[tuple[Place, Receipt]]] = field(default_factory=dict)
    _early_count: int = 0
    _last: int = -1
    _ended: bool = False
    _excused: Callable[[Place], bool] = lambda _: False

    @property
    def wants_more(self) -> bool:
        """Whether a receipt is due and there is room to look for it."""
        return bool(self._missing) and self._early_count < EARLY_RECEIPTS

    def missing_since(self, sequence: int) -> bool:
        """Return whether a receipt of that entry or a later one is due."""
        return any(number >= sequence for number in self._missing)

    def expect(self, link: Link, owner_sequence: int | None) -> None:
        """Note an entry; a receipt is due if it decides an owner's message.

        Args:
            link: The entry.
            owner_sequence: The message's own number; None if the message is not there.
        """
        entry = link.entry
        self._last = entry.sequence
        if entry.topic == TopicName.CHUNKS and entry.sender and entry.kind != EntryKind.ANSWERED:
            self._due[entry.sequence] = _Due(link, owner_sequence)
            self._missing.add(entry.sequence)
        early = self._early.pop(entry.sequence, [])
        self._early_count -= len(early)
        for place, receipt in early:
            self.offer(place, receipt)
        if len(self._due) > WINDOW:
            self._report_missing(*self._due.popitem(last=False))

    def offer(self, place: Place, receipt: Receipt) -> None:
        """Take a receipt that MU signed."""
        if receipt.journal_sequence > self._last and not self._ended:
            self._early.setdefault(receipt.journal_sequence, []).append((place, receipt))
            self._early_count += 1
            return
        if receipt.journal_sequence > self._last and self._excused(place):
            return
        self.checked += 1
        due = self._due.get(receipt.journal_sequence)
        difference = "is due no such receipt" if due is None else _difference(due, receipt)
        if difference:
            detail = f"entry {receipt.journal_sequence} {difference}"
            self.findings.add(FindingCode.RECEIPT_CONTRADICTS, place, detail)
        elif due is not None:
            due.given = True
            self._missing.discard(receipt.journal_sequence)

    def end(self, excused: Callable[[Place], bool]) -> None:
        """No entry comes any more; receipts may.

        Args:
            excused: Whether a receipt may be of an entry that is not read: one that was written after
                the audit began, or that does not continue the chain.
        """
        self._ended, self._excused = True, excused
        early, self._early, self._early_count = self._early, {}, 0
        for sequence in sorted(early):
            for place, receipt in early[sequence]:
                self.offer(place, receipt)

    def close(self) -> None:
        """Report what is still missing."""
        while self._due:
            self._report_missing(*self._due.popitem(last=False))

    def _report_missing(self, sequence: int, due: _Due) -> None:
        self._missing.discard(sequence)
        if not due.given:
            detail = f"the owner has no receipt that agrees with entry {sequence}"
            self.findings.add(FindingCode.RECEIPT_MISSING, due.link.place, detail)


def _difference(due: _Due, receipt: Receipt) -> str:
    """Return how a receipt differs from its entry, empty if it does not."""
    entry: JournalEntry = due.link.entry
    if receipt.message_hash != entry.message_hash:
        return "decides another message than its receipt says"
    if receipt.reason != entry.reason:
        return "decides otherwise than its receipt says"
    if receipt.journal_head != due.link.entry_id:
        return "has another id than its receipt says"
    if due.owner_sequence is not None and receipt.owner_sequence != due.owner_sequence:
        return "decides a message of another number than its receipt says"
    return ""
