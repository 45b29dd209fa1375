"""Settings of the whole suite."""

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["kafka.fixtures"]

# Two workers share two cores with whole processes: how long an example takes says nothing.
settings.register_profile("privml", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("privml")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a broker unless it was asked for."""
    if "kafka" in config.option.markexpr:
        return
    needing = [item for item in items if item.get_closest_marker("kafka")]
    config.hook.pytest_deselected(items=needing)
    items[:] = [item for item in items if not item.get_closest_marker("kafka")]
