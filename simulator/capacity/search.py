"""The search for the largest load that keeps its service levels: steps up, then bisection.

Pure but for the runs it is given: each step awaits one, and two equal outcomes of three decide a load.
Refuses to take a generator at its end for a server at its end.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ..errors import GeneratorLimitError, InterruptedRunError, ScenarioError, SetupError, SimulatorError
from ..result import Level, Result
from ..verdict import Honesty, cpu_shares, death_of

# A result is INVALID for two reasons: the generator had trouble of its own (then it says nothing about the
# server), or publishes found no free worker because the server answered too slowly (then it says a lot).

Outcome = Literal["pass", "fail", "generator"]

BUSY_CPU_SHARE = 0.85
BUSY_LAG_MS = 20.0
BUSY_STORE_MS = 50.0
BUSY_BUS_MS = 50.0
BUSY_MACHINE_SHARE = 0.9
LOOP_LAG = "event_loop_lag_seconds"
STORE_CALL = "store_call_seconds"
BUS_ROUND_TRIP = "bus_heartbeat_seconds"


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pressure(Part):
    """How close to their ends server and generator were. Null: not measured.

    server_cpu_share, generator_cpu_share: of one core. Server lag, store and bus are means, in ms.
    """

    server_cpu_share: float | None = None
    cpu_share_by_service: dict[str, float] = {}
    server_bus_ms: float | None = None
    server_loop_lag_ms: float | None = None
    server_store_ms: float | None = None
    generator_cpu_share: float = 0.0
    generator_loop_lag_p99_ms: float = 0.0
    saturated: list[str] = []


class Step(Part):
    """One run at one load. signal: what gave way first; empty when it passed."""

    load: float
    outcome: Outcome
    signal: str = ""
    reasons: list[str] = []
    pressure: Pressure = Pressure()


def step_of(load: float, result: Result) -> Step:
    """What a result says about its load."""
    honesty = Honesty(**result.scenario.get("honesty", {}))
    pressure = pressure_of(result, honesty)
    outcome, signal = _outcome(result, honesty)
    return Step(load=load, outcome=outcome, signal=signal, reasons=result.reasons, pressure=pressure)


def first_signal(levels: Sequence[Level]) -> str:
    """The service level that is furthest past its limit; one that nothing ended for is past any."""
    broken = [level for level in levels if not level.held]
    return max(broken, key=_excess).name if broken else ""


def generator_gave_way(result: Result, honesty: Honesty) -> bool:
    """Whether the load processes had trouble of their own, by the verdict's own measures."""
    generator, publishes = result.generator, result.publishes
    lag = generator.loop_lag_ms
    return (
        lag.p90 > honesty.loop_lag_p90_ms
        or lag.p99 > honesty.loop_lag_p99_ms
        or any(share > honesty.cpu_share for _, share in cpu_shares(generator))
        or bool(generator.lost_processes)
        or publishes.late > honesty.late_share * max(1, publishes.scheduled)
        or generator.handler_errors > 0
        or not result.ledger.balanced
    )


def pressure_of(result: Result, honesty: Honesty) -> Pressure:
    """What was close to its end in a run."""
    server, generator = result.server, result.generator
    found = Pressure(
        server_cpu_share=server.cpu_share if server.managed else None,
        cpu_share_by_service=server.cpu_share_by_service,
        server_bus_ms=_mean_ms(server.metrics, BUS_ROUND_TRIP),
        server_loop_lag_ms=_mean_ms(server.metrics, LOOP_LAG),
        server_store_ms=_mean_ms(server.metrics, STORE_CALL),
        generator_cpu_share=generator.cpu_share,
        generator_loop_lag_p99_ms=generator.loop_lag_ms.p99,
    )
    return found.model_copy(update={"saturated": _saturated(found, result, honesty)})


