"""Runs a plan: every contestant in turn, again and again, and collects the samples.

Repetitions are the outer loop, so that a run that is cut short holds fewer repetitions of everything rather
than nothing of something. A trial that does not end in time is invalid; its children are ended all the same.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from simulator.processes import ProcessError

from .generators import generators
from .plan import Plan
from .samples import Sample, Series
from .sockets import CrowdError
from .system import ContestantError
from .trials import InvalidTrialError, Visitor, bus, crowd_trial, idle, invalid, metrics, scrape

Trial = Callable[[str], Awaitable[list[Sample]]]


@dataclass(frozen=True, slots=True)
class Round:
    """One trial that all contestants go through in turn. `metrics` is what it yields."""

    title: str
    metrics: tuple[str, ...]
    trial: Trial

    def wanted_of(self, plan: Plan, name: str) -> bool:
        """Does this contestant take part in any of it?"""
        return any(plan.takes_part(name, metric) for metric in self.metrics)


def rounds(visitor: Visitor) -> list[Round]:
    """The trials of one repetition, in order."""
    plan = visitor.plan
    planned = [part for size in plan.sizes if (part := _crowd_round(visitor, size)) is not None]
    many = plan.idle_sockets[1]
    if "idle" in plan.only:
        readings = (f"idle_rss@{many}", f"idle_private@{many}")
        planned.append(Round(f"idle, {many} sockets", readings, partial(idle, visitor)))
    if "bus" in plan.only:
        counts = " ".join(map(str, plan.bus_nodes))
        costs = tuple(f"bus@{nodes}" for nodes in plan.bus_nodes)
        planned.append(Round(f"bus, {counts} nodes", costs, partial(bus, visitor)))
    if "metrics" in plan.only:
        size = plan.metrics_sockets
        levels = (f"metrics_on@{size}", f"metrics_off@{size}")
        planned.append(Round(f"metrics on / off, {size} sockets", levels, partial(metrics, visitor)))
    if "scrape" in plan.only:
        size = plan.scrape_sockets
        planned.append(Round(f"scrape, {size} sockets", (f"scrape@{size}",), partial(scrape, visitor)))
    if "generators" in plan.only:
        for size in plan.generator_sizes:
            figures = (f"generators_cpu@{size}", f"generators_kib@{size}")
            planned.append(Round(f"{size} clients", figures, partial(generators, visitor, size)))
    return planned


def _crowd_round(visitor: Visitor, size: int) -> Round | None:
    plan = visitor.plan
    sizes = {"fanout": plan.sizes, "burst": plan.burst_sizes, "connect": plan.connect_after}
    wanted = [name for name, at in sizes.items() if name in plan.only and size in at]
    if not wanted:
        return None
    title = f"{', '.join(wanted)}, {size} sockets"
    return Round(
        title, tuple(f"{name}@{size}" for name in wanted), partial(crowd_trial, visitor, size, wanted)
    )


class Clock:
    """How long trials take, and whether another one fits into the budget."""

    def __init__(self, budget_s: float) -> None:
        self._ends_s = time.monotonic() + budget_s
        self._longest_s: dict[tuple[str, str], float] = {}

    def fits(self, key: tuple[str, str]) -> bool:
        """Would a trial that takes as long as the longest of its kind so far end in time?"""
        return time.monotonic() + self._longest_s.get(key, 0.0) <= self._ends_s

    def took(self, key: tuple[str, str], seconds: float) -> None:
        self._longest_s[key] = max(seconds, self._longest_s.get(key, 0.0))


async def run(
    visitor: Visitor,
    names: Sequence[str],
    series: Series,
    progress: Callable[[str], None],
    keep: Callable[[], None],
) -> str | None:
    """Add all samples of the plan to the series, calling `keep` and `progress` (one line) after each trial.

    Why it stopped before its end, or None.
    """
    plan, clock, planned = visitor.plan, Clock(visitor.plan.budget_s), rounds(visitor)
    for repetition in range(plan.repetitions):
        for part in planned:
            for name in names:
                if not part.wanted_of(plan, name):
                    continue
                if not clock.fits((part.title, name)):
                    return f"the time budget of {plan.budget_s:.0f} s ended in repetition {repetition + 1}"
                started_s = time.monotonic()
                samples = await attempt(part, name, plan.trial_deadline_s)
                took_s = time.monotonic() - started_s
                clock.took((part.title, name), took_s)
                series.samples += samples
                keep()
                progress(
                    f"[{repetition + 1}/{plan.repetitions}] {took_s:4.1f} s  {_line(part, name, samples)}"
                )
    return None


async def attempt(part: Round, name: str, deadline_s: float) -> list[Sample]:
    """One trial within its deadline; without a figure it yields the reason."""
    try:
        async with asyncio.timeout(deadline_s):
            return await part.trial(name)
    except TimeoutError:
        reason = f"not done within {deadline_s:.0f} s"
    except (ContestantError, CrowdError, InvalidTrialError, ProcessError) as error:
        reason = str(error)
    return invalid(part.metrics, name, reason)


def _line(part: Round, name: str, samples: Sequence[Sample]) -> str:
    figures = ", ".join(
        f"{sample.metric} {sample.value:.2f}" if sample.value is not None else f"INVALID: {sample.reason}"
        for sample in samples
    )
    return f"{part.title}: {name} {figures}"
