"""The hash chain of the journal, entry by entry, as they lie on the topic."""

from collections import OrderedDict
from dataclasses import dataclass, field

from crypto.errors import SchemaError
from roles.arrival import Arrival, Refused
from roles.findings import FindingCode, Findings, Place
from schemas.codec import decode
from schemas.journal import GENESIS, JournalEntry

KNOWN_ENTRIES = 4096
"""How far back an entry that comes once more is recognised."""


@dataclass(frozen=True, slots=True)
class Link:
    """An entry of the chain.

    Attributes:
        entry: The entry.
        entry_id: Its id, which the next one names.
        place: Where it stands.
    """

    entry: JournalEntry
    entry_id: bytes
    place: Place


@dataclass(slots=True)
class JournalChain:
    """Where the chain stands. An entry counts if it names the one before it; all others are findings.

    Attributes:
        findings: Where findings go.
        head: Id of the last entry that counts; None where the journal begins with a later entry than
            the first: that one then counts, whatever it names.
        next_sequence: Number of the next one.
        strayed: Id of the last entry that does not count, until one counts again.
    """

    findings: Findings
    head: bytes | None = GENESIS
    next_sequence: int = 0
    strayed: bytes | None = None
    _known: OrderedDict[int, bytes] = field(default_factory=OrderedDict)

    def take(self, message: Arrival | Refused) -> Link | None:
        """Return the entry of a message of the journal topic, None if it does not count."""
        arrival = message.arrival if isinstance(message, Refused) else message
        place = Place(arrival.topic, arrival.partition, arrival.offset)
        if isinstance(message, Refused):
            detail = f"not a message of who writes this topic ({message.reason!s})"
            self.findings.add(FindingCode.BAD_MESSAGE, place, detail)
            return None
        try:
            entry = decode(JournalEntry, message.body)
        except SchemaError as error:
            self.findings.add(FindingCode.BAD_MESSAGE, place, f"not a journal entry ({error.code!s})")
            return None
        entry_id = message.message_hash
        if self.head is None:
            self.head, self.next_sequence = entry.previous, entry.sequence
        if entry.sequence != self.next_sequence or entry.previous != self.head:
            self._stray(entry, entry_id, place)
            return None
        self.head, self.next_sequence, self.strayed = entry_id, entry.sequence + 1, None
        self._known[entry.sequence] = entry_id
        if len(self._known) > KNOWN_ENTRIES:
            self._known.popitem(last=False)
        return Link(entry, entry_id, place)

    def _stray(self, entry: JournalEntry, entry_id: bytes, place: Place) -> None:
        known = self._known.get(entry.sequence)
        if known == entry_id:
            detail = f"entry {entry.sequence} is there more than once"
            self.findings.add(FindingCode.ENTRY_REPEATED, place, detail)
            return
        # Of a run of entries that go on from one which does not count only the first is told.
        follows, self.strayed = entry.previous == self.strayed, entry_id
        if follows:
            return
        if known is not None:
            detail = f"MU signed another entry under number {entry.sequence} as well"
            self.findings.add(FindingCode.CHAIN_FORKED, place, detail)
            return
        missing = entry.sequence - self.next_sequence
        why = "it names another one before it"
        if missing > 0:
            why = "one before it is missing" if missing == 1 else f"{missing} before it are missing"
        elif missing < 0:
            why = "it comes after later ones"
        detail = f"entry {entry.sequence} does not continue the chain: {why}"
        self.findings.add(FindingCode.CHAIN_BROKEN, place, detail)
