"""Which receipts follow from a journal entry: for MU, who gives them, and for whoever audits them."""

from collections.abc import Sequence

from schemas.journal import EVERY_MODEL, EntryKind, JournalEntry, Receipt
from schemas.snapshots import WaitingChunk
from schemas.topics import TopicName


def receipts_due(
    entry: JournalEntry, entry_id: bytes, owner_sequence: int, closed: Sequence[WaitingChunk] = ()
) -> list[tuple[str, Receipt]]:
    """Return (owner, receipt) of every receipt that an entry gives rise to.

    Args:
        entry: The entry.
        entry_id: Its id.
        owner_sequence: For a decision on a message the owner's own number for it.
        closed: For ``learnt`` and ``rekeyed`` the chunks that it closes.
    """
    if entry.kind == EntryKind.LEARNT:
        return [
            (
                chunk.owner,
                Receipt(
                    chunk.message_hash,
                    chunk.owner_sequence,
                    entry.reason,
                    entry.sequence,
                    entry_id,
                    entry.model_id,
                    invalid,
                ),
            )
            for chunk, invalid in zip(closed, entry.invalid, strict=True)
        ]
    if entry.kind == EntryKind.REKEYED:
        return [
            (
                chunk.owner,
                Receipt(chunk.message_hash, chunk.owner_sequence, "", entry.sequence, entry_id, EVERY_MODEL),
            )
            for chunk in closed
        ]
    if entry.topic != TopicName.CHUNKS or not entry.sender:
        return []
    receipt = Receipt(entry.message_hash, owner_sequence, entry.reason, entry.sequence, entry_id)
    return [(entry.sender, receipt)]