def _outcome(result: Result, honesty: Honesty) -> tuple[Outcome, str]:
    if death_of(result):
        return "fail", "server died"
    if result.verdict == "PASS":
        return "pass", ""
    broken = first_signal(result.slo)
    if result.verdict == "FAIL":
        return "fail", broken
    publishes = result.publishes
    if generator_gave_way(result, honesty):
        return "generator", "generator"
    if publishes.dropped > honesty.dropped_share * max(1, publishes.scheduled):
        return "fail", "dropped publishes"
    if result.connections.established == 0:
        return "fail", "connections"
    return "generator", "invalid run"


def _saturated(pressure: Pressure, result: Result, honesty: Honesty) -> list[str]:
    """Sentences, the server's first."""
    found: list[str] = []
    by_service = sorted(pressure.cpu_share_by_service.items(), key=lambda item: -item[1])
    found += [f"{name} CPU: {share:.0%} of a core" for name, share in by_service if share >= BUSY_CPU_SHARE]
    server_share = pressure.server_cpu_share or 0.0
    if not by_service and server_share >= BUSY_CPU_SHARE:
        found.append(f"server CPU: {server_share:.0%} of a core")
    both_share = server_share + pressure.generator_cpu_share
    if result.host.cpus and server_share and both_share >= BUSY_MACHINE_SHARE * result.host.cpus:
        found.append(f"machine: server and generator use {both_share:.0%} of {result.host.cpus} cores")
    if (pressure.server_loop_lag_ms or 0) >= BUSY_LAG_MS:
        found.append(f"server event loop: {pressure.server_loop_lag_ms:.0f} ms late in the mean")
    if (pressure.server_store_ms or 0) >= BUSY_STORE_MS:
        found.append(f"store: {pressure.server_store_ms:.0f} ms per call in the mean")
    if (pressure.server_bus_ms or 0) >= BUSY_BUS_MS:
        found.append(f"bus (Redis): {pressure.server_bus_ms:.0f} ms for a round trip in the mean")
    if result.publishes.dropped:
        found.append(f"publish workers: {result.publishes.dropped} publishes found none free")
    if generator_gave_way(result, honesty):
        found.append(
            f"generator: {pressure.generator_cpu_share:.0%} of a core, loop lag p99 "
            f"{pressure.generator_loop_lag_p99_ms:.0f} ms"
        )
    return found


def _excess(level: Level) -> float:
    if level.measured is None:
        return float("inf")
    if level.at_most:
        return level.measured / level.limit if level.limit else 1e9 * (1 + level.measured)
    return level.limit / level.measured if level.measured else float("inf")


def _mean_ms(metrics: dict[str, float], name: str) -> float | None:
    """Mean of a Prometheus histogram in seconds, whatever prefix its name has."""
    for key, count in metrics.items():
        if key.endswith(f"{name}_count") and count > 0:
            total_s = metrics.get(key.removesuffix("_count") + "_sum", 0.0)
            return round(1_000 * total_s / count, 3)
    return None


RunStep = Callable[[float], Awaitable[Result]]
"""Run the scenario at a load. Raises ScenarioError where no such run can be described, SetupError where it
could not be prepared, InterruptedRunError where the user ended it."""

Bound = Literal["server", "generator", "ceiling", "floor", "interrupted", "budget"]
Quantity = Literal["clients", "rate"]

