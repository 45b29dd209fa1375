"""A broker that drops, repeats, reorders, changes, moves and rolls back: no model is wrong."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from simulation.hostile_broker import Harm, Tampering, run_tampered, tamperings
from simulation.schedules import Schedule
from simulation.test_schedules import chunk_offers

BATCHES = 4
EACH = 150


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_model_is_ever_wrong(batch: int) -> None:
    done: Counter[str] = Counter()
    ended = 0
    asked = ("query c",) if batch == 0 else ()

    @seed(batch)
    @settings(max_examples=EACH, database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.integers(0, (1 << 16) - 1),
        st.lists(st.sampled_from(chunk_offers()), min_size=2, max_size=6).map(tuple),
        tamperings(),
    )
    def run(number: int, names: tuple[str, ...], things: tuple[Tampering, ...]) -> None:
        nonlocal ended
        world = run_tampered(Schedule(number, (*names, *asked), snapshot_entries=2), things)
        done.update(world.tampered)
        ended += world.folded is not None

    run()
    assert len(done) > len(Harm) // 2
    assert done.total() >= EACH // 2
    # Most runs go on to their end: a broker cannot stop everything by doing something.
    assert ended > EACH // 2
