"""What is published when, by whom, where, and which clients are cut off when: all of it before the run.

Open model: times are `start + n * period`, or a seeded Poisson process, counted from the start of the warm-up
and never from an answer. One seed gives one schedule. Pure.
"""

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Literal, get_args

from ..result import FaultMark
from .models import Drop, Flap, HalfOpen, Scenario, Slow, TimedFault

TransportName = Literal["websocket", "polling", "upgrade"]
UNLIMITED = 2**31
BURST_SHARE = 0.3
"""When a burst comes, as a share of the load: away from the middle, where faults often are."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One publish. at_s: seconds from the start of the warm-up; user, room: numbers from 0.

    measured: outside the warm-up, so its latency counts.
    """

    n: int
    at_s: float
    user: int
    room: int
    measured: bool


@dataclass(frozen=True, slots=True)
class Trouble:
    """One client's trouble. at_s: from the start of the load; for_s: None = the reconnect policy decides."""

    at_s: float
    client: int
    kind: str
    for_s: float | None
    fault: int
    silent: bool = False


@dataclass(slots=True)
class Workload:
    """What the schedule draws from.

    publishers: users who publish in the ordinary course. barred: of each room, the user who never publishes
    there, -1 where there is none. per_room: publishes planned per room at most. once: a user publishes to a
    room once. burst: users who publish all at one moment to one room, the least popular that stands open.
    """

    publishers: Sequence[int]
    barred: Sequence[int]
    per_room: int = UNLIMITED
    once: bool = True
    burst: Sequence[int] = ()


def stream(seed: int, name: str) -> random.Random:
    """An independent seeded generator for one purpose."""
    return random.Random(f"{seed}:{name}")


def publications(
    scenario: Scenario, workload: Workload, rng: random.Random | None = None
) -> list[Publication]:
    """The whole schedule in order of time; shorter than asked for only if the workload runs dry.

    rng: the stream `schedule`, where the caller has drawn something about each room from it already.
    """
    if rng is None:
        rng = stream(scenario.seed, "schedule")
        for _ in workload.barred:  # so that a seed means the same schedule to every profile
            rng.random()
    draws = _Draws(scenario.popularity_zipf, workload, rng)
    warmup_s = scenario.phases.warmup_s
    planned: list[tuple[float, int, int]] = []
    for at_s in _times(scenario, warmup_s + scenario.duration_s, rng):
        pair = draws.pair()
        if pair is None:
            break
        planned.append((at_s, *pair))
    planned += draws.burst(warmup_s + scenario.duration_s * BURST_SHARE)
    planned.sort(key=lambda item: item[0])
    return [
        Publication(n, at_s, user, room, at_s >= warmup_s) for n, (at_s, user, room) in enumerate(planned)
    ]


def at_once(plan: Sequence[Publication]) -> int:
    """The most publishes that are due at the same moment, beyond the first: a burst."""
    return max(Counter(item.at_s for item in plan).values(), default=1) - 1


def troubles(scenario: Scenario) -> list[Trouble]:
    """Every client's troubles of all faults, in order of time; faults of services are not among them."""
    found: list[Trouble] = []
    for index, fault in enumerate(scenario.faults):
        if not isinstance(fault, TimedFault):
            continue
        rng = stream(scenario.seed, f"fault:{index}")
        count = max(1, round(fault.fraction * scenario.clients))
        chosen = sorted(rng.sample(range(scenario.clients), min(count, scenario.clients)))
        found += _troubles_of(fault, index, chosen, scenario.duration_s, rng)
    return sorted(found, key=lambda trouble: (trouble.at_s, trouble.client))


def marks(of: Sequence[Trouble]) -> list[FaultMark]:
    """One mark per fault, for the timeline."""
    by_fault: dict[int, list[Trouble]] = {}
    for trouble in of:
        by_fault.setdefault(trouble.fault, []).append(trouble)
    return [
        FaultMark(
            at_s=group[0].at_s,
            until_s=max(trouble.at_s + (trouble.for_s or 0.0) for trouble in group),
            kind=group[0].kind,
            clients=len({trouble.client for trouble in group}),
        )
        for group in by_fault.values()
    ]


