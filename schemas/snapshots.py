"""What MU keeps of its models on a topic: sealed models, and snapshots that name them.

A snapshot is written last: whatever it names is there. Nothing in it grows with the length of the
stream; what does (which messages were accepted) is in the journal, which is kept for ever.
"""

from schemas.codec import WireStruct
from schemas.journal import JournalEntry
from schemas.succession import InForce


class SealedModel(WireStruct):
    """One version of a model, under the service key.

    Attributes:
        model_id: Which model.
        version: Its version.
        chunks: Chunks that are in.
        records: Records that are in.
        records_of: The same by owner, in the order of their names.
        detail: What else is public of it, in the learner's own form.
        ciphertexts: T1‖T2 of each, in the learner's order; their SHA-256 is the model's hash.
    """

    model_id: str
    version: int
    chunks: int
    records: int
    records_of: tuple[tuple[str, int], ...]
    detail: bytes
    ciphertexts: bytes


class SealedPlace(WireStruct):
    """Where a sealed model lies on the snapshots topic.

    Attributes:
        partition: Of the topic.
        offset: Of its last part.
        message_hash: Id of the message.
        model_hash: SHA-256 over the model's ciphertexts.
    """

    partition: int
    offset: int
    message_hash: bytes
    model_hash: bytes


NOT_REKEYED = (0, 0, b"")
"""No place: the chunk was not re-keyed, or need not be."""


class WaitingChunk(WireStruct):
    """An accepted chunk that was not re-keyed yet, or that a model has not learnt yet.

    Attributes:
        sequence: Of the entry that accepted it.
        owner: Whose it is.
        owner_sequence: The owner's own number for it.
        records: Its records.
        partition: Where it lies, with `offset`.
        offset: See `partition`.
        message_hash: Its id.
        rekeyed: Partition, offset and message id of the chunk under the service key; `NOT_REKEYED`
            where there is none.
    """

    sequence: int
    owner: str
    owner_sequence: int
    records: int
    partition: int
    offset: int
    message_hash: bytes
    rekeyed: tuple[int, int, bytes] = NOT_REKEYED


class ModelPlace(WireStruct):
    """Where a snapshot stands with one model.

    Attributes:
        model_id: Which model.
        current: The model as it is.
        answering: The version that answers queries.
        answering_at: Sequence and id of the entry since which it does; (−1, empty) before the first.
        answering_lost: Records withdrawn from the version that answered before it.
        withdrawn: Records withdrawn from the version that answers.
        waiting: Chunks that it has not learnt yet.
    """

    model_id: str
    current: SealedPlace
    answering: SealedPlace
    answering_at: tuple[int, bytes]
    answering_lost: int
    withdrawn: int
    waiting: tuple[WaitingChunk, ...]


class OpenQuery(WireStruct):
    """A query that is not answered yet.

    Attributes:
        entry: The entry that accepted it.
        model: The version that answers it.
    """

    entry: JournalEntry
    model: SealedPlace


class Snapshot(WireStruct):
    """MU's state after one journal entry.

    Attributes:
        journal_sequence: Of the last entry that is in.
        journal_head: Its id.
        journal_offset: Behind it on its topic.
        next_offsets: Per (topic, partition), where to go on reading.
        models: All models, in the configuration's order.
        open_queries: In the order in which they were accepted.
        in_force: Versions of the configuration after the first, and since when they are in force.
        rekeying: Accepted chunks that are not re-keyed yet, in order.
    """

    journal_sequence: int
    journal_head: bytes
    journal_offset: int
    next_offsets: tuple[tuple[str, int, int], ...]
    models: tuple[ModelPlace, ...]
    open_queries: tuple[OpenQuery, ...]
    in_force: tuple[InForce, ...] = ()
    rekeying: tuple[WaitingChunk, ...] = ()
