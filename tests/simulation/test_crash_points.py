"""One fixed scenario, and a death of either unit at each of its calls: every point at which one can die."""

import pytest
from simulation.oracles import check
from simulation.schedules import Fault, Schedule, Trouble
from simulation.world import World, simulate

OFFERED = ("a0", "a1", "withdraw a1", "a0", "junk", "query c")
POINTS = {
    "append": (Trouble.CRASH_BEFORE, Trouble.CRASH_AFTER, Trouble.LATE, Trouble.TORN),
    "disk": (Trouble.DISK_CRASH_BEFORE, Trouble.DISK_CRASH_AFTER, Trouble.DISK_FULL),
}
"""Calls that change something; a death at a read is one before the next of these."""


def run(*faults: Fault) -> World:
    world = simulate(Schedule(9, OFFERED, faults, snapshot_entries=3))
    check(world)
    assert len(world.troubles.fired) == len(faults)
    return world


@pytest.mark.slow
@pytest.mark.parametrize("role", ["mu", "su"])
@pytest.mark.parametrize("kind", ["append", "disk"])
def test_a_unit_may_die_at_any_call_that_changes_something(role: str, kind: str) -> None:
    calls = run().troubles.calls(role, kind)
    assert calls > 3
    for call in range(1, calls + 1):
        for trouble in POINTS[kind]:
            run(Fault(role, call, trouble))
