"""All simulated clients of a process: made, ramped up, troubled as scheduled, kept alive, counted, stopped.

Thin: what a client says and understands is its profile's business, what it got is the ledger's. Every task is
owned and cancelled at the end. Called by the runner.
"""

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import get_args

from .member import Member
from .outages import Outages
from .result import Connections, FaultMark
from .rooms import NEVER_NS
from .scenario import Scenario
from .schedule import Trouble, stream
from .wire import Endpoint, HeartbeatSweep, LeanClient, ReconnectPolicy, TransportName

NS = 1_000_000_000
KEEPALIVE_S = 30.0
CLIENTS_PER_ADDRESS = 20_000
"""Below the number of ephemeral ports that one source address has towards one server."""
HEALING_S = 2.0
MAX_REASONS = 5


class Swarm:
    """The clients of one process. members: index -> member, as the profile made them."""

    def __init__(
        self,
        scenario: Scenario,
        endpoint: Endpoint,
        members: Sequence[Member],
        outages: Outages,
        *,
        namespace: str = "/",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.members = members
        self.outages = outages
        self.marks: list[FaultMark] = []
        self.peak = 0
        self._scenario = scenario
        self._sweep = HeartbeatSweep()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self.source_addresses = self._make(endpoint, namespace, headers or {})

    def _make(self, endpoint: Endpoint, namespace: str, headers: dict[str, str]) -> int:
        scenario = self._scenario
        mix, policy = scenario.transports.model_dump(), policy_of(scenario)
        rng, jitter = stream(scenario.seed, "transports"), stream(scenario.seed, "jitter")
        sources = source_addresses(endpoint.host, len(self.members))
        names = [name for name in get_args(TransportName) if mix[name] > 0]
        for member in self.members:
            transport: TransportName = rng.choices(names, [mix[name] for name in names])[0]
            member.client = LeanClient(
                endpoint,
                member,
                transport=transport,
                namespace=namespace,
                auth=member.auth,
                headers=headers,
                source_ip=sources[member.index % len(sources)],
                rng=jitter,
                policy=policy,
                connect_timeout_s=scenario.phases.connect_timeout_s,
                sweep=self._sweep,
            )
        return len(sources)

    # ---------------------------------------------------------------- connecting

    async def ramp(self, progress: Callable[[int, int], None]) -> None:
        """Connect everybody, at the rate and with the concurrency of the scenario; failures are counted."""
        phases = self._scenario.phases
        slots = asyncio.Semaphore(phases.connecting)
        started_s, done = time.monotonic(), 0

        async def connect(member: Member) -> None:
            nonlocal done
            try:
                member.client.start()
                await member.until_ready(phases.connect_timeout_s)
            finally:
                slots.release()
                done += 1
                progress(done, len(self.members))

        async with asyncio.TaskGroup() as group:
            for number, member in enumerate(self.members):
                await asyncio.sleep(max(0.0, started_s + number / phases.ramp_per_s - time.monotonic()))
                await slots.acquire()
                group.create_task(connect(member))
        self.count()

    def count(self) -> int:
        """How many clients are connected and ready now."""
        here = sum(member.here for member in self.members)
        self.peak = max(self.peak, here)
        return here

    def connections(self) -> Connections:
        """What became of the connections."""
        established = sum(bool(member.ready_ns) for member in self.members)
        reasons = Counter(
            member.client.last_failure or "not ready in time"
            for member in self.members
            if not member.ready_ns
        )
        return Connections(
            attempted=len(self.members),
            established=established,
            failed=len(self.members) - established,
            peak=self.peak,
            refused=sum(member.client.counters.refused for member in self.members),
            failures=dict(reasons.most_common(MAX_REASONS)),
        )

    def events(self) -> int:
        """Events received so far by all clients."""
        return sum(member.client.counters.events for member in self.members)

    def handler_errors(self) -> int:
        """Events that a profile failed on: a fault of the harness."""
        return sum(member.client.counters.handler_errors for member in self.members)

    def away(self) -> set[int]:
        """Clients that are not there, deaf, or not caught up."""
        return {
            member.index
            for member in self.members
            if not member.here or member.deaf_since_ns != NEVER_NS or member.index in self.outages.open
        }

    # ---------------------------------------------------------------- troubles and heartbeats

    def start_troubles(self, troubles: Sequence[Trouble], load_start_ns: int) -> None:
        """Begin to cut clients off as scheduled."""
        self._mark(troubles)
        self._start(self._trouble(troubles, load_start_ns))

    def start_keepalives(self) -> None:
        """Begin to let every client ping twice a minute, evenly spread."""
        self._start(self._keep_alive())

    async def nudge(self, over_s: float) -> None:
        """Let every client ping once, so that one that is behind notices."""
        step = max(1, len(self.members) // 50)
        for start in range(0, len(self.members), step):
            for member in self.members[start : start + step]:
                if member.here:
                    member.keepalive()
            await asyncio.sleep(over_s * step / len(self.members))

    async def _keep_alive(self) -> None:
        while True:
            await self.nudge(KEEPALIVE_S)

    async def _trouble(self, troubles: Sequence[Trouble], load_start_ns: int) -> None:
        for trouble in troubles:
            due_ns = load_start_ns + round(trouble.at_s * NS)
            await asyncio.sleep(max(0, due_ns - time.monotonic_ns()) / NS)
            self._strike(self.members[trouble.client], trouble)

    def _strike(self, member: Member, trouble: Trouble) -> None:
        now_ns = time.monotonic_ns()
        if trouble.kind == "slow":
            if member.deafen(now_ns):
                self._timers.append(
                    asyncio.get_running_loop().call_later(trouble.for_s or 0.0, self._relieve, member)
                )
        else:
            member.cut(now_ns, trouble.for_s, silent=trouble.silent or trouble.kind == "half_open")

    def _relieve(self, member: Member) -> None:
        if member.here:
            member.hear_again()
            # A server that gave up on a deaf client is noticed only now: what it sent meanwhile was not owed.
            self._timers.append(asyncio.get_running_loop().call_later(HEALING_S, self._healed, member))

    def _healed(self, member: Member) -> None:
        member.deaf_since_ns = NEVER_NS

    def _mark(self, troubles: Sequence[Trouble]) -> None:
        by_fault: dict[int, list[Trouble]] = {}
        for trouble in troubles:
            by_fault.setdefault(trouble.fault, []).append(trouble)
        for group in by_fault.values():
            self.marks.append(
                FaultMark(
                    at_s=group[0].at_s,
                    until_s=max(trouble.at_s + (trouble.for_s or 0.0) for trouble in group),
                    kind=group[0].kind,
                    clients=len({trouble.client for trouble in group}),
                )
            )

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(work))

    # ---------------------------------------------------------------- ending

    async def stop_troubles(self) -> None:
        """No more troubles; clients that do not read hear again."""
        for timer in self._timers:
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def stop(self) -> None:
        """Let everybody leave cleanly, within a bounded time."""
        await self.stop_troubles()
        for member in self.members:
            member.leaving = True
        for start in range(0, len(self.members), 500):
            leaving = self.members[start : start + 500]
            await asyncio.gather(*(member.client.stop() for member in leaving), return_exceptions=True)
        self._sweep.close()


def policy_of(scenario: Scenario) -> ReconnectPolicy:
    """The reconnect policy a scenario asks for."""
    asked = scenario.reconnect
    base = {
        "default": ReconnectPolicy.default,
        "tuned": ReconnectPolicy.tuned,
        "none": ReconnectPolicy.none,
    }[asked.policy]()
    delay_s = base.delay_s if asked.delay_s is None else asked.delay_s
    longest_s = base.delay_max_s if asked.delay_max_s is None else asked.delay_max_s
    return ReconnectPolicy(
        enabled=base.enabled,
        delay_s=delay_s,
        delay_max_s=max(delay_s, longest_s),
        jitter=base.jitter if asked.jitter is None else asked.jitter,
        attempts=base.attempts,
        retry_refused=base.retry_refused,
        retry_kicked=True,
    )


def source_addresses(host: str, clients: int) -> list[str | None]:
    """Addresses to connect from, so that local ports do not run out; only on loopback more than one."""
    try:
        loopback = ipaddress.ip_address(host).version == 4 and ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    needed = -(-clients // CLIENTS_PER_ADDRESS)
    if needed <= 1 or not loopback:
        return [None]
    return [f"127.0.{number // 250}.{2 + number % 250}" for number in range(needed)]
