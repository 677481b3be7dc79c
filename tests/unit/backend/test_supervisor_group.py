"""The supervisor with small children that only speak its protocol."""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from backend.app.errors import SetupError
from backend.app.supervisor import Supervisor
from backend.app.worker_launch import check_group, environment_of, reserve
from backend.app.worker_metrics import Group, GroupFacts, news, parse_news
from backend.app.workers import Launch

GOOD = """
import json, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
report = {"url": "u", "pid": os.getpid(), "node": "n", "metrics_port": os.getpid()}
print(json.dumps(report), flush=True)
for line in sys.stdin:
    open(os.environ["NEWS"], "a").write(line)
"""
STUBBORN = GOOD.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN").replace(
    "for line in sys.stdin", "while True: signal.pause()\nfor line in sys.stdin"
)
REFUSES = 'import json; print(json.dumps({"error": "The cellar is full."}), flush=True)'
DIES = "raise SystemExit(9)"
SILENT = "import signal; signal.pause()"

Scripts = Callable[[int, int], str]


@asynccontextmanager
async def running(tmp_path, scripts: Scripts, count: int = 2, **options: float) -> AsyncIterator[Supervisor]:
    """A started supervisor; all its children are ended on leaving."""
    made = supervised(tmp_path, scripts, count, **options)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


def supervised(tmp_path, scripts: Scripts, count: int = 2, **options: float) -> Supervisor:
    def launch(slot: int, generation: int) -> Launch:
        environment = {**os.environ, "NEWS": str(tmp_path / f"news-{slot}-{generation}")}
        return Launch([sys.executable, "-I", "-c", scripts(slot, generation)], environment)

    return Supervisor(
        launch, count, random.Random(1), **{"grace_s": 20.0, "first_backoff_s": 0.01, **options}
    )


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], deadline_s: float = 20.0):
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "the condition never came true"
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def pids(supervisor: Supervisor) -> dict[int, int]:
    return {slot: worker.pid for slot, worker in supervisor.serving.items()}


async def test_all_workers_serve_after_the_start(tmp_path):
    async with running(tmp_path, lambda *_: GOOD, 3) as supervisor:
        assert sorted(supervisor.serving) == [1, 2, 3]


async def test_no_worker_is_left_after_the_stop(tmp_path):
    async with running(tmp_path, lambda *_: GOOD) as supervisor:
        started = pids(supervisor)
    assert not any(alive(pid) for pid in started.values())


async def test_a_worker_that_dies_is_started_again(tmp_path):
    async with running(tmp_path, lambda *_: GOOD) as supervisor:
        before = pids(supervisor)
        os.kill(before[1], signal.SIGKILL)
        await until(lambda: 1 in supervisor.serving and pids(supervisor)[1] != before[1])
        assert supervisor.restarts == 1
        assert pids(supervisor)[2] == before[2]


async def test_a_worker_that_does_not_come_up_again_is_tried_until_it_does(tmp_path):
    def scripts(slot: int, generation: int) -> str:
        return DIES if 1 < generation < 4 else GOOD

    async with running(tmp_path, scripts, 1) as supervisor:
        os.kill(pids(supervisor)[1], signal.SIGKILL)
        await until(lambda: supervisor.restarts == 3 and 1 in supervisor.serving)


NO_PROGRAM = "/nonexistent/python"


async def kept_alive(tmp_path, second: Callable[[], Launch]) -> None:
    """The first restart of the one worker fails in this way; the next must follow."""

    def launch(slot: int, generation: int) -> Launch:
        if generation == 2:
            return second()
        environment = {**os.environ, "NEWS": str(tmp_path / f"news-{generation}")}
        return Launch([sys.executable, "-I", "-c", GOOD], environment)

    supervisor = Supervisor(launch, 1, random.Random(1), grace_s=20.0, first_backoff_s=0.01)
    try:
        await supervisor.start()
        os.kill(pids(supervisor)[1], signal.SIGKILL)
        await until(lambda: supervisor.restarts == 2 and 1 in supervisor.serving)
    finally:
        await supervisor.stop()


async def test_a_worker_whose_program_cannot_be_run_for_once_is_started_again(tmp_path):
    await kept_alive(tmp_path, lambda: Launch([NO_PROGRAM], {}))


@pytest.mark.parametrize(
    "said", ["no JSON", "{}", "5", "x" * 200_000], ids=["text", "empty", "number", "endless"]
)
async def test_a_worker_whose_report_means_nothing_is_started_again(tmp_path, said: str):
    await kept_alive(
        tmp_path, lambda: Launch([sys.executable, "-I", "-c", f"print({said!r})"], {**os.environ})
    )


async def test_a_launch_that_cannot_be_made_for_once_is_tried_again(tmp_path):
    def launch() -> Launch:
        raise KeyError("no such setting")

    await kept_alive(tmp_path, launch)


async def test_a_program_that_cannot_be_run_ends_the_start_with_a_sentence(tmp_path):
    supervisor = Supervisor(lambda *_: Launch([NO_PROGRAM], {}), 1, random.Random(1), grace_s=1.0)
    with pytest.raises(SetupError, match="could not be started"):
        await supervisor.start()
    await supervisor.stop()