NO_SCENARIO = "scenario"
LEAST_FACTOR = 1.1
EQUAL_RUNS = 2
"""Equal outcomes that decide a load; of three runs there are always two, unless all three differ."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where to look. Loads are clients or publishes per second.

    least, most: bounds of the search. factor: of each step up. tolerance: relative width at which the search
    ends. runs: budget over all steps. whole: loads are whole numbers.
    """

    start: float
    least: float = 1.0
    most: float = 200_000.0
    factor: float = 2.0
    tolerance: float = 0.1
    runs: int = 60
    whole: bool = True

    def __post_init__(self) -> None:
        """Raises ScenarioError."""
        wrong = []
        if not 0 < self.least <= self.start <= self.most:
            wrong.append("capacity: give 0 < least <= start <= most.")
        if self.factor < LEAST_FACTOR:
            wrong.append(f"capacity: the factor of the steps must be at least {LEAST_FACTOR}.")
        if self.tolerance <= 0:
            wrong.append("capacity: the tolerance must be above 0.")
        if self.runs < EQUAL_RUNS:
            wrong.append(f"capacity: at least {EQUAL_RUNS} runs are needed.")
        if wrong:
            raise ScenarioError(wrong)

    def load(self, wanted: float) -> float:
        """A load that can be run, near the wanted one and within the bounds."""
        rounded = float(round(wanted)) if self.whole else float(f"{wanted:.4g}")
        return min(self.most, max(self.least, rounded))

    def above(self, load: float) -> float:
        """The next step up."""
        return max(self.load(load * self.factor), self.load(load + 1) if self.whole else 0.0)

    def below(self, load: float) -> float:
        """The next step down."""
        return min(self.load(load / self.factor), self.load(load - 1) if self.whole else self.most)

    def close(self, low: float, high: float) -> bool:
        """Whether two loads are too near for another one between them to matter."""
        return high / low <= 1 + self.tolerance or self.load(_middle(low, high)) in (low, high)


class Capacity(Part):
    """The document that `vouchstorm capacity --json` writes.

    passing: the largest load that held, null when none did. failing: the smallest load above it that did
    not, null when none was found. bound: what ended the search upward: the server, the generator, the
    ceiling (nothing larger can be run), the floor (not even the least load held), or the user or the budget.
    signal: what gave way first at `failing`. saturated: sentences about that load, or the largest one run.
    """

    schema_version: Literal[1] = 1
    scenario: str = ""
    quantity: Quantity = "clients"
    hold_s: float = 0.0
    tolerance: float
    passing: float | None
    failing: float | None
    bound: Bound
    signal: str
    saturated: list[str]
    steps: list[Step]

    @property
    def exit_code(self) -> int:
        """0 when a load held, 1 when none did, 4 when the generator alone was in the way, 130 interrupted."""
        if self.bound == "interrupted":
            return 130
        if self.passing is not None:
            return 0
        return 4 if any(step.outcome == "generator" for step in self.steps) else 1

    def sentence(self) -> str:
        """The answer for a person."""
        unit = "clients" if self.quantity == "clients" else "publishes per second"
        if self.passing is None and self.bound == "interrupted":
            return "No load held its service levels before the search was interrupted."
        if self.passing is None:
            return "No load held its service levels: " + (self.steps[-1].reasons or ["nothing was run."])[0]
        held = f"{self.passing:,g} {unit} held"
        return {
            "server": f"{held}; at {self.failing or 0:,g} {self.signal} gave way first.",
            "generator": f"At least {held}; above that the generator gave way first, not the server.",
            "ceiling": f"At least {held}; nothing larger was or could be run.",
            "floor": f"{held}.",
            "interrupted": f"At least {held}; the search was interrupted.",
            "budget": f"At least {held}; the search ran out of runs.",
        }[self.bound]


class _Ended(Exception):  # noqa: N818
    """The search cannot go on. Internal."""

    def __init__(self, bound: Bound) -> None:
        self.bound = bound


