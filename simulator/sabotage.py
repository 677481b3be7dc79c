"""The faults of a run that are not the clients' own: services that are broken and healed on time.

Refuses, before any load, a fault that needs what the target does not have. Everything broken is whole again
when the block ends, whatever ended it. Called by the course.
"""

from types import TracebackType

from .result import FaultMark
from .scenario import Scenario
from .target import ManagedServer


class Sabotage:
    """`async with Sabotage(scenario, server) as sabotage:` checks; `start` begins, `finish` heals.

    marks: one per fault that has begun, in order of time; times in seconds from the start of the load.
    """

    def __init__(self, scenario: Scenario, server: ManagedServer | None) -> None:
        self.marks: list[FaultMark] = []
        self._scenario = scenario
        self._server = server

    async def __aenter__(self) -> "Sabotage":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.finish()

    def entrance(self, url: str) -> str:
        """Where the clients connect: the server itself, or the proxy that stands in front of it."""
        return url

    def start(self, load_start_ns: int) -> None:
        """Begin to break things as scheduled."""

    async def finish(self) -> None:
        """No more faults; what is still broken is healed. Idempotent."""
