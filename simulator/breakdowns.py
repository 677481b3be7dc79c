"""The faults of services as async context managers: broken inside the block, whole again afterwards.

Whatever ends the block, a paused process runs on and a proxy passes everything again. A process that was
ended is brought back by its owner; the block's end waits for that, unless it is cancelled.
Called by `sabotage`.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from .breakages import Bandwidth, Breakage, Delay, Deploy, Hostile, Kill, Line, Pause, Reload, Restart
from .errors import SimulatorError
from .faults.hostile_clients import Strangers
from .faults.proxy import FlakyProxy, is_gone, killed, paused
from .target.services import Service, Services, check_signals

KILL = signal.SIGKILL
GONE_POLL_S = 0.05
GONE_WITHIN_S = 45.0


class BreakdownError(SimulatorError):
    """A fault could not be brought about, or what it broke did not come back."""


class Breakdowns:
    """The faults of one run. over: ends every fault early, as if its time had come."""

    def __init__(
        self,
        services: Services,
        proxies: Mapping[str, FlakyProxy],
        strangers: Callable[[Hostile], Strangers],
        over: asyncio.Event,
    ) -> None:
        self._services = services
        self._proxies = proxies
        self._strangers = strangers
        self._over = over

    async def carry_out(self, fault: Breakage) -> str:
        """Break, hold, heal; a word on it for the record. Raises BreakdownError, SetupError, OSError."""
        match fault:
            case Kill():
                async with ended(self._services, self._chosen(fault.target), fault.back_within_s, KILL):
                    return fault.target
            case Restart():
                async with ended(self._services, self._chosen(fault.target), fault.back_within_s):
                    return fault.target
            case Deploy():
                await self._deploy(fault)
            case Reload():
                for service in self._chosen(fault.target):
                    os.kill(service.pid, signal.SIGHUP)
                await self._hold(fault.for_s)
            case Pause():
                await self._flap(fault)
            case Hostile():
                async with self._strangers(fault) as strangers:
                    await self._hold(fault.for_s)
                return strangers.word()
            case _:
                async with line(self._proxies[fault.target], fault):
                    await self._hold(fault.for_s)
        return fault.target

    async def _hold(self, for_s: float) -> None:
        """Wait, or less when it is over."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), for_s)

    async def _deploy(self, fault: Deploy) -> None:
        """One after the other. Raises BreakdownError when it is over before all were replaced."""
        names = self._services.matching(fault.target)
        for number, name in enumerate(names):
            if number:
                await self._hold(fault.gap_s)
                await self._services.refresh()
            if self._over.is_set():
                raise BreakdownError(
                    f"only {number} of {len(names)} were replaced when the load was over: make it longer."
                )
            async with ended(self._services, self._chosen(name), fault.back_within_s):
                pass

    async def _flap(self, fault: Pause) -> None:
        chosen = self._chosen(fault.target)
        for number in range(fault.times):
            if number:
                await self._hold(fault.gap_s)
            async with stopped(chosen):
                await self._hold(fault.for_s)

    def _chosen(self, target: str) -> list[Service]:
        chosen = [self._services.find(name) for name in self._services.matching(target)]
        for service in chosen:
            check_signals(service)
        return chosen


@contextlib.asynccontextmanager
async def ended(
    services: Services, chosen: Sequence[Service], limit_s: float, number: signal.Signals = signal.SIGTERM
) -> AsyncIterator[None]:
    """Processes are told to end, or killed; the block's end waits until their owner brought all back.

    Raises BreakdownError when one does not end, or is not back `limit_s` after that.
    """
    for service in chosen:
        if number is KILL:
            with killed(service.pid):
                pass
        else:
            os.kill(service.pid, number)
    yield
    for service in chosen:
        await _until_gone(service)
    back = await asyncio.gather(*(services.until_back(each.name, each.pid, limit_s) for each in chosen))
    missing = [service.name for service, here in zip(chosen, back, strict=True) if not here]
    if missing:
        raise BreakdownError(f"{', '.join(missing)} did not come back within {limit_s:g} s.")


@contextlib.asynccontextmanager
async def stopped(chosen: Sequence[Service]) -> AsyncIterator[None]:
    """Processes stand still in the block: their connections stay open, nothing answers."""
    with contextlib.ExitStack() as stack:
        for service in chosen:
            stack.enter_context(paused(service.pid))
        yield


@contextlib.asynccontextmanager
async def line(proxy: FlakyProxy, fault: Delay | Bandwidth | Line) -> AsyncIterator[None]:
    """What passes the proxy has it hard in the block."""
    with _control(proxy, fault):
        yield


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
        raise BreakdownError(f"{service.name} did not end within {GONE_WITHIN_S:g} s.") from error
