"""A key epoch that begins in mid-stream, and a death of either unit at every append around it."""

import pytest
from simulation.evidence import Evidence
from simulation.oracles import check
from simulation.schedules import Fault, Schedule, Trouble
from simulation.world import World, simulate

from schemas.journal import EntryKind
from schemas.queries import Answer
from schemas.topics import TopicName

OFFERED = ("a0", "query c", "renew", "a1", "query c in the second key epoch")


def run(*faults: Fault) -> World:
    world = simulate(Schedule(5, OFFERED, faults, snapshot_entries=3, orderly=True))
    check(world)
    assert [e.kind for e, _ in world.chain()].count(EntryKind.CONFIGURED) == 1
    return world


def answered(world: World) -> int:
    """Return how many queries got labels."""
    answers = [answer for _, answer in Evidence(world).read(TopicName.ANSWERS, Answer)]
    return len({answer.query_id for answer in answers if not answer.reason})


def test_a_stream_goes_on_in_the_second_key_epoch() -> None:
    assert answered(run()) == 2


@pytest.mark.slow
@pytest.mark.parametrize("role", ["mu", "su"])
def test_either_unit_may_die_at_any_append_around_the_switch(role: str) -> None:
    calls = run().troubles.calls(role, "append")
    assert calls > 6
    for call in range(1, calls + 1):
        trouble = (Trouble.CRASH_AFTER, Trouble.CRASH_BEFORE, Trouble.LATE)[call % 3]
        world = run(Fault(role, call, trouble))
        assert len(world.troubles.fired) == 1
        assert answered(world) == 2, (call, trouble)
