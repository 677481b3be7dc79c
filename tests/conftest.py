"""For all tests: hypothesis never judges by the clock, on a shared machine that would be luck; and as many
files may be open as the machine allows, here and in what is started from here; who hangs says where."""

import resource

import pytest
from hypothesis import HealthCheck, settings

from tests.support import hang_report

settings.register_profile("vouchstorm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vouchstorm")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(hang_report)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
