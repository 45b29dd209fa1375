"""Blows to real processes on the embedded log: nothing is lost, nothing counts twice."""

from pathlib import Path
from random import Random

import pytest
from integration.chaos import ON_EMBEDDED_LOG, Chaos
from integration.deployment import Deployment

FAULTS = 32


@pytest.mark.slow
def test_units_under_blows_end_up_right(template: Deployment, tmp_path: Path) -> None:
    chaos = Chaos(template.copy(tmp_path), Random(3))
    chaos.run(FAULTS)
    assert chaos.dealt.total() == FAULTS
    assert set(chaos.dealt) == set(ON_EMBEDDED_LOG)
