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

from dataclasses import dataclass, field, replace
from itertools import islice

from crypto.dtpkc import Ciphertext
from crypto.errors import PrivMLError, SchemaError
from roles.arrival import Arrival
from roles.audit_counts import Counts
from roles.chunk_encodings import Vectors
from roles.classifiers.learner import FAULTS_OF_CHUNKS, TaughtLearner
from roles.enrolment import NotSuccessorError, decide_configured, next_change
from roles.entry_content import EntryContent, chunk_vectors, query_id
from roles.findings import FindingCode, Findings
from roles.journal_chain import Link
from roles.journal_index import AcceptedChunk
from roles.judging import Judged, impartial_unit
from roles.kept_model import sealed_place
from roles.learners import AnyLearner
from roles.master_unit import MasterUnit
from roles.model_record import ModelRecord
from roles.model_state import Content, ModelState
from roles.refusal import refusal_reason
from roles.roster import Change
from roles.screening import ScreenedChunk, ScreenedQuery
from roles.tenant import Tenant
from schemas.chunks import Withdrawal
from schemas.codec import decode
from schemas.journal import CLOSING, EntryKind, JournalEntry
from schemas.queries import Query
from schemas.reasons import ReasonCode
from schemas.topics import TopicName

# Refusals for what came long before, under the same number or by the same client.
_RECALLED = frozenset(
    {
        ReasonCode.DUPLICATE,
        ReasonCode.EQUIVOCATION,
        ReasonCode.NOT_WITHDRAWABLE,
        ReasonCode.CHUNK_NOT_KEPT,
        ReasonCode.QUOTA_EXCEEDED,
    }
)


