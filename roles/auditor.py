"""The auditor: holds MU's journal against the rules, from public data alone.

Sans-IO. It folds the journal as MU does, but before each entry it makes the decision itself, from
the message as it is stored, and compares: kind, reason, records, version, every field. What MU may
decide depends on a message and on the entries before it, with two exceptions that follow from MU
looking at messages before it journals them:

- Of two messages of one batch under one number the second may be refused for what it holds or
  for its number; both are true of it.
- Whether a model may answer is looked at after the query before was journaled, not later than
  the query's own entry.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from crypto.dtpkc import Ciphertext, decode_ciphertexts, encode_ciphertexts
from crypto.errors import CryptoError, PrivMLError, SchemaError
from roles.arrival import Arrival
from roles.findings import FindingCode, Findings
from roles.journal_chain import Link
from roles.judging import Judged, impartial_unit
from roles.master_unit import AcceptedChunk, MasterUnit, ScreenedChunk, ScreenedQuery
from roles.model_record import ModelRecord
from roles.model_state import ModelState
from roles.refusal import refusal_reason
from roles.tenant import Tenant
from schemas.chunks import Chunk, Withdrawal
from schemas.codec import decode
from schemas.journal import EntryKind, JournalEntry
from schemas.queries import Query
from schemas.reasons import ReasonCode
from schemas.topics import TopicName


@dataclass(slots=True)
class Counts:
    """How much was looked at."""

    journal_entries: int = 0
    chunks_accepted: int = 0
    chunks_rejected: int = 0
    withdrawals: int = 0


@dataclass(frozen=True, slots=True)
class ClosedQuery:
    """A query with the model that the journal says answers it, and the entry that closed it.

    Attributes:
        asked: The entry that accepted the query.
        model: The model that answers.
        closing: The entry that closed it, with the answer's hash; None while the query is open.
    """

    asked: JournalEntry
    model: ModelState
    closing: Link | None


@dataclass(slots=True)
class Auditor:
    """The fold of a journal, with findings.

    Attributes:
        tenant: Public facts.
        findings: Where findings go.
        proofs: Whether messages were judged with their proofs.
        unit: MU's state as the journal has it so far.
        impartial: What messages are judged by; see `roles.judging`.
        record: What was recorded of the model.
        counts: How much was looked at.
        complete: Whether the state follows from the journal; false once an entry could not be folded.
        model_known: Whether all ciphertexts that are in the model were there.
        closed: Queries closed since somebody last took them.
    """

    tenant: Tenant
    findings: Findings
    proofs: bool = True
    unit: MasterUnit = field(init=False)
    impartial: MasterUnit = field(init=False)
    record: ModelRecord = field(init=False)
    counts: Counts = field(default_factory=Counts)
    complete: bool = True
    model_known: bool = True
    closed: list[ClosedQuery] = field(default_factory=list)
    _model_before: ModelState | None = None

    def __post_init__(self) -> None:
        spec = self.tenant.configuration.models[0]
        self.unit = MasterUnit.starting(self.tenant, spec)
        self.impartial = impartial_unit(self.tenant, spec)
        self.record = ModelRecord(self.tenant, self.findings)

    def withdrawn_chunk(self, entry: JournalEntry) -> AcceptedChunk | None:
        """Return where the chunk lies that an entry takes out; None if there is none to take out."""
        known = self.unit.accepted.get((entry.sender, entry.sender_sequence))
        return None if known is None or known.withdrawn else known

    def fold(
        self,
        link: Link,
        judged: Judged | None,
        *,
        readable: bool = True,
        withdrawn: Sequence[Ciphertext] | None = None,
    ) -> None:
        """Hold the next entry against the rules and fold it.

        Args:
            link: The entry with its place in the chain.
            judged: The message that it decides; None for the closing of a query, and where the
                message is not there, which was reported.
            readable: Whether messages of that topic can be read at all; if not, the entry is taken
                as it is.
            withdrawn: For a withdrawal the ciphertexts of the chunk that goes.
        """
        entry = link.entry
        self._count(entry)
        if not self.complete:
            return
        if readable and (judged is not None or entry.kind == EntryKind.ANSWERED):
            self._compare(link, self._possible(entry, judged))
        self._apply(link, judged, withdrawn)

    def current_model(self) -> ModelState | None:
        """Return the model after the last entry; None if it does not follow from the log."""
        return self.unit.model if self.complete and self.model_known else None

    # --- what the rules give

    def _possible(self, entry: JournalEntry, judged: Judged | None) -> list[JournalEntry]:
        if judged is None:
            return self._possible_closing(entry)
        if judged.arrival.topic == TopicName.QUERIES:
            return self._possible_for_query(judged)
        return self._possible_for_chunk(judged)

    def _possible_for_chunk(self, judged: Judged) -> list[JournalEntry]:
        unit, arrival = self.unit, judged.arrival
        if isinstance(judged.screened, Withdrawal):
            return [unit.decide_withdrawal(arrival, judged.screened)]
        possible = []
        if isinstance(judged.screened, ScreenedChunk):
            if judged.reason is None:
                possible.append(unit.decide_chunk(judged.screened))
            if judged.reason is not None or not self.proofs:
                possible.append(unit.decide_reject(arrival, ReasonCode.BAD_PROOF))
        elif judged.reason is not None:
            possible.append(unit.decide_reject(arrival, judged.reason))
        if arrival.body and (arrival.sender, arrival.sequence) in unit.accepted:
            # Screened in a later batch than the accepted one it is refused before it is looked at.
            possible += self._screening_refusal(unit, arrival)
        return possible

    def _possible_for_query(self, judged: Judged) -> list[JournalEntry]:
        arrival = judged.arrival
        if not arrival.body:
            return [self.unit.decide_reject(arrival, judged.reason or ReasonCode.MALFORMED)]
        possible: list[JournalEntry] = []
        for model in (self.unit.model, self._model_before):
            if model is None:
                continue
            refusal = self._screening_refusal(replace(self.unit, model=model), arrival)
            if refusal or not isinstance(judged.screened, ScreenedQuery):
                possible += refusal
                continue
            if judged.reason is None:
                possible.append(self.unit.decide_query(judged.screened))
            if judged.reason is not None or not self.proofs:
                possible.append(self.unit.decide_reject(arrival, ReasonCode.BAD_PROOF))
        return possible

    def _screening_refusal(self, unit: MasterUnit, arrival: Arrival) -> list[JournalEntry]:
        screen = unit.screen_query if arrival.topic == TopicName.QUERIES else unit.screen_chunk
        try:
            screen(arrival)
        except PrivMLError as error:
            return [self.unit.decide_reject(arrival, refusal_reason(error))]
        return []

    def _possible_closing(self, entry: JournalEntry) -> list[JournalEntry]:
        return [
            self.unit.decide_answered(asked, entry.message_hash)
            for asked, _ in self.unit.open_queries.values()
            if asked.sequence == entry.sender_sequence
        ]

    def _compare(self, link: Link, possible: list[JournalEntry]) -> None:
        if link.entry in possible:
            return
        given = " or ".join(dict.fromkeys(_says(entry) for entry in possible)) or "nothing to decide here"
        if possible and _says(link.entry) in {_says(entry) for entry in possible}:
            detail = f"entry {link.entry.sequence} names another message than the one that it decides"
        else:
            detail = f"entry {link.entry.sequence} says {_says(link.entry)}; the rules give {given}"
        self.findings.add(FindingCode.WRONG_DECISION, link.place, detail)

    # --- the fold

    def _apply(self, link: Link, judged: Judged | None, withdrawn: Sequence[Ciphertext] | None) -> None:
        entry = link.entry
        ciphertexts: Sequence[Ciphertext] | None = ()
        query_id = b""
        if entry.kind == EntryKind.ACCEPT:
            ciphertexts = self._ciphertexts_of(judged)
        elif entry.kind == EntryKind.WITHDRAW:
            ciphertexts = withdrawn
        elif entry.kind == EntryKind.QUERY and judged is not None:
            query_id = _query_id(judged)
        elif entry.kind == EntryKind.ANSWERED:
            self._close(link)
        if ciphertexts is None or (
            entry.kind in {EntryKind.ACCEPT, EntryKind.WITHDRAW}
            and len(ciphertexts) != len(self.unit.model.ciphertexts)
        ):
            # Decisions can still be compared, the model cannot be recomputed any more.
            self.model_known = False
            ciphertexts = (Ciphertext(1, 1),) * len(self.unit.model.ciphertexts)
        before = self.unit.model
        try:
            self.unit.apply(entry, link.entry_id, tuple(ciphertexts), query_id)
        except (PrivMLError, KeyError, ValueError):
            detail = f"entry {entry.sequence} cannot be folded: no state follows from it"
            self.findings.add(FindingCode.WRONG_DECISION, link.place, detail)
            self.complete = False
            return
        self._remember_sufficiency(entry, before)
        self.record.folded(link, self.unit, self.current_model())

    def _ciphertexts_of(self, judged: Judged | None) -> Sequence[Ciphertext] | None:
        if judged is None:
            return None
        if isinstance(judged.screened, ScreenedChunk):
            return judged.screened.ciphertexts
        # Accepted against the rules: MU folds what can be decoded.
        return chunk_ciphertexts(self.tenant, judged.arrival)

    def _close(self, link: Link) -> None:
        self.closed += [
            ClosedQuery(asked, model, link)
            for asked, model in self.unit.open_queries.values()
            if asked.sequence == link.entry.sender_sequence
        ]

    def _remember_sufficiency(self, entry: JournalEntry, before: ModelState) -> None:
        """Keep a model since the last query that differs from the current one in whether it may answer."""
        if entry.topic == TopicName.QUERIES and entry.kind != EntryKind.ANSWERED:
            self._model_before = None
        elif self._suffices(before) != self._suffices(self.unit.model):
            self._model_before = before

    def _suffices(self, model: ModelState) -> bool:
        limits = self.tenant.configuration.limits
        return model.records >= limits.min_records and len(model.records_of) >= limits.min_owners

    def _count(self, entry: JournalEntry) -> None:
        self.counts.journal_entries += 1
        if entry.kind == EntryKind.WITHDRAW:
            self.counts.withdrawals += 1
        elif entry.topic == TopicName.CHUNKS:
            self.counts.chunks_accepted += entry.kind == EntryKind.ACCEPT
            self.counts.chunks_rejected += entry.kind == EntryKind.REJECT


def chunk_ciphertexts(tenant: Tenant, arrival: Arrival) -> tuple[Ciphertext, ...] | None:
    """Return the first vector of a stored chunk as the fold takes it; None if it has no numbers mod N²."""
    parameters = tenant.parameters
    try:
        chunk = decode(Chunk, arrival.body, len(arrival.body))
        ciphertexts = decode_ciphertexts(parameters, chunk.vectors[0].ciphertexts)
        # Whoever accepts it against the rules may have accepted anything.
        encode_ciphertexts(parameters, ciphertexts)
    except (SchemaError, CryptoError, IndexError):
        return None
    return tuple(ciphertexts)


def _query_id(judged: Judged) -> bytes:
    if isinstance(judged.screened, ScreenedQuery):
        return judged.screened.query.query_id
    try:
        return decode(Query, judged.arrival.body, len(judged.arrival.body)).query_id
    except SchemaError:
        return b""


def _says(entry: JournalEntry) -> str:
    reason = f" ({entry.reason})" if entry.reason else ""
    return f"{entry.kind}{reason} of {entry.records} records, version {entry.model_version}"
