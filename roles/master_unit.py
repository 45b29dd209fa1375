"""The master unit's decisions: what is accepted, in what order, and what state follows.

Sans-IO. MU's state is the fold of its journal: `decide_*` makes the next entry from a screened
message, the shell writes the entry, and only then `apply` changes the state. After a restart
the shell feeds the same entries (and the chunks they name) to `apply` and gets the same state.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from crypto.coins import Coins
from crypto.dtpkc import Ciphertext, decode_ciphertexts
from crypto.errors import LayoutError, LocalProtocolError, ProofError
from crypto.plaintext_proof import PlaintextProof, Statement, failing_statements, verify_plaintexts
from crypto.validation import validate_ciphertexts
from roles.arrival import Arrival
from roles.model_state import ModelState
from roles.refusal import Refusal
from roles.tenant import Tenant, chunk_layouts, statement_context
from schemas.chunks import Chunk, Withdrawal
from schemas.codec import decode
from schemas.configuration import ModelSpec
from schemas.journal import GENESIS, EntryKind, JournalEntry
from schemas.queries import QUERY_ID_BYTES, Query
from schemas.reasons import ReasonCode
from schemas.rounds import Subject


@dataclass(frozen=True, slots=True)
class ScreenedChunk:
    """A chunk that passed every check but the proof."""

    arrival: Arrival
    records: int
    ciphertexts: tuple[Ciphertext, ...]
    statement: Statement


@dataclass(frozen=True, slots=True)
class ScreenedQuery:
    """A query that passed every check but the proof."""

    arrival: Arrival
    query: Query
    ciphertexts: tuple[Ciphertext, ...]
    statement: Statement


@dataclass(slots=True)
class AcceptedChunk:
    """What MU remembers of an accepted chunk, so that it can be taken out again."""

    message_hash: bytes
    records: int
    partition: int
    offset: int
    withdrawn: bool = False


@dataclass(slots=True)
class MasterUnit:
    """State of one model at MU, and the rules by which it changes.

    Attributes:
        tenant: Public facts.
        spec: The model kept.
        model: Its current version.
        answering: The version that answers queries (rule 9: it moves in steps).
        head: Id of the last journal entry.
        next_sequence: Sequence of the next entry.
        accepted: Accepted chunks by (owner, owner sequence).
        queries: Hash of the query message by (client, query id).
        open_queries: Queries accepted and not yet answered, with the model that answers them.
        next_offset: Per (topic, partition), where to go on reading.
    """

    tenant: Tenant
    spec: ModelSpec
    model: ModelState
    answering: ModelState
    head: bytes = GENESIS
    next_sequence: int = 0
    accepted: dict[tuple[str, int], AcceptedChunk] = field(default_factory=dict)
    queries: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    open_queries: dict[bytes, tuple[JournalEntry, ModelState]] = field(default_factory=dict)
    next_offset: dict[tuple[str, int], int] = field(default_factory=dict)

    @classmethod
    def starting(cls, tenant: Tenant, spec: ModelSpec) -> "MasterUnit":
        """Return the unit before the first journal entry."""
        empty = ModelState.empty(tenant, spec)
        return cls(tenant, spec, empty, empty)

    # --- screening: from bytes to something whose proof can be checked

    def screen_chunk(self, arrival: Arrival) -> ScreenedChunk | Withdrawal:
        """Check a message of the chunks topic up to the proof, cheapest checks first.

        Raises:
            Refusal: With the reason code.
        """
        if arrival.kind == "withdrawal":
            return decode(Withdrawal, arrival.body)
        if arrival.kind != "chunk":
            raise Refusal(ReasonCode.MALFORMED)
        chunk = decode(Chunk, arrival.body, len(arrival.body))
        if chunk.schema_digest != self.tenant.schema.digest:
            raise Refusal(ReasonCode.WRONG_SCHEMA)
        self._refuse_repeated(arrival)
        if not 1 <= chunk.records <= self.tenant.configuration.limits.max_chunk_records:
            raise Refusal(ReasonCode.TOO_MANY_ROWS)
        if tuple(vector.encoding for vector in chunk.vectors) != ("counts",):
            raise Refusal(ReasonCode.MALFORMED)
        layouts = chunk_layouts(self.tenant, chunk)
        ciphertexts = self._foreign(chunk.vectors[0].ciphertexts, layouts[0].ciphertexts)
        context = statement_context(
            self.tenant, "owner", arrival.sender, arrival.topic, arrival.sequence, layouts
        )
        statement = self._statement(ciphertexts, chunk.proof, context)
        return ScreenedChunk(arrival, chunk.records, ciphertexts, statement)

    def screen_query(self, arrival: Arrival) -> ScreenedQuery:
        """Check a message of the queries topic up to the proof, cheapest checks first.

        Raises:
            Refusal: With the reason code.
        """
        if arrival.kind != "query":
            raise Refusal(ReasonCode.MALFORMED)
        query = decode(Query, arrival.body, len(arrival.body))
        limits = self.tenant.configuration.limits
        if len(query.query_id) != QUERY_ID_BYTES:
            raise Refusal(ReasonCode.MALFORMED)
        if query.model_id != self.spec.model_id:
            raise Refusal(ReasonCode.UNKNOWN_MODEL)
        if query.schema_digest != self.tenant.schema.digest:
            raise Refusal(ReasonCode.WRONG_SCHEMA)
        if not 1 <= query.rows <= limits.max_query_rows:
            raise Refusal(ReasonCode.TOO_MANY_ROWS)
        self._refuse_repeated_query(arrival, query)
        layout = self.tenant.query_layout(query.rows)
        ciphertexts = self._foreign(query.ciphertexts, layout.ciphertexts)
        context = statement_context(
            self.tenant, "client", arrival.sender, arrival.topic, query.query_id, (layout,)
        )
        statement = self._statement(ciphertexts, query.proof, context)
        if self.model.records < limits.min_records or len(self.model.records_of) < limits.min_owners:
            raise Refusal(ReasonCode.NOT_ENOUGH_RECORDS)
        return ScreenedQuery(arrival, query, ciphertexts, statement)

    def _refuse_repeated(self, arrival: Arrival) -> None:
        known = self.accepted.get((arrival.sender, arrival.sequence))
        if known is not None:
            same = known.message_hash == arrival.message_hash
            raise Refusal(ReasonCode.DUPLICATE if same else ReasonCode.EQUIVOCATION)

    def _refuse_repeated_query(self, arrival: Arrival, query: Query) -> None:
        known = self.queries.get((arrival.sender, query.query_id))
        if known is not None:
            raise Refusal(ReasonCode.DUPLICATE if known == arrival.message_hash else ReasonCode.EQUIVOCATION)

    def _foreign(self, data: bytes, expected: int) -> tuple[Ciphertext, ...]:
        parameters = self.tenant.parameters
        if len(data) != expected * parameters.ciphertext_bytes:
            raise Refusal(ReasonCode.MALFORMED)
        ciphertexts = tuple(decode_ciphertexts(parameters, data))
        validate_ciphertexts(parameters, ciphertexts)
        return ciphertexts

    def _statement(self, ciphertexts: tuple[Ciphertext, ...], proof: bytes, context: bytes) -> Statement:
        decoded = PlaintextProof.decode(self.tenant.parameters, len(ciphertexts), proof)
        return Statement(ciphertexts, decoded, context)

    def failing_proofs(self, statements: Sequence[Statement]) -> frozenset[int]:
        """Return which statements' proofs do not verify; all are checked together first.

        Cost:
            Two fixed-base powers for all, and one multi-exponentiation base per component.
        """
        if not statements:
            return frozenset()
        weights = Coins.fresh()
        try:
            verify_plaintexts(self.tenant.service_key, statements, weights)
        except ProofError:
            return frozenset(failing_statements(self.tenant.service_key, statements, Coins.fresh()))
        return frozenset()

    # --- decisions: the next journal entry

    def decide_chunk(self, screened: ScreenedChunk) -> JournalEntry:
        """Return the entry that accepts a chunk whose proof verified, or rejects it.

        Sequence and capacity are checked again: another message of the same batch may have
        come first.
        """
        arrival = screened.arrival
        try:
            self._refuse_repeated(arrival)
            total = self.model.records + screened.records
            if total > self.tenant.configuration.limits.max_total_records:
                return self.decide_reject(arrival, ReasonCode.LAYOUT_OVERFLOW)
            self.model.layout.plus(self.tenant.counts_layout(screened.records))
        except LayoutError:
            return self.decide_reject(arrival, ReasonCode.LAYOUT_OVERFLOW)
        except Refusal as refusal:
            return self.decide_reject(arrival, refusal.reason)
        return self._entry(
            EntryKind.ACCEPT, arrival, records=screened.records, version=self.model.version + 1
        )

    def decide_withdrawal(self, arrival: Arrival, withdrawal: Withdrawal) -> JournalEntry:
        """Return the entry that takes a chunk out, or rejects the wish.

        Only an accepted, not yet withdrawn chunk of the same owner can go.
        """
        known = self.accepted.get((arrival.sender, withdrawal.owner_sequence))
        if known is None or known.withdrawn:
            return self.decide_reject(arrival, ReasonCode.NOT_WITHDRAWABLE)
        return self._entry(
            EntryKind.WITHDRAW,
            arrival,
            records=known.records,
            version=self.model.version + 1,
            sequence=withdrawal.owner_sequence,
        )

    def decide_query(self, screened: ScreenedQuery) -> JournalEntry:
        """Return the entry that accepts a query and fixes the version that answers it, or rejects it.

        Another message of the same batch may have brought its query id first.
        """
        try:
            self._refuse_repeated_query(screened.arrival, screened.query)
        except Refusal as refusal:
            return self.decide_reject(screened.arrival, refusal.reason)
        return self._entry(
            EntryKind.QUERY,
            screened.arrival,
            records=screened.query.rows,
            version=self._answering_model().version,
        )

    def decide_reject(self, arrival: Arrival, reason: ReasonCode) -> JournalEntry:
        """Return the entry that refuses a message for that reason."""
        return self._entry(EntryKind.REJECT, arrival, version=self.model.version, reason=reason)

    def decide_answered(self, query_entry: JournalEntry, answer_hash: bytes) -> JournalEntry:
        """Return the entry that closes a query; written before the answer is published."""
        return JournalEntry(
            self.next_sequence,
            self.head,
            EntryKind.ANSWERED,
            query_entry.topic,
            query_entry.partition,
            query_entry.offset,
            answer_hash,
            query_entry.sender,
            query_entry.sequence,
            query_entry.records,
            "",
            query_entry.model_version,
        )

    def _answering_model(self) -> ModelState:
        fresh = self.model.records - self.answering.records
        step = max(1, self.tenant.configuration.limits.min_new_records)
        return self.model if self.answering.version == 0 or fresh >= step or fresh < 0 else self.answering

    def _entry(
        self,
        kind: EntryKind,
        arrival: Arrival,
        *,
        version: int,
        records: int = 0,
        reason: str = "",
        sequence: int | None = None,
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
            arrival.sequence if sequence is None else sequence,
            records,
            str(reason),
            version,
        )

    # --- the fold

    def apply(
        self,
        entry: JournalEntry,
        entry_id: bytes,
        ciphertexts: tuple[Ciphertext, ...] = (),
        query_id: bytes = b"",
    ) -> None:
        """Fold one journal entry, after it was written.

        Args:
            entry: The entry.
            entry_id: Its id: what the next entry's `previous` must be.
            ciphertexts: The chunk concerned, for accept and withdraw.
            query_id: The query's own id, for query.

        Raises:
            LocalProtocolError: The entry does not continue the chain.
        """
        if entry.previous != self.head or entry.sequence != self.next_sequence:
            raise LocalProtocolError(f"journal entry {entry.sequence} does not continue the chain")
        owner, number = entry.sender, entry.sender_sequence
        match entry.kind:
            case EntryKind.ACCEPT:
                self.model = self.model.learn(self.tenant, owner, entry.records, ciphertexts)
                self.accepted[owner, number] = AcceptedChunk(
                    entry.message_hash, entry.records, entry.partition, entry.offset
                )
            case EntryKind.WITHDRAW:
                self.model = self.model.withdraw(self.tenant, owner, entry.records, ciphertexts)
                self.accepted[owner, number].withdrawn = True
            case EntryKind.QUERY:
                self.answering = self._answering_model()
                self.queries[owner, query_id] = entry.message_hash
                self.open_queries[entry.message_hash] = (entry, self.answering)
            case EntryKind.ANSWERED:
                closed = [h for h, (asked, _) in self.open_queries.items() if asked.sequence == number]
                for query_hash in closed:
                    del self.open_queries[query_hash]
            case EntryKind.REJECT:
                pass
            case _:
                raise LocalProtocolError(f"journal entry of unknown kind '{entry.kind}'")
        if entry.kind != EntryKind.ANSWERED:
            place = (entry.topic, entry.partition)
            self.next_offset[place] = max(self.next_offset.get(place, 0), entry.offset + 1)
        self.head = entry_id
        self.next_sequence += 1


def refresh_subject(tenant: Tenant, model: ModelState) -> Subject:
    """Return the subject of the session that turns a model's counts into shared logarithms.

    Without the version: equal counts have one session and one table (§5).
    """
    return Subject(
        "refresh",
        model.spec.model_id,
        0,
        model.hash(tenant),
        model.records,
        len(model.records_of),
        "",
        b"",
        0,
        0,
        0,
    )


def query_subject(tenant: Tenant, model: ModelState, entry: JournalEntry) -> Subject:
    """Return the subject of the session that answers a journaled query."""
    return Subject(
        "query",
        model.spec.model_id,
        model.version,
        model.hash(tenant),
        model.records,
        len(model.records_of),
        entry.sender,
        entry.message_hash,
        entry.partition,
        entry.offset,
        entry.records,
    )
