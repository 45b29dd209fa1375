"""The master unit's decisions: what is accepted, in what order, and what state follows.

Sans-IO. MU's state is the fold of its journal: `decide_*` makes the next entry from a screened
message, the shell writes the entry, and only then `apply` changes the state. After a restart
the shell feeds the same entries (and what they name) to `apply` and gets the same state.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from msgspec import structs

from crypto.errors import LayoutError, LocalProtocolError
from roles.arrival import Arrival
from roles.chunk_encodings import ChunkEncodings, Vectors
from roles.classifiers.learner import CountingLearner
from roles.entry_content import NOTHING, EntryContent
from roles.journal_index import JournalIndex, MemoryIndex
from roles.kept_model import KeptModel, move_on, sealed_place, waiting_chunk
from roles.learners import learners_of
from roles.model_state import Content, ModelState
from roles.refusal import Refusal
from roles.rekeying import RekeyQueue
from roles.roster import Change, in_force
from roles.screening import (
    ScreenedChunk,
    ScreenedQuery,
    read_chunk,
    read_query,
    screen_chunk,
    screen_query,
)
from roles.tenant import Tenant
from schemas.chunks import Withdrawal
from schemas.journal import CLOSING, GENESIS, EntryKind, JournalEntry
from schemas.queries import Query
from schemas.reasons import ReasonCode
from schemas.snapshots import NOT_REKEYED, SealedPlace, WaitingChunk
from schemas.topics import TopicName

MAX_WAITING = 256
"""Chunks that a model may be behind; then MU takes no more of them."""


@dataclass(slots=True)
class MasterUnit:
    """State of a tenant's models at MU, and the rules by which it changes.

    Attributes:
        tenant: Public facts.
        models: By name.
        index: What was accepted so far.
        head: Id of the last journal entry.
        next_sequence: Sequence of the next entry.
        open_queries: Queries accepted and not yet answered, with the version that answers them, by
            message id.
        next_offset: Per (topic, partition), where to go on reading.
        configured: How many versions of the configuration came into force after the first.
        rekeying: Accepted chunks under owners' keys, which no model can learn yet.
    """

    tenant: Tenant
    models: dict[str, KeptModel]
    index: JournalIndex = field(default_factory=MemoryIndex)
    head: bytes = GENESIS
    next_sequence: int = 0
    open_queries: dict[bytes, tuple[JournalEntry, ModelState]] = field(default_factory=dict)
    next_offset: dict[tuple[str, int], int] = field(default_factory=dict)
    configured: int = 0
    rekeying: RekeyQueue = field(default_factory=RekeyQueue)
    encodings: ChunkEncodings = field(init=False)

    def __post_init__(self) -> None:
        self.encodings = ChunkEncodings(self.tenant)

    @classmethod
    def starting(cls, tenant: Tenant, index: JournalIndex | None = None) -> "MasterUnit":
        """Return the unit before the first journal entry."""
        models = {}
        for model_id, learner in learners_of(tenant).items():
            empty = learner.starting()
            models[model_id] = KeptModel(learner, empty, empty)
        return cls(tenant, models, MemoryIndex() if index is None else index)

    @property
    def key_epoch(self) -> int:
        """The key epoch in force."""
        return self.tenant.roster.configuration(self.configured).key_epoch

    @property
    def can_withdraw(self) -> bool:
        """Whether chunks can be taken out again: not where a model learns in steps that depend on order."""
        return all(isinstance(kept.learner, CountingLearner) for kept in self.models.values())

    @property
    def has_room(self) -> bool:
        """Whether no model is too far behind to accept more chunks."""
        rekeying = len(self.rekeying.chunks)
        return all(len(kept.waiting) + rekeying < MAX_WAITING for kept in self.models.values())

    # --- screening: from bytes to something whose proof can be checked

    def screen_chunk(self, arrival: Arrival) -> ScreenedChunk | Withdrawal:
        """Check a message of the chunks topic up to the proof, cheapest checks first.

        Raises:
            Refusal, PrivMLError: With the reason code.
        """
        chunk = read_chunk(self.tenant, arrival)
        if isinstance(chunk, Withdrawal):
            return chunk
        self._refuse_repeated(arrival)
        return screen_chunk(self.encodings, arrival, chunk)

    def screen_query(self, arrival: Arrival) -> ScreenedQuery:
        """Check a message of the queries topic up to the proof, cheapest checks first.

        Raises:
            Refusal, PrivMLError: With the reason code.
        """
        query = read_query(self.tenant, arrival)
        kept = self.models.get(query.model_id)
        if kept is None:
            raise Refusal(ReasonCode.UNKNOWN_MODEL)
        self._refuse_repeated_query(arrival, query)
        screened = screen_query(kept.learner, arrival, query)
        if not kept.model.suffices(self.tenant):
            raise Refusal(ReasonCode.NOT_ENOUGH_RECORDS)
        return screened

    def _refuse_repeated(self, arrival: Arrival) -> None:
        known = self.index.chunk(arrival.sender, arrival.sequence)
        if known is not None:
            same = known.message_hash == arrival.message_hash
            raise Refusal(ReasonCode.DUPLICATE if same else ReasonCode.EQUIVOCATION)

    def _refuse_repeated_query(self, arrival: Arrival, query: Query) -> None:
        known = self.index.query(arrival.sender, query.query_id)
        if known is not None:
            raise Refusal(ReasonCode.DUPLICATE if known == arrival.message_hash else ReasonCode.EQUIVOCATION)

    # --- decisions: the next journal entry

    def decide_chunk(self, screened: ScreenedChunk) -> JournalEntry:
        """Return the entry that accepts a chunk whose proof verified, or rejects it.

        Sequence and capacity are checked again: another message of the same batch may have
        come first.
        """
        arrival = screened.arrival
        try:
            self._refuse_repeated(arrival)
            for kept in self.models.values():
                self._check_room(kept, screened.records)
        except LayoutError:
            return self.decide_reject(arrival, ReasonCode.LAYOUT_OVERFLOW)
        except Refusal as refusal:
            return self.decide_reject(arrival, refusal.reason)
        return self._entry(EntryKind.ACCEPT, arrival, records=screened.records)

    def _check_room(self, kept: KeptModel, records: int) -> None:
        waiting = sum(chunk.records for chunk in kept.waiting) + self.rekeying.records
        if kept.model.records + waiting + records > self.tenant.configuration.limits.max_total_records:
            raise LayoutError("more records than a model may hold")
        kept.learner.check_room(kept.model, records, waiting)

    def decide_withdrawal(self, arrival: Arrival, withdrawal: Withdrawal) -> JournalEntry:
        """Return the entry that takes a chunk out, or rejects the wish.

        Only a chunk of the same owner that is in, and not withdrawn yet, can go.
        """
        known = self.index.chunk(arrival.sender, withdrawal.owner_sequence)
        is_in = known is not None and (not self.tenant.has_owner_keys or known.rekeyed != NOT_REKEYED)
        if known is None or not is_in or known.withdrawn or not self.can_withdraw:
            return self.decide_reject(arrival, ReasonCode.NOT_WITHDRAWABLE)
        return self._entry(
            EntryKind.WITHDRAW, arrival, records=known.records, sender_sequence=withdrawal.owner_sequence
        )

    def decide_query(self, screened: ScreenedQuery) -> JournalEntry:
        """Return the entry that accepts a query and fixes the version that answers it, or rejects it.

        Another message of the same batch may have brought its query id first.
        """
        query = screened.query
        try:
            self._refuse_repeated_query(screened.arrival, query)
        except Refusal as refusal:
            return self.decide_reject(screened.arrival, refusal.reason)
        client = screened.arrival.sender
        answering = self.models[query.model_id].next_answering()
        if answering is None or not answering.suffices(self.tenant):
            return self.decide_reject(screened.arrival, ReasonCode.NOT_ENOUGH_RECORDS)
        asked = self.index.rows_asked(client, self.key_epoch)
        if asked + query.rows > self.tenant.configuration.limits.query_quota:
            return self.decide_reject(screened.arrival, ReasonCode.QUOTA_EXCEEDED)
        return self._entry(
            EntryKind.QUERY,
            screened.arrival,
            records=query.rows,
            model_id=query.model_id,
            model_version=answering.version,
        )

    def decide_reject(self, arrival: Arrival, reason: ReasonCode) -> JournalEntry:
        """Return the entry that refuses a message for that reason."""
        return self._entry(EntryKind.REJECT, arrival, reason=str(reason))

    def decide_answered(self, asked: JournalEntry, answer_hash: bytes) -> JournalEntry:
        """Return the entry that closes a query; written before the answer is published."""
        return structs.replace(
            asked,
            sequence=self.next_sequence,
            previous=self.head,
            kind=EntryKind.ANSWERED,
            about=asked.sequence,
            result=answer_hash,
        )

    def decide_learnt(self, model_id: str, invalid: Sequence[int], sealed: SealedPlace) -> JournalEntry:
        """Return the entry that says that a model has learnt the first chunks that wait for it.

        Args:
            model_id: Which model.
            invalid: How many records of each of these chunks it took for invalid.
            sealed: Where the model after them lies sealed.
        """
        kept = self.models[model_id]
        chunks = list(islice(kept.waiting, len(invalid)))
        place = (TopicName.SNAPSHOTS, sealed.partition, sealed.offset, sealed.message_hash)
        chain = self.next_sequence, self.head
        return kept.learnt_entry(*chain, chunks, place, invalid=tuple(invalid), result=sealed.model_hash)

    def decide_passed_over(self, model_id: str, sequence: int, reason: ReasonCode) -> JournalEntry:
        """Return the entry that says that a model does not learn a chunk, and why.

        Args:
            model_id: Which model.
            sequence: Of the entry that accepted the chunk.
            reason: Why.
        """
        kept = self.models[model_id]
        (chunk,) = (chunk for chunk in kept.waiting if chunk.sequence == sequence)
        place = (TopicName.CHUNKS, chunk.partition, chunk.offset, chunk.message_hash)
        return kept.learnt_entry(self.next_sequence, self.head, [chunk], place, reason=str(reason))

    def decide_rekeyed(self, place: SealedPlace) -> JournalEntry:
        """Return the entry that says that the first chunk that waits for it was re-keyed, and lies where."""
        return self.rekeying.entry(self.next_sequence, self.head, place)

    def _entry(
        self,
        kind: EntryKind,
        arrival: Arrival,
        *,
        records: int = 0,
        reason: str = "",
        sender_sequence: int | None = None,
        model_id: str = "",
        model_version: int = 0,
    ) -> JournalEntry:
        return JournalEntry(
            self.next_sequence,
            self.head,
            kind,
            arrival.topic,
            arrival.partition,
            arrival.offset,
            arrival.message_hash,
            arrival.sender,
            arrival.sequence if sender_sequence is None else sender_sequence,
            records,
            reason,
            model_id,
            model_version,
        )

    # --- the fold

    def apply(self, entry: JournalEntry, entry_id: bytes, content: EntryContent = NOTHING) -> None:
        """Fold one journal entry, after it was written.

        Args:
            entry: The entry.
            entry_id: Its id: what the next entry's `previous` must be.
            content: What the entry names.

        Raises:
            LocalProtocolError: The entry does not continue the chain, or is about what is not there.
            LayoutError: No model has room for what it adds.
        """
        if entry.previous != self.head or entry.sequence != self.next_sequence:
            raise LocalProtocolError(f"journal entry {entry.sequence} does not continue the chain")
        match entry.kind:
            case EntryKind.ACCEPT:
                self._accept(entry, content.vectors)
            case EntryKind.WITHDRAW:
                self._withdraw(entry, content.vectors)
            case EntryKind.QUERY:
                kept = self._named(entry)
                move_on(kept, self.models.values(), entry.sequence, entry_id)
                self.index.add_query(entry, content.query_id, self.key_epoch)
                self.open_queries[entry.message_hash] = (entry, kept.answering)
            case EntryKind.ANSWERED:
                self._close(entry)
            case EntryKind.LEARNT:
                self._learn(entry, content.learnt)
            case EntryKind.REKEYED:
                self._rekey(entry, content.vectors)
            case EntryKind.CONFIGURED:
                self._configure(entry, content.change)
            case EntryKind.REJECT:
                pass
            case _:
                raise LocalProtocolError(f"journal entry of unknown kind '{entry.kind}'")
        if entry.kind not in CLOSING:
            place = (entry.topic, entry.partition)
            self.next_offset[place] = max(self.next_offset.get(place, 0), entry.offset + 1)
        self.head = entry_id
        self.next_sequence += 1

    def _named(self, entry: JournalEntry) -> KeptModel:
        kept = self.models.get(entry.model_id)
        if kept is None:
            raise LocalProtocolError(f"journal entry {entry.sequence} names no model of this tenant")
        return kept

    def _accept(self, entry: JournalEntry, vectors: Vectors) -> None:
        chunk = waiting_chunk(entry)
        if self.tenant.has_owner_keys:
            self.rekeying.chunks.append(chunk)
        else:
            self._take_in(chunk, vectors)
        self.index.add_chunk(entry)

    def _rekey(self, entry: JournalEntry, vectors: Vectors) -> None:
        self._take_in(self.rekeying.closed(entry), vectors)
        self.rekeying.chunks.popleft()
        self.index.rekey(entry)

    def _take_in(self, chunk: WaitingChunk, vectors: Vectors) -> None:
        counted = {
            model_id: kept.learner.learn(kept.model, chunk.owner, chunk.records, vectors)
            for model_id, kept in self.models.items()
            if isinstance(kept.learner, CountingLearner)
        }
        for model_id, kept in self.models.items():
            if model_id in counted:
                kept.model = counted[model_id]
            else:
                kept.waiting.append(chunk)

    def _withdraw(self, entry: JournalEntry, vectors: Vectors) -> None:
        remaining = {
            model_id: kept.learner.withdraw(kept.model, entry.sender, entry.records, vectors)
            for model_id, kept in self.models.items()
            if isinstance(kept.learner, CountingLearner)
        }
        known = self.index.chunk(entry.sender, entry.sender_sequence)
        if known is None:
            raise LocalProtocolError(f"journal entry {entry.sequence} withdraws no chunk")
        for model_id, model in remaining.items():
            self.models[model_id].lose(model, entry.records, known.sequence)
        self.index.withdraw(entry)

    def _configure(self, entry: JournalEntry, change: Change | None) -> None:
        if change is None:
            raise LocalProtocolError(f"journal entry {entry.sequence} without its configuration")
        self.tenant.roster.enter(in_force(entry), change)
        self.configured += 1

    def _close(self, entry: JournalEntry) -> None:
        closed = self.open_queries.get(entry.message_hash)
        if closed is not None and closed[0].sequence == entry.about:
            del self.open_queries[entry.message_hash]

    def _learn(self, entry: JournalEntry, learnt: Content | None) -> None:
        kept = self._named(entry)
        if learnt is None and not entry.reason:
            raise LocalProtocolError(f"journal entry {entry.sequence} without what was learnt")
        closed = self.closed_chunks(entry)
        if entry.model_version != kept.model.version + len(closed):
            raise LocalProtocolError(f"journal entry {entry.sequence} leads to another version")
        for chunk, invalid in zip(closed, entry.invalid, strict=True):
            kept.waiting.remove(chunk)
            if learnt is None:
                kept.model = kept.model.passing_over()
            else:
                valid = chunk.records - invalid
                kept.model = kept.model.taking(chunk.owner, valid, learnt, sealed_place(entry))

    def closed_chunks(self, entry: JournalEntry) -> list[WaitingChunk]:
        """Return the chunks that a ``learnt`` or ``rekeyed`` entry closes, in order."""
        if entry.kind == EntryKind.REKEYED:
            return [self.rekeying.closed(entry)]
        return self._named(entry).closed_chunks(entry)
