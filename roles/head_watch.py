"""SU's memory of heads: which versions of a model may answer, by MU's signed word (rule 9).

SU cannot read chunks. What it can do is to insist that MU has said, signed and for everybody to
audit, how many records of how many owners a version holds, that no version follows another one too
soon, and that MU's journal does not go back.
"""

from collections import deque
from dataclasses import dataclass, field

from roles.kept_model import may_follow
from roles.learners import AnyLearner, learners_of
from roles.refusal import Refusal
from roles.tenant import Tenant
from schemas.heads import Head
from schemas.reasons import ReasonCode
from schemas.rounds import Subject

KEPT_HEADS = 64


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
    _learners: dict[str, AnyLearner] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._learners = learners_of(self.tenant)

    def offer(self, head: Head) -> bool:
        """Take a head that MU signed; return whether SU goes by it from now on.

        A head is passed over if it is no news, if it is about an entry before the last one's, if its
        version may not answer yet, or if it says something else of a content than an earlier head did.
        """
        learner = self._learners.get(head.model_id)
        if learner is None:
            return False
        kept = self._kept.setdefault(head.model_id, deque(maxlen=self.limit))
        if not self._may_answer(learner, head, kept[-1] if kept else None):
            return False
        if any(k.model_hash == head.model_hash and _totals(k) != _totals(head) for k in kept):
            return False
        kept.append(head)
        return True

    def _may_answer(self, learner: AnyLearner, head: Head, last: Head | None) -> bool:
        limits = self.tenant.configuration.limits
        if head.records < limits.min_records or head.owners < limits.min_owners:
            return False
        if last is None:
            return True
        if head.journal_sequence <= last.journal_sequence or head.model_version <= last.model_version:
            return False
        return may_follow(limits, last.records, head.records, lost=learner.loses_chunks(last, head))

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


def _totals(head: Head) -> tuple[int, int, int]:
    return head.records, head.owners, head.chunks