async def test_a_roll_that_cannot_run_the_program_leaves_the_old_worker(tmp_path):
    def launch(slot: int, generation: int) -> Launch:
        if generation > 1:
            return Launch([NO_PROGRAM], {})
        environment = {**os.environ, "NEWS": str(tmp_path / "news")}
        return Launch([sys.executable, "-I", "-c", GOOD], environment)

    supervisor = Supervisor(launch, 1, random.Random(1), grace_s=20.0)
    try:
        await supervisor.start()
        before = pids(supervisor)
        assert not await supervisor.roll()
        assert pids(supervisor) == before
    finally:
        await supervisor.stop()


async def test_a_worker_that_refuses_its_settings_ends_the_start_with_its_sentence(tmp_path):
    supervisor = supervised(tmp_path, lambda slot, _: REFUSES if slot == 2 else GOOD)
    with pytest.raises(SetupError, match=r"The cellar is full\."):
        await supervisor.start()
    await supervisor.stop()


async def test_a_worker_that_is_never_ready_ends_the_start(tmp_path):
    supervisor = supervised(tmp_path, lambda *_: SILENT, 1, ready_timeout_s=0.2)
    with pytest.raises(SetupError, match="not ready within"):
        await supervisor.start()
    await supervisor.stop()


async def test_a_roll_replaces_every_worker(tmp_path):
    async with running(tmp_path, lambda *_: GOOD) as supervisor:
        before = pids(supervisor)
        assert await supervisor.roll()
        assert not any(alive(pid) for pid in before.values())
        assert sorted(supervisor.serving) == [1, 2]


async def test_a_roll_is_no_restart(tmp_path):
    async with running(tmp_path, lambda *_: GOOD) as supervisor:
        await supervisor.roll()
        assert supervisor.restarts == 0


async def test_in_a_roll_every_slot_is_served_at_any_moment(tmp_path):
    async with running(tmp_path, lambda *_: GOOD) as supervisor:
        rolling = asyncio.create_task(supervisor.roll())
        while not rolling.done():
            assert sorted(supervisor.serving) == [1, 2]
            await asyncio.sleep(0.001)


async def test_a_roll_to_workers_that_do_not_start_keeps_the_old_ones(tmp_path):
    async with running(tmp_path, lambda _, generation: GOOD if generation == 1 else DIES) as supervisor:
        before = pids(supervisor)
        assert not await supervisor.roll()
        assert pids(supervisor) == before


async def test_a_wanted_roll_happens(tmp_path):
    async with running(tmp_path, lambda *_: GOOD, 1) as supervisor:
        before = pids(supervisor)
        supervisor.want_roll()
        await until(lambda: not alive(before[1]))
        assert supervisor.restarts == 0


async def test_a_worker_that_ignores_sigterm_is_killed(tmp_path):
    async with running(tmp_path, lambda *_: STUBBORN, 1, grace_s=0.1) as supervisor:
        started = pids(supervisor)
    assert not alive(started[1])


async def test_in_a_hurry_nobody_waits_for_the_grace_time(tmp_path):
    async with running(tmp_path, lambda *_: STUBBORN, 1, grace_s=3600.0) as supervisor:
        supervisor.hurry()
        started = pids(supervisor)
    assert not alive(started[1])


async def test_workers_hear_where_the_pages_of_the_others_are(tmp_path):
    async with running(tmp_path, lambda *_: GOOD) as supervisor:
        ports = {str(slot): pid for slot, pid in sorted(pids(supervisor).items())}
        expected = news(Group(ports, GroupFacts(workers=2, restarts=0)))
        heard = tmp_path / "news-1-1"
        await until(lambda: heard.exists() and heard.read_text().endswith(expected))


async def test_workers_hear_of_a_death(tmp_path):
    async with running(tmp_path, lambda _, generation: GOOD if generation == 1 else DIES) as supervisor:
        left = pids(supervisor)
        os.kill(left.pop(1), signal.SIGKILL)
        heard = tmp_path / "news-2-1"
        await until(lambda: heard.exists() and f'{{"ports": {{"2": {left[2]}}}' in heard.read_text())


def test_news_survive_the_line():
    group = Group({"1": 4001, "2": 4002}, GroupFacts(workers=2, restarts=7))
    assert parse_news(news(group)) == group


def test_several_workers_without_a_bus_are_refused(bare_settings):
    with pytest.raises(SetupError, match="VOUCHSTORM_BUS_URL"):
        check_group(bare_settings(), 2)


def test_a_port_that_somebody_listens_on_is_refused():
    with reserve("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(SetupError, match="is in use"):
            reserve("127.0.0.1", taken.getsockname()[1])


def test_children_load_the_same_settings(bare_settings, monkeypatch):
    given = bare_settings(
        jwt_secret="s" * 40,
        bus_url="redis://:pw@127.0.0.1/0",
        cors_origins="https://a.example,https://b.example",
    )
    for name, value in environment_of(given).items():
        monkeypatch.setenv(name, value)
    assert bare_settings() == given


@pytest.fixture
def bare_settings(monkeypatch, tmp_path):
    """Loads settings without the variables of the machine that runs the test."""
    from backend.app.settings import load_settings

    for name in [name for name in os.environ if name.startswith("VOUCHSTORM_")]:
        monkeypatch.delenv(name)
    return load_settings
