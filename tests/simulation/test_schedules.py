"""Drawn schedules of faults: whatever goes wrong, nothing is lost and nothing is counted twice."""

import os

import pytest
from hypothesis import HealthCheck, given, seed, settings
from simulation.offers import offers
from simulation.oracles import check
from simulation.schedules import Schedule, schedules
from simulation.world import simulate

from schemas.journal import EntryKind

# `make soak` runs more, from another seed.
FAULTY_SCHEDULES = int(os.environ.get("PRIVML_SCHEDULES", "2000"))
_SEED = int(os.environ.get("PRIVML_SEED", "0"))
_EACH = 100
# Small ones, so that the workers share them evenly.
BATCHES = FAULTY_SCHEDULES // _EACH
# A fault of a run that ends before its call does not come; these are not counted.
_DRAWN = _EACH * 3 // 2
# A query costs as much as five runs without one, and so do two lessons.
_BATCHES_PER_QUERIES = 10
_BATCH_WITH_LESSONS = 5
_MOST_WITH_LESSONS = 3


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_whatever_goes_wrong_the_outcome_is_right(batch: int) -> None:
    faulty = 0
    lessons = 0
    overflows = 0
    kind = batch % _BATCHES_PER_QUERIES
    if kind == _BATCH_WITH_LESSONS:
        drawn = schedules(taught_offers(), at_most=_MOST_WITH_LESSONS, taught=True)
    else:
        drawn = schedules(tuple(offers()) if kind == 0 else chunk_offers())

    @seed(_SEED * BATCHES + batch)
    @settings(max_examples=_DRAWN, database=None, suppress_health_check=list(HealthCheck))
    @given(drawn)
    def run(schedule: Schedule) -> None:
        nonlocal faulty, lessons, overflows
        world = simulate(schedule)
        check(world)
        faulty += bool(world.troubles.fired)
        learnt = [entry.reason for entry, _ in world.chain() if entry.kind == EntryKind.LEARNT]
        lessons += len(learnt)
        overflows += learnt.count("overflow")

    run()
    assert faulty >= _EACH
    if kind == _BATCH_WITH_LESSONS:
        assert lessons > overflows > 0


def chunk_offers() -> tuple[str, ...]:
    """Return the offers that need no session of the units."""
    return tuple(name for name in offers() if "query" not in name)


def taught_offers() -> tuple[str, ...]:
    """Return the offers of which most are learnt, or are answered by what was."""
    return "a0", "a1", "a2", "b0", "b1", "a1 otherwise", "withdraw a1", "junk", "query lr"
