"""Receipts against the journal: each decision on an owner's message has one, and it says the same.

Receipts come nearly in the order of the entries, so that a window of both is enough.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from roles.findings import FindingCode, Findings, Place
from roles.journal_chain import Link
from schemas.journal import Receipt

WINDOW = 4096
"""Receipts that may still come, or come again."""
EARLY_RECEIPTS = 512
"""Receipts of entries to come that are read ahead of them."""

UNKNOWN_NUMBER = -1
"""The owner's number of a message that is not there."""

_Key = tuple[int, bytes]


@dataclass(slots=True)
class _Due:
    link: Link
    receipt: Receipt
    given: bool = False


@dataclass(slots=True)
class ReceiptCheck:
    """The receipts that are due, and those that came.

    Attributes:
        findings: Where findings go.
        checked: Receipts that were held against their entry.
        first: Receipts of entries before that one are not looked at.
    """

    findings: Findings
    checked: int = 0
    first: int = 0
    _due: OrderedDict[_Key, _Due] = field(default_factory=OrderedDict)
    _missing: set[_Key] = field(default_factory=set)
    _early: dict[int, list[tuple[Place, Receipt]]] = field(default_factory=dict)
    _early_count: int = 0
    _last: int = -1
    _ended: bool = False
    _excused: Callable[[Place], bool] = lambda _: False

    @property
    def wants_more(self) -> bool:
        """Whether a receipt is due and there is room to look for it."""
        return bool(self._missing) and self._early_count < EARLY_RECEIPTS

    def excuse_before_early(self) -> None:
        """Expect receipts only of entries after those that came so far: earlier ones are not kept."""
        self.first = max(self.first, *(sequence + 1 for sequence in self._early), 0)
        self._early, self._early_count = {}, 0

    def missing_since(self, sequence: int) -> bool:
        """Return whether a receipt of that entry or a later one is due."""
        return any(number >= sequence for number, _ in self._missing)

    def expect(self, link: Link, receipts: Sequence[Receipt]) -> None:
        """Note an entry and the receipts that are due for it.

        Args:
            link: The entry.
            receipts: As MU must give them; `UNKNOWN_NUMBER` stands for any number.
        """
        self._last = link.entry.sequence
        for receipt in receipts if self._last >= self.first else ():
            key = receipt.journal_sequence, receipt.message_hash
            self._due[key] = _Due(link, receipt)
            self._missing.add(key)
        early = self._early.pop(link.entry.sequence, [])
        self._early_count -= len(early)
        for place, receipt in early:
            self.offer(place, receipt)
        while len(self._due) > WINDOW:
            self._report_missing(*self._due.popitem(last=False))

    def offer(self, place: Place, receipt: Receipt) -> None:
        """Take a receipt that MU signed."""
        if receipt.journal_sequence < self.first:
            return
        if receipt.journal_sequence > self._last and not self._ended:
            self._early.setdefault(receipt.journal_sequence, []).append((place, receipt))
            self._early_count += 1
            return
        if receipt.journal_sequence > self._last and self._excused(place):
            return
        self.checked += 1
        key = receipt.journal_sequence, receipt.message_hash
        due = self._due.get(key)
        difference = self._stranger(receipt) if due is None else _difference(due.receipt, receipt)
        if difference:
            detail = f"entry {receipt.journal_sequence} {difference}"
            self.findings.add(FindingCode.RECEIPT_CONTRADICTS, place, detail)
        elif due is not None:
            due.given = True
            self._missing.discard(key)

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

    def _stranger(self, receipt: Receipt) -> str:
        if any(sequence == receipt.journal_sequence for sequence, _ in self._due):
            return "decides another message than its receipt says"
        return "is due no such receipt"

    def _report_missing(self, key: _Key, due: _Due) -> None:
        self._missing.discard(key)
        if not due.given:
            detail = f"the owner has no receipt that agrees with entry {key[0]}"
            self.findings.add(FindingCode.RECEIPT_MISSING, due.link.place, detail)


def _difference(due: Receipt, given: Receipt) -> str:
    """Return how a receipt differs from the one that is due, empty if it does not."""
    if (given.reason, given.model_id, given.invalid) != (due.reason, due.model_id, due.invalid):
        return "decides otherwise than its receipt says"
    if given.journal_head != due.journal_head:
        return "has another id than its receipt says"
    if due.owner_sequence not in {UNKNOWN_NUMBER, given.owner_sequence}:
        return "decides a message of another number than its receipt says"
    return ""
