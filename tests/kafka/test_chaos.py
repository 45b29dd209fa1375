"""Blows to real processes, their broker and their network: nothing is lost, nothing counts twice."""

from pathlib import Path
from random import Random

import pytest

from kafka.chaos import ON_KAFKA, on_kafka
from kafka.fixtures import need_own_broker

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]

FAULTS = 30


def test_units_and_broker_under_blows_end_up_right(tmp_path: Path) -> None:
    need_own_broker()
    with on_kafka(tmp_path, Random(5)) as chaos:
        chaos.run(FAULTS)
        assert chaos.dealt.total() == FAULTS
        assert set(chaos.dealt) == set(ON_KAFKA)
