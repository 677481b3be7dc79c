"""What is published when, by whom, on what, and which clients are cut off when: all of it before the run.

Open model: times are `start + n * period`, or a seeded Poisson process, counted from the start of the warm-up
and never from an answer. One seed gives one schedule. Pure; called by the runner.
"""

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Literal, get_args

from ..profiles.vouchstorm.personas import EVERYDAY, answer, cast, truth_of_claim
from ..result import FaultMark
from .loader import Scenario
from .models import Drop, Flap, HalfOpen, Slow, TimedFault

TransportName = Literal["websocket", "polling", "upgrade"]
UNLIMITED = 2**31
BURST_SHARE = 0.3
"""When the brigade strikes, as a share of the load: away from the middle, where faults often are."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One publish. at_s: seconds from the start of the warm-up; user, claim: numbers from 0.

    measured: outside the warm-up, so its latency counts. key: the same in every run of this seed.
    """

    n: int
    at_s: float
    user: int
    claim: int
    action: str
    persona: str
    measured: bool
    key: str


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

    owners: the owner of each claim, -1 when nobody is; a user never validates an own claim.
    per_claim: validations planned per claim at most. once: a user acts on a claim once.
    """

    users: int
    owners: Sequence[int]
    per_claim: int = UNLIMITED
    once: bool = True


def claims_needed(scenario: Scenario) -> int:
    """How many claims the scenario uses: as named, or enough that traffic does not dry out."""
    if scenario.claims.count:
        return scenario.claims.count
    return -(-scenario.publishes * 6 // (5 * scenario.validations_per_claim)) + 2


def stream(seed: int, name: str) -> random.Random:
    """An independent seeded generator for one purpose."""
    return random.Random(f"{seed}:{name}")


def publications(scenario: Scenario, workload: Workload) -> list[Publication]:
    """The whole schedule in order of time; shorter than asked for only if the workload runs dry."""
    rng = stream(scenario.seed, "schedule")
    people = cast(workload.users, scenario.personas.model_dump(), stream(scenario.seed, "personas"))
    draws = _Draws(scenario, workload, people, rng)
    span_s = scenario.phases.warmup_s + scenario.duration_s
    planned: list[tuple[float, int, int, str]] = []
    for at_s in _times(scenario, span_s, rng):
        pair = draws.pair()
        if pair is None:
            break
        user, claim = pair
        planned.append((at_s, user, claim, people[user]))
    planned += draws.burst(scenario.phases.warmup_s + scenario.duration_s * BURST_SHARE)
    planned.sort(key=lambda item: item[0])
    warmup_s = scenario.phases.warmup_s
    return [
        Publication(
            n,
            at_s,
            user,
            claim,
            answer(persona, draws.truths[claim], rng),
            persona,
            at_s >= warmup_s,
            f"{scenario.seed}-{n}",
        )
        for n, (at_s, user, claim, persona) in enumerate(planned)
    ]


def at_once(plan: Sequence[Publication]) -> int:
    """The most publishes that are due at the same moment, beyond the first: the brigade."""
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
    """Draws (user, claim) pairs: claims by popularity among those not full, users without repetition."""

    def __init__(
        self, scenario: Scenario, workload: Workload, people: Sequence[str], rng: random.Random
    ) -> None:
        self.rng = rng
        self.workload = workload
        self.validators = [user for user, name in enumerate(people) if name in EVERYDAY]
        self.brigade = [user for user, name in enumerate(people) if name == "brigade"]
        claims = len(workload.owners)
        self.truths = [truth_of_claim(rng) for _ in range(claims)]
        ranks = list(range(claims))
        rng.shuffle(ranks)
        zipf = scenario.claims.popularity_zipf
        self.weight = [1.0 / (rank + 1) ** zipf for rank in ranks]
        self.left = [workload.per_claim] * claims
        self.users = [self._users_of(claim) for claim in range(claims)]
        self._refresh()

    def pair(self) -> tuple[int, int] | None:
        """The next pair, None when no claim can take another validation."""
        while self.open:
            for _ in range(16):
                claim = self.rng.choices(self.open, cum_weights=self.cumulative)[0]
                if self.left[claim] <= 0:
                    continue
                user = next(self.users[claim], None)
                if user is not None:
                    self.left[claim] -= 1
                    return user, claim
                self.left[claim] = 0
            self._refresh()
        return None

    def burst(self, at_s: float) -> list[tuple[float, int, int, str]]:
        """The brigade's attack on the least popular claim that still stands open."""
        if not self.brigade or not self.workload.once:
            return []
        standing = [claim for claim, left in enumerate(self.left) if left > 0] or [0]
        target = min(standing, key=lambda claim: self.weight[claim])
        owner = self.workload.owners[target]
        return [(at_s, user, target, "brigade") for user in self.brigade if user != owner]

    def _refresh(self) -> None:
        self.open = [claim for claim, left in enumerate(self.left) if left > 0]
        self.cumulative = list(itertools.accumulate(self.weight[claim] for claim in self.open))

    def _users_of(self, claim: int) -> Iterator[int]:
        """Users who may act on a claim, in an order of its own; each once, unless repeating is allowed."""
        count = len(self.validators)
        if not count:
            return
        start, stride = self.rng.randrange(count), self.rng.randrange(1, count + 1)
        while gcd(stride, count) != 1:
            stride += 1
        steps = range(count) if self.workload.once else itertools.count()
        for step in steps:
            user = self.validators[(start + step * stride) % count]
            if user != self.workload.owners[claim]:
                yield user
