"""Runs a plan: every contestant in turn, again and again, and collects the samples."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from .bus_trial import bus
from .contestant import ENTRIES, ContestantError, Entry
from .plan import Plan
from .series import Sample, Series, alternate
from .trials import Visitor, connect, fanout, idle

Trial = Callable[[Entry], Awaitable[list[Sample]]]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Round:
    """One trial that all contestants go through in turn. `metrics` is what it yields."""

    title: str
    metrics: tuple[str, ...]
    trial: Trial


def rounds(visitor: Visitor) -> list[Round]:
    """The trials of a plan, in order."""
    plan = visitor.plan
    planned = []
    for size in plan.sizes:
        wanted = tuple(name for name in ("fanout", "burst") if name in plan.only)
        if size not in plan.burst_sizes:
            wanted = tuple(name for name in wanted if name != "burst")
        if wanted:
            metrics = tuple(f"{name}@{size}" for name in wanted)
            title = f"{' and '.join(wanted)}, {size} sockets"
            planned.append(Round(title, metrics, partial(fanout, visitor, size=size, wanted=wanted)))
    if "connect" in plan.only:
        for after in plan.connect_after:
            title = f"connect, {after} sockets already there"
            planned.append(Round(title, (f"connect@{after}",), partial(connect, visitor, after=after)))
    if "idle" in plan.only:
        planned.append(Round("idle memory", ("idle_rss", "idle_private"), partial(idle, visitor)))
    if "bus" in plan.only:
        planned += [
            Round(f"bus, {nodes} nodes", (f"bus@{nodes}",), partial(bus, visitor, nodes=nodes))
            for nodes in plan.bus_nodes
        ]
    return planned


async def run(visitor: Visitor, names: Sequence[str], progress: Progress) -> Series:
    """All samples of the plan."""
    series = Series()
    for part in rounds(visitor):
        for repetition, name in alternate(visitor.plan.repetitions, names):
            if not any(visitor.plan.takes_part(name, metric) for metric in part.metrics):
                continue
            try:
                samples = await part.trial(ENTRIES[name])
            except ContestantError as error:
                samples = [Sample(metric, name, None, str(error)) for metric in part.metrics]
            series.samples += samples
            progress(_line(part, repetition, visitor.plan, samples))
    return series


def _line(part: Round, repetition: int, plan: Plan, samples: Sequence[Sample]) -> str:
    figures = ", ".join(
        f"{sample.metric} {sample.value:.2f}" if sample.value is not None else f"INVALID: {sample.reason}"
        for sample in samples
    )
    name = samples[0].contestant if samples else "?"
    return f"[{repetition + 1}/{plan.repetitions}] {part.title}: {name} {figures}"
