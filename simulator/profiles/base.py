"""What a profile is: how to speak to one kind of server, and how to know what it owes.

A profile makes the members, publishes, and reads the truth back at the end; the runner does everything else.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..ledger import Ledger
from ..mailboxes import Truth
from ..member import Member
from ..outages import Outages
from ..publisher import Outcome
from ..rest import RestClient
from ..result import Conservation
from ..scenario import Scenario
from ..schedule import Publication, Workload
from ..wire import Endpoint

Progress = Callable[[int, int], None]
"""Told how much is done, of how much."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a run gives its profile.

    run_id: unlike in any other run, for names and idempotency keys on servers that remember.
    tokens_file, claims_file: one JSON object a line, as the seeding wrote them; None: make users by yourself.
    """

    scenario: Scenario
    endpoint: Endpoint
    rest: RestClient
    ledger: Ledger
    outages: Outages
    run_id: str
    tokens_file: Path | None
    claims_file: Path | None
    note: Callable[[str], None]
    now_ns: Callable[[], int] = time.monotonic_ns


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The truth at the end. truth: per user the server's own list of durable messages."""

    truth: Mapping[str, Truth] = field(default_factory=dict)
    conservation: Conservation = field(default_factory=Conservation)
    unreachable: bool = False


class Profile(Protocol):
    """One kind of server."""

    namespace: str
    headers: dict[str, str]

    async def prepare(self, progress: Progress) -> Workload:
        """Make users and rooms ready and say what can be published. Raises SetupError."""
        ...

    def member(self, index: int) -> Member:
        """The client of that number; called once for each, after `prepare`."""
        ...

    async def publish(self, item: Publication, intended_ns: int) -> Outcome:
        """Publish one item and tell the ledger what is owed; never raises but when cancelled."""
        ...

    async def reconcile(self, progress: Progress) -> Reconciled:
        """Read the truth back; called when the traffic has drained."""
        ...

    async def close(self) -> None:
        """Let go of connections and tasks. Idempotent."""
        ...
