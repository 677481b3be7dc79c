"""What CPU and counters of a run are read of: the load, not what is waited for before and after it."""

import time

import pytest

from simulator.progress import Silent
from simulator.run.collect import Meter
from simulator.run.phases import LoadRun, RunOptions
from tests.support.simulator.planted import scenario, server

NS = 1_000_000_000
DRAIN_S = 3.0


class Watched(LoadRun):
    """Notes in which phase the meters are read, and when."""

    read: list[tuple[str, Meter]]

    async def _meter(self) -> Meter:
        meter = await super()._meter()
        self.read = [*getattr(self, "read", []), (self._now_in, meter)]
        return meter


@pytest.mark.parametrize("processes", [1, 2])
async def test_the_meters_are_read_around_the_load(processes: int) -> None:
    spec = scenario(processes=processes, phases={"warmup_s": 0.5, "drain_s": DRAIN_S})
    async with server("lying_server") as port:
        course = Watched(RunOptions(spec, url=f"http://127.0.0.1:{port}"), Silent())
        await course.run()
    (before_in, before), (after_in, after) = course.read
    assert (before_in, after_in) == ("warmup", "load")
    assert before.at_ns <= course.load_start_ns < after.at_ns <= time.monotonic_ns() - DRAIN_S * NS
