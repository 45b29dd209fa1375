"""What MU must know of all messages it ever accepted: an index of its journal.

It grows with the stream, so that MU's shell keeps it on disk; the journal gives it back. Adding
what is there already changes nothing, since a restarted MU folds some entries once more.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol

from schemas.journal import JournalEntry
from schemas.snapshots import NOT_REKEYED


@dataclass(frozen=True, slots=True)
class AcceptedChunk:
    """What MU remembers of an accepted chunk, so that it can be taken out again.

    Attributes:
        sequence: Of the entry that accepted it.
        message_hash: Its id.
        records: Its records.
        partition: Where it lies, with `offset`.
        offset: See `partition`.
        withdrawn: Whether it was taken out.
        rekeyed: Where it lies under the service key; see `WaitingChunk`.
    """

    sequence: int
    message_hash: bytes
    records: int
    partition: int
    offset: int
    withdrawn: bool = False
    rekeyed: tuple[int, int, bytes] = NOT_REKEYED


class JournalIndex(Protocol):
    """Accepted chunks and queries by their senders' numbers."""

    def chunk(self, owner: str, sequence: int) -> AcceptedChunk | None:
        """Return the chunk accepted under an owner's number; None if there is none."""
        ...

    def query(self, client: str, query_id: bytes) -> bytes | None:
        """Return the id of the message that brought a query; None if there is none."""
        ...

    def rows_asked(self, client: str, key_epoch: int) -> int:
        """Return how many rows a client's queries hold together that were accepted in a key epoch."""
        ...

    def add_chunk(self, entry: JournalEntry) -> None:
        """Add the chunk that an entry accepts."""
        ...

    def rekey(self, entry: JournalEntry) -> None:
        """Note where the chunk lies under the service key that an entry is about."""
        ...

    def withdraw(self, entry: JournalEntry) -> None:
        """Mark the chunk that an entry takes out."""
        ...

    def add_query(self, entry: JournalEntry, query_id: bytes, key_epoch: int) -> None:
        """Add the query that an entry accepts, and the key epoch in which it does."""
        ...


@dataclass(slots=True)
class MemoryIndex:
    """The index in memory: for whoever folds a journal once."""

    chunks: dict[tuple[str, int], AcceptedChunk] = field(default_factory=dict)
    queries: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    rows: dict[tuple[str, int], int] = field(default_factory=dict)

    def chunk(self, owner: str, sequence: int) -> AcceptedChunk | None:
        """See `JournalIndex.chunk`."""
        return self.chunks.get((owner, sequence))

    def query(self, client: str, query_id: bytes) -> bytes | None:
        """See `JournalIndex.query`."""
        return self.queries.get((client, query_id))

    def rows_asked(self, client: str, key_epoch: int) -> int:
        """See `JournalIndex.rows_asked`."""
        return self.rows.get((client, key_epoch), 0)

    def add_chunk(self, entry: JournalEntry) -> None:
        """See `JournalIndex.add_chunk`."""
        self.chunks.setdefault((entry.sender, entry.sender_sequence), accepted_chunk(entry))

    def rekey(self, entry: JournalEntry) -> None:
        """See `JournalIndex.rekey`."""
        key = entry.sender, entry.sender_sequence
        # Not there where the fold began after it was accepted.
        if key in self.chunks:
            place = entry.partition, entry.offset, entry.message_hash
            self.chunks[key] = replace(self.chunks[key], rekeyed=place)

    def withdraw(self, entry: JournalEntry) -> None:
        """See `JournalIndex.withdraw`."""
        key = entry.sender, entry.sender_sequence
        self.chunks[key] = replace(self.chunks[key], withdrawn=True)

    def add_query(self, entry: JournalEntry, query_id: bytes, key_epoch: int) -> None:
        """See `JournalIndex.add_query`."""
        if (entry.sender, query_id) not in self.queries:
            self.queries[entry.sender, query_id] = entry.message_hash
            self.rows[entry.sender, key_epoch] = self.rows_asked(entry.sender, key_epoch) + entry.records


def accepted_chunk(entry: JournalEntry) -> AcceptedChunk:
    """Return what is remembered of the chunk that an entry accepts."""
    return AcceptedChunk(entry.sequence, entry.message_hash, entry.records, entry.partition, entry.offset)
