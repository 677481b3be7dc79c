"""The same run in one process and in several: one result, the same drops, every planted bug found in both."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.generator.pool import RemoteWorker
from simulator.host import cpu_s, family
from simulator.progress import Silent
from simulator.result import Result
from simulator.run.phases import LoadRun
from simulator.run.runner import RunOptions, run
from simulator.scenario.loader import build
from tests.support.backend.node import ROOT, running_node
from tests.support.simulator.planted import DROPS, GENEROUS, Once, Planted, judged, planted, scenario, server
from tests.support.waiting import until

SEVERAL = 3
LIES = {
    "lost": ["--drop-every", "20"],
    "duplicate": ["--duplicate-every", "20"],
    "misrouted": ["--leak-every", "20"],
    "out_of_order": ["--swap-every", "20"],
}
COUNTED = {"lost": "dropped", "duplicate": "duplicated", "misrouted": "leaked", "out_of_order": "swapped"}


def check(result: Result) -> None:
    """What holds in every result, however many processes it came from."""
    parts = result.ledger_by_kind.values()
    assert result.ledger.balanced
    for name in ("expected", "received", "live", "lost", "replayed", "duplicate", "misrouted"):
        assert getattr(result.ledger, name) == sum(getattr(part, name) for part in parts)
    storm = result.reconnect
    ended = storm.recovery.full + storm.recovery.reloaded + storm.recovery.silent_hole
    assert ended + storm.censored == storm.drops
    assert sum(second.delivered for second in result.timeline) <= result.ledger.received


@pytest.fixture(scope="module")
def honest() -> Planted:
    """Half of the clients are cut off for a while, in three processes."""
    return asyncio.run(planted([], scenario(faults=DROPS, processes=SEVERAL)))


def test_an_honest_server_passes(honest: Planted) -> None:
    assert (honest.result.verdict, honest.result.reasons) == ("PASS", [])


def test_what_was_sent_is_what_was_received(honest: Planted) -> None:
    """But for what was under way on a line at the moment when it was cut."""
    check(honest.result)
    drops, sent = honest.result.reconnect.drops, honest.counts["sent"]
    assert sent - drops <= honest.result.ledger.received <= sent


def test_replays_are_told_from_live_messages_in_every_process(honest: Planted) -> None:
    assert 0 < honest.result.ledger.replayed <= honest.counts["replayed"]
    assert honest.result.reconnect.recovery.full == honest.result.reconnect.drops == 6


def test_each_process_answers_for_itself(honest: Planted) -> None:
    generator = honest.result.generator
    assert [part.clients for part in generator.by_process] == [4, 4, 4, 0]
    assert generator.processes == SEVERAL
    assert generator.cpu_share == pytest.approx(
        sum(part.cpu_share for part in generator.by_process), abs=0.01
    )


@pytest.mark.parametrize("kind", list(LIES))
async def test_a_planted_bug_is_found_as_by_one_process(kind: str) -> None:
    """In `test_simulate_planted` by one."""
    found = await planted(LIES[kind], scenario(processes=SEVERAL))
    check(found.result)
    counted, done = getattr(found.result.ledger, kind), found.counts[COUNTED[kind]]
    assert found.result.verdict == "FAIL"
    assert 0 < counted <= done
    assert counted == done or kind == "out_of_order"  # the last one that was held back has no successor


async def test_silent_holes_are_found_in_every_process() -> None:
    found = await planted(["--stall-recovery"], scenario(faults=DROPS, processes=SEVERAL))
    check(found.result)
    assert found.result.reconnect.recovery.silent_hole == 6


async def test_clients_that_publish_themselves_do_so_in_their_own_process() -> None:
    spec = build(
        {"profile": "echo", "clients": 10, "duration_s": 1, "honesty": GENEROUS, "processes": SEVERAL}
    )
    async with server("stock_server") as port:
        result = await run(RunOptions(spec, url=f"http://127.0.0.1:{port}"), Silent())
    assert (result.verdict, result.reasons) == ("PASS", [])
    assert result.ledger.live == result.publishes.accepted == result.publishes.scheduled > 0


def small(**changes: Any) -> Any:
    """A short run against the real service, with durable messages, tabs, and a storm."""
    return build(
        {
            "clients": 24,
            "sockets_per_user": 2,
            "duration_s": 3,
            "publish": {"rate_per_s": 12},
            "phases": {"warmup_s": 0.3, "drain_s": 2.5},
            "honesty": GENEROUS,
            "faults": [{"kind": "drop", "at_share": 0.3, "fraction": 0.5, "away_s": [0.5, 1.0]}],
        }
        | changes
    )


@pytest.mark.parametrize("live", [{"scope": "all"}, {"scope": "watched", "watches": 2}])
async def test_the_real_service_passes_with_several_processes(tmp_path: Path, live: dict[str, Any]) -> None:
    with running_node(tmp_path) as node:
        result = await run(RunOptions(small(processes=SEVERAL, live=live), url=node.url), Silent())
    check(result)
    assert (result.verdict, result.reasons) == ("PASS", [])
    assert result.reconnect.drops == 12
    assert result.ledger_by_kind["durable"].expected > 0


def kill(worker: RemoteWorker) -> None:
    os.kill(worker.pid, signal.SIGKILL)


def make_fail(worker: RemoteWorker) -> None:
    """It lives, but half of the ledger would be missing."""
    right = worker.ask
    worker.ask = lambda name, **_: right("nudge", "no number")  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("harm", "said", "among"),
    [(kill, r"it ended with signal SIGKILL\.$", slice(None)), (make_fail, "its answer failed", slice(1))],
    ids=["dies", "its answer fails"],
)
async def test_a_process_that_is_lost_makes_the_run_invalid_and_is_named(
    harm: Callable[[RemoteWorker], None], said: str, among: slice
) -> None:
    def harm_second() -> None:
        worker = course.pool.workers[1]
        assert isinstance(worker, RemoteWorker)
        harm(worker)

    spec = scenario(processes=2, duration_s=20)
    async with server("lying_server") as port:
        course = LoadRun(RunOptions(spec, url=f"http://127.0.0.1:{port}"), Once(harm_second))
        result = await judged(course, spec)
    assert result.verdict == "INVALID"
    lost = f"^Process 2 of 2, which held 6 clients, was lost: {said}"
    assert any(re.match(lost, reason) for reason in result.reasons[among])


async def test_whoever_watches_sees_all_processes_together() -> None:
    ui = Once()
    async with server("lying_server") as port:
        spec = scenario(processes=SEVERAL, duration_s=3)
        await run(RunOptions(spec, url=f"http://127.0.0.1:{port}"), ui)
    last = ui.ticks[-1]
    assert (last.connected, last.clients) == (12, 12)
    assert last.events == sum(last.received.values()) > 0


async def test_no_process_outlives_the_one_that_started_it() -> None:
    program = (
        "import sys; from simulator.run.runner import RunOptions, run_scenario; "
        "from tests.support.simulator.planted import scenario; "
        "run_scenario(RunOptions(scenario(processes=2, duration_s=60), url=sys.argv[1]))"
    )
    async with server("lying_server") as port:
        first = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, f"http://127.0.0.1:{port}", cwd=ROOT
        )
        await until(lambda: len(family(first.pid)) == 3, timeout_s=60)
        others = [each.pid for each in family(first.pid) if each.pid != first.pid]
        first.kill()
        await first.wait()
        await until(lambda: not any(cpu_s(pid) for pid in others), timeout_s=60)
