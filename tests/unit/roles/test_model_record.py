"""Heads that come late, heads of a journal that was longer once, and heads that say something else."""

from collections.abc import Collection
from dataclasses import replace

import pytest
from msgspec import structs
from round_trips import head_of
from tenants import small_tenant

from roles.findings import Findings, Place
from roles.journal_chain import Link
from roles.master_unit import MasterUnit
from roles.model_record import ModelRecord
from schemas.heads import Head
from schemas.journal import JournalEntry
from schemas.models import NaiveBayesSpec, TreeSpec

SMALL = small_tenant(models=(NaiveBayesSpec("m"), TreeSpec("t")))
UNIT = MasterUnit.starting(SMALL.tenant)
ENTRY_ID = bytes(32)


def fold(record: ModelRecord, number: int, unknown: Collection[str] = ()) -> None:
    """Fold an entry that did not change the models."""
    entry = JournalEntry(number, b"", "reject", "chunks", 0, 0, b"", "", 0, 0, "malformed")
    record.folded(Link(entry, ENTRY_ID, Place("journal", 0, number)), UNIT, unknown)


def record_after(sequence: int) -> ModelRecord:
    """Return the record after entries up to that number, none of which changed a model."""
    record = ModelRecord(SMALL.tenant, Findings())
    for number in range(sequence + 1):
        fold(record, number)
    return record


def head(sequence: int) -> Head:
    return Head("m", 0, sequence, ENTRY_ID, 0, 0, bytes(32), 0)


def codes(record: ModelRecord) -> list[str]:
    return [finding.code.value for finding in record.findings.found]


@pytest.mark.parametrize(("sequence", "why"), [(1, "comes long after later ones"), (9, "is not there")])
def test_a_head_that_has_no_entry_to_come(sequence: int, why: str) -> None:
    record = record_after(3)
    record.offer_head(Place("heads", 0, 5), head(sequence))
    record.end()
    (finding,) = record.findings.found
    assert (finding.code.value, finding.place.offset) == ("head_contradicts", 5)
    assert why in finding.detail


def test_a_head_read_after_the_end_is_of_a_journal_that_was_longer() -> None:
    record = record_after(3)
    record.end()
    record.offer_head(Place("heads", 0, 5), head(4))
    assert codes(record) == ["head_contradicts"]


# --- what a head says

M, T = UNIT.models["m"].model, UNIT.models["t"].model
RIGHT = [
    structs.replace(head_of(SMALL, M), journal_sequence=4, journal_head=ENTRY_ID),
    structs.replace(head_of(SMALL, T), journal_sequence=4, journal_head=ENTRY_ID, model_id="t"),
]


def held_against(given: Head, unknown: Collection[str] = ()) -> ModelRecord:
    """Return the record after a head was compared with the state that it is about."""
    record = record_after(3)
    record.offer_head(Place("heads", 0, 5), given)
    assert codes(record) == []
    fold(record, 4, unknown)
    return record


def test_heads_of_all_models_that_agree() -> None:
    record = record_after(3)
    for place, given in enumerate(RIGHT):
        record.offer_head(Place("heads", 0, place), given)
    fold(record, 4)
    record.end()
    assert codes(record) == []
    assert record.recorded == {given.model_id: (0, given.model_hash) for given in RIGHT}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"journal_head": b"1" * 32}, ["head_contradicts"]),
        ({"model_version": 1}, ["head_contradicts"]),
        ({"records": 1}, ["head_contradicts"]),
        ({"owners": 1}, ["head_contradicts"]),
        ({"model_hash": b"1" * 32}, ["model_differs"]),
        ({"model_id": "n"}, ["head_contradicts"]),
        # The hash of another model of the tenant is no better than any other.
        ({"model_hash": RIGHT[1].model_hash}, ["model_differs"]),
        ({"records": 1, "model_hash": b"1" * 32}, ["head_contradicts", "model_differs"]),
    ],
)
def test_a_head_that_says_something_else(changes: dict[str, object], expected: list[str]) -> None:
    assert codes(held_against(structs.replace(RIGHT[0], **changes))) == expected


def test_the_hash_of_a_model_that_could_not_be_recomputed_is_not_compared() -> None:
    other = structs.replace(RIGHT[1], model_hash=b"1" * 32)
    assert codes(held_against(other, {"t"})) == []
    assert codes(held_against(other, {"m"})) == ["model_differs"]
    # Its totals are.
    assert codes(held_against(structs.replace(other, records=1), {"t"})) == ["head_contradicts"]


def test_a_version_is_hashed_anew_when_it_changed() -> None:
    record = held_against(RIGHT[0])
    changed = replace(M, version=1, content=T.content)
    kept = replace(UNIT.models["m"], model=changed)
    unit = replace(UNIT, models={**UNIT.models, "m": kept})
    given = structs.replace(head_of(SMALL, changed, 5), journal_head=ENTRY_ID)
    record.offer_head(Place("heads", 0, 6), given)
    entry = JournalEntry(5, b"", "reject", "chunks", 0, 0, b"", "", 0, 0, "malformed")
    record.folded(Link(entry, ENTRY_ID, Place("journal", 0, 5)), unit, ())
    assert codes(record) == []
