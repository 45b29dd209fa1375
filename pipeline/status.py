"""How a tenant is doing, from public data: what waits, which versions answer, what was passed over.

Kept between two looks is the fold of the journal, which begins at MU's last snapshot: a look reads what
came since the last one. Figures for people; no decision depends on them.
"""

import time
from collections import Counter, deque
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, TypeVar

from crypto.errors import SchemaError
from pipeline.errors import BrokerRefusedError
from pipeline.journal_fold import chained_entries
from pipeline.mailbox import Inbox
from pipeline.rounds_status import RoundsStatus
from pipeline.sealed_models import AbsentContent
from pipeline.snapshots import usable_snapshot
from pipeline.status_warnings import Lag, warnings_of
from pipeline.transport import Transport
from roles.arrival import Arrival
from roles.entry_content import EntryContent
from roles.journal_index import MemoryIndex
from roles.kept_model import KeptModel, sealed_place
from roles.master_unit import MasterUnit
from roles.tenant import Tenant
from roles.unit_totals import UnitTotals
from schemas.codec import decode
from schemas.journal import EntryKind, JournalEntry
from schemas.models import classifier_of
from schemas.topics import TopicName, topic_name

T = TypeVar("T")

RECENT_CHUNKS = 10
"""Chunks that a model has learnt or passed over lately, of which the passed over are counted."""
RECENT_ENTRIES = 512
"""Entries before the end of the journal among which the recent chunks are looked for."""


