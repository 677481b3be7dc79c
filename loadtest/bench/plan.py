"""What a run measures, how often, and within which time. Pure."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

HEADLINE_SIZE = 1_000
SERVER_METRICS = ("fanout", "burst", "connect", "idle", "bus", "metrics", "scrape")
METRICS = (*SERVER_METRICS, "generators")
CONTESTANTS = ("ours", "stock", "node", "floor", "bare", "storeless")
GENERATORS = {
    "floor": "floor: one read, no client",
    "lean": "ours, without ledger",
    "ledger": "ours, with ledger",
    "picows": "picows, Socket.IO by hand",
    "asyncclient": "socketio.AsyncClient",
    "locust_ours": "our Locust user",
    "locust_own": "Locust's SocketIOUser",
    "artillery": "Artillery",
}
"""Load generators, with their names in the table. The floor is not the servers' one."""
EVERYBODY = tuple(dict.fromkeys((*CONTESTANTS, *GENERATORS)))
HEADLINES = ("ours", "stock", "node", "floor")
DELIVERIES = 120_000
"""About this many deliveries make one figure, at each size."""
STOCK_DELIVERIES = 40_000
"""Of the contestant that needs most of the time for them."""
WARM_UP_DELIVERIES = 20_000
LARGEST_FOR_ALL = 1_000
"""Above it the bare write, which differs from the floor by the same at every size, takes no part, and a burst
is measured of ours alone, to hold it against its own figure for fewer sockets."""
PUSHES_PER_S = 4
PUSHES = 24
"""Each to all clients of a load generator."""


