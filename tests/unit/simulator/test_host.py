"""CPU of a family of processes: what was used stays used, whoever ends in between."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import psutil
import pytest

from simulator.host import FamilyCpu


@dataclass(frozen=True)
class Process:
    """As psutil's: the same one is the one with the same number and start."""

    pid: int
    started: int
    machine: "Machine" = field(compare=False)

    def is_running(self) -> bool:
        return self.machine.spent.get(self.pid, (None, 0.0))[0] == self.started

    def cpu_times(self) -> SimpleNamespace:
        return SimpleNamespace(user=self.machine.spent[self.pid][1], system=0.0)


class Machine:
    """Processes by number, each with its start and its CPU seconds; the first is everybody's parent."""

    def __init__(self, **cpu_s: float) -> None:
        self.spent = {int(name[1:]): (int(name[1:]), used) for name, used in cpu_s.items()}

    def family(self, pid: int) -> list[psutil.Process]:
        if pid not in self.spent:
            return []
        found = [Process(each, started, self) for each, (started, _) in self.spent.items()]
        return cast(list[psutil.Process], found)

    def cpu(self, pid: int = 1) -> FamilyCpu:
        return FamilyCpu(pid, family=self.family)


def test_the_sum_is_over_the_family() -> None:
    assert Machine(p1=1.0, p2=2.5).cpu().total_s() == 3.5


LATER = {
    "what a killed child used stays": ({1: (1, 1.25)}, 3.75),
    "a replacement adds to what it replaced": ({1: (1, 1.0), 3: (3, 0.5)}, 4.0),
    "a number that is used again is another process": ({1: (1, 1.0), 2: (900, 0.25)}, 3.75),
}


@pytest.mark.parametrize(("spent", "total_s"), LATER.values(), ids=LATER)
def test_what_was_used_before_still_counts(spent: dict[int, tuple[int, float]], total_s: float) -> None:
    machine = Machine(p1=1.0, p2=2.5)
    cpu = machine.cpu()
    cpu.total_s()
    machine.spent = spent
    assert cpu.total_s() == total_s


def test_a_child_that_lost_its_parent_is_still_followed() -> None:
    machine = Machine(p1=1.0, p2=2.5)
    cpu = machine.cpu()
    cpu.total_s()
    machine.family = lambda pid: []  # type: ignore[method-assign]
    machine.spent[2] = (2, 3.0)
    assert cpu.total_s() == 4.0


def test_whether_the_first_lives_is_known() -> None:
    machine = Machine(p1=1.0)
    cpu = machine.cpu()
    alive = cpu.alive()
    machine.spent[1] = (900, 0.0)
    assert (alive, cpu.alive()) == (True, False)


@pytest.mark.parametrize("steps", [["12", "1", "13", "3", ""], ["1", "12", "2", "123"]])
def test_the_sum_never_falls(steps: list[str]) -> None:
    machine = Machine()
    cpu, seen = machine.cpu(), [0.0]
    for round_number, alive in enumerate(steps):
        machine.spent = {int(pid): (int(pid), 1.0 + round_number) for pid in alive}
        seen.append(cpu.total_s())
    assert seen == sorted(seen)
