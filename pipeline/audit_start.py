"""Where an audit begins: with the journal's first entry, or, where that is gone, with a snapshot.

A snapshot is MU's signed word for what was before it. It is taken if all that came after it is kept, and
the sealed models that it names are there and have the hashes that it gives.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.errors import BrokerRefusedError, UnknownTopicError
from pipeline.snapshots import unit_of_snapshot
from pipeline.transport import Transport
from roles.findings import Place
from roles.journal_index import MemoryIndex
from roles.master_unit import MasterUnit
from roles.tenant import Tenant
from schemas.snapshots import Snapshot
from schemas.topics import TopicName, topic_name

NOT_READABLE = (UnknownTopicError, BrokerRefusedError)
"""A topic that this auditor may not read, or that this tenant does not have."""

_READ_ON = (TopicName.CHUNKS, TopicName.QUERIES)


@dataclass(frozen=True, slots=True)
class AuditStart:
    """The state that an audit begins with.

    Attributes:
        unit: The state; it goes on as the audit does.
        first: Sequence of the first entry that is held against the rules.
        forgotten: Topics whose earlier messages are not all known by their numbers.
        snapshot: Where the snapshot stands; None if the audit begins with the first entry.
        chunks_before: Chunks that were accepted before and are not checked, but for withdrawn ones.
    """

    unit: MasterUnit
    first: int = 0
    forgotten: frozenset[str] = frozenset()
    snapshot: Place | None = None
    chunks_before: int = 0

    @property
    def as_text(self) -> str | None:
        """The start in words; None for the first entry."""
        if self.snapshot is None:
            return None
        before = f"{self.chunks_before} chunk{'' if self.chunks_before == 1 else 's'}"
        return f"snapshot at journal entry {self.first - 1}, {before} before it not checked"


async def audit_start(
    transport: Transport, tenant: Tenant, snapshots: Iterable[tuple[Place, Snapshot]]
) -> AuditStart:
    """Return where to begin: as early as what is kept allows.

    Where no snapshot will do either, that is the first entry: what is missing are findings then.

    Args:
        transport: Where the topics are.
        tenant: Public facts; versions of the configuration in force at the snapshot are entered.
        snapshots: What MU signed, the oldest first.
    """
    journal = await _beginning(transport, tenant, TopicName.JOURNAL)
    kept = [await _beginning(transport, tenant, topic) for topic in _READ_ON]
    if journal or any(kept):
        for place, snapshot in snapshots:
            if snapshot.journal_offset < journal or not _is_kept(snapshot, kept):
                continue
            unit = await unit_of_snapshot(transport, tenant, snapshot, MemoryIndex())
            if unit is not None:
                forgotten = [TopicName.QUERIES, *([TopicName.CHUNKS] if journal else [])]
                return AuditStart(unit, unit.next_sequence, frozenset(forgotten), place, _chunks(unit))
    return AuditStart(MasterUnit.starting(tenant))


async def _beginning(transport: Transport, tenant: Tenant, topic: TopicName) -> int:
    try:
        return await transport.beginning_offset(topic_name(tenant.name, topic), 0)
    except NOT_READABLE:
        return 0


def _is_kept(snapshot: Snapshot, beginnings: Sequence[int]) -> bool:
    goes_on = {(topic, partition): offset for topic, partition, offset in snapshot.next_offsets}
    return all(
        goes_on.get((topic, 0), 0) >= beginning for topic, beginning in zip(_READ_ON, beginnings, strict=True)
    )


def _chunks(unit: MasterUnit) -> int:
    return max(kept.model.chunks + len(kept.waiting) for kept in unit.models.values())
