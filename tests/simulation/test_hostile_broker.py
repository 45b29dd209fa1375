"""A broker that drops, repeats, reorders, changes, moves, forks and rolls back: no model is wrong."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from simulation.hostile_broker import Harm, Tampering, run_tampered, tamperings
from simulation.schedules import Schedule
from simulation.test_schedules import chunk_offers

EACH = 46
_HARMS_PER_QUERIES = 4


@pytest.mark.slow
@pytest.mark.parametrize("harm", Harm, ids=lambda harm: harm.name)
def test_no_model_is_ever_wrong(harm: Harm) -> None:
    done: Counter[Harm] = Counter()
    ended = 0
    number = list(Harm).index(harm)
    asked = ("query c",) if number % _HARMS_PER_QUERIES == 0 else ()

    @seed(number)
    @settings(max_examples=EACH, database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.integers(0, (1 << 16) - 1),
        st.lists(st.sampled_from(chunk_offers()), min_size=2, max_size=6).map(tuple),
        tamperings(harm),
    )
    def run(chance: int, names: tuple[str, ...], things: tuple[Tampering, ...]) -> None:
        nonlocal ended
        world = run_tampered(Schedule(chance, (*names, *asked), snapshot_entries=2), things)
        done.update(map(Harm, world.tampered))
        ended += world.folded is not None

    run()
    assert done[harm] >= EACH // 2
    # A broker cannot stop everything by doing something.
    assert ended >= EACH // 5
