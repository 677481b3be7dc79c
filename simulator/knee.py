"""What one step of a capacity search says: passed or not, which signal gave way, what was saturated.

Pure. A result is INVALID for two reasons: the generator had trouble of its own (then it says nothing about
the server), or publishes found no free worker because the server answered too slowly (then it says a lot).
Called by `search`.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from .result import Level, Result
from .verdict import Honesty, cpu_shares, death_of

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
