"""What in a tenant's status calls for somebody's hand, and what to do about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roles.master_unit import MAX_WAITING
from schemas.reasons import ReasonCode
from schemas.topics import TopicName

SILENT_SECONDS = 60.0
"""So long without a sign a unit counts as silent: ten times what MU waits before it repeats a request."""
REPEATED = 2
"""Chunks passed over by chance are one; so many of the recent ones are a habit."""

_OVERFLOW_HINTS = {
    "lr": "lower rate, or set decay or l2, in a new tenant: weights no longer fit their 24 bits",
    "dt": "use smaller chunks",
}


@dataclass(frozen=True, slots=True)
class Lag:
    """Messages of one topic that MU has not decided.

    Attributes:
        messages: Their number; None where it cannot be seen.
        seconds: How long the first of them has been there.
    """

    messages: int | None
    seconds: float | None


def warnings_of(
    models: Sequence[Mapping[str, Any]],
    lags: Mapping[TopicName, Lag],
    rounds: Mapping[str, Any] | None,
    *,
    idle_seconds: float | None,
) -> list[dict[str, str | None]]:
    """Return the warnings, each {code, model, message}.

    Args:
        models: As in the status.
        lags: By topic.
        rounds: As in the status.
        idle_seconds: Since the last journal entry; None without any.
    """
    warnings: list[dict[str, str | None]] = []
    for model in models:
        warnings += _warnings_of_model(model)
    idle = idle_seconds is None or idle_seconds > SILENT_SECONDS
    for topic, lag in lags.items():
        if lag.messages and lag.seconds is not None and lag.seconds > SILENT_SECONDS and idle:
            warnings.append(
                _warning(
                    "mu_silent",
                    f"{lag.messages} messages on {topic} wait, the first for {lag.seconds:.0f} s, and "
                    "nothing is decided: check that `privml mu` runs",
                )
            )
    waited = None if rounds is None else rounds["waiting_seconds"]
    if waited is not None and waited > SILENT_SECONDS:
        warnings.append(
            _warning(
                "su_silent",
                f"MU has waited {waited:.0f} s for a reply: check that `privml su` runs",
            )
        )
    return warnings


def _warnings_of_model(model: Mapping[str, Any]) -> list[dict[str, str | None]]:
    warnings: list[dict[str, str | None]] = []
    recent = model["recent"]
    for reason, count in recent["passed_over"].items():
        if count < REPEATED:
            continue
        text = f"model {model['id']} passed over {count} of the last {recent['chunks']} chunks as {reason}"
        if reason == ReasonCode.OVERFLOW and model["classifier"] in _OVERFLOW_HINTS:
            text += f": {_OVERFLOW_HINTS[model['classifier']]}"
        else:
            text += f": {ReasonCode(reason).hint}" if reason in set(ReasonCode) else ""
        warnings.append(_warning("overflow" if reason == ReasonCode.OVERFLOW else "passed_over", text, model))
    if model["waiting"] >= MAX_WAITING:
        text = (
            f"model {model['id']} is {model['waiting']} chunks behind, and MU takes no more: check that "
            "`privml su` runs, or publish more slowly"
        )
        warnings.append(_warning("model_behind", text, model))
    return warnings


def _warning(code: str, message: str, model: Mapping[str, Any] | None = None) -> dict[str, str | None]:
    return {"code": code, "model": None if model is None else model["id"], "message": message}
