"""All learners on one stream, through the services of all roles, against their twins in the clear."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from integration.services import House, let_die, model_of, until, wire_kind
from msgspec import structs

from pipeline import journal, master_service, rounds
from pipeline.audit import audit
from pipeline.errors import StorageError
from pipeline.master_self_audit import audit_master
from pipeline.owner_service import OwnerService, SentChunk
from pipeline.secondary_self_audit import audit_secondary
from roles.encoding import EncodedRecords
from roles.twins import PlainTree, Twin, twin_of
from schemas.configuration import Limits
from schemas.journal import EntryKind
from schemas.models import LogisticSpec, ModelSpec, NaiveBayesSpec, TreeSpec
from schemas.reasons import ReasonCode
from schemas.topics import TopicName

NB = NaiveBayesSpec("m")
SMOOTH = NaiveBayesSpec("smooth", 1024)
LR = LogisticSpec("lr", passes=2, rate_256=128, momentum_16=4, l2_shift=9)
DT = TreeSpec("dt", max_leaves=4, attempt_records=30, tie_records=20, chunks_per_seal=2, leaves_per_attempt=2)
PADDED = structs.replace(DT, pad_depth=2)
ALL = (NB, SMOOTH, LR, DT)
LONGEST_STREAM = 200
LIMITS = Limits(40, 1 << 16, 20, 1, 1, 0)


def twins(house: House, batches: Sequence[EncodedRecords]) -> dict[str, Twin]:
    """Return every model of a tenant in the clear, after these chunks in this order."""
    made = {
        spec.model_id: twin_of(spec, house.tenant.schema, LIMITS.max_total_records)
        for spec in house.tenant.configuration.models
    }
    for batch in batches:
        for twin in made.values():
            twin.learn(batch)
    return made


def at_rest(house: House, service: object, expected: int) -> bool:
    """Return whether all that waits for a full window is all that waits, and the journal says so too."""
    unit = service.unit  # type: ignore[attr-defined]
    if len(house.journal()) < unit.next_sequence:
        # MU folds an entry before it writes it.
        return False
    learnt = [kept.model.version + len(kept.waiting) for kept in unit.models.values()]
    taught = unit.models.get("lr")
    return learnt == [expected] * len(learnt) and (taught is None or not taught.waiting)


async def learnt(house: House, service: object, chunks: int) -> None:
    await until(lambda: at_rest(house, service, chunks))
    # The tree learns what makes a full window; give a window under way the time to end.
    unit = service.unit  # type: ignore[attr-defined]
    kept = unit.models.get("dt")
    if kept is not None:
        await until(lambda: not kept.learner.lesson_size(kept.model, [c.records for c in kept.waiting]))


async def test_all_learners_on_one_stream_equal_their_twins(tmp_path: Path) -> None:
    async with House(tmp_path, models=ALL, limits=LIMITS) as house, house.units_running() as master:
        batches = [house.records(24, i) for i in range(5)]
        for i, batch in enumerate(batches):
            await house.publish("ab"[i % 2], batch)
        await learnt(house, master, len(batches))
        rows = house.records(9, "asked")
        plain = twins(house, batches)
        for spec in ALL:
            answered = await house.ask(rows, model_id=spec.model_id)
            assert answered == plain[spec.model_id].predict(rows).tolist(), spec.model_id
        # What anyone folds from the log is what MU holds.
        state = await house.state()
        for name, kept in master.unit.models.items():
            assert model_of(state, name) == kept.model
        assert not house.dead_letters()
        grown = house.learner("dt").described(model_of(state, "dt"))
        assert grown["leaves"] > 1


async def test_a_padded_tree_from_end_to_end(tmp_path: Path) -> None:
    seen = []
    for teaches in (True, False):
        async with House(tmp_path / str(teaches), models=(PADDED, NB), limits=LIMITS) as house:
            batches = [house.records(24, i) for i in range(6)]
            if not teaches:
                batches = [replace(batch, labels=np.zeros_like(batch.labels)) for batch in batches]
            rows = house.records(9, "asked")
            shapes, tests = [], 0
            for start in (0, 3):
                # Both units start again in between, from what was sealed.
                async with house.units_running() as master:
                    await house.publish("a", *batches[start : start + 3])
                    await learnt(house, master, start + 3)
                    plain = twins(house, batches[: start + 3])["dt"]
                    assert isinstance(plain, PlainTree)
                    assert await house.ask(rows, model_id="dt") == plain.predict(rows).tolist()
                    tests = len(plain.twin.tests)
                    shapes.append(house.learner("dt").described(model_of(await house.state(), "dt")))
            assert (tests > 0) == teaches
            seen.append(shapes)
            for report in (
                await audit(house.transport(), house.tenant, grace_seconds=0.0),
                await audit_secondary(house.transport(), house.tenant, house.units["su"].open()),
            ):
                assert report.findings == [], report.findings
            with ThreadPoolExecutor(1) as pool:
                own = house.units["mu"].open()
                report = await audit_master(house.transport(), house.tenant, own, pool, grace_seconds=0.0)
            assert report.findings == [], report.findings
    # Nothing that everybody sees tells a stream with much to learn from one with nothing.
    assert seen[0] == seen[1]
    assert seen[0][-1]["leaves"] == 4


async def test_probabilities_on_demand(tmp_path: Path) -> None:
    async with House(tmp_path, models=(LR, NB), limits=LIMITS) as house, house.units_running() as master:
        batches = [house.records(24, i) for i in range(2)]
        await house.publish("a", *batches)
        await learnt(house, master, 2)
        rows = house.records(5, "asked")
        answered = await house.ask_all(rows, model_id="lr", scores=True)
        twin = twins(house, batches)["lr"]
        assert answered.scores is not None
        expected = twin.twin.probabilities(twin.features(rows))  # type: ignore[attr-defined]
        assert [list(told) for told in answered.scores] == expected.tolist()
        shown = house.learner("lr").readable_scores(answered.scores[0])
        assert set(shown) == {"x", "y", "z"}
        assert all(0 < value < 1 for value in shown.values())
        # A model without scores answers with labels alone.
        assert (await house.ask_all(rows, model_id="m", scores=True)).scores is None


async def test_an_overflow_passes_the_chunk_over_and_says_so(tmp_path: Path) -> None:
    wild = LogisticSpec("lr", passes=8, rate_256=1 << 15)
    async with House(tmp_path, models=(wild, NB), limits=LIMITS) as house, house.units_running() as master:
        (sent,) = await house.publish("a", house.records(30, 0))
        await learnt(house, master, 1)
        before = house.learner("lr").starting()
        assert model_of(master.unit, "lr").content == before.content
        assert (model_of(master.unit, "lr").version, model_of(master.unit, "lr").chunks) == (1, 0)
        # The others have learnt it.
        assert model_of(master.unit).chunks == 1
        (entry,) = [entry for entry in house.journal() if entry.kind == EntryKind.LEARNT]
        assert (entry.reason, entry.model_id, entry.about) == ("overflow", "lr", 0)
        await until(lambda: len(house.receipts()) == 2)
        first, second = house.receipts()
        assert (first.reason, first.model_id) == ("", "")
        assert (second.reason, second.model_id) == ("overflow", "lr")
        assert second.message_hash == sent.chunk_id
        (letter,) = house.dead_letters()
        assert (letter.reason, letter.topic) == ("overflow", "chunks")
        assert (await house.state()).models["lr"].model == model_of(master.unit, "lr")


@pytest.mark.parametrize(
    ("models", "call"),
    [
        *(((LR, NB), call) for call in (1, 2, 3, 4, 6, 9, 12, 15)),
        *(((DT, NB), call) for call in (1, 2, 3, 4, 6, 9, 12, 15)),
        # A padded tree differs in its attempts.
        *(((PADDED, NB), call) for call in (13, 15, 17)),
    ],
)
async def test_mu_may_die_in_the_middle_of_a_lesson(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: tuple[ModelSpec, ...], call: int
) -> None:
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", 0.05)
    async with House(tmp_path, models=models, limits=LIMITS) as house, house.su():
        batches = [house.records(24, i) for i in range(3)]
        _ = [sent async for sent in house.owner("a").publish(batches)]
        dying = house.transport()
        dying.die(None, call)
        await let_die(house.mu(dying))
        async with house.mu() as master:
            await learnt(house, master, 3)
            rows = house.records(5, "asked")
            plain = twins(house, batches)
            for spec in models:
                assert (
                    await house.ask(rows, model_id=spec.model_id)
                    == plain[spec.model_id].predict(rows).tolist()
                )
            assert not house.dead_letters()
            taught = models[0].model_id
            version = master.unit.models[taught].model.version
            await until(lambda: receipts_by_model(house) == {"": 3, taught: version})


def receipts_by_model(house: House) -> dict[str, int]:
    """Count different receipts by model."""
    counted: dict[str, int] = {}
    for model_id, _, _ in {(r.model_id, r.owner_sequence, r.journal_sequence) for r in house.receipts()}:
        counted[model_id] = counted.get(model_id, 0) + 1
    return counted


async def test_su_may_die_in_the_middle_of_a_lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "FIRST_WAIT_SECONDS", 0.05)
    async with House(tmp_path, models=ALL, limits=LIMITS) as house, house.mu() as master:
        batches = [house.records(24, i) for i in range(3)]
        publishing = asyncio.create_task(house.publish("a", *batches))
        for call in (2, 4, 5, 7):
            dying = house.transport()
            dying.die(TopicName.ROUND_REPLIES, call)
            await let_die(house.su(dying))
        async with house.su():
            await publishing
            await learnt(house, master, 3)
            rows = house.records(5, "asked")
            plain = twins(house, batches)
            for spec in ALL:
                assert (
                    await house.ask(rows, model_id=spec.model_id)
                    == plain[spec.model_id].predict(rows).tolist()
                )


async def test_a_restart_from_a_snapshot_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_ENTRIES", 4)
    async with House(tmp_path, models=ALL, limits=LIMITS) as house:
        batches = [house.records(24, i) for i in range(7)]
        rows = house.records(5, "asked")
        for i, batch in enumerate(batches):
            async with house.units_running() as master:
                await house.publish("a", batch)
                await learnt(house, master, i + 1)
                plain = twins(house, batches[: i + 1])
                for name, kept in master.unit.models.items():
                    if kept.model.records:
                        assert await house.ask(rows, model_id=name) == plain[name].predict(rows).tolist()
                await until(lambda i=i: len(house.snapshots()) > i)  # type: ignore[misc]
        state = await house.state()
        snapshots = house.snapshots()
        assert [snapshot.journal_sequence for snapshot in snapshots] == sorted(
            snapshot.journal_sequence for snapshot in snapshots
        )
        # A start reads the journal from the last snapshot on, not the chunks before it.
        chunks = house.messages(TopicName.CHUNKS)
        whole, chunks[0] = chunks[0], replace(chunks[0], value=chunks[1].value)
        async with house.units_running() as master:
            assert {name: kept.model for name, kept in master.unit.models.items()} == {
                name: kept.model for name, kept in state.models.items()
            }
            assert master.unit.head == state.head
        # Without snapshots it needs them all.
        house.messages(TopicName.SNAPSHOTS)[:] = [
            message
            for message in house.messages(TopicName.SNAPSHOTS)
            if wire_kind(message.value) != "snapshot"
        ]
        with pytest.raises(StorageError):
            async with house.mu():
                pass
        chunks[0] = whole


async def test_a_query_to_an_unknown_model_is_refused(tmp_path: Path) -> None:
    async with House(tmp_path, models=(LR,), limits=LIMITS) as house, house.units_running():
        rows = house.records(2, "asked")
        with pytest.raises(Exception, match="refused") as refused:
            await house.ask(rows, model_id="lr")
        assert refused.value.reason == ReasonCode.NOT_ENOUGH_RECORDS  # type: ignore[attr-defined]


async def test_a_stream_without_a_pause_gets_its_snapshots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_ENTRIES", 8)
    monkeypatch.setattr(master_service, "SNAPSHOT_LOOK_SECONDS", 0.01)
    async with House(tmp_path) as house, house.mu():
        owners, sent = [house.owner(name) for name in "ab"], list[SentChunk]()

        async def publish(owner: OwnerService, seed: int) -> None:
            batches = [house.records(2, seed + i) for i in range(4)]
            sent.extend([chunk async for chunk in owner.publish(batches)])

        # How many chunks MU decides at once, and how many snapshots come of that, is up to the machine.
        for seed in range(LONGEST_STREAM):
            if len(house.snapshots()) >= 3:
                break
            await asyncio.gather(*(publish(owner, 8 * seed + 4 * i) for i, owner in enumerate(owners)))
        assert len(house.snapshots()) >= 3
        await until(lambda: len(house.receipts()) == len(sent))
