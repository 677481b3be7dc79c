"""For all tests: hypothesis never judges by the clock, on a shared machine that would be luck."""

from hypothesis import HealthCheck, settings

settings.register_profile("vouchstorm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vouchstorm")
