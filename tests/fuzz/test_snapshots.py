"""Sealed models and snapshots: what MU keeps on a topic, and auditors read as MU signed it."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import msgspec
import pytest
from fuzz.drawing import Draws
from fuzz.every_learner import (
    BAYES,
    LOGISTIC,
    TREE,
    every_learner_tenant,
    taught,
    taught_chunk,
)
from fuzz.mutants import WIRE_INTEGERS, Corpus, mutate_bytes, noise
from fuzz.verdicts import INPUTS, Tally
from tenants import NAMES, SmallTenant

from crypto.errors import PrivMLError
from pipeline.mailbox import Publisher
from pipeline.memory_transport import MemoryBroker, MemoryTransport
from pipeline.sealed_models import _restored, _sealed, seal_model
from pipeline.snapshots import capture, last_snapshot, unit_of_snapshot, write_snapshot
from roles.classifiers.learner import CountingLearner, TaughtLearner
from roles.journal_index import MemoryIndex
from roles.learners import AnyLearner, learner_of
from roles.master_unit import MasterUnit
from roles.model_state import ModelState
from schemas.codec import decode, encode
from schemas.configuration import Limits
from schemas.journal import EntryKind, JournalEntry
from schemas.snapshots import SealedModel, SealedPlace, Snapshot, WaitingChunk
from schemas.topics import topic_specs

LIMITS = Limits(64, 1 << 10, 8, 1, 1, 0)


@dataclass
class Versions:
    """A learner with some versions of its model."""

    small: SmallTenant
    learner: AnyLearner
    versions: list[ModelState]


@cache
def versions_of(model_id: str) -> Versions:
    """Return a learner with versions from the empty one on."""
    small = every_learner_tenant(LIMITS)
    learner = learner_of(small.tenant, small.tenant.model(model_id))
    versions = [learner.starting()]
    for lesson in range(4):
        chunks = [taught_chunk(small, 2 * lesson + place, 6) for place in range(1 + (model_id == TREE))]
        model = versions[-1]
        if isinstance(learner, CountingLearner):
            versions.append(learner.learn(model, "a", chunks[0].records, chunks[0].vectors))
        else:
            assert isinstance(learner, TaughtLearner)
            versions.append(taught(small, learner, model, chunks)[1])
    return Versions(small, learner, versions)


def changed_model(draws: Draws, sealed: SealedModel, other: SealedModel) -> SealedModel:
    """Return a sealed model with other fields."""
    match draws.below(6):
        case 0 | 1:
            name = draws.pick(("version", "chunks", "records"))
            number = draws.pick((*WIRE_INTEGERS, getattr(sealed, name) + 1, 0, 6, 12))
            return msgspec.structs.replace(sealed, **{name: number})
        case 2:
            held = draws.pick(((), (("a", -1),), (("a", 1), ("a", 2)), (("", 2**63),), other.records_of))
            return msgspec.structs.replace(sealed, records_of=held)
        case 3:
            detail = draws.pick((other.detail, mutate_bytes(draws, sealed.detail, other.detail)))
            return msgspec.structs.replace(sealed, detail=detail)
        case 4:
            return msgspec.structs.replace(sealed, model_id=draws.pick(("", "x", "m", "l", "t", "b")))
        case _:
            content = mutate_bytes(draws, sealed.ciphertexts, other.ciphertexts)
            return msgspec.structs.replace(sealed, ciphertexts=content)


def place_of(body: bytes) -> SealedPlace:
    """Return a place that names what a body holds, as MU might: else nothing but the hash is tested."""
    try:
        ciphertexts = decode(SealedModel, body).ciphertexts
    except PrivMLError:
        ciphertexts = b""
    return SealedPlace(0, 0, bytes(32), hashlib.sha256(ciphertexts).digest())


@pytest.mark.parametrize("model_id", [BAYES, LOGISTIC, TREE])
def test_any_sealed_model_is_restored_or_passed_over(model_id: str) -> None:
    draws, tally = Draws(f"sealed {model_id}"), Tally()
    kept = versions_of(model_id)
    learner = kept.learner
    bodies = [_sealed(learner, model)[0] for model in kept.versions]
    corpus = Corpus.of_msgpack(bodies)
    models = [decode(SealedModel, body) for body in bodies]
    for body, model in zip(bodies, kept.versions, strict=True):
        restored = _restored(learner, body, place_of(body))
        assert restored is not None
        assert (restored.version, restored.records, restored.records_of) == (
            model.version,
            model.records,
            model.records_of,
        )
        assert restored.hash(learner.tenant) == model.hash(learner.tenant)
        assert _sealed(learner, restored) == _sealed(learner, model)
    found = 0
    for _ in range(INPUTS):
        if draws.chance(12):
            body, mutated = noise(draws), False
        elif draws.chance(2):
            source = draws.pick(models)
            changed = changed_model(draws, source, draws.pick(models))
            body, mutated = encode(changed), changed != source
        else:
            body, mutated = corpus.mutant(draws)
        place = place_of(body)
        # With another hash than the journal's nothing is read.
        assert _restored(learner, body, msgspec.structs.replace(place, model_hash=bytes(32))) is None

        def restore(data: bytes, place: SealedPlace = place) -> ModelState | None:
            return _restored(learner, data, place)

        restored = tally.judge(restore, body, mutated=mutated)
        if restored is not None:
            found += 1
            check_restored(kept, restored, decode(SealedModel, body))
    tally.check()
    assert not tally.refused
    assert found > 1000


def check_restored(kept: Versions, model: ModelState, sealed: SealedModel) -> None:
    """Require that a version can be used for whatever it is used for, or that a reason is given."""
    learner = kept.learner
    assert (sealed.model_id, sealed.version, sealed.chunks) == (learner.model_id, model.version, model.chunks)
    assert learner.detail(model.content) == sealed.detail
    before = kept.versions[0]
    tally = Tally()

    def hashed(_: bytes) -> None:
        assert model.hash(learner.tenant) == hashlib.sha256(sealed.ciphertexts).digest()

    def used(_: bytes) -> None:
        learner.layout(model)
        learner.described(model)
        learner.preparation(model)
        learner.check_room(model, 5, 5)

    def taught_again(_: bytes) -> None:
        if isinstance(learner, TaughtLearner):
            assert learner.lesson_size(model, (5, 5)) <= 2
            assert not learner.follows(model, (5, 5), before.content)
            learner.follows(before, (5, 5), model.content)

    for use in (hashed, used, taught_again):
        tally.judge(use, sealed.ciphertexts, mutated=True)
    assert "internal_error" not in tally.refused


# --- snapshots


@dataclass
class Stored:
    """A snapshots topic with sealed models and a snapshot of a busy MU."""

    small: SmallTenant
    transport: MemoryTransport
    places: list[SealedPlace]
    snapshot: Snapshot


async def stored_snapshot() -> Stored:
    """Seal some versions of every model, and let an MU with chunks and queries under way write one."""
    small = every_learner_tenant(LIMITS)
    broker = MemoryBroker()
    for spec in topic_specs(small.tenant.name):
        broker.create(spec)
    transport = MemoryTransport(broker)
    publisher = Publisher(transport, small.tenant.name, NAMES["mu"], 1, small.signing["mu"])
    unit = MasterUnit.starting(small.tenant)
    places = []
    for model_id in (BAYES, LOGISTIC, TREE):
        kept = versions_of(model_id)
        places += [await seal_model(publisher, kept.learner, model) for model in kept.versions[1:3]]
        unit.models[model_id].model = kept.versions[2]
        unit.models[model_id].answer_by(kept.versions[1], 3, bytes(32))
        query = JournalEntry(
            *(4, bytes(32), EntryKind.QUERY, "queries", 0, 7, model_id.encode() * 32, "c", 1, 2, ""),
            model_id=model_id,
            model_version=kept.versions[1].version,
        )
        unit.open_queries[query.message_hash] = query, kept.versions[1]
        if unit.models[model_id].is_taught:
            waiting = [WaitingChunk(5 + i, "a", i, 6, 0, i, bytes(32)) for i in range(2)]
            unit.models[model_id].waiting.extend(waiting)
    unit.next_offset = {("chunks", 0): 12, ("queries", 0): 8}
    unit.next_sequence = 9
    await write_snapshot(publisher, capture(unit, 10))
    snapshot = await last_snapshot(transport, small.tenant)
    assert snapshot is not None
    return Stored(small, transport, places, snapshot)


def changed_snapshot(draws: Draws, snapshot: Snapshot, places: list[SealedPlace]) -> Snapshot:
    """Return a snapshot that names other places, models or numbers."""
    at = draws.below(len(snapshot.models))
    place = snapshot.models[at]
    named = draws.pick(places)
    match draws.below(8):
        case 0:
            changed = msgspec.structs.replace(place, current=named)
        case 1:
            changed = msgspec.structs.replace(place, answering=named)
        case 2:
            numbers = {name: draws.pick(WIRE_INTEGERS) for name in ("partition", "offset")}
            changed = msgspec.structs.replace(place, current=msgspec.structs.replace(named, **numbers))
        case 3:
            lost = msgspec.structs.replace(place.answering, message_hash=draws.bytes(32))
            changed = msgspec.structs.replace(place, answering=lost)
        case 4:
            models = draws.pick((snapshot.models[::-1], snapshot.models[1:], (*snapshot.models, place), ()))
            return msgspec.structs.replace(snapshot, models=models)
        case 5:
            changed = msgspec.structs.replace(place, model_id=draws.pick(("m", "l", "t", "b", "", "x")))
        case 6:
            queries = [
                msgspec.structs.replace(
                    query,
                    entry=msgspec.structs.replace(query.entry, model_id=draws.pick(("m", "l", "t", "x", ""))),
                    model=draws.pick((query.model, named)),
                )
                for query in snapshot.open_queries
            ]
            return msgspec.structs.replace(snapshot, open_queries=tuple(queries))
        case _:
            sequence = draws.pick(WIRE_INTEGERS)
            return msgspec.structs.replace(snapshot, journal_sequence=sequence, journal_offset=sequence)
    models = (*snapshot.models[:at], changed, *snapshot.models[at + 1 :])
    return msgspec.structs.replace(snapshot, models=models)


@pytest.fixture
def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let short work be done at once."""

    async def at_once(work: Callable[..., object], *arguments: object) -> object:
        return work(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", at_once)


@pytest.mark.usefixtures("without_threads")
def test_any_snapshot_is_a_unit_or_passed_over() -> None:
    draws, tally = Draws("snapshots"), Tally()
    with asyncio.Runner() as runner:
        stored = runner.run(stored_snapshot())
        tenant, transport, good = stored.small.tenant, stored.transport, stored.snapshot
        corpus = Corpus.of_msgpack([encode(good)])
        found = 0

        def read(data: bytes) -> MasterUnit | None:
            snapshot = decode(Snapshot, data)
            return runner.run(unit_of_snapshot(transport, tenant, snapshot, MemoryIndex()))

        while tally.inputs < INPUTS:
            if draws.chance(12):
                data, mutated = noise(draws), False
            elif draws.chance(8):
                changed = changed_snapshot(draws, good, stored.places)
                data, mutated = encode(changed), changed != good
            else:
                data, mutated = corpus.mutant(draws)
            unit = tally.judge(read, data, mutated=mutated)
            if unit is not None:
                found += 1
                check_unit(unit, decode(Snapshot, data))
    tally.check(reasons=["malformed"])
    assert found > 200


def check_unit(unit: MasterUnit, snapshot: Snapshot) -> None:
    """Require a unit that stands where the snapshot says; the models are what their places say."""
    assert (unit.head, unit.next_sequence) == (snapshot.journal_head, snapshot.journal_sequence + 1)
    for place, kept in zip(snapshot.models, unit.models.values(), strict=True):
        assert place.model_id == kept.learner.model_id
        assert kept.model.sealed_at == place.current
        assert kept.answering.sealed_at == place.answering
        assert tuple(kept.waiting) == place.waiting
        assert kept.model.hash(unit.tenant) == place.current.model_hash
    assert set(unit.open_queries) == {query.entry.message_hash for query in snapshot.open_queries}
