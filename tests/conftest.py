"""Settings of the whole suite."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["kafka.fixtures"]

# Two workers share two cores with whole processes: how long an example takes says nothing.
settings.register_profile("privml", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("privml")
