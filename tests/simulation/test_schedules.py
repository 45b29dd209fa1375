"""Drawn schedules of faults: whatever goes wrong, nothing is lost and nothing is counted twice."""

import pytest
from hypothesis import HealthCheck, given, seed, settings
from simulation.offers import offers
from simulation.oracles import check
from simulation.schedules import Schedule, schedules
from simulation.world import simulate

# Twenty batches, so that two workers share them evenly.
BATCHES = 20
FAULTY_SCHEDULES = 2000
_EACH = FAULTY_SCHEDULES // BATCHES
# A fault of a run that ends before its call does not come; these are not counted.
_DRAWN = _EACH * 3 // 2
# A query costs as much as five runs without one.
_WITH_QUERIES = (0, 10)


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_whatever_goes_wrong_the_outcome_is_right(batch: int) -> None:
    faulty = 0
    names = tuple(offers()) if batch in _WITH_QUERIES else chunk_offers()

    @seed(batch)
    @settings(max_examples=_DRAWN, database=None, suppress_health_check=list(HealthCheck))
    @given(schedules(names))
    def run(schedule: Schedule) -> None:
        nonlocal faulty
        world = simulate(schedule)
        check(world)
        faulty += bool(world.troubles.fired)

    run()
    assert faulty >= _EACH


def chunk_offers() -> tuple[str, ...]:
    """Return the offers that need no session of the units."""
    return tuple(name for name in offers() if "query" not in name)