class _Search:
    """State of one search. low: largest load that passed; high: smallest that did not, with why."""

    def __init__(self, plan: Plan, run_step: RunStep, watch: Callable[[Step], None]) -> None:
        self.plan, self.run_step, self.watch = plan, run_step, watch
        self.steps: list[Step] = []
        self.low: float | None = None
        self.high: float | None = None
        self.ceiling = False

    async def run(self) -> Bound:
        try:
            await self._climb()
            await self._descend()
            await self._bisect()
        except _Ended as ended:
            return ended.bound
        return self._bound()

    async def _climb(self) -> None:
        """Up until something gives way. One good run is enough here; what did not hold is run again."""
        load = self.plan.load(self.plan.start)
        while self.high is None and not self.ceiling:
            if await self._holds(load, quick=True):
                if load >= self.plan.most:
                    self.ceiling = True
                load = self.plan.above(load)

    async def _descend(self) -> None:
        """Down from a start that did not hold, or from a load that held only once."""
        while True:
            if self.low is None:
                if self.high is None or self.high <= self.plan.least:
                    raise _Ended("floor")
                await self._holds(self.plan.below(self.high))
            elif await self._holds(self.low):
                return

    async def _bisect(self) -> None:
        while self.low is not None and self.high is not None and not self.plan.close(self.low, self.high):
            await self._holds(self.plan.load(_middle(self.low, self.high)))

    async def _holds(self, load: float, *, quick: bool = False) -> bool:
        """Whether a load passes, by as many runs as that takes; moves the bounds."""
        while (decided := self._decision(load, quick=quick)) is None:
            await self._once(load)
        if decided == "pass":
            self.low = load if self.low is None else max(self.low, load)
            return True
        self.high = load if self.high is None else min(self.high, load)
        self.low = max(
            (step.load for step in self.steps if step.outcome == "pass" and step.load < self.high),
            default=None,
        )
        return False

    def _decision(self, load: float, *, quick: bool) -> Outcome | None:
        """Two equal outcomes decide, and the first if it is good and a quick answer will do.

        Three different ones decide for the generator: the machine is too noisy to blame the server.
        """
        seen = [step.outcome for step in self.steps if step.load == load]
        if quick and seen[:1] == ["pass"]:
            return "pass"
        outcomes: tuple[Outcome, ...] = ("pass", "fail", "generator")
        for outcome in outcomes:
            if seen.count(outcome) >= EQUAL_RUNS:
                return outcome
        return "generator" if len(seen) > EQUAL_RUNS else None

    async def _once(self, load: float) -> None:
        if len(self.steps) >= self.plan.runs:
            raise _Ended("budget")
        try:
            result = await self.run_step(load)
        except InterruptedRunError:
            raise _Ended("interrupted") from None
        except (ScenarioError, SetupError) as error:
            if not self.steps:
                raise
            step = _unprepared(load, error)
        else:
            if result.verdict == "INTERRUPTED":
                raise _Ended("interrupted")
            step = step_of(load, result)
        self.steps.append(step)
        self.watch(step)

    def _bound(self) -> Bound:
        if self.high is None:
            return "ceiling"
        if self._decision(self.high, quick=False) == "fail":
            return "server"
        undescribed = any(step.load == self.high and step.signal == NO_SCENARIO for step in self.steps)
        return "ceiling" if undescribed else "generator"


def _unprepared(load: float, error: SimulatorError) -> Step:
    """A run that never began: too large for a scenario, the generator, or the server to be prepared."""
    reasons = str(error).splitlines()
    if isinstance(error, ScenarioError):
        return Step(load=load, outcome="generator", signal=NO_SCENARIO, reasons=reasons)
    outcome: Outcome = "generator" if isinstance(error, GeneratorLimitError) else "fail"
    return Step(load=load, outcome=outcome, signal="set-up", reasons=reasons)


async def search(plan: Plan, run_step: RunStep, watch: Callable[[Step], None] | None = None) -> Capacity:
    """The largest load that holds, between its bounds. `watch` is told of every run.

    Raises ScenarioError or SetupError when not even the first run could be prepared.
    """
    hunt = _Search(plan, run_step, watch or (lambda step: None))
    bound = await hunt.run()
    telling = [step for step in hunt.steps if step.load == hunt.high and step.outcome != "pass"]
    shown = telling or sorted(hunt.steps, key=lambda step: step.load)[-1:]
    return Capacity(
        tolerance=plan.tolerance,
        passing=hunt.low,
        failing=hunt.high,
        bound=bound,
        signal=telling[0].signal if telling else "",
        saturated=shown[0].pressure.saturated if shown else [],
        steps=hunt.steps,
    )


def _middle(low: float, high: float) -> float:
    return (low + high) / 2