def narrow_buffers(scenario: Scenario) -> dict[int, int]:
    """Clients that will stop reading -> their receive buffer in bytes, where the fault wants a small one."""
    found: dict[int, int] = {}
    for trouble in troubles(scenario):
        fault = scenario.faults[trouble.fault]
        if isinstance(fault, Slow) and fault.receive_buffer_bytes is not None:
            found[trouble.client] = fault.receive_buffer_bytes
    return found


def transports(scenario: Scenario) -> list[TransportName]:
    """How each client connects, in the mix of the scenario."""
    mix, rng = scenario.transports.model_dump(), stream(scenario.seed, "transports")
    names: list[TransportName] = [name for name in get_args(TransportName) if mix[name] > 0]
    return rng.choices(names, [mix[name] for name in names], k=scenario.clients)


def _troubles_of(
    fault: TimedFault, index: int, clients: Sequence[int], duration_s: float, rng: random.Random
) -> Iterator[Trouble]:
    start_s = fault.starts_s(duration_s)
    for client in clients:
        match fault:
            case Drop():
                away_s = None if fault.away_s is None else rng.uniform(*fault.away_s)
                at_s = start_s + rng.random() * fault.spread_s
                yield Trouble(at_s, client, "drop", away_s, index, fault.silent)
            case Flap():
                end_s = duration_s if fault.for_s is None else min(duration_s, start_s + fault.for_s)
                at_s = start_s + rng.random() * fault.every_s
                while at_s < end_s:
                    yield Trouble(at_s, client, "drop", rng.uniform(*fault.away_s), index)
                    at_s += fault.every_s
            case Slow():
                yield Trouble(start_s, client, "slow", fault.for_s, index)
            case HalfOpen():
                yield Trouble(start_s, client, "half_open", fault.for_s, index)


def _times(scenario: Scenario, span_s: float, rng: random.Random) -> Iterator[float]:
    rate_per_s = scenario.publish.rate_per_s
    if scenario.publish.arrival == "poisson":
        at_s = rng.expovariate(rate_per_s)
        while at_s < span_s:
            yield at_s
            at_s += rng.expovariate(rate_per_s)
    else:
        yield from (n / rate_per_s for n in range(round(span_s * rate_per_s)))


class _Draws:
    """Draws (user, room) pairs: rooms by popularity among those not full, users without repetition."""

    def __init__(self, zipf: float, workload: Workload, rng: random.Random) -> None:
        self.rng = rng
        self.workload = workload
        rooms = len(workload.barred)
        ranks = list(range(rooms))
        rng.shuffle(ranks)
        self.weight = [1.0 / (rank + 1) ** zipf for rank in ranks]
        self.left = [workload.per_room] * rooms
        self.users = [self._users_of(room) for room in range(rooms)]
        self._refresh()

    def pair(self) -> tuple[int, int] | None:
        """The next pair, None when no room can take another publish."""
        while self.open:
            for _ in range(16):
                room = self.rng.choices(self.open, cum_weights=self.cumulative)[0]
                if self.left[room] <= 0:
                    continue
                user = next(self.users[room], None)
                if user is not None:
                    self.left[room] -= 1
                    return user, room
                self.left[room] = 0
            self._refresh()
        return None

    def burst(self, at_s: float) -> list[tuple[float, int, int]]:
        """What the users of the burst publish, to the least popular room that still stands open."""
        if not self.workload.burst:
            return []
        standing = [room for room, left in enumerate(self.left) if left > 0] or [0]
        target = min(standing, key=lambda room: self.weight[room])
        barred = self.workload.barred[target]
        return [(at_s, user, target) for user in self.workload.burst if user != barred]

    def _refresh(self) -> None:
        self.open = [room for room, left in enumerate(self.left) if left > 0]
        self.cumulative = list(itertools.accumulate(self.weight[room] for room in self.open))

    def _users_of(self, room: int) -> Iterator[int]:
        """Users who may publish to a room, in an order of its own; each once, unless repeating is allowed."""
        publishers = self.workload.publishers
        count = len(publishers)
        if not count:
            return
        start, stride = self.rng.randrange(count), self.rng.randrange(1, count + 1)
        while gcd(stride, count) != 1:
            stride += 1
        steps = range(count) if self.workload.once else itertools.count()
        for step in steps:
            user = publishers[(start + step * stride) % count]
            if user != self.workload.barred[room]:
                yield user
