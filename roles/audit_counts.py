"""How much an audit has looked at."""

from dataclasses import dataclass

from schemas.journal import EntryKind, JournalEntry
from schemas.topics import TopicName


@dataclass(slots=True)
class Counts:
    """How many entries were folded, and what they decided of chunks."""

    journal_entries: int = 0
    chunks_accepted: int = 0
    chunks_rejected: int = 0
    withdrawals: int = 0

    def add(self, entry: JournalEntry) -> None:
        """Count an entry."""
        self.journal_entries += 1
        if entry.kind == EntryKind.WITHDRAW:
            self.withdrawals += 1
        elif entry.topic == TopicName.CHUNKS and entry.kind != EntryKind.LEARNT:
            self.chunks_accepted += entry.kind == EntryKind.ACCEPT
            self.chunks_rejected += entry.kind == EntryKind.REJECT
