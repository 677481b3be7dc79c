"""One verdict from the findings: PASS, FAIL, INVALID or INTERRUPTED, each with its reasons.

Pure. Precedence: interrupted by the user > the server died (FAIL) > INVALID > FAIL > PASS. INVALID means
that the harness itself could not keep up or counted wrongly, so neither good nor bad numbers must be
believed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from .result import Findings, Generator, Level, Result
from .thresholds import ALWAYS, KNOWN


class ExitCode(IntEnum):
    PASS = 0
    FAIL = 1
    USAGE = 2
    SETUP = 3
    INVALID = 4
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Honesty:
    """Bounds of the generator's own trouble, above which a run is INVALID.

    loop_lag_p90_ms, loop_lag_p99_ms: how late the event loop ran what was due, of all the time; a starved
    generator is late all the time, a busy machine now and then. late_share, dropped_share: of the scheduled
    publishes.
    cpu_share: of one core and one process, during the load.
    """

    loop_lag_p90_ms: float = 50.0
    loop_lag_p99_ms: float = 250.0
    late_share: float = 0.05
    dropped_share: float = 0.01
    cpu_share: float = 0.9


def judge(findings: Findings, slo: Mapping[str, float], honesty: Honesty) -> Result:
    """The findings with their verdict. `slo` adds to, or replaces, the limits that always hold."""
    levels = [level(findings, name, limit) for name, limit in sorted((dict(ALWAYS) | dict(slo)).items())]
    broken = [sentence(item) for item in levels if not item.held]
    doubts = doubts_of(findings, levels, honesty)
    death = death_of(findings)
    if findings.interrupted:
        verdict, reasons = ExitCode.INTERRUPTED, ["The run was interrupted: the result is partial."]
    elif death:
        verdict, reasons = ExitCode.FAIL, [death, *broken]
    elif doubts:
        verdict, reasons = ExitCode.INVALID, [*doubts, *broken]
    elif broken:
        verdict, reasons = ExitCode.FAIL, broken
    else:
        verdict, reasons = ExitCode.PASS, []
    return Result(
        **findings.model_dump(),
        verdict=verdict.name,
        exit_code=int(verdict),
        reasons=reasons,
        slo=levels,
    )


def level(findings: Findings, name: str, limit: float) -> Level:
    """One service level, read and compared."""
    slo = KNOWN[name]
    measured = slo.read(findings)
    unknown = measured is None or math.isinf(measured)
    return Level(
        name=name,
        unit=slo.unit,
        limit=limit,
        at_most=slo.at_most,
        measured=None if unknown else measured,
        held=measured is not None and slo.holds(measured, limit),
        meaning=slo.meaning,
    )


def sentence(level: Level) -> str:
    """Why a level was not held, for a person."""
    bound = "at most" if level.at_most else "at least"
    unit = f" {level.unit}" if level.unit else ""
    if level.measured is None:
        return f"{level.name}: nothing ended in time to measure it ({bound} {level.limit:g}{unit} asked for)."
    return f"{level.name}: {level.measured:g}{unit}, {bound} {level.limit:g}{unit} was asked for."


def death_of(findings: Findings) -> str:
    """The sentence about a server that went away during the run, empty if it did not."""
    server = findings.server
    if server.died:
        return f"The server died during the run: {server.died}."
    if server.unreachable:
        return "The server could not be reached any more at the end of the run."
    return ""


def doubts_of(findings: Findings, levels: list[Level], honesty: Honesty) -> list[str]:
    """Why the result must not be believed; empty when the harness kept up."""
    return [*_harness_doubts(findings, honesty), *_empty_doubts(findings), *_unmeasured(findings, levels)]


def _harness_doubts(findings: Findings, honesty: Honesty) -> list[str]:
    generator, publishes = findings.generator, findings.publishes
    doubts: list[str] = []
    doubts += generator.lost_processes
    lag = generator.loop_lag_ms
    if lag.p90 > honesty.loop_lag_p90_ms or lag.p99 > honesty.loop_lag_p99_ms:
        doubts.append(
            f"The generator's event loop was late by {lag.p90:.0f} ms (p90, bound "
            f"{honesty.loop_lag_p90_ms:g}) and {lag.p99:.0f} ms (p99, bound {honesty.loop_lag_p99_ms:g}): "
            "give it more CPU or fewer clients."
        )
    for name, share in cpu_shares(generator):
        if share > honesty.cpu_share:
            doubts.append(
                f"{name} used {share:.0%} of a core (bound {honesty.cpu_share:.0%}): use more --processes, "
                "fewer clients or a lower rate."
            )
    due = max(1, publishes.scheduled)
    if publishes.late / due > honesty.late_share:
        doubts.append(
            f"{publishes.late} of {publishes.scheduled} publishes were sent late "
            f"(bound {honesty.late_share:.0%})."
        )
    if publishes.dropped / due > honesty.dropped_share:
        doubts.append(
            f"{publishes.dropped} of {publishes.scheduled} publishes found no free worker "
            f"(bound {honesty.dropped_share:.0%}): raise publish.workers, or the server answers too slowly."
        )
    if generator.handler_errors:
        doubts.append(f"The harness failed on {generator.handler_errors} events it should understand.")
    if generator.overrun:
        doubts.append(f"The phase {generator.overrun!r} did not end in its time.")
    doubts += [f"{failure} The run did not show what it was to show." for failure in generator.failed_faults]
    if not findings.ledger.balanced:
        doubts.append("The ledger does not balance: the expected messages are not the sum of their classes.")
    return doubts


def cpu_shares(generator: Generator) -> list[tuple[str, float]]:
    """Each process of the generator and its share of a core; the whole, where they are not told apart."""
    if not generator.by_process:
        return [("The generator", generator.cpu_share / generator.processes)]
    return [(f"The generator's process of {each.name}", each.cpu_share) for each in generator.by_process]


def _empty_doubts(findings: Findings) -> list[str]:
    if findings.connections.established == 0:
        return ["No client was ever connected."]
    if findings.publishes.accepted == 0:
        return ["Nothing was published."]
    if findings.ledger.expected == 0:
        return ["No message was expected by anybody."]
    return []


def _unmeasured(findings: Findings, levels: list[Level]) -> list[str]:
    return [
        f"{item.name} was asked for, and nothing happened in this run that it could be measured on."
        for item in levels
        if KNOWN[item.name].read(findings) is None
    ]
