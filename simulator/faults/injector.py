"""The faults of a run that are not the clients' own: services, lines and manners broken and healed on time.

Refuses, before any load, a fault that needs what the target does not have. Everything broken is whole again
when the block ends, whatever ended it: a paused process runs on, a proxy passes everything. A process that
was ended is brought back by its owner, which is waited for. A fault that could not be brought about, or did
not heal, is a failure: the run then did not show what it was to show.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

from ..errors import SetupError, SimulatorError
from ..result import FaultMark
from ..result import Hostile as HostilePart
from ..scenario.models import (
    SERVER,
    Bandwidth,
    Breakage,
    Delay,
    Deploy,
    Hostile,
    Kill,
    Line,
    Pause,
    Reload,
    Restart,
    Scenario,
    TimedFault,
)
from ..scenario.schedule import stream
from ..socketio_client import Endpoint
from ..target.server import ManagedServer
from ..target.services import Service, Services, check_signals
from .hostile_clients import HostileClients, HostileInputs
from .proxy import FlakyProxy, is_gone, killed, paused

NS = 1_000_000_000
LOOPBACK = "127.0.0.1"
AHEAD_S = 3.0
"""Before a fault the target is asked what runs; that takes a moment of its own."""
HEAL_WITHIN_S = 20.0
HURRY_S = 0.2
GONE_POLL_S = 0.05
GONE_WITHIN_S = 45.0


class FaultError(SimulatorError):
    """A fault could not be brought about, or what it broke did not come back."""


async def _end(
    services: Services, chosen: Sequence[Service], limit_s: float, number: signal.Signals = signal.SIGTERM
) -> None:
    """Tell processes to end, or kill them, and wait until their owner brought all back.

    Raises FaultError when one does not end, or is not back `limit_s` after that.
    """
    for service in chosen:
        if number is signal.SIGKILL:
            with killed(service.pid):
                pass
        else:
            os.kill(service.pid, number)
    for service in chosen:
        await _until_gone(service)
    back = await asyncio.gather(*(services.until_back(each.name, each.pid, limit_s) for each in chosen))
    missing = [service.name for service, here in zip(chosen, back, strict=True) if not here]
    if missing:
        raise FaultError(f"{', '.join(missing)} did not come back within {limit_s:g} s.")


def _control(proxy: FlakyProxy, fault: Delay | Bandwidth | Line) -> AbstractContextManager[None]:
    match fault:
        case Delay():
            return proxy.delay(fault.ms, fault.jitter_ms)
        case Bandwidth():
            return proxy.bandwidth(fault.bytes_per_s)
        case Line(kind="cut"):
            return proxy.cut()
        case Line(kind="stall"):
            return proxy.stall()
        case Line(kind="half_close"):
            return proxy.half_close()
        case _:
            return proxy.drop_new()


async def _until_gone(service: Service) -> None:
    try:
        async with asyncio.timeout(GONE_WITHIN_S):
            while not is_gone(service.pid):  # noqa: ASYNC110 - nobody else's child can be awaited
                await asyncio.sleep(GONE_POLL_S)
    except TimeoutError as error:
        raise FaultError(f"{service.name} did not end within {GONE_WITHIN_S:g} s.") from error


@dataclass(slots=True)
class _Mark:
    fault: Breakage
    at_s: float
    until_s: float
    note: str = ""


class FaultInjector:
    """`async with FaultInjector(scenario, server, url) as faults:` checks; `start` begins, `finish` heals.

    marks: one per fault that has begun, in order of time; times in seconds from the start of the load.
    failures: sentences about faults that did not come about or did not heal.
    """

    def __init__(self, scenario: Scenario, server: ManagedServer | None, url: str) -> None:
        self.failures: list[str] = []
        self._scenario = scenario
        self._faults = [fault for fault in scenario.faults if not isinstance(fault, TimedFault)]
        self._services = Services(scenario.services, server)
        self._server = server
        self._url = url
        self._proxies: dict[str, FlakyProxy] = {}
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._marks: list[_Mark] = []
        self._stack = contextlib.AsyncExitStack()
        self._load_start_ns = 0
        self._endpoint: Endpoint | None = None
        self._inputs: HostileInputs | None = None
        self._hostile: list[HostileClients] = []

    async def __aenter__(self) -> "FaultInjector":
        """Raises SetupError, one sentence for the first fault that cannot be brought about."""
        try:
            for fault in self._faults:
                await self._check(fault)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.finish(patient=False)
        finally:
            await self._stack.aclose()

    def entrance(self, url: str) -> str:
        """Where the clients connect: the server itself, or the proxy that stands in front of it."""
        proxy = self._proxies.get(SERVER)
        return f"{urlsplit(url).scheme}://{LOOPBACK}:{proxy.port}" if proxy else url

    @property
    def marks(self) -> list[FaultMark]:
        """The faults so far."""
        return [
            FaultMark(
                at_s=round(mark.at_s, 3),
                until_s=round(mark.until_s, 3),
                kind=mark.fault.kind,
                note=mark.note,
            )
            for mark in self._marks
        ]

    @property
    def hostile(self) -> HostilePart:
        """What the hostile clients did, all together."""
        counts = sum((each.counts for each in self._hostile), Counter[str]())
        return HostilePart(**{name: counts[name] for name in HostilePart.model_fields})

    # ---------------------------------------------------------------- before the load

    async def _check(self, fault: Breakage) -> None:
        if isinstance(fault, Hostile):
            return
        if isinstance(fault, Delay | Bandwidth | Line):
            await self._stand(fault.target)
            return
        names = self._services.matching(fault.target)
        if not names:
            known = ", ".join(self._services.names) or "none"
            raise SetupError(
                f"The fault {fault.kind!r} needs a service {fault.target!r} to break; known here: {known}. "
                f"Use --stack full, or name its process: [services.{fault.target.strip('*-') or 'node'}] "
                "pid = ..."
            )
        for name in names:
            service = self._services.find(name)
            check_signals(service)
            if isinstance(fault, Kill | Restart | Deploy) and not service.restarts:
                raise SetupError(
                    f"The fault {fault.kind!r} would end {name} for good, for nobody starts it again: use "
                    f"--stack full, or say [services.{name}] restarts = true if somebody does."
                )

    async def _stand(self, target: str) -> None:
        """Put the proxy in its place, once."""
        if target in self._proxies:
            return
        spec = self._scenario.services.get(target)
        if spec is not None and spec.proxy_to:
            host, _, port = spec.proxy_to.rpartition(":")
            listen = spec.listen
        elif target == SERVER:
            endpoint = Endpoint.parse(self._url)
            if endpoint.secure:
                raise SetupError(
                    "The proxy in front of a server passes bytes on and cannot stand before TLS."
                )
            host, port, listen = endpoint.host, str(endpoint.port), 0
        else:
            raise SetupError(
                f"The fault needs a proxy in front of {target!r}: say [services.{target}] proxy_to = "
                '"host:port", listen = a port that its users connect to.'
            )
        rng = stream(self._scenario.seed, f"proxy:{target}")
        proxy = FlakyProxy(LOOPBACK, host, int(port), rng, listen_port=listen)
        try:
            self._proxies[target] = await self._stack.enter_async_context(proxy)
        except OSError as error:
            raise SetupError(
                f"The proxy in front of {target} cannot listen on port {listen}: {error.strerror}."
            ) from error

    # ---------------------------------------------------------------- during the load

    @property
    def is_hostile(self) -> bool:
        """Whether one of the faults is hostile."""
        return any(isinstance(fault, Hostile) for fault in self._faults)

    def start(self, load_start_ns: int, endpoint: Endpoint, inputs: HostileInputs | None = None) -> None:
        """Begin to break things as scheduled. endpoint: where hostile clients come; inputs: lent to them."""
        self._load_start_ns = load_start_ns
        self._inputs = inputs
        self._endpoint = endpoint
        self._tasks = [asyncio.ensure_future(self._on_time(fault)) for fault in self._faults]

    def _hostile_clients(self, fault: Hostile) -> HostileClients:
        endpoint = self._endpoint or Endpoint.parse(self._url)
        rng = stream(self._scenario.seed, f"hostile:{len(self._hostile)}")
        found = HostileClients(fault, endpoint, rng, self._inputs)
        self._hostile.append(found)
        return found

    async def _on_time(self, fault: Breakage) -> None:
        at_s = fault.starts_s(self._scenario.duration_s)
        try:
            await self._hold(at_s - AHEAD_S - self._now_s())
            if self._over.is_set():
                return
            if not isinstance(fault, Hostile):
                await self._services.refresh()
            await self._hold(at_s - self._now_s())
            if not self._over.is_set():
                with self._marked(fault) as mark:
                    mark.note = await self._carry_out(fault)
        except (SimulatorError, OSError, ValueError, TimeoutError) as error:
            self.failures.append(f"The fault {fault.kind!r} at {at_s:g} s: {error}")

    async def _carry_out(self, fault: Breakage) -> str:
        """Break, hold, heal; a word on it for the record. Raises FaultError, SetupError, OSError."""
        match fault:
            case Kill():
                chosen = self._chosen(fault.target)
                await _end(self._services, chosen, fault.back_within_s, signal.SIGKILL)
            case Restart():
                await _end(self._services, self._chosen(fault.target), fault.back_within_s)
            case Deploy():
                await self._deploy(fault)
            case Reload():
                for service in self._chosen(fault.target):
                    os.kill(service.pid, signal.SIGHUP)
                await self._hold(fault.for_s)
            case Pause():
                await self._flap(fault)
            case Hostile():
                async with self._hostile_clients(fault) as clients:
                    await self._hold(fault.for_s)
                return clients.summary()
            case _:
                with _control(self._proxies[fault.target], fault):
                    await self._hold(fault.for_s)
        return fault.target

    async def _hold(self, for_s: float) -> None:
        """Wait, or less when it is over."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), max(0.0, for_s))

    async def _deploy(self, fault: Deploy) -> None:
        """One after the other. Raises FaultError when it is over before all were replaced."""
        names = self._services.matching(fault.target)
        for number, name in enumerate(names):
            if number:
                await self._hold(fault.gap_s)
                await self._services.refresh()
            if self._over.is_set():
                raise FaultError(
                    f"only {number} of {len(names)} were replaced when the load was over: make it longer."
                )
            await _end(self._services, self._chosen(name), fault.back_within_s)

    async def _flap(self, fault: Pause) -> None:
        chosen = self._chosen(fault.target)
        for number in range(fault.times):
            if number:
                await self._hold(fault.gap_s)
            with contextlib.ExitStack() as standing_still:
                for service in chosen:
                    standing_still.enter_context(paused(service.pid))
                await self._hold(fault.for_s)

    def _chosen(self, target: str) -> list[Service]:
        chosen = [self._services.find(name) for name in self._services.matching(target)]
        for service in chosen:
            check_signals(service)
        return chosen

    @contextlib.contextmanager
    def _marked(self, fault: Breakage) -> Iterator[_Mark]:
        mark = _Mark(fault, self._now_s(), self._scenario.duration_s, getattr(fault, "target", ""))
        self._marks.append(mark)
        try:
            yield mark
        finally:
            mark.until_s = self._now_s()

    def _now_s(self) -> float:
        return (time.monotonic_ns() - self._load_start_ns) / NS

    async def finish(self, *, patient: bool = True) -> None:
        """No more faults; what is still broken is healed. Idempotent.

        patient: wait a while for services that their owner has yet to start again.
        """
        self._over.set()
        tasks, self._tasks = self._tasks, []
        if not tasks:
            return
        try:
            _, late = await asyncio.wait(tasks, timeout=HEAL_WITHIN_S if patient else HURRY_S)
            if late and patient:
                self.failures.append(f"{len(late)} faults were not healed when the load was over.")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
