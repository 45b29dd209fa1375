"""MU's journal, and what others are told of it.

The journal is one hash chain: an entry counts only if its `previous` is the id of the entry
before it. MU's state is the fold of its journal (docs/architecture.md).
"""

from enum import StrEnum

from schemas.codec import WireStruct

GENESIS = bytes(32)
"""`previous` of the first entry."""

EVERY_MODEL = "*"
"""Stands for a model's name in the receipt that says that a chunk was re-keyed; no model is named so."""


class EntryKind(StrEnum):
    """What a journal entry decides."""

    ACCEPT = "accept"
    WITHDRAW = "withdraw"
    REJECT = "reject"
    QUERY = "query"
    ANSWERED = "answered"
    LEARNT = "learnt"
    CONFIGURED = "configured"
    REKEYED = "rekeyed"


CLOSING = frozenset({EntryKind.ANSWERED, EntryKind.LEARNT, EntryKind.REKEYED})
"""Kinds of entries that close another one."""


class JournalEntry(WireStruct):
    """One decision of MU, written before MU acts on it.

    Attributes:
        sequence: Position in the chain, from 0.
        previous: Id of the entry before.
        kind: One of `EntryKind`.
        topic: Where the message decided on lies, with `partition` and `offset`; for ``learnt`` where
            the model after it lies sealed, for ``configured`` the configuration, for ``rekeyed`` the
            chunk under the service key.
        partition: See `topic`.
        offset: See `topic`; of its last part, if it came in parts.
        message_hash: Id of that message.
        sender: Owner or client; empty if unknown.
        sender_sequence: The sender's own number for it; for ``configured`` the version.
        records: Records it adds (or takes out), rows for a query; for ``learnt`` those of all chunks.
        reason: Reason code of a reject, or why a model did not learn a chunk; else empty.
        model_id: The model that a query asks or that learnt; empty where all are meant.
        model_version: Its version: the one that answers, or the one after learning.
        about: For ``answered``, ``learnt`` and ``rekeyed`` the sequence of the entry that this one
            closes; of several chunks learnt together that of the last one.
        invalid: For ``learnt`` how many records of each chunk are no valid ones.
        result: For ``answered`` the hash of the answer's body, for ``learnt`` that of the model, for
            ``rekeyed`` that of the ciphertexts, for ``configured`` that of the configuration.
        judges_from: For ``configured`` the first offsets of chunks and of queries that are judged by it;
            (0, 0) else.
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
    model_id: str = ""
    model_version: int = 0
    about: int = 0
    invalid: tuple[int, ...] = ()
    result: bytes = b""
    judges_from: tuple[int, int] = (0, 0)


class Receipt(WireStruct):
    """MU's word to an owner on one message.

    Attributes:
        message_hash: The message.
        owner_sequence: The owner's own number for it.
        reason: Why it was refused, or why the model did not learn it; empty if all is well.
        journal_sequence: The entry that says so.
        journal_head: Its id.
        model_id: The model that learnt the message; empty on the first receipt, which is about
            accepting it; `EVERY_MODEL` when it was re-keyed, so that models can learn it.
        invalid: How many of its records that model took for invalid.
    """

    message_hash: bytes
    owner_sequence: int
    reason: str
    journal_sequence: int
    journal_head: bytes
    model_id: str = ""
    invalid: int = 0


class DeadLetter(WireStruct):
    """A pointer to a message that was refused; never its content."""

    topic: str
    partition: int
    offset: int
    message_hash: bytes
    reason: str
    reported_by: str
