"""What a replay did, how long it took, and whether it led to the recorded models."""

from array import array
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from roles.kept_model import KeptModel
from schemas.models import classifier_of


class Speed(StrEnum):
    """How fast the stream is fed."""

    FULL = "full"
    RECORDED = "recorded"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which messages of the chunks topic are replayed.

    Attributes:
        start: Offset of the first.
        stop: Offset behind the last.
        whole: Whether that is all that MU had decided.
    """

    start: int
    stop: int
    whole: bool


@dataclass(slots=True)
class ReplayedModel:
    """One model after a replay.

    Attributes:
        kept: The model at its unit.
        recorded_hash: Of the recorded model; None where the hashes cannot be equal.
        replayed_hash: Of this one.
        matches: Whether it is the recorded model, as far as can be seen; None if it need not be.
        twin_agreement: Part of the answers that were the plaintext twin's; None if nothing was asked.
    """

    kept: KeptModel
    recorded_hash: str | None = None
    replayed_hash: str | None = None
    matches: bool | None = None
    twin_agreement: float | None = None
    latencies: "array[float]" = field(default_factory=lambda: array("d"), repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of an entry of `models`."""
        model = self.kept.model
        return {
            "id": self.kept.learner.model_id,
            "classifier": classifier_of(self.kept.learner.spec),
            "version": model.version,
            "chunks": model.chunks,
            "records": model.records,
            "waiting": len(self.kept.waiting),
            **_quantiles("learnt", self.latencies),
            "sha256_recorded": self.recorded_hash,
            "sha256_replayed": self.replayed_hash,
            "matches": self.matches,
            "twin_agreement": self.twin_agreement,
        }


@dataclass(frozen=True, slots=True)
class UnitFigures:
    """What a unit used: CPU seconds while the stream was learnt, and its largest memory."""

    cpu_seconds: float
    peak_rss_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of an entry of `units`."""
        return {"cpu_seconds": self.cpu_seconds, "peak_rss_bytes": self.peak_rss_bytes}


@dataclass(slots=True)
class ReplayReport:
    """The figures of a replay.

    Attributes:
        units: Of MU and SU by role; of MU alone where the stream is replayed as it is encrypted.
        encrypt_seconds: CPU seconds of the owners; None where nothing was encrypted.
        bytes_mu_su: Between the units; None where there is no SU, or where nobody can tell.
        latencies: Seconds from a message's append to its decision.
    """

    stretch: Stretch
    speed: Speed
    reencrypted: bool = False
    messages: int = 0
    bytes: int = 0
    accepted: int = 0
    rejected: int = 0
    withdrawn: int = 0
    records: int = 0
    seconds: float = 0.0
    units: dict[str, UnitFigures] = field(default_factory=dict)
    encrypt_seconds: float | None = None
    bytes_mu_su: int | None = None
    models: list[ReplayedModel] = field(default_factory=list)
    latencies: "array[float]" = field(default_factory=lambda: array("d"), repr=False)

    @property
    def differs(self) -> bool:
        """Whether a model is not the recorded one or not its twin's, or accepted chunks are refused."""
        refused = self.reencrypted and self.rejected > 0
        return refused or any(
            model.matches is False or (model.twin_agreement is not None and model.twin_agreement < 1)
            for model in self.models
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of `replay/1`."""
        models = [model.as_dict() for model in self.models]
        return {
            "speed": self.speed.value,
            "reencrypted": self.reencrypted,
            "from_offset": self.stretch.start,
            "to_offset": self.stretch.stop,
            "messages": self.messages,
            "bytes": self.bytes,
            "bytes_mu_su": self.bytes_mu_su,
            "chunks_accepted": self.accepted,
            "chunks_rejected": self.rejected,
            "withdrawals": self.withdrawn,
            "records": self.records,
            "seconds": self.seconds,
            "chunks_per_second": len(self.latencies) / self.seconds if self.seconds else None,
            "records_per_second": self.records / self.seconds if self.seconds else None,
            **_quantiles("chunk", self.latencies),
            "encrypt_seconds": self.encrypt_seconds,
            "cpu_seconds": sum(unit.cpu_seconds for unit in self.units.values()),
            "peak_rss_bytes": self.units["mu"].peak_rss_bytes,
            "units": {role: unit.as_dict() for role, unit in self.units.items()},
            "model": models[0],
            "models": models,
        }


def _quantiles(what: str, latencies: "array[float]") -> dict[str, float | None]:
    """Return median and 95th percentile of durations under their names, null without any."""
    ordered = sorted(latencies)
    return {
        f"{what}_seconds_median": ordered[len(ordered) // 2] if ordered else None,
        f"{what}_seconds_p95": ordered[len(ordered) * 95 // 100] if ordered else None,
    }
