"""Heads that come late, and heads of a journal that was longer once."""

import pytest
from tenants import small_tenant

from roles.findings import Findings, Place
from roles.journal_chain import Link
from roles.master_unit import MasterUnit
from roles.model_record import ModelRecord
from schemas.heads import Head
from schemas.journal import JournalEntry

SMALL = small_tenant()


def record_after(sequence: int) -> ModelRecord:
    """Return the record after entries up to that number, none of which changed the model."""
    tenant = SMALL.tenant
    unit = MasterUnit.starting(tenant, tenant.model("m"))
    record = ModelRecord(tenant, Findings())
    for number in range(sequence + 1):
        entry = JournalEntry(number, b"", "reject", "chunks", 0, 0, b"", "", 0, 0, "malformed", 0)
        record.folded(Link(entry, bytes(32), Place("journal", 0, number)), unit, unit.model)
    return record


def head(sequence: int) -> Head:
    return Head("m", 0, sequence, bytes(32), 0, 0, bytes(32))


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
    assert [finding.code.value for finding in record.findings.found] == ["head_contradicts"]
