"""What was recorded of the models' ciphertexts, against the models that the journal gives.

A head names a model's hash after an entry. None need be there; what is there must be right.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from roles.findings import FindingCode, Findings, Place
from roles.journal_chain import Link
from roles.master_unit import MasterUnit
from roles.model_state import ModelState
from roles.tenant import Tenant
from schemas.heads import Head

HEADS_AHEAD = 4096
"""Heads that are read ahead of the journal, since SU signs a head some time after MU."""


@dataclass(slots=True)
class ModelRecord:
    """Heads that wait for the entry that they are about.

    Attributes:
        tenant: Public facts.
        findings: Where findings go.
        recorded: Version and hash last recorded of every model.
    """

    tenant: Tenant
    findings: Findings
    recorded: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    _heads: dict[int, list[tuple[Place, Head]]] = field(default_factory=dict)
    _heads_held: int = 0
    _passed: int = -1
    _begun: int = -1
    _ended: bool = False
    _compared: dict[str, Head] = field(default_factory=dict)
    _hashed: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def begin(self, unit: MasterUnit) -> None:
        """Begin with the state of a snapshot: heads about what was before it are not looked at.

        But for the head about the version that answers then: MU says at every start which one does.
        """
        self._begun = self._passed = unit.next_sequence - 1
        for model_id, kept in unit.models.items():
            if kept.answering_at[0] >= 0:
                self._compared[model_id] = kept.head(self.tenant)

    @property
    def wants_heads(self) -> bool:
        """Whether there is room to read heads ahead."""
        return self._heads_held < HEADS_AHEAD or self._ended

    def offer_head(self, place: Place, head: Head) -> None:
        """Take a head that a unit signed; it is compared when its entry is folded."""
        if self._compared.get(head.model_id) == head:
            return  # MU says at every start which version answers
        if head.journal_sequence <= self._begun and not self._answers_then(head):
            return
        if head.journal_sequence <= self._passed or self._ended:
            why = "comes long after later ones" if head.journal_sequence <= self._passed else "is not there"
            detail = f"the head is about entry {head.journal_sequence}, which {why}"
            self.findings.add(FindingCode.HEAD_CONTRADICTS, place, detail)
            return
        self._heads.setdefault(head.journal_sequence, []).append((place, head))
        self._heads_held += 1

    def folded(self, link: Link, unit: MasterUnit, unknown: Collection[str]) -> None:
        """Compare what is recorded of the state after an entry.

        Args:
            link: The entry, just folded.
            unit: The state after it.
            unknown: Models that could not be recomputed.
        """
        self._passed = link.entry.sequence
        for place, head in self._heads.pop(link.entry.sequence, ()):
            self._heads_held -= 1
            self._compare(place, head, link, unit, unknown)

    def end(self) -> None:
        """Report heads of entries that do not exist: the journal was longer when they were signed."""
        self._ended = True
        heads, self._heads = self._heads, {}
        for sequence in sorted(heads):
            for place, head in heads[sequence]:
                self.offer_head(place, head)

    def _answers_then(self, head: Head) -> bool:
        """Return whether a head is about the very version that answered when the audit begins."""
        answering = self._compared.get(head.model_id)
        return answering is not None and answering.journal_sequence == head.journal_sequence

    def _compare(
        self, place: Place, head: Head, link: Link, unit: MasterUnit, unknown: Collection[str]
    ) -> None:
        if head.journal_head != link.entry_id:
            detail = f"entry {head.journal_sequence} has another id"
            self.findings.add(FindingCode.HEAD_CONTRADICTS, place, detail)
        kept = unit.models.get(head.model_id)
        if kept is None:
            detail = f"the head is about a model that is not there after entry {head.journal_sequence}"
            self.findings.add(FindingCode.HEAD_CONTRADICTS, place, detail)
            return
        self.recorded[head.model_id] = (head.model_version, head.model_hash)
        self._compared[head.model_id] = head
        state = kept.model
        lost = kept.answering_lost if kept.answering_at[0] == head.journal_sequence else 0
        expected = (state.version, state.records, state.owners, lost)
        if (head.model_version, head.records, head.owners, head.withdrawn) != expected:
            detail = f"after entry {head.journal_sequence} the model has other totals"
            self.findings.add(FindingCode.HEAD_CONTRADICTS, place, detail)
        if head.model_id not in unknown and head.model_hash != self._hash(head.model_id, state):
            detail = f"after entry {head.journal_sequence} the model has another hash"
            self.findings.add(FindingCode.MODEL_DIFFERS, place, detail)

    def _hash(self, model_id: str, model: ModelState) -> bytes:
        # The same model is asked for by every head until the next chunk.
        known = self._hashed.get(model_id)
        if known is None or known[0] != model.version:
            known = self._hashed[model_id] = (model.version, model.hash(self.tenant))
        return known[1]
