"""MU's snapshots against the fold of its journal: each must say what the journal says at that entry."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from crypto.errors import SchemaError
from pipeline.mailbox import Inbox
from pipeline.sealed_models import sealed_model
from pipeline.signed_messages import place_of
from pipeline.snapshots import KIND, capture
from pipeline.transport import Transport
from roles.arrival import Arrival
from roles.auditor import Auditor
from roles.findings import FindingCode, Findings, Place
from roles.kept_model import KeptModel
from roles.tenant import Tenant
from schemas.codec import decode
from schemas.snapshots import ModelPlace, SealedPlace, Snapshot
from schemas.topics import TopicName, topic_name


@dataclass(slots=True)
class SnapshotAudit:
    """The snapshots of a tenant, compared one by one as the journal is folded.

    Attributes:
        transport: Where the topics are; only read.
        tenant: Public facts.
        findings: Where findings go.
        checked: How many were compared.
    """

    transport: Transport
    tenant: Tenant
    findings: Findings
    checked: int = 0
    _waiting: dict[int, list[tuple[Place, Snapshot]]] = field(default_factory=dict)
    _newest: int = -1

    async def open(self) -> None:
        """Read the snapshots that are there.

        Raises:
            PipelineError: The topic cannot be read.
        """
        name = topic_name(self.tenant.name, TopicName.SNAPSHOTS)
        end = await self.transport.end_offset(name, 0)
        beginning = await self.transport.beginning_offset(name, 0)
        inbox = Inbox(self.transport, self.tenant, TopicName.SNAPSHOTS, offset=beginning)
        while (before := inbox.next_offset) < end:
            for message in await inbox.receive(0.0):
                if isinstance(message, Arrival) and message.kind == KIND and message.offset < end:
                    self._take(message)
            if inbox.next_offset == before:
                break
        self._newest = max(self._waiting, default=-1)

    def candidates(self) -> Iterator[tuple[Place, Snapshot]]:
        """Yield the snapshots that an audit may begin with, the oldest first."""
        for sequence in sorted(self._waiting):
            yield from self._waiting[sequence]

    def begin(self, sequence: int) -> None:
        """Begin with the snapshot after an entry: it and those before it cannot be compared with a fold."""
        self.checked += 1
        self._waiting = {number: found for number, found in self._waiting.items() if number > sequence}

    def is_due(self, sequence: int) -> bool:
        """Return whether a snapshot says how MU stood after an entry."""
        return sequence in self._waiting

    async def check(self, sequence: int, auditor: Auditor) -> None:
        """Compare the snapshots after an entry with the fold.

        Args:
            sequence: Of the entry folded last.
            auditor: The fold.
        """
        unit = auditor.unit
        captured = capture(unit, 0)
        for place, snapshot in self._waiting.pop(sequence):
            self.checked += 1
            same = (
                snapshot.journal_head == captured.journal_head
                and snapshot.next_offsets == captured.next_offsets
                and snapshot.in_force == captured.in_force
                and snapshot.rekeying == captured.rekeying
                and [model.model_id for model in snapshot.models] == list(unit.models)
                and [query.entry for query in snapshot.open_queries]
                == [query.entry for _, query, _ in captured.open_queries]
            )
            if not same:
                detail = f"the snapshot after entry {sequence} says something else than the journal"
                self.findings.add(FindingCode.SNAPSHOT_DIFFERS, place, detail)
                continue
            for model in snapshot.models:
                kept = unit.models[model.model_id]
                if not self._agrees(model, kept, auditor):
                    detail = f"the snapshot after entry {sequence} has another model {model.model_id}"
                    self.findings.add(FindingCode.SNAPSHOT_DIFFERS, place, detail)
                elif sequence == self._newest:
                    await self._look_up(sequence, kept, model.current)

    def end(self) -> None:
        """Report snapshots of entries that the journal does not have."""
        for sequence, snapshots in sorted(self._waiting.items()):
            for place, _ in snapshots:
                detail = f"a snapshot says how MU stood after entry {sequence}, which is not there"
                self.findings.add(FindingCode.SNAPSHOT_DIFFERS, place, detail)

    def _take(self, message: Arrival) -> None:
        try:
            snapshot = decode(Snapshot, message.body, len(message.body))
        except SchemaError:
            detail = "MU signed a snapshot that means nothing"
            self.findings.add(FindingCode.SNAPSHOT_DIFFERS, place_of(message), detail)
            return
        self._waiting.setdefault(snapshot.journal_sequence, []).append((place_of(message), snapshot))

    def _agrees(self, said: ModelPlace, kept: KeptModel, auditor: Auditor) -> bool:
        answering = (kept.answering_at, kept.answering_lost, kept.withdrawn)
        if (said.answering_at, said.answering_lost, said.withdrawn) != answering:
            return False
        if said.waiting != tuple(kept.waiting):
            return False
        places = (said.current, kept.model), (said.answering, kept.answering)
        return all(
            place.model_hash == version.hash(self.tenant)
            for place, version in places
            if said.model_id not in auditor.unknown and auditor.knows(said.model_id, version.version)
        )

    async def _look_up(self, sequence: int, kept: KeptModel, place: SealedPlace) -> None:
        sealed = await sealed_model(self.transport, self.tenant, kept.learner, place)
        version = kept.model.version
        if sealed is None or (sealed.version, sealed.chunks) != (version, kept.model.chunks):
            where = Place(TopicName.SNAPSHOTS, place.partition, place.offset)
            detail = f"the sealed model that the snapshot after entry {sequence} names is not there"
            self.findings.add(FindingCode.MODEL_MISSING, where, detail)
