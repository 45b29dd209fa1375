"""The master unit's public totals without its ciphertexts: the same fold of the journal, from entries alone.

Versions, records, owners, what waits and what is open follow from the entries; the models' contents do
not, so that nobody may ask this fold for a hash or a session.
"""

from dataclasses import dataclass

from roles.chunk_encodings import Vectors
from roles.classifiers.learner import CountingLearner
from roles.master_unit import MasterUnit
from roles.roster import Change
from schemas.journal import JournalEntry
from schemas.snapshots import WaitingChunk


@dataclass(slots=True)
class UnitTotals(MasterUnit):
    """A master unit whose models keep the content they started with, whatever is folded.

    It need not have seen every entry: what an earlier one accepted may be withdrawn all the same.
    """

    @property
    def key_epoch(self) -> int:
        """The first key epoch, whatever is in force: totals are not counted by it."""
        return self.tenant.roster.first_key_epoch

    def _take_in(self, chunk: WaitingChunk, vectors: Vectors) -> None:
        del vectors
        for kept in self.models.values():
            if isinstance(kept.learner, CountingLearner):
                kept.model = kept.model.taking(chunk.owner, chunk.records, kept.model.content)
            else:
                kept.waiting.append(chunk)

    def _withdraw(self, entry: JournalEntry, vectors: Vectors) -> None:
        del vectors
        known = self.index.chunk(entry.sender, entry.sender_sequence)
        accepted_at = -1 if known is None else known.sequence
        for kept in self.models.values():
            lost = kept.model.losing(entry.sender, entry.records, kept.model.content)
            kept.lose(lost, entry.records, accepted_at)

    def _configure(self, entry: JournalEntry, change: Change | None) -> None:
        # Totals need no sender: what the journal accepted is accepted.
        del entry, change
        self.configured += 1
