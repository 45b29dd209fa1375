"""What an audit finds: a closed list of codes, each finding with its place in the log."""

from dataclasses import dataclass, field
from enum import StrEnum

MAX_FINDINGS = 1000
"""A log that is another one altogether shall not fill the memory of whoever looks at it."""


class FindingCode(StrEnum):
    """What is wrong; the value is what audits print."""

    BAD_MESSAGE = "bad_message"
    ENTRY_REPEATED = "entry_repeated"
    CHAIN_BROKEN = "chain_broken"
    CHAIN_FORKED = "chain_forked"
    MESSAGE_MISSING = "message_missing"
    MESSAGE_UNDECIDED = "message_undecided"
    WRONG_DECISION = "wrong_decision"
    RECEIPT_MISSING = "receipt_missing"
    RECEIPT_CONTRADICTS = "receipt_contradicts"
    HEAD_CONTRADICTS = "head_contradicts"
    CONFIGURATION_FORKED = "configuration_forked"
    MODEL_DIFFERS = "model_differs"
    MODEL_MISSING = "model_missing"
    SNAPSHOT_DIFFERS = "snapshot_differs"
    REQUEST_MISSING = "request_missing"
    REQUEST_DIFFERS = "request_differs"
    REQUEST_UNEXPLAINED = "request_unexplained"
    REPLY_MISSING = "reply_missing"
    REPLY_DIFFERS = "reply_differs"
    REPLY_UNEXPLAINED = "reply_unexplained"
    ANSWER_DIFFERS = "answer_differs"
    BASES_DIFFER = "bases_differ"
    MORE_FINDINGS = "more_findings"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message stands: topic within the tenant, partition, offset."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be.

    Attributes:
        code: What.
        place: Where it shows.
        detail: One sentence, without any content of a message.
    """

    code: FindingCode
    place: Place
    detail: str


@dataclass(slots=True)
class Findings:
    """The findings of an audit in the order in which they were made, at most `MAX_FINDINGS` and one more."""

    found: list[Finding] = field(default_factory=list)

    def add(self, code: FindingCode, place: Place, detail: str) -> None:
        """Note a finding; beyond the limit only that there are more."""
        if len(self.found) < MAX_FINDINGS:
            self.found.append(Finding(code, place, detail))
        elif len(self.found) == MAX_FINDINGS:
            self.found.append(Finding(FindingCode.MORE_FINDINGS, place, "this and further ones are left out"))
