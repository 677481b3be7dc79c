"""What a profile is: how to speak to one kind of server, and how to know what it owes.

A profile makes the members, publishes, and reads the truth back at the end; the runner does everything else.
"""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SetupError
from ..faults.hostile_clients import HostileInputs
from ..generator.publisher import Fact, Outcome
from ..ledger.disconnects import Disconnects
from ..ledger.durable import Truth
from ..ledger.ledger import Ledger
from ..result import Conservation
from ..scenario.models import Scenario
from ..scenario.schedule import Publication, Workload, publications
from ..socketio_client import Endpoint
from ..target.http_client import RestClient
from .virtual_client import VirtualClient

Progress = Callable[[int, int], None]
"""Told how much is done, of how much."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a run gives its profile, once in each process of the generator.

    ledger, outages: of the clients of this process; the one that publishes may have none.
    run_id: unlike in any other run, for names and idempotency keys on servers that remember.
    tokens_file, rooms_file: one JSON object a line, as the seeding wrote them; None: make users by yourself.
    """

    scenario: Scenario
    endpoint: Endpoint
    rest: RestClient
    ledger: Ledger
    outages: Disconnects
    run_id: str
    tokens_file: Path | None
    rooms_file: Path | None
    note: Callable[[str], None]
    now_ns: Callable[[], int] = time.monotonic_ns


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The truth at the end. truth: per user the server's own list of durable messages."""

    truth: Mapping[str, Truth] = field(default_factory=dict)
    conservation: Conservation = field(default_factory=Conservation)
    unreachable: bool = False


@dataclass(slots=True)
class ClientFindings:
    """What the clients of one process saw beside the ledger; adds up over processes.

    truth: durable messages that only this process knows of. violations: the first of what must not be seen.
    expired: connections that the server ended with their token. renewed: new tokens that clients asked for.
    """

    truth: dict[str, Truth] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    violation_count: int = 0
    expired: int = 0
    renewed: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, other: "ClientFindings") -> None:
        """Add what another process saw."""
        self.truth |= other.truth
        self.violations += other.violations
        self.violation_count += other.violation_count
        self.expired += other.expired
        self.renewed += other.renewed
        self.notes += [note for note in other.notes if note not in self.notes]


def read_lines(path: Path | None) -> list[dict[str, Any]]:
    """Objects of a file with one JSON object a line; nothing without a path. Raises SetupError."""
    if path is None:
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise SetupError(f"Cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise SetupError(f"{path} is not one JSON object a line: {error}.") from error


class Profile(ABC):
    """One kind of server; as it is, one that lends nobody an account and has no truth to read back.

    A run of one process calls everything on one profile. In a run of several, the first process has one that
    prepares, publishes and reads back; each of the others has one that took the brief of the first, and makes
    members. at_clients: publishing happens at the clients, so each process does its own. nothing_to_check:
    why there is no truth but what was published.
    """

    at_clients = False
    namespace = "/"
    nothing_to_check = ""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.headers: dict[str, str] = {}

    @abstractmethod
    async def prepare(self, progress: Progress) -> Workload:
        """Make users and rooms ready and say what can be published. Raises SetupError."""

    async def hostile_inputs(self) -> HostileInputs:
        """What hostile strangers may use; asked after `prepare`. Raises SetupError."""
        return HostileInputs()

    def plan(self, workload: Workload) -> list[Publication]:
        """The schedule of the run, the same in every process; asked before anything is published."""
        return publications(self.stage.scenario, workload)

    def brief(self, users: range) -> Any:
        """What another process must know to play these users; travels as a pickle."""
        return None

    def take(self, brief: Any) -> None:
        """In place of `prepare`: what `brief` gave in another process."""
        return

    @abstractmethod
    def member(self, index: int) -> VirtualClient:
        """The client of that index in this process; asked once for each, after `prepare` or `take`."""

    @abstractmethod
    async def publish(self, item: Publication, intended_ns: int) -> Outcome:
        """Publish one item; never raises but when cancelled."""

    def published(self, fact: Fact) -> None:
        """Tell the ledger of this process what its clients are owed."""
        return

    async def reconcile(self, progress: Progress) -> Reconciled:
        """Read the truth back, when the traffic has drained, and check its laws."""
        return Reconciled(conservation=Conservation(note=self.nothing_to_check))

    def witness(self) -> ClientFindings:
        """What the clients of this process saw; asked once, at the end."""
        return ClientFindings()

    async def close(self) -> None:
        """Let go of everything."""
        return
