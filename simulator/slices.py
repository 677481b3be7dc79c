"""How the clients of a run are shared out over processes: ranges, a user's sockets never apart. Pure."""

from dataclasses import dataclass

from .scenario.loader import Scenario

CLIENTS_PER_PROCESS = 5_000
"""What one process holds with room to spare; `processes = 0` aims at it."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Clients `first` ... `first + count - 1` of the run, and their users. of: how many slices there are."""

    number: int
    of: int
    first: int
    count: int
    users: range

    def __contains__(self, client: int) -> bool:
        return self.first <= client < self.first + self.count


def processes(scenario: Scenario, free_processors: int) -> int:
    """How many processes hold the clients; `scenario.processes` 0: as many as are needed and have a core."""
    asked = scenario.processes
    if asked == 0:
        asked = max(1, min(free_processors, -(-scenario.clients // CLIENTS_PER_PROCESS)))
    return min(asked, scenario.users)


def slices(scenario: Scenario, count: int) -> list[Slice]:
    """The clients in `count` ranges of nearly equal size."""
    tabs, users = scenario.sockets_per_user, scenario.users
    found: list[Slice] = []
    for number in range(count):
        mine = range(users * number // count, users * (number + 1) // count)
        first = mine.start * tabs
        found.append(Slice(number, count, first, min(mine.stop * tabs, scenario.clients) - first, mine))
    return found
