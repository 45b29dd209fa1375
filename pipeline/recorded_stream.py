"""What a tenant's journal says of the chunks that it accepted: whose, how many records, in which order."""

from dataclasses import dataclass
from typing import Any

from pipeline.errors import PipelineError
from pipeline.journal_fold import chained_entries, look_up_models
from pipeline.replay_report import Speed, Stretch
from pipeline.status import totals_content
from pipeline.transport import Transport
from roles.kept_model import KeptModel
from roles.master_unit import MasterUnit
from roles.tenant import Tenant
from roles.unit_totals import UnitTotals
from schemas.journal import EntryKind, JournalEntry
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name

Bounds = tuple[int | None, int | None]
"""First offset on the chunks topic and the one behind the last; None: all that MU has decided."""


class HasWithdrawalsError(PipelineError):
    """Chunks were taken out again, which only a stream that is replayed as it is can do."""

    code = ReasonCode.USAGE


@dataclass(frozen=True, slots=True)
class RecordedChunk:
    """A chunk that MU accepted.

    Attributes:
        owner: Whose.
        records: Records in it.
        offset: Where its last part lies.
        written_at: When that was written, in nanoseconds since 1970; 0 where nobody asks.
    """

    owner: str
    records: int
    offset: int
    written_at: int = 0


@dataclass(frozen=True, slots=True)
class RecordedStream:
    """A stretch of a tenant's stream, without its ciphertexts.

    Attributes:
        tenant: Whose it is.
        stretch: Which messages are meant.
        accepted: All accepted chunks, those outside the stretch as well, in the journal's order.
        models: What is public of every model after all of them, by name; None of one that has yet to
            learn what it could.
    """

    tenant: Tenant
    stretch: Stretch
    accepted: tuple[RecordedChunk, ...]
    models: dict[str, dict[str, Any] | None]

    def holds(self, chunk: RecordedChunk) -> bool:
        """Return whether a chunk lies in the stretch."""
        return self.stretch.start <= chunk.offset < self.stretch.stop

    def records_of(self) -> dict[str, int]:
        """Return how many records every owner has published, whether or not they are in the stretch."""
        records: dict[str, int] = {}
        for chunk in self.accepted:
            records[chunk.owner] = records.get(chunk.owner, 0) + chunk.records
        return records


async def read_stream(
    source: Transport, tenant: Tenant, chunks: Bounds = (None, None), speed: Speed = Speed.FULL
) -> RecordedStream:
    """Read the journal, and the times of the chunks if the pauses between them are wanted.

    Raises:
        HasWithdrawalsError: There are withdrawals in that part of the stream.
        StorageError: The journal cannot be folded.
    """
    unit = UnitTotals(tenant, MasterUnit.starting(tenant).models)
    entries: list[JournalEntry] = []
    async for stored in chained_entries(source, tenant, unit, 0):
        unit.apply(stored.entry, stored.entry_id, totals_content(stored.entry))
        if stored.entry.kind in {EntryKind.ACCEPT, EntryKind.WITHDRAW}:
            entries.append(stored.entry)
    await look_up_models(source, unit)
    stretch = await decided_stretch(source, unit, chunks)
    if any(e.kind == EntryKind.WITHDRAW and stretch.start <= e.offset < stretch.stop for e in entries):
        raise HasWithdrawalsError(
            "chunks of this part of the stream were withdrawn",
            hint="leave --data out: such a tenant's stream can be replayed as it is encrypted",
        )
    times = await _written_times(source, tenant, stretch) if speed is Speed.RECORDED else {}
    accepted = tuple(
        RecordedChunk(entry.sender, entry.records, entry.offset, times.get(entry.offset, 0))
        for entry in entries
        if entry.kind == EntryKind.ACCEPT
    )
    models = {name: None if kept.lesson_size() else public_totals(kept) for name, kept in unit.models.items()}
    return RecordedStream(tenant, stretch, accepted, models)


async def decided_stretch(source: Transport, recorded: MasterUnit, chunks: Bounds) -> Stretch:
    """Cut bounds to what MU has decided; what it has not is in no model to compare with."""
    topic = topic_name(recorded.tenant.name, TopicName.CHUNKS)
    beginning = await source.beginning_offset(topic, 0)
    decided = max(beginning, recorded.next_offset.get((TopicName.CHUNKS, 0), 0))
    start = beginning if chunks[0] is None else min(max(chunks[0], beginning), decided)
    stop = decided if chunks[1] is None else min(max(chunks[1], start), decided)
    return Stretch(start, stop, whole=(start, stop) == (0, decided))


def public_totals(kept: KeptModel) -> dict[str, Any]:
    """Return what everybody may know of a model, and what is equal wherever the same chunks were learnt."""
    model = kept.model
    return {
        "version": model.version,
        "records_of": dict(model.records_of),
        **kept.learner.described(model),
    }


async def _written_times(source: Transport, tenant: Tenant, stretch: Stretch) -> dict[int, int]:
    topic, offset = topic_name(tenant.name, TopicName.CHUNKS), stretch.start
    times: dict[int, int] = {}
    while offset < stretch.stop and (messages := await source.read(topic, 0, offset)):
        times |= {message.offset: message.written_at for message in messages}
        offset = messages[-1].offset + 1
    return times
