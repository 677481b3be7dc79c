"""Options of `vouchstorm capacity`, as they reach the search."""

import pytest
from typer.testing import CliRunner

import simulator.capacity.run
from cli import make_app
from simulator.capacity.run import CapacityOptions
from simulator.capacity.search import Capacity


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[CapacityOptions]:
    """What the search is asked for; it finds that everything holds."""
    options: list[CapacityOptions] = []

    def find(chosen: CapacityOptions, *_: object) -> Capacity:
        options.append(chosen)
        return Capacity(
            tolerance=0.1, passing=1, failing=None, bound="ceiling", signal="", saturated=[], steps=[]
        )

    monkeypatch.setattr(simulator.capacity.run, "run_capacity", find)
    return options


def test_the_clients_are_held_by_as_many_processes_as_are_asked_for(asked: list[CapacityOptions]) -> None:
    done = CliRunner().invoke(make_app(), ["capacity", "--processes", "3", "--url", "http://127.0.0.1:1"])
    assert (done.exit_code, [options.run.scenario.processes for options in asked]) == (0, [3])


def test_without_the_option_the_scenario_says_how_many(asked: list[CapacityOptions]) -> None:
    CliRunner().invoke(make_app(), ["capacity", "--url", "http://127.0.0.1:1"])
    assert [options.run.scenario.processes for options in asked] == [1]
