"""For all tests: hypothesis never judges by the clock, on a shared machine that would be luck; and as many
files may be open as the machine allows, here and in what is started from here."""

import resource

from hypothesis import HealthCheck, settings

settings.register_profile("vouchstorm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vouchstorm")


def pytest_configure() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
