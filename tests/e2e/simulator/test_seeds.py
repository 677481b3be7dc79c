"""Many seeds: on each, every planted bug is found in the number the server counted, and none is invented."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from simulator.result import Ledger
from tests.support.simulator.planted import DROPS, Planted, planted, scenario

SEEDS = range(1, 21)
QUICK_SEEDS = 1
MIX = {"websocket": 2, "polling": 1, "upgrade": 1}


@dataclass(frozen=True, slots=True)
class Bug:
    """lie: of the server. found: what the result must say, given the server's own counts."""

    lie: list[str]
    changes: dict[str, Any]
    found: Callable[[Planted], bool]


def none_invented(run: Planted) -> bool:
    ledger = run.result.ledger
    bad = (ledger.lost, ledger.duplicate, ledger.misrouted, ledger.out_of_order, ledger.late)
    return bad == (0, 0, 0, 0, 0) and run.result.reconnect.recovery.silent_hole == 0


def failed(run: Planted) -> Ledger:
    """The ledger of a run that was judged so."""
    assert run.result.verdict == "FAIL", run.result.reasons
    return run.result.ledger


BUGS = {
    "none": Bug([], {}, lambda run: run.result.verdict == "PASS" and none_invented(run)),
    "none, with absences": Bug(
        [],
        {"faults": DROPS, "transports": MIX},
        lambda run: run.result.verdict == "PASS" and none_invented(run) and run.result.reconnect.drops == 6,
    ),
    "dropped": Bug(["--drop-every", "20"], {}, lambda run: failed(run).lost == run.counts["dropped"] > 0),
    "duplicated": Bug(
        ["--duplicate-every", "20"], {}, lambda run: failed(run).duplicate == run.counts["duplicated"] > 0
    ),
    # A message that was held back until the end had no successor to be swapped with.
    "swapped": Bug(
        ["--swap-every", "20"], {}, lambda run: 0 < failed(run).out_of_order <= run.counts["swapped"]
    ),
    "leaked": Bug(["--leak-every", "20"], {}, lambda run: failed(run).misrouted == run.counts["leaked"] > 0),
    "delayed": Bug(
        ["--delay-every", "1", "--delay-ms", "900"],
        {"windows": {"late_ms": 700, "grace_ms": 500}},
        lambda run: run.result.ledger.late == run.counts["delayed"] > 0,
    ),
    "recovery stalled": Bug(
        ["--stall-recovery"],
        {"faults": DROPS},
        lambda run: run.result.ledger.lost > 0 and run.result.reconnect.recovery.silent_hole == 6,
    ),
    "recovery refused": Bug(
        ["--no-recovery"],
        {"faults": DROPS},
        lambda run: (
            run.result.ledger.lost > 0
            and (run.result.reconnect.recovery.silent_hole, run.result.reconnect.recovery.reloaded) == (0, 6)
        ),
    ),
}


async def missed(seed: int) -> list[str]:
    """Bugs of which the harness thought wrongly, with what it said. Three runs at once."""
    slots = asyncio.Semaphore(3)

    async def look(name: str, bug: Bug) -> list[str]:
        async with slots:
            run = await planted(bug.lie, scenario(seed=seed, **bug.changes))
        if bug.found(run) and run.result.ledger.balanced:
            return []
        return [
            f"{name}: {run.result.ledger} {run.result.reconnect.recovery} {run.counts} {run.result.reasons}"
        ]

    found = await asyncio.gather(*(look(name, bug) for name, bug in BUGS.items()))
    return [sentence for sentences in found for sentence in sentences]


@pytest.mark.parametrize("seed", [*SEEDS][:QUICK_SEEDS])
async def test_every_planted_bug_is_found_and_none_invented(seed: int) -> None:
    assert await missed(seed) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*SEEDS][QUICK_SEEDS:])
async def test_every_planted_bug_is_found_and_none_invented_on_more_seeds(seed: int) -> None:
    assert await missed(seed) == []
