"""The result of an audit as it is printed: `audit/1` of docs/cli.md."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.audit_start import AuditStart
from roles.auditor import Auditor
from roles.findings import Finding
from roles.kept_model import KeptModel
from roles.model_record import ModelRecord
from roles.model_state import ModelState
from roles.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Checked:
    """How much an audit looked at."""

    signatures: int = 0
    journal_entries: int = 0
    chunks_accepted: int = 0
    chunks_rejected: int = 0
    withdrawals: int = 0
    receipts: int = 0
    snapshots: int = 0
    sessions_recomputed: int = 0


@dataclass(frozen=True, slots=True)
class AuditedModel:
    """What an audit says of the model; None where nothing is known.

    Attributes:
        model_id: Which model.
        version: The one after the last entry.
        recorded: Hash of that version as heads or a refresh have it.
        recomputed: Its hash from the chunks.
    """

    model_id: str
    version: int | None = None
    recorded: bytes | None = None
    recomputed: bytes | None = None

    @classmethod
    def of(
        cls, tenant: Tenant, kept: KeptModel, model: ModelState | None, record: ModelRecord
    ) -> "AuditedModel":
        """Return what is known of a model; only a record of its very version can be compared.

        What a model learnt by sessions is recorded and not recomputed from public data.
        """
        model_id, version = kept.learner.model_id, kept.model.version
        said = record.recorded.get(model_id)
        recorded = said[1] if said is not None and said[0] == version else None
        recomputed = None if model is None or kept.is_taught else model.hash(tenant)
        return cls(model_id, version, recorded, recomputed)

    def as_dict(self) -> dict[str, Any]:
        """Return the model as an audit prints it."""
        known = self.recorded is not None and self.recomputed is not None
        return {
            "id": self.model_id,
            "version": self.version,
            "sha256_recorded": None if self.recorded is None else self.recorded.hex(),
            "sha256_recomputed": None if self.recomputed is None else self.recomputed.hex(),
            "matches": self.recorded == self.recomputed if known else None,
        }


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit looked at and found.

    Attributes:
        findings: In the order in which they were made.
        checked: How much of what.
        models: About every model.
        start: Where the journal was begun; None where it was not read.
        last: Sequence of the last entry, −1 of none.
        skipped: What was not looked at, and could have been.
    """

    findings: Sequence[Finding]
    checked: Checked
    models: Sequence[AuditedModel]
    start: AuditStart | None = None
    last: int | None = None
    skipped: Sequence[str] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of the object."""
        return {
            "ok": self.ok,
            "from": self._from(),
            "to": {"journal_sequence": self.last, "snapshot": None},
            "checked": {name: getattr(self.checked, name) for name in Checked.__slots__},
            "model": self.models[0].as_dict(),
            "models": [model.as_dict() for model in self.models],
            "findings": [
                {
                    "code": finding.code.value,
                    "topic": finding.place.topic,
                    "partition": finding.place.partition,
                    "offset": finding.place.offset,
                    "detail": finding.detail,
                }
                for finding in self.findings
            ],
            "skipped": list(self.skipped),
        }

    def _from(self) -> dict[str, Any]:
        start = self.start
        if start is None:
            return {"journal_sequence": None, "snapshot": None, "chunks_before": None}
        return {
            "journal_sequence": start.first,
            "snapshot": start.as_text,
            "chunks_before": start.chunks_before,
        }


def audited_models(tenant: Tenant, auditor: Auditor) -> list[AuditedModel]:
    """Return what the fold of a journal says of every model."""
    return [
        AuditedModel.of(tenant, kept, auditor.current_model(name), auditor.record)
        for name, kept in auditor.unit.models.items()
    ]


def unkept_chunks(auditor: Auditor) -> list[str]:
    """Return what to say, if anything, of a withdrawal whose chunk is not kept."""
    if auditor.unkept is None:
        return []
    what = "models" if auditor.complete else "decisions and models"
    return [f"{what} from journal entry {auditor.unkept} on, which withdraws a chunk that is not kept"]
