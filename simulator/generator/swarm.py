"""All simulated clients of a process: made, ramped up, troubled as scheduled, kept alive, counted, stopped.

Thin: what a client says and understands is its profile's business, what it got is the ledger's. Every task is
owned and cancelled at the end.
"""

import asyncio
import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..ledger.broadcasts import NEVER_NS
from ..ledger.disconnects import Disconnects
from ..profiles.virtual_client import VirtualClient
from ..scenario.models import Scenario
from ..scenario.schedule import Trouble, narrow_buffers, stream, transports, troubles
from ..socketio_client import Endpoint, HeartbeatSweep, LeanClient, ReadCache, ReconnectPolicy
from .ipc import Slice

NS = 1_000_000_000
KEEPALIVE_S = 30.0
CLIENTS_PER_ADDRESS = 20_000
"""Below the number of ephemeral ports that one source address has towards one server."""
HEALING_S = 5.0


class Swarm:
    """The clients of one process. members: index -> member, as the profile made them.

    part: which clients of the run they are.
    """

    def __init__(
        self,
        scenario: Scenario,
        endpoint: Endpoint,
        members: Sequence[VirtualClient],
        outages: Disconnects,
        *,
        part: Slice,
        namespace: str = "/",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.members = members
        self.outages = outages
        self._scenario = scenario
        self._part = part
        self._sweep = HeartbeatSweep()
        self._read_cache = ReadCache()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self.source_addresses = self._make(endpoint, namespace, headers or {})

    def _make(self, endpoint: Endpoint, namespace: str, headers: dict[str, str]) -> int:
        scenario, policy = self._scenario, policy_of(self._scenario)
        jitter = stream(scenario.seed, f"jitter:{self._part.number}")
        sources = source_addresses(endpoint.host, scenario.clients)
        buffers, transport_of = narrow_buffers(scenario), transports(scenario)
        for member in self.members:
            member.client = LeanClient(
                endpoint,
                member,
                transport=transport_of[member.number],
                namespace=namespace,
                auth=member.auth,
                headers=headers,
                source_ip=sources[member.number % len(sources)],
                rng=jitter,
                policy=policy,
                connect_timeout_s=scenario.phases.connect_timeout_s,
                sweep=self._sweep,
                read_cache=self._read_cache,
            )
            member.client.connector.receive_buffer_bytes = buffers.get(member.number)
        return len(sources)

    # ---------------------------------------------------------------- connecting

    async def ramp(self, progress: Callable[[int], None]) -> None:
        """Connect everybody, at this process's share of the scenario's rate and concurrency."""
        phases, of = self._scenario.phases, self._part.of
        slots = asyncio.Semaphore(max(1, phases.connecting // of))
        started_s, done, per_s = time.monotonic(), 0, phases.ramp_per_s / of

        async def connect(member: VirtualClient) -> None:
            nonlocal done
            try:
                member.client.start()
                await member.until_ready(phases.connect_timeout_s)
            finally:
                slots.release()
                done += 1
                progress(done)

        async with asyncio.TaskGroup() as group:
            for number, member in enumerate(self.members):
                await asyncio.sleep(max(0.0, started_s + number / per_s - time.monotonic()))
                await slots.acquire()
                group.create_task(connect(member))

    def away(self) -> set[int]:
        """Clients that are not there, deaf, or not caught up."""
        return {
            member.index
            for member in self.members
            if not member.here or member.deaf_since_ns != NEVER_NS or member.index in self.outages.open
        }

    # ---------------------------------------------------------------- troubles and heartbeats

    def start_troubles(self, load_start_ns: int) -> None:
        """Begin to cut clients off as scheduled."""
        mine = [trouble for trouble in troubles(self._scenario) if trouble.client in self._part]
        self._start(self._trouble(mine, load_start_ns))

    def start_keepalives(self) -> None:
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

    async def _trouble(self, scheduled: Sequence[Trouble], load_start_ns: int) -> None:
        for trouble in scheduled:
            due_ns = load_start_ns + round(trouble.at_s * NS)
            await asyncio.sleep(max(0, due_ns - time.monotonic_ns()) / NS)
            self._strike(self.members[trouble.client - self._part.first], trouble)

    def _strike(self, member: VirtualClient, trouble: Trouble) -> None:
        now_ns = time.monotonic_ns()
        if trouble.kind == "slow":
            if member.deafen(now_ns):
                self.outages.deaf += 1
                self._timers.append(
                    asyncio.get_running_loop().call_later(trouble.for_s or 0.0, self._relieve, member)
                )
        else:
            member.cut(now_ns, trouble.for_s, silent=trouble.silent or trouble.kind == "half_open")

    def _relieve(self, member: VirtualClient) -> None:
        if member.here:
            member.hear_again()
            # A server that gave up on a deaf client is noticed only now: what it sent meanwhile was not owed.
            self._timers.append(asyncio.get_running_loop().call_later(HEALING_S, self._healed, member))

    def _healed(self, member: VirtualClient) -> None:
        member.deaf_since_ns = NEVER_NS

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
        "none": ReconnectPolicy.immediate,
        "never": ReconnectPolicy.none,
    }[asked.policy]()
    names = ("delay_s", "delay_max_s", "jitter")
    given = {name: value for name in names if (value := getattr(asked, name)) is not None}
    given["delay_max_s"] = max(given.get("delay_s", base.delay_s), given.get("delay_max_s", base.delay_max_s))
    return replace(base, **given, retry_kicked=True)


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
