"""Snapshots of MU: from one on the journal is folded, instead of from its first entry.

A snapshot says where MU stood after an entry, and names sealed models that were written before it. Old
ones do no harm: the journal tells the rest.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from msgspec import structs

from crypto.errors import LocalProtocolError, SchemaError
from pipeline.log_setup import get_logger
from pipeline.mailbox import Publisher, sequence_of
from pipeline.sealed_models import KEPT_VERSIONS, AbsentContent, seal_model, sealed_model
from pipeline.succession import enter_versions
from pipeline.topic_blocks import blocks_from_end
from pipeline.transport import Message, Transport
from roles.enrolment import NotSuccessorError
from roles.journal_index import JournalIndex
from roles.learners import AnyLearner
from roles.master_unit import MasterUnit
from roles.model_state import ModelState
from roles.tenant import Tenant
from schemas.codec import decode, encode
from schemas.envelope import open_envelope
from schemas.snapshots import ModelPlace, OpenQuery, SealedPlace, Snapshot, WaitingChunk
from schemas.succession import InForce
from schemas.topics import TopicName, topic_name

log = get_logger()

KIND = "snapshot"
KEPT_SNAPSHOTS = 4
"""Snapshots that a compacted topic keeps: the last of as many stretches of the journal."""
STRETCH_ENTRIES = 512


@dataclass(frozen=True, slots=True)
class Captured:
    """MU's state at one moment, as far as a snapshot needs it; nothing in it changes any more.

    Attributes:
        journal_sequence: Of the last entry that is in.
        journal_head: Its id.
        journal_offset: Behind it on its topic.
        next_offsets: Where to go on reading.
        models: Learner, current version, answering version and the rest of every model.
        open_queries: Entry and version of queries that are not answered.
        in_force: Versions of the configuration that came into force.
        rekeying: Chunks that are not re-keyed yet.
    """

    journal_sequence: int
    journal_head: bytes
    journal_offset: int
    next_offsets: tuple[tuple[str, int, int], ...]
    models: tuple[tuple[AnyLearner, ModelState, ModelState, ModelPlace], ...]
    open_queries: tuple[tuple[AnyLearner, OpenQuery, ModelState], ...]
    in_force: tuple[InForce, ...] = ()
    rekeying: tuple[WaitingChunk, ...] = ()


_NOWHERE = SealedPlace(0, 0, b"", b"")


def capture(unit: MasterUnit, journal_offset: int) -> Captured:
    """Return the state after the last entry folded."""
    return Captured(
        unit.next_sequence - 1,
        unit.head,
        journal_offset,
        tuple((topic, partition, offset) for (topic, partition), offset in sorted(unit.next_offset.items())),
        tuple(
            (
                kept.learner,
                kept.model,
                kept.answering,
                ModelPlace(
                    name,
                    _NOWHERE,
                    _NOWHERE,
                    kept.answering_at,
                    kept.answering_lost,
                    kept.withdrawn,
                    tuple(kept.waiting),
                ),
            )
            for name, kept in unit.models.items()
        ),
        tuple(
            (unit.models[entry.model_id].learner, OpenQuery(entry, _NOWHERE), model)
            for entry, model in unit.open_queries.values()
        ),
        tuple(unit.tenant.roster.in_force[: unit.configured]),
        tuple(unit.rekeying.chunks),
    )


async def write_snapshot(publisher: Publisher, captured: Captured) -> None:
    """Seal what is not sealed yet, then write the snapshot, last of all."""
    places: dict[tuple[str, int], SealedPlace] = {}
    # Snapshots are about as many entries apart: by their sequences alone they would share a key.
    number = captured.journal_sequence // STRETCH_ENTRIES % KEPT_SNAPSHOTS

    async def place_of(learner: AnyLearner, model: ModelState, under: str = "") -> SealedPlace:
        if isinstance(model.content, AbsentContent):
            return model.content.place
        if model.sealed_at is not None:
            return model.sealed_at
        key = learner.model_id, model.version
        if key not in places:
            places[key] = await seal_model(publisher, learner, model, under)
        return places[key]

    currents = {learner.model_id: current for learner, current, _, _ in captured.models}

    async def place_of_answering(learner: AnyLearner, current: ModelState, model: ModelState) -> SealedPlace:
        if current.version - model.version < KEPT_VERSIONS // 4 or isinstance(model.content, AbsentContent):
            return await place_of(learner, model)
        # Under its own key it stays when it is no more among the last versions.
        key = f"{learner.model_id}/answering/{model.version % KEPT_VERSIONS}"
        return await seal_model(publisher, learner, model, key)

    models = [
        structs.replace(
            place,
            # A version that only this snapshot has must stay as long as it, whatever its number.
            current=await place_of(learner, current, f"{learner.model_id}/snapshot/{number}"),
            answering=await place_of_answering(learner, current, answering),
        )
        for learner, current, answering, place in captured.models
    ]
    queries = [
        OpenQuery(query.entry, await place_of_answering(learner, currents[learner.model_id], model))
        for learner, query, model in captured.open_queries
    ]
    body = encode(
        Snapshot(
            captured.journal_sequence,
            captured.journal_head,
            captured.journal_offset,
            captured.next_offsets,
            tuple(models),
            tuple(queries),
            captured.in_force,
            captured.rekeying,
        )
    )
    key = f"snapshot/{number}".encode()
    await publisher.publish(TopicName.SNAPSHOTS, KIND, sequence_of(body), body, key=key)


async def last_snapshot(transport: Transport, tenant: Tenant) -> Snapshot | None:
    """Return the last snapshot on the topic that MU signed, None if there is none.

    Cost:
        Reads back over the models that were sealed after it.
    """
    async for snapshot in _newest_first(transport, tenant):
        return snapshot
    return None


async def usable_snapshot(
    transport: Transport, tenant: Tenant, index: JournalIndex, until: int | None = None
) -> tuple[Snapshot, MasterUnit] | None:
    """Return the newest snapshot from which MU's state can be had, with that state; None if there is none.

    Args:
        transport: Where the topics are.
        tenant: Public facts.
        index: The state's.
        until: Snapshots after later entries do not count.
    """
    tried = 0
    async for snapshot in _newest_first(transport, tenant):
        if until is not None and snapshot.journal_sequence > until:
            continue
        unit = await unit_of_snapshot(transport, tenant, snapshot, index)
        if unit is not None:
            return snapshot, unit
        log.warning("snapshot_unusable", sequence=snapshot.journal_sequence)
        tried += 1
        if tried == KEPT_SNAPSHOTS:
            break
    return None


async def _newest_first(transport: Transport, tenant: Tenant) -> AsyncIterator[Snapshot]:
    async for block in blocks_from_end(transport, topic_name(tenant.name, TopicName.SNAPSHOTS)):
        for snapshot in reversed(await asyncio.to_thread(_snapshots_in, tenant, block)):
            yield snapshot


def _snapshots_in(tenant: Tenant, messages: list[Message]) -> list[Snapshot]:
    found = []
    for message in messages:
        try:
            envelope = open_envelope(message.value, TopicName.SNAPSHOTS, tenant.name, tenant.verifying.get)
            if envelope.kind == KIND and envelope.parts == 1:
                found.append(decode(Snapshot, envelope.body))
        except SchemaError:
            continue
    return found


async def unit_of_snapshot(
    transport: Transport, tenant: Tenant, snapshot: Snapshot, index: JournalIndex
) -> MasterUnit | None:
    """Return MU as it was after the entry that a snapshot names; None if that cannot be had.

    Versions that answer, and are no more, stay absent; see `pipeline.journal_fold.look_up_models`.
    """
    unit = MasterUnit.starting(tenant, index)
    if [place.model_id for place in snapshot.models] != list(unit.models):
        return None

    async def version(learner: AnyLearner, place: SealedPlace) -> ModelState | None:
        return await sealed_model(transport, tenant, learner, place, search=True)

    try:
        await enter_versions(transport, tenant, snapshot.in_force)
    except (NotSuccessorError, LocalProtocolError):
        return None
    unit.configured = len(snapshot.in_force)
    unit.rekeying.chunks = deque(snapshot.rekeying)
    for place in snapshot.models:
        kept = unit.models[place.model_id]
        current = await version(kept.learner, place.current)
        if current is None:
            return None
        answering = (
            current if place.answering == place.current else await version(kept.learner, place.answering)
        )
        if answering is None:
            return None
        kept.model, kept.answering = current, answering
        kept.answering_at, kept.waiting = place.answering_at, deque(place.waiting)
        kept.answering_lost, kept.withdrawn = place.answering_lost, place.withdrawn
    for query in snapshot.open_queries:
        if query.entry.model_id not in unit.models:
            return None
        model = await version(unit.models[query.entry.model_id].learner, query.model)
        if model is None:
            return None
        unit.open_queries[query.entry.message_hash] = query.entry, model
    unit.head, unit.next_sequence = snapshot.journal_head, snapshot.journal_sequence + 1
    unit.next_offset = {(topic, partition): offset for topic, partition, offset in snapshot.next_offsets}
    return unit
