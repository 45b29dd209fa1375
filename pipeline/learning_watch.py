"""Watching a replay's fresh tenant learn: its journal as it grows, and how long everything took."""

import asyncio
import time
from array import array
from collections.abc import Callable

from pipeline.errors import PipelineError
from pipeline.mailbox import Inbox
from pipeline.replay_feed import Feed
from pipeline.replay_report import ReplayReport
from pipeline.sealed_models import sealed_model
from pipeline.transport import Transport
from roles.arrival import Arrival
from roles.entry_content import NOTHING, EntryContent
from roles.kept_model import sealed_place
from roles.master_unit import MasterUnit
from roles.tenant import Tenant
from roles.unit_totals import UnitTotals
from schemas.codec import decode
from schemas.journal import EntryKind, JournalEntry
from schemas.reasons import ReasonCode
from schemas.topics import TopicName

LOOK_SECONDS = 1.0
STALL_SECONDS = 600.0


class StalledError(PipelineError):
    """The units have stopped to learn."""

    code = ReasonCode.TIMEOUT


class LearningWatch:
    """Reads the journal, frees the feed's places, and notes when chunks were learnt.

    Args:
        target: Where the fresh tenant's topics are.
        tenant: The fresh tenant.
        feed: What feeds it.
        report: Takes counts and durations.

    Attributes:
        totals: The models as the journal tells of them.
        latencies: By model, seconds from a chunk's append until it was learnt or passed over.
    """

    def __init__(self, target: Transport, tenant: Tenant, feed: Feed, report: ReplayReport) -> None:
        self._target = target
        self._tenant = tenant
        self._feed = feed
        self._report = report
        self._decided = 0
        self._fed_at: dict[bytes, float] = {}
        self.totals = UnitTotals(tenant, MasterUnit.starting(tenant).models)
        self.latencies: dict[str, array[float]] = {name: array("d") for name in self.totals.models}

    @property
    def is_done(self) -> bool:
        """Whether all that was fed is decided, and all that can be learnt is learnt."""
        return (
            self._feed.ended
            and self._decided >= self._feed.messages
            and not any(kept.lesson_size() for kept in self.totals.models.values())
        )

    async def run(self, check_units: Callable[[], None]) -> None:
        """Watch until all is learnt.

        Args:
            check_units: Raises if a unit runs no more.

        Raises:
            StalledError: Nothing was decided or learnt for a long time.
        """
        inbox = Inbox(self._target, self._tenant, TopicName.JOURNAL)
        heard = time.monotonic()
        while not self.is_done:
            arrivals = await inbox.receive(LOOK_SECONDS)
            for arrival in arrivals:
                if isinstance(arrival, Arrival):
                    heard = time.monotonic()
                    await self._take(decode(JournalEntry, arrival.body), arrival.message_hash, heard)
            check_units()
            if time.monotonic() - heard > STALL_SECONDS:
                raise StalledError(
                    f"nothing was learnt for {STALL_SECONDS:g} s", hint="the units' own messages are above"
                )

    async def _take(self, entry: JournalEntry, entry_id: bytes, now: float) -> None:
        content = NOTHING
        if entry.kind == EntryKind.LEARNT:
            for chunk in self.totals.closed_chunks(entry):
                self.latencies[entry.model_id].append(now - self._fed_at[chunk.message_hash])
            if not entry.reason:
                # Not its place alone: from a tree's shape follows how large the next lesson is.
                learner = self.totals.models[entry.model_id].learner
                model = await sealed_model(self._target, self._tenant, learner, sealed_place(entry))
                content = EntryContent(learnt=None if model is None else model.content)
        elif entry.topic == TopicName.CHUNKS:
            self._note_decision(entry, now)
        await asyncio.to_thread(self.totals.apply, entry, entry_id, content)
        self._report.seconds = now - self._feed.started

    def _note_decision(self, entry: JournalEntry, now: float) -> None:
        """Note how long a chunk took to be decided; of one in parts, since its last part."""
        fed_at = now
        while self._decided <= entry.offset:
            fed_at = self._feed.taken()
            self._decided += 1
        self._report.latencies.append(now - fed_at)
        if entry.kind != EntryKind.ACCEPT:
            self._report.rejected += 1
            return
        self._report.accepted += 1
        self._report.records += entry.records
        self._fed_at[entry.message_hash] = fed_at
        for name, kept in self.totals.models.items():
            if not kept.is_taught:
                self.latencies[name].append(now - fed_at)
