"""Schedules that once ended wrongly, each with what it found."""

import pytest
from simulation.oracles import check
from simulation.schedules import Fault, Schedule, Trouble
from simulation.world import simulate

FOUND = {
    "a second process's entries came in the same read as the own ones and were not looked at": Schedule(
        26150,
        ("b0", "query d"),
        (Fault("su", 12, Trouble.LATE), Fault("mu", 34, Trouble.USURPED)),
        512,
    ),
    "entries of a process that had stopped kept every later one from starting": Schedule(
        33402,
        (
            "a1",
            "withdraw b0",
            "proven by another",
            "withdraw a1",
            "junk",
            "query c",
            "a0",
            "withdraw b0 once more",
        ),
        (Fault("mu", 55, Trouble.USURPED), Fault("su", 6, Trouble.LOST_REPLY)),
        2,
    ),
    "a model emptied between a query's screening and its decision was to answer": Schedule(
        2445,
        (
            "a1 otherwise",
            "withdraw a1",
            "query c",
            "a1",
            "b0",
            "withdraw b0 once more",
            "a1 otherwise",
            "withdraw b0",
        ),
        (Fault("mu", 37, Trouble.SLOW), Fault("mu", 24, Trouble.LOST)),
        5,
    ),
    "an answer was forgotten when a snapshot came before it was handed out again": Schedule(
        12372,
        ("a1", "b1", "b0", "query d", "b0", "withdraw a1", "outside the group"),
        (
            Fault("su", 58, Trouble.SLOW),
            Fault("su", 2, Trouble.DISK_FULL),
            Fault("mu", 80, Trouble.CRASH_AFTER),
            Fault("mu", 165, Trouble.CRASH_AFTER),
        ),
        2,
    ),
}


@pytest.mark.parametrize("found", FOUND)
def test_what_was_found_stays_mended(found: str) -> None:
    world = simulate(FOUND[found])
    check(world)
    assert world.troubles.fired
