"""MU's journal, and what others are told of it.

The journal is one hash chain: an entry counts only if its `previous` is the id of the entry
before it. MU's state is the fold of its journal (docs/architecture.md).
"""

from enum import StrEnum

from schemas.codec import WireStruct

GENESIS = bytes(32)
"""`previous` of the first entry."""


class EntryKind(StrEnum):
    """What a journal entry decides."""

    ACCEPT = "accept"
    WITHDRAW = "withdraw"
    REJECT = "reject"
    QUERY = "query"
    ANSWERED = "answered"


class JournalEntry(WireStruct):
    """One decision of MU, written before MU acts on it.

    Attributes:
        sequence: Position in the chain, from 0.
        previous: Id of the entry before.
        kind: One of `EntryKind`.
        topic: Where the message decided on lies, with `partition` and `offset`.
        partition: See `topic`.
        offset: See `topic`; of its last part, if it came in parts.
        message_hash: Id of that message; for ``answered`` the hash of the answer's body.
        sender: Owner or client; empty if unknown.
        sender_sequence: The sender's own number for it.
        records: Records it adds (or takes out), rows for a query.
        reason: Reason code of a reject, else empty.
        model_version: Version after this entry; for queries the version that answers.
    """

    sequence: int
    previous: bytes
    kind: str
    topic: str
    partition: int
    offset: int
    message_hash: bytes
    sender: str
    sender_sequence: int
    records: int
    reason: str
    model_version: int


class Receipt(WireStruct):
    """MU's word to an owner on one message."""

    message_hash: bytes
    owner_sequence: int
    reason: str
    journal_sequence: int
    journal_head: bytes


class DeadLetter(WireStruct):
    """A pointer to a message that was refused; never its content."""

    topic: str
    partition: int
    offset: int
    message_hash: bytes
    reason: str
    reported_by: str
