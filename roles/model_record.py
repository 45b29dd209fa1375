"""What was recorded of a model's ciphertexts, against the model that the journal gives.

Two records name a model's hash: signed heads, and the subjects of refreshes, in which MU told SU
which model it is about to open. Neither need be there; what is there must be right.
"""

from dataclasses import dataclass, field

from roles.findings import FindingCode, Findings, Place
from roles.journal_chain import Link
from roles.master_unit import MasterUnit
from roles.model_state import ModelState
from roles.tenant import Tenant
from schemas.heads import Head
from schemas.journal import EntryKind
from schemas.rounds import Subject

HEADS_AHEAD = 4096
"""Heads that are read ahead of the journal, since SU signs a head some time after MU."""


@dataclass(slots=True)
class _Claim:
    place: Place
    subject: Subject
    confirmed: bool = False


@dataclass(slots=True)
class ModelRecord:
    """Heads and refreshes that wait for the entry that they are about.

    Attributes:
        tenant: Public facts.
        findings: Where findings go.
        recorded: Version and hash of the model last recorded.
    """

    tenant: Tenant
    findings: Findings
    recorded: tuple[int, bytes] | None = None
    _heads: dict[int, list[tuple[Place, Head]]] = field(default_factory=dict)
    _heads_held: int = 0
    _passed: int = -1
    _ended: bool = False
    _claims: dict[bytes, _Claim] = field(default_factory=dict)
    _hashed: tuple[int, bytes] | None = None

    @property
    def wants_heads(self) -> bool:
        """Whether there is room to read heads ahead."""
        return self._heads_held < HEADS_AHEAD or self._ended

    def offer_head(self, place: Place, head: Head) -> None:
        """Take a head that a unit signed; it is compared when its entry is folded."""
        if head.journal_sequence <= self._passed or self._ended:
            why = "comes long after later ones" if head.journal_sequence <= self._passed else "is not there"
            detail = f"the head is about entry {head.journal_sequence}, which {why}"
            self.findings.add(FindingCode.HEAD_CONTRADICTS, place, detail)
            return
        self._heads.setdefault(head.journal_sequence, []).append((place, head))
        self._heads_held += 1

    def offer_refresh(self, place: Place, subject: Subject) -> None:
        """Take the subject of a refresh; it must be that of a model that answers a query."""
        self._claims.setdefault(subject.model_hash, _Claim(place, subject))

    def folded(self, link: Link, unit: MasterUnit, model: ModelState | None) -> None:
        """Compare what is recorded of the state after an entry.

        Args:
            link: The entry, just folded.
            unit: The state after it.
            model: The model after it; None if it could not be recomputed.
        """
        self._passed = link.entry.sequence
        for place, head in self._heads.pop(link.entry.sequence, ()):
            self._heads_held -= 1
            self._compare(place, head, link, unit, model)
        if link.entry.kind == EntryKind.QUERY and model is not None and self._claims:
            self._confirm(unit.answering)

    def end(self) -> None:
        """Report heads of entries that do not exist: the journal was longer when they were signed."""
        self._ended = True
        heads, self._heads = self._heads, {}
        for sequence in sorted(heads):
            for place, head in heads[sequence]:
                self.offer_head(place, head)

    def close(self, *, complete: bool) -> None:
        """Report refreshes of models that the journal does not give.

        Args:
            complete: Whether all models of the journal could be recomputed.
        """
        for claim in self._claims.values():
            if not claim.confirmed and complete:
                detail = "MU refreshed a model that the journal does not give"
                self.findings.add(FindingCode.MODEL_DIFFERS, claim.place, detail)

    def _compare(
        self, place: Place, head: Head, link: Link, unit: MasterUnit, model: ModelState | None
    ) -> None:
        state = unit.model
        self.recorded = (head.model_version, head.model_hash)
        if head.journal_head != link.entry_id:
            detail = f"entry {head.journal_sequence} has another id"
            self.findings.add(FindingCode.HEAD_CONTRADICTS, place, detail)
        expected = (state.spec.model_id, state.version, state.records, len(state.records_of))
        if (head.model_id, head.model_version, head.records, head.owners) != expected:
            detail = f"after entry {head.journal_sequence} the model has other totals"
            self.findings.add(FindingCode.HEAD_CONTRADICTS, place, detail)
        if model is not None and head.model_hash != self._hash(model):
            detail = f"after entry {head.journal_sequence} the model has another hash"
            self.findings.add(FindingCode.MODEL_DIFFERS, place, detail)

    def _confirm(self, answering: ModelState) -> None:
        claim = self._claims.get(self._hash(answering))
        if claim is None:
            return
        if (claim.subject.records, claim.subject.owners) == (answering.records, len(answering.records_of)):
            claim.confirmed = True
            if self.recorded is None or self.recorded[0] <= answering.version:
                self.recorded = (answering.version, claim.subject.model_hash)

    def _hash(self, model: ModelState) -> bytes:
        # The same model is asked for by every head and query until the next chunk.
        if self._hashed is None or self._hashed[0] != model.version:
            self._hashed = (model.version, model.hash(self.tenant))
        return self._hashed[1]