@dataclass(frozen=True, slots=True)
class Plan:
    """repetitions: alternations of all contestants. sizes: sockets per fan-out; of them `burst_sizes` get a
    burst of `burst_events` too, and from `connect_after` on, `connects` more connections are measured.
    idle_sockets: (few, many). bus_notifications: sent by each other node of `bus_nodes`, which are at most
    `bus_senders` processes. scrape_sockets: held while /metrics is read. generator_sizes: clients
    of a load generator.

    trial_deadline_s: one visit to one contestant. budget_s: no trial begins that would end after it.
    """

    name: str
    repetitions: int
    sizes: tuple[int, ...]
    burst_sizes: tuple[int, ...]
    connect_after: tuple[int, ...]
    idle_sockets: tuple[int, int]
    budget_s: float
    trial_deadline_s: float = 100.0
    burst_events: int = 200
    connects: int = 1_000
    connects_at_once: int = 50
    idle_ping_interval_s: float = 1.0
    bus_nodes: tuple[int, ...] = (2, 4, 8)
    bus_senders: int = 1
    bus_notifications: int = 1_000
    metrics_sockets: int = HEADLINE_SIZE
    metrics_pairs: int = 6
    scrape_sockets: int = 5_000
    scrapes: int = 20
    stock_burst_sizes: tuple[int, ...] = ()
    generator_sizes: tuple[int, ...] = (HEADLINE_SIZE,)
    only: frozenset[str] = field(default=frozenset(SERVER_METRICS))
    contestants: tuple[str, ...] = EVERYBODY

    def takes_part(self, contestant: str, metric: str) -> bool:
        """Is this contestant measured by `name@size` or `name_aspect@size`?"""
        aspect, _, size = metric.partition("@")
        name = aspect.partition("_")[0]
        if name not in self.only:
            return False
        if name == "generators":
            return contestant in GENERATORS
        if contestant not in CONTESTANTS:
            return False
        if name in ("metrics", "scrape"):
            return contestant == "ours"
        if name == "bus":
            return contestant in ("ours", "stock")
        if contestant == "storeless":
            return name == "connect"
        if contestant == "bare":
            return name in ("fanout", "burst") and int(size) <= LARGEST_FOR_ALL
        if name == "burst" and contestant != "ours" and int(size) > LARGEST_FOR_ALL:
            return False
        if contestant == "stock" and name == "burst":
            return int(size) in self.stock_burst_sizes
        return True

    @property
    def largest_crowd(self) -> int:
        """Sockets in the largest trial."""
        crowds = [HEADLINE_SIZE, *self.sizes]
        crowds += [after + self.connects for after in self.connect_after if "connect" in self.only]
        if "idle" in self.only:
            crowds += self.idle_sockets
        if "scrape" in self.only:
            crowds.append(self.scrape_sockets)
        if "generators" in self.only:
            crowds += self.generator_sizes
        return max(crowds)

    def events_for(self, contestant: str, size: int) -> int:
        """Fan-outs that make one figure at this size."""
        return max(10, (STOCK_DELIVERIES if contestant == "stock" else DELIVERIES) // size)

    def warm_up_events(self, size: int) -> int:
        """Fan-outs before anything is measured at this size."""
        return max(2, WARM_UP_DELIVERIES // size)

    def at_sizes(self, sizes: Sequence[int]) -> "Plan":
        """The same plan with fan-out, burst, connect and load generators at these sizes only."""
        chosen = tuple(sizes)
        return dataclasses.replace(
            self, sizes=chosen, burst_sizes=chosen, connect_after=chosen, generator_sizes=chosen
        )


QUICK = Plan(
    "quick",
    repetitions=5,
    sizes=(1_000,),
    burst_sizes=(1_000,),
    connect_after=(1_000,),
    idle_sockets=(500, 2_000),
    budget_s=340.0,
    contestants=tuple(name for name in EVERYBODY if name != "bare"),
    only=frozenset({"fanout", "burst", "connect", "idle", "bus"}),
)
FULL = Plan(
    "full",
    repetitions=5,
    sizes=(200, 1_000, 5_000),
    burst_sizes=(200, 1_000, 5_000),
    connect_after=(1_000, 5_000),
    idle_sockets=(1_000, 5_000),
    budget_s=1_500.0,
    trial_deadline_s=120.0,
    idle_ping_interval_s=2.0,
    bus_senders=7,
    stock_burst_sizes=(1_000,),
)

CLIENTS = dataclasses.replace(
    QUICK,
    name="clients",
    repetitions=3,
    budget_s=280.0,
    trial_deadline_s=120.0,
    only=frozenset({"generators"}),
)

# What every contestant is asked to do: the same event, the same rooms, the same tokens.

SECRET = "bench-only-secret-of-at-least-32-characters"  # noqa: S105 - guards nothing
ROOM = "live"
EVENT = "consensus_update"
SOCKET_PATH = "/ws/socket.io/"
EVENT_PREFIX = b'42["consensus_update",'
FIRST_NUMBER = 1_000_000
"""Events are numbered from here, so that each has the same length."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """port: 0 takes a free one. users: known to the contestant that has a store."""

    port: int = 0
    users: int = 5_000
    ping_interval_s: float = 25.0
    ping_timeout_s: float = 20.0
    bus_url: str | None = None


def payload(number: int) -> dict[str, Any]:
    """The data of one event: about 150 bytes on the wire with its envelope."""
    return {
        "v": 1,
        "claim_id": "01JZX4M9Q7T2V5B8N3K6H1D0CF",
        "vouch": 61.5,
        "dispute": 30.8,
        "unsure": 7.7,
        "version": number,
        "status": "open",
    }


def notification(number: int) -> dict[str, Any]:
    """The data of one user's notification."""
    return {
        "v": 1,
        "id": f"01JZX4M9Q7T2V5B8{number:010d}",
        "seq": 1,
        "type": "system",
        "title": "Consensus reached",
        "message": "Your claim was verified with 66.7 % of 12 validations.",
        "priority": "medium",
        "action_url": "/claims/01JZX4M9Q7T2V5B8N3K6H1D0CF",
        "data": {},
        "read": False,
        "created_at": "2026-01-01T00:00:00+00:00",
    }


def absent_user_id(number: int) -> str:
    """A user who is connected to no node of the benchmark."""
    return f"bench-absent-{number:06d}"


def packet(number: int) -> bytes:
    """The event as an Engine.IO message, ready to be framed."""
    return b"4" + f'2["{EVENT}",{json.dumps(payload(number), separators=(",", ":"))}]'.encode()


def user_id(number: int) -> str:
    return f"bench-user-{number:06d}"
