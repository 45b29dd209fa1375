"""Fixed scenarios, and a death of either unit at each of its calls: every point at which one can die.

Between two calls nothing changes but memory, which dies with the process: a death after a call is one
before the next. The first scenario tries both all the same, and all else that can befall a call.
"""

from dataclasses import replace

import pytest
from simulation.oracles import check
from simulation.schedules import Fault, Schedule, Trouble
from simulation.world import World, simulate

FIRST = "chunks, a withdrawal and a query"
LESSONS = "a lesson that is learnt and one that overflows"
CONTACT = "first contact of the units"
SCENARIOS = {
    FIRST: Schedule(9, ("a0", "a1", "withdraw a1", "a0", "junk", "query c"), snapshot_entries=3),
    LESSONS: Schedule(9, ("a1", "a2"), snapshot_entries=3, taught=True),
    CONTACT: Schedule(9, ("a0", "query c"), snapshot_entries=3, first_contact=True),
}


def run(schedule: Schedule, *faults: Fault) -> World:
    world = simulate(replace(schedule, faults=faults))
    check(world)
    assert len(world.troubles.fired) == len(faults)
    return world


def points(role: str, kind: str, quiet: World, *, thorough: bool) -> list[tuple[Fault, ...]]:
    """Return what to try at each call of a kind, having seen a run without faults.

    Args:
        role: Who dies.
        kind: ``reads``, ``appends``, or ``commits`` to its disk.
        quiet: The run.
        thorough: Whether to try more than deaths, and reads before the unit's first append too.
    """
    troubles = quiet.troubles
    appends = troubles.appended_at[role]
    # Deaths are counted among calls of either kind, what else befalls an append among appends alone.
    if kind == "reads":
        reads = range(1 if thorough else appends[0], troubles.calls(role, "any") + 1)
        return [(Fault(role, call, Trouble.CRASH_BEFORE),) for call in reads if call not in appends]
    if kind == "appends":
        before = [(Fault(role, call, Trouble.CRASH_BEFORE),) for call in appends]
        more = [
            (
                Fault(role, call, Trouble.CRASH_AFTER),
                Fault(role, number, Trouble.LATE),
                Fault(role, number, Trouble.TORN),
            )
            for number, call in enumerate(appends, 1)
        ]
        return [one + others for one, others in zip(before, more, strict=True)] if thorough else [*before]
    on_disk = (Trouble.DISK_CRASH_BEFORE, Trouble.DISK_CRASH_AFTER, Trouble.DISK_FULL)
    commits = range(1, troubles.calls(role, "disk") + 1)
    return [tuple(Fault(role, call, t) for t in on_disk[: 3 if thorough else 1]) for call in commits]


LEAST = {
    (FIRST, "reads"): 60,
    (FIRST, "appends"): 4,
    (FIRST, "commits"): 4,
    (LESSONS, "reads"): 20,
    (LESSONS, "appends"): 9,
    (LESSONS, "commits"): 4,
    (CONTACT, "appends"): 6,
    (CONTACT, "commits"): 4,
}
"""Points of either unit. What it reads before it first writes is alike in all scenarios."""


@pytest.mark.slow
@pytest.mark.parametrize("role", ["mu", "su"])
@pytest.mark.parametrize(("scenario", "kind"), LEAST)
def test_a_unit_may_die_at_any_call(scenario: str, kind: str, role: str) -> None:
    schedule = SCENARIOS[scenario]
    tried = points(role, kind, run(schedule), thorough=scenario == FIRST)
    assert len(tried) > LEAST[scenario, kind]
    for faults in tried:
        for fault in faults:
            run(schedule, fault)
