"""What a check of `privml doctor` found, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from crypto.errors import PrivMLError
from schemas.reasons import ReasonCode


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: Name of the check.
        status: How it ended.
        detail: One sentence: what was seen, or why nothing was looked at.
        hint: What to do; None if there is nothing.
    """

    check: str
    status: Status
    detail: str
    hint: str | None = None

    @classmethod
    def ok(cls, check: str, detail: str) -> Self:
        """Return that all is well."""
        return cls(check, Status.OK, detail)

    @classmethod
    def failed(cls, check: str, detail: str, hint: str | None = None) -> Self:
        """Return that something must be done."""
        return cls(check, Status.FAILED, detail, hint)

    @classmethod
    def skipped(cls, check: str, detail: str, hint: str | None = None) -> Self:
        """Return that nothing was looked at."""
        return cls(check, Status.SKIPPED, detail, hint)

    @classmethod
    def of_error(cls, check: str, error: PrivMLError) -> Self:
        """Return a failure as our own error tells it."""
        reason = ReasonCode(error.code)
        text = next((part for part in error.args[:1] if isinstance(part, str)), "") or reason.meaning
        file = getattr(error, "file", None)
        hint = getattr(error, "hint", None) or reason.hint
        return cls.failed(check, text if file is None else f"{file}: {text}", hint)

    def fields(self) -> Mapping[str, str | None]:
        """Return it as JSON values."""
        return {
            "check": self.check,
            "status": self.status.value,
            "detail": self.detail,
            "hint": self.hint,
        }