class StatusWatch:
    """Looks at a tenant again and again.

    Args:
        transport: Where the topics are.
        tenant: Public facts.
    """

    def __init__(self, transport: Transport, tenant: Tenant) -> None:
        self._transport = transport
        self._tenant = tenant
        self._rounds = RoundsStatus(transport, tenant)
        self._unit: UnitTotals | None = None
        self._journal_offset = 0
        self._recent = {
            spec.model_id: deque[str](maxlen=RECENT_CHUNKS) for spec in tenant.configuration.models
        }
        self._unseen: set[str] = set()

    async def look(self) -> dict[str, Any]:
        """Return the status as it is now, as JSON values.

        Raises:
            StorageError: An entry of the journal is missing or changed.
            BrokerRefusedError: This login may not read the journal.
        """
        self._unseen = set()
        unit = await self._folded()
        now = time.time_ns()
        journal = await self._last_written(TopicName.JOURNAL)
        receipt = await self._seen(TopicName.RECEIPTS, self._last_written(TopicName.RECEIPTS))
        lags = {topic: await self._lag(unit, topic, now) for topic in (TopicName.CHUNKS, TopicName.QUERIES)}
        rounds = await self._seen(TopicName.ROUND_REQUESTS, self._rounds.look(now))
        models = [self._model(kept) for kept in unit.models.values()]
        return {
            "tenant": self._tenant.name,
            "at": _time_text(now),
            "journal": {"entries": unit.next_sequence, **_moment(journal, now)},
            "lag": {"chunks": lags[TopicName.CHUNKS].messages, "queries": lags[TopicName.QUERIES].messages},
            "queries_open": len(unit.open_queries),
            "rekeying": len(unit.rekeying.chunks),
            "rounds": rounds,
            "models": models,
            "last_receipt": _moment(receipt, now),
            "warnings": warnings_of(models, lags, rounds, idle_seconds=_seconds_since(journal, now)),
            "unseen": sorted(self._unseen),
        }

    # --- the journal

    async def _folded(self) -> UnitTotals:
        if self._unit is None:
            self._unit = await self._start()
        unit, offset = self._unit, self._journal_offset
        async for stored in chained_entries(self._transport, self._tenant, unit, offset):
            unit.apply(stored.entry, stored.entry_id, totals_content(stored.entry))
            self._note(stored.entry)
            self._journal_offset = stored.offset + 1
        return unit

    async def _start(self) -> UnitTotals:
        """Begin at the newest snapshot that is of use; from the first entry where there is none."""
        unit = UnitTotals(self._tenant, MasterUnit.starting(self._tenant).models)
        begun = usable_snapshot(self._transport, self._tenant, MemoryIndex())
        usable = await self._seen(TopicName.SNAPSHOTS, begun)
        if usable is not None:
            snapshot, found = usable
            unit.models, unit.open_queries = found.models, found.open_queries
            unit.rekeying = found.rekeying
            unit.head, unit.next_sequence = found.head, found.next_sequence
            unit.next_offset = found.next_offset
            self._journal_offset = snapshot.journal_offset
            await self._note_before(snapshot.journal_offset)
        return unit

    async def _note_before(self, end: int) -> None:
        """Take note of lessons shortly before the place where folding begins."""
        name = topic_name(self._tenant.name, TopicName.JOURNAL)
        start = max(await self._transport.beginning_offset(name, 0), end - RECENT_ENTRIES)
        inbox = Inbox(self._transport, self._tenant, TopicName.JOURNAL, offset=start)
        while (before := inbox.next_offset) < end:
            for message in await inbox.receive(0.0):
                if isinstance(message, Arrival) and message.offset < end:
                    try:
                        self._note(decode(JournalEntry, message.body))
                    except SchemaError:
                        continue
            if inbox.next_offset == before:
                return

    def _note(self, entry: JournalEntry) -> None:
        if entry.kind == EntryKind.LEARNT and entry.model_id in self._recent:
            self._recent[entry.model_id].extend([entry.reason] * max(1, len(entry.invalid)))

    def _model(self, kept: KeptModel) -> dict[str, Any]:
        model, answering = kept.model, kept.next_answering()
        recent = self._recent[kept.learner.model_id]
        return {
            "id": kept.learner.model_id,
            "classifier": classifier_of(kept.learner.spec),
            "version": model.version,
            "records": model.records,
            "chunks": model.chunks,
            "owners": model.owners,
            "waiting": len(kept.waiting),
            "answering": (
                {"version": answering.version, "records": answering.records}
                if answering is not None and model.suffices(self._tenant)
                else None
            ),
            "recent": {
                "chunks": len(recent),
                "passed_over": dict(sorted(Counter(reason for reason in recent if reason).items())),
            },
        }

    # --- topics

    async def _lag(self, unit: UnitTotals, topic: TopicName, now: int) -> Lag:
        """Say how many messages are not decided yet, and since when the first of them waits."""
        name = topic_name(self._tenant.name, topic)
        end = await self._seen(topic, self._transport.end_offset(name, 0))
        if end is None:
            return Lag(None, None)
        decided = unit.next_offset.get((topic, 0), 0)
        begins = await self._transport.beginning_offset(name, 0)
        first = max(decided, begins)
        if first >= end:
            return Lag(0, None)
        found = await self._seen(topic, self._transport.read(name, 0, first, max_messages=1))
        return Lag(end - first, _seconds_since(found[0].written_at, now) if found else None)

    async def _last_written(self, topic: TopicName) -> int | None:
        name = topic_name(self._tenant.name, topic)
        end = await self._transport.end_offset(name, 0)
        if end <= await self._transport.beginning_offset(name, 0):
            return None
        found = await self._transport.read(name, 0, end - 1, max_messages=1)
        return found[0].written_at if found else None

    async def _seen(self, topic: TopicName, look: Awaitable[T]) -> T | None:
        """Return what is found on a topic; None, and note it, where this login may not read it."""
        try:
            return await look
        except BrokerRefusedError:
            self._unseen.add(topic.value)
            return None


def totals_content(entry: JournalEntry) -> EntryContent:
    """Return as much of what an entry names as totals need."""
    if entry.kind == EntryKind.LEARNT and not entry.reason:
        return EntryContent(learnt=AbsentContent(sealed_place(entry)))
    return EntryContent(query_id=entry.message_hash)


def _time_text(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="seconds")


def _seconds_since(written_at: int | None, now: int) -> float | None:
    # A clock that is behind the writer's shows nothing from the future.
    return None if written_at is None else max(0.0, round((now - written_at) / 1e9, 3))


def _moment(written_at: int | None, now: int) -> dict[str, Any]:
    at = None if written_at is None else _time_text(written_at)
    return {"at": at, "seconds": _seconds_since(written_at, now)}
