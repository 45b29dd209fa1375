"""SU's memory of heads: which versions of a model may answer, by MU's signed word (rule 9).

SU cannot read chunks. What it can do is to insist that MU has said, signed and for everybody to
audit, how many records of how many owners a version holds, that no version follows another one too
soon, and that MU's journal does not go back.
"""

from collections import deque
from dataclasses import dataclass, field

from roles.kept_model import may_follow
from roles.refusal import Refusal
from roles.tenant import Tenant
from schemas.heads import Head
from schemas.reasons import ReasonCode
from schemas.rounds import Subject

KEPT_HEADS = 256


@dataclass(slots=True)
class HeadWatch:
    """The heads that SU goes by.

    Attributes:
        tenant: Public facts.
        limit: Versions of a model that may still be asked about.
    """

    tenant: Tenant
    limit: int = KEPT_HEADS
    _kept: dict[str, deque[Head]] = field(default_factory=dict, repr=False)
    _models: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._models = frozenset(spec.model_id for spec in self.tenant.configuration.models)

    def offer(self, head: Head) -> bool:
        """Take a head that MU signed; return whether SU goes by it from now on.

        A head is passed over if it is no news, if it is about an entry before the last one's, or if its
        version may not answer yet.
        """
        if head.model_id not in self._models:
            return False
        kept = self._kept.setdefault(head.model_id, deque(maxlen=self.limit))
        if not self._may_answer(head, kept[-1] if kept else None):
            return False
        kept.append(head)
        return True

    def _may_answer(self, head: Head, last: Head | None) -> bool:
        limits = self.tenant.configuration.limits
        if head.records < limits.min_records or head.owners < limits.min_owners:
            return False
        if last is None:
            return True
        if head.journal_sequence <= last.journal_sequence or head.model_version <= last.model_version:
            return False
        if not 0 <= head.withdrawn <= last.records:
            return False
        return may_follow(limits, last.records, head.records, head.withdrawn)

    def check(self, subject: Subject, *, version: bool) -> None:
        """Refuse a session about a version that no head speaks of.

        Args:
            subject: Of the session.
            version: Whether it names the version, beside its content.

        Raises:
            Refusal: There is no such head.
        """
        content = (subject.model_hash, subject.records, subject.owners)
        for head in self._kept.get(subject.model_id, ()):
            same = (head.model_hash, head.records, head.owners) == content
            if same and (not version or head.model_version == subject.model_version):
                return
        raise Refusal(ReasonCode.UNKNOWN_HEAD)