@dataclass(frozen=True, slots=True)
class ClosedQuery:
    """A query with the model that the journal says answers it, and the entry that closed it.

    Attributes:
        asked: The entry that accepted the query.
        model: The version that answers.
        learner: Of the model.
        closing: The entry that closed it, with the answer's hash; None while the query is open.
    """

    asked: JournalEntry
    model: ModelState
    learner: AnyLearner
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
        unknown: Models of which not all ciphertexts were there.
        closed: Queries closed since somebody last took them.
        forgotten: Topics whose messages from before the beginning are not all known by their numbers.
        unkept: The first entry that withdraws a chunk which is not kept; None without any.
    """

    tenant: Tenant
    findings: Findings
    proofs: bool = True
    unit: MasterUnit = field(init=False)
    impartial: MasterUnit = field(init=False)
    record: ModelRecord = field(init=False)
    counts: Counts = field(default_factory=Counts)
    complete: bool = True
    unknown: set[str] = field(default_factory=set)
    closed: list[ClosedQuery] = field(default_factory=list)
    forgotten: frozenset[str] = frozenset()
    unkept: int | None = None
    _models_before: dict[str, ModelState] = field(default_factory=dict)
    _begun: int = 0
    # Of models that were unknown once: up to which version.
    _unknown_to: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.unit = MasterUnit.starting(self.tenant)
        self.impartial = impartial_unit(self.tenant)
        self.record = ModelRecord(self.tenant, self.findings)

    def begin(self, unit: MasterUnit, forgotten: frozenset[str]) -> None:
        """Begin with the state of a snapshot instead of the empty one.

        Args:
            unit: The state.
            forgotten: See the class.
        """
        self.unit, self.forgotten, self._begun = unit, forgotten, unit.next_sequence
        self.record.begin(unit)

    def remember(self, entry: JournalEntry) -> None:
        """Note what an entry before the beginning accepted: a repetition is known by that."""
        index = self.unit.index
        if entry.kind == EntryKind.ACCEPT:
            index.add_chunk(entry)
        elif entry.kind == EntryKind.WITHDRAW and index.chunk(entry.sender, entry.sender_sequence):
            index.withdraw(entry)
        elif entry.kind == EntryKind.REKEYED:
            index.rekey(entry)
        elif entry.kind == EntryKind.QUERY:
            # Its own number is in the message, which is not read: it counts for the quota alone.
            index.add_query(entry, entry.message_hash, self.tenant.roster.key_epoch_of(entry.sequence))

    def withdrawn_chunk(self, entry: JournalEntry) -> AcceptedChunk | None:
        """Return where the chunk lies that an entry takes out; None if there is none to take out."""
        known = self.unit.index.chunk(entry.sender, entry.sender_sequence)
        return None if known is None or known.withdrawn else known

    def fold(
        self,
        link: Link,
        judged: Judged | None,
        *,
        readable: bool = True,
        named: Vectors | None = None,
        learnt: Content | None = None,
    ) -> None:
        """Hold the next entry against the rules and fold it.

        Args:
            link: The entry with its place in the chain.
            judged: The message that it decides; None for what closes another entry, and where the
                message is not there, which was reported.
            readable: Whether messages of that topic can be read at all; if not, the entry is taken
                as it is.
            named: For a withdrawal the ciphertexts of the chunk that goes, for a re-keyed chunk those
                under the service key, if they are known.
            learnt: For a lesson what the model became, if that is known.
        """
        entry = link.entry
        self.counts.add(entry)
        if self.complete and entry.kind == EntryKind.WITHDRAW and named is None:
            self._miss_withdrawn(entry)
        if not self.complete:
            return
        if readable and (judged is not None or entry.kind in CLOSING):
            self._compare(link, self._possible(entry, judged))
        self._apply(link, judged, named, learnt)

    def current_model(self, model_id: str) -> ModelState | None:
        """Return a model after the last entry; None if it does not follow from the log."""
        return self.unit.models[model_id].model if self.complete and model_id not in self.unknown else None

    @property
    def knows_all(self) -> bool:
        """Whether every model follows from the log."""
        return self.complete and not self.unknown

    def knows(self, model_id: str, version: int) -> bool:
        """Whether the content of a version is known."""
        return version > self._unknown_to.get(model_id, -1)

    # --- what the rules give

    def _possible(self, entry: JournalEntry, judged: Judged | None) -> list[JournalEntry]:
        if judged is None:
            return self._possible_closing(entry)
        if judged.arrival.topic == TopicName.CONFIG:
            return self._possible_for_configuration(entry, judged.arrival)
        if judged.arrival.topic == TopicName.QUERIES:
            return self._possible_for_query(judged)
        return self._possible_for_chunk(judged)

    def _possible_for_chunk(self, judged: Judged) -> list[JournalEntry]:
        unit, arrival = self.unit, judged.arrival
        if isinstance(judged.screened, Withdrawal):
            decided = unit.decide_withdrawal(arrival, judged.screened)
            if decided.kind != EntryKind.WITHDRAW:
                return [decided]
            return [decided, unit.decide_reject(arrival, ReasonCode.CHUNK_NOT_KEPT)]
        possible = []
        if isinstance(judged.screened, ScreenedChunk):
            if judged.reason is None:
                possible.append(unit.decide_chunk(judged.screened))
            if judged.reason is not None or not self.proofs:
                possible.append(unit.decide_reject(arrival, ReasonCode.BAD_PROOF))
        elif judged.reason is not None:
            possible.append(unit.decide_reject(arrival, judged.reason))
        if arrival.body and unit.index.chunk(arrival.sender, arrival.sequence) is not None:
            # Screened in a later batch than the accepted one it is refused before it is looked at.
            possible += self._screening_refusal(unit, arrival)
        return possible

    def _possible_for_configuration(self, entry: JournalEntry, arrival: Arrival) -> list[JournalEntry]:
        try:
            change = next_change(self.tenant, self.unit.configured, arrival)
            return [decide_configured(self.unit, arrival, change, entry.judges_from)]
        except (NotSuccessorError, SchemaError):
            return []

    def _possible_for_query(self, judged: Judged) -> list[JournalEntry]:
        arrival = judged.arrival
        if not arrival.body:
            return [self.unit.decide_reject(arrival, judged.reason or ReasonCode.MALFORMED)]
        possible: list[JournalEntry] = []
        for before in (False, True):
            unit = self.unit if not before else self._unit_before(arrival)
            if unit is None:
                continue
            refusal = self._screening_refusal(unit, arrival)
            if refusal or not isinstance(judged.screened, ScreenedQuery):
                possible += refusal
                continue
            if judged.reason is None:
                possible.append(self.unit.decide_query(judged.screened))
            if judged.reason is not None or not self.proofs:
                possible.append(self.unit.decide_reject(arrival, ReasonCode.BAD_PROOF))
        return possible

    def _unit_before(self, arrival: Arrival) -> MasterUnit | None:
        """Return the unit with the asked model as it was when the query before was journaled."""
        try:
            model_id = decode(Query, arrival.body, len(arrival.body)).model_id
        except SchemaError:
            return None
        before = self._models_before.get(model_id)
        if before is None:
            return None
        models = {**self.unit.models, model_id: replace(self.unit.models[model_id], model=before)}
        return replace(self.unit, models=models)

    def _screening_refusal(self, unit: MasterUnit, arrival: Arrival) -> list[JournalEntry]:
        screen = unit.screen_query if arrival.topic == TopicName.QUERIES else unit.screen_chunk
        try:
            screen(arrival)
        except PrivMLError as error:
            return [self.unit.decide_reject(arrival, refusal_reason(error))]
        return []

    def _possible_closing(self, entry: JournalEntry) -> list[JournalEntry]:
        if entry.kind == EntryKind.ANSWERED:
            asked = self.unit.open_queries.get(entry.message_hash)
            return [] if asked is None else [self.unit.decide_answered(asked[0], entry.result)]
        if entry.kind == EntryKind.REKEYED:
            place = sealed_place(entry)
            return [self.unit.decide_rekeyed(place)] if self.unit.rekeying.chunks else []
        kept = self.unit.models.get(entry.model_id)
        if kept is None:
            return []
        # How many chunks make a lesson may depend on what the model is.
        size = min(len(entry.invalid), len(kept.waiting))
        if entry.model_id not in self.unknown:
            size = kept.lesson_size()
        elif entry.reason:
            size = len(kept.waiting)
        if not size:
            return []
        if not entry.reason:
            if len(entry.invalid) != size:
                return []
            counted = isinstance(kept.learner, TaughtLearner) and kept.learner.counts_invalid
            invalid = entry.invalid if counted else (0,) * size
            return [self.unit.decide_learnt(entry.model_id, invalid, sealed_place(entry))]
        lesson = {chunk.sequence for chunk in islice(kept.waiting, size)}
        if entry.reason not in FAULTS_OF_CHUNKS or entry.about not in lesson:
            return []
        return [self.unit.decide_passed_over(entry.model_id, entry.about, ReasonCode(entry.reason))]

    def _miss_withdrawn(self, entry: JournalEntry) -> None:
        known = self.withdrawn_chunk(entry)
        if known is None and TopicName.CHUNKS in self.forgotten:
            # How many records of which version went with it is not known either.
            self.complete = False
        elif known is None or known.sequence >= self._begun:
            return
        self.unkept = entry.sequence if self.unkept is None else self.unkept

    def _compare(self, link: Link, possible: list[JournalEntry]) -> None:
        entry = link.entry
        recalled = entry.kind == EntryKind.REJECT and entry.reason in _RECALLED
        if entry in possible or (recalled and entry.topic in self.forgotten):
            return
        given = " or ".join(dict.fromkeys(_says(entry) for entry in possible)) or "nothing to decide here"
        if possible and _says(link.entry) in {_says(entry) for entry in possible}:
            detail = f"entry {link.entry.sequence} names another message than the one that it decides"
        else:
            detail = f"entry {link.entry.sequence} says {_says(link.entry)}; the rules give {given}"
        self.findings.add(FindingCode.WRONG_DECISION, link.place, detail)

    # --- the fold

    def _apply(
        self, link: Link, judged: Judged | None, named: Vectors | None, learnt: Content | None
    ) -> None:
        entry = link.entry
        content = EntryContent(learnt=learnt)
        if entry.kind in {EntryKind.ACCEPT, EntryKind.WITHDRAW, EntryKind.REKEYED}:
            # Under an owner's key a chunk is in no model yet.
            waits = entry.kind == EntryKind.ACCEPT and self.tenant.has_owner_keys
            vectors = self._vectors_of(judged) if entry.kind == EntryKind.ACCEPT else named
            if vectors is None and not waits:
                # Decisions can still be compared, the models cannot be recomputed any more.
                self.unknown |= set(self.unit.models)
                vectors = self._nothing()
            content = EntryContent(vectors or {})
        elif entry.kind == EntryKind.QUERY and judged is not None:
            content = EntryContent(query_id=query_id(judged.arrival))
        elif entry.kind == EntryKind.LEARNT and not entry.reason:
            kept = self.unit.models.get(entry.model_id)
            if learnt is not None:
                # Whatever was not known before: this is the model now.
                self.unknown.discard(entry.model_id)
            elif kept is not None:
                self.unknown.add(entry.model_id)
                self._unknown_to[entry.model_id] = entry.model_version
                content = EntryContent(learnt=kept.model.content)
        elif entry.kind == EntryKind.ANSWERED:
            self._close(link)
        elif entry.kind == EntryKind.CONFIGURED and judged is not None:
            content = EntryContent(change=self._change(judged.arrival))
        before = {name: kept.model for name, kept in self.unit.models.items()}
        try:
            self.unit.apply(entry, link.entry_id, content)
        except (PrivMLError, KeyError, ValueError):
            detail = f"entry {entry.sequence} cannot be folded: no state follows from it"
            self.findings.add(FindingCode.WRONG_DECISION, link.place, detail)
            self.complete = False
            return
        self._remember_sufficiency(entry, before)
        self.record.folded(link, self.unit, self.unknown if self.complete else set(self.unit.models))

    def _change(self, arrival: Arrival) -> Change | None:
        try:
            return next_change(self.tenant, self.unit.configured, arrival)
        except (NotSuccessorError, SchemaError):
            return None

    def _nothing(self) -> Vectors:
        """Return a chunk that adds nothing, in the place of one that is not there."""
        layouts = zip(self.unit.encodings.names, self.unit.encodings.layouts(1), strict=True)
        return {name: (Ciphertext(1, 1),) * layout.ciphertexts for name, layout in layouts}

    def _vectors_of(self, judged: Judged | None) -> Vectors | None:
        if judged is None:
            return None
        if isinstance(judged.screened, ScreenedChunk):
            return judged.screened.vectors
        # Accepted against the rules: MU folds what can be decoded.
        return chunk_vectors(self.unit.encodings, judged.arrival)

    def _close(self, link: Link) -> None:
        asked = self.unit.open_queries.get(link.entry.message_hash)
        if asked is not None and self.knows(asked[0].model_id, asked[0].model_version):
            learner = self.unit.models[asked[0].model_id].learner
            self.closed.append(ClosedQuery(*asked, learner, link))

    def _remember_sufficiency(self, entry: JournalEntry, before: dict[str, ModelState]) -> None:
        """Keep models since the last query that differ from the current ones in whether they may answer."""
        if entry.topic == TopicName.QUERIES and entry.kind != EntryKind.ANSWERED:
            self._models_before.clear()
            return
        for name, model in before.items():
            if model.suffices(self.tenant) != self.unit.models[name].model.suffices(self.tenant):
                self._models_before[name] = model


def _says(entry: JournalEntry) -> str:
    reason = f" ({entry.reason})" if entry.reason else ""
    model = f" by {entry.model_id}, version {entry.model_version}" if entry.model_id else ""
    return f"{entry.kind}{reason} of {entry.records} records{model}"
