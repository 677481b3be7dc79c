"""The knee of simulated servers is found where it was put, and a weak generator is not taken for it."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.capacity.scalability import Point
from simulator.capacity.search import Capacity, Plan, Step, search, step_of
from simulator.errors import GeneratorLimitError, InterruptedRunError, ScenarioError, SetupError
from simulator.host import allow_sockets
from simulator.result import Level, Result
from simulator.verdict import Honesty, judge
from tests.support.simulator.findings import findings

LIMIT_MS = 250.0
IDLE_MS = 10.0
DROPPED = {"scheduled": 100, "sent": 60, "accepted": 60, "dropped": 40}


def result(p99_ms: float = 20.0, **changes: Any) -> Result:
    """A judged run in which the fan-out p99 was so."""
    return judge(findings(p99_ms, **changes), {"fanout_p99_ms": LIMIT_MS}, Honesty())


class Server:
    """Latency grows as in a queue: idle / (1 - load / capacity); the limit is where it crosses the SLO."""

    def __init__(self, limit: float, noise: float = 0.0, seed: int = 1) -> None:
        self.capacity = limit / (1 - IDLE_MS / LIMIT_MS)
        self.noise, self.rng = noise, Random(seed)
        self.asked: list[float] = []

    async def run(self, load: float) -> Result:
        self.asked.append(load)
        free = max(1e-4, 1 - load / self.capacity)
        return result(IDLE_MS / free * math.exp(self.rng.gauss(0, self.noise)))


def found(plan: Plan, run_step: Callable[[float], Awaitable[Result]]) -> Capacity:
    return asyncio.run(search(plan, run_step))


def limited(limit: float, then: Callable[[], Result]) -> Callable[[float], Awaitable[Result]]:
    """A run that passes up to a load and is something else above it."""

    async def run_step(load: float) -> Result:
        return result() if load <= limit else then()

    return run_step


def raising(error: Exception) -> Callable[[], Result]:
    def fail() -> Result:
        raise error

    return fail


def weak() -> Result:
    return result(generator={"cpu_share": 0.99})


def scripted(results: Iterable[Result]) -> Callable[[float], Awaitable[Result]]:
    """Results in the order of the runs, whatever the load."""
    left = iter(results)

    async def run_step(load: float) -> Result:
        return next(left)

    return run_step


@settings(deadline=None, max_examples=100)
@given(limit=st.floats(20, 150_000), start=st.integers(10, 5_000))
def test_a_known_limit_is_located_within_ten_percent(limit: float, start: int) -> None:
    answer = found(Plan(start=start), Server(limit).run)
    assert answer.passing is not None
    assert answer.passing <= limit < (answer.failing or 0)
    assert answer.passing >= limit * 0.9 or (answer.failing or 0) - answer.passing <= 1


@settings(deadline=None, max_examples=100)
@given(limit=st.floats(50, 150_000), seed=st.integers(0, 10_000))
def test_noise_moves_the_answer_little(limit: float, seed: int) -> None:
    """Latency noise of 10 % is 0.4 % of the load at the limit of this queue; 2 of 3 decide."""
    answer = found(Plan(start=100), Server(limit, noise=0.1, seed=seed).run)
    assert limit * 0.88 - 1 <= (answer.passing or 0) <= limit * 1.02 + 1


@given(limit=st.floats(0.5, 900.0))
@settings(deadline=None, max_examples=50)
def test_rates_need_not_be_whole(limit: float) -> None:
    answer = found(Plan(start=10, least=0.1, most=1_000, whole=False), Server(limit).run)
    assert limit * 0.9 <= (answer.passing or 0) <= limit


@given(factor=st.floats(1.1, 8), start=st.integers(1, 64), limit=st.floats(1, 300))
@settings(deadline=None, max_examples=100)
def test_the_search_ends_for_every_plan(factor: float, start: int, limit: float) -> None:
    answer = found(Plan(start=start, most=200, factor=factor, runs=1_000), Server(limit).run)
    assert answer.bound in ("server", "ceiling", "floor")


def test_a_coarse_tolerance_takes_fewer_runs() -> None:
    coarse, fine = Server(777), Server(777)
    found(Plan(start=100, tolerance=0.5), coarse.run)
    found(Plan(start=100, tolerance=0.02), fine.run)
    assert len(coarse.asked) < len(fine.asked)


def test_one_bad_run_in_three_does_not_end_the_climb() -> None:
    slow = result(p99_ms=900)
    answer = found(Plan(start=100, most=200), scripted([result(), slow, *[result()] * 3]))
    assert (answer.passing, answer.bound) == (200, "ceiling")


def test_one_lucky_run_in_three_is_not_a_pass() -> None:
    slow = result(p99_ms=900)
    runs = [result(), result(), slow, slow, result(), *[slow, slow] * 9]
    answer = found(Plan(start=100, most=200), scripted(runs))
    assert answer.passing == 100


def test_the_answer_held_twice() -> None:
    answer = found(Plan(start=100), Server(777).run)
    assert sum(step.load == answer.passing and step.outcome == "pass" for step in answer.steps) >= 2


def test_the_first_signal_that_gave_way_is_named() -> None:
    answer = found(
        Plan(start=100), limited(300, lambda: result(p99_ms=260, ledger={"expected": 1, "lost": 1}))
    )
    assert (answer.bound, answer.signal) == ("server", "lost")


def test_what_was_saturated_is_named() -> None:
    server = {"managed": True, "cpu_share": 0.99, "metrics": {"event_loop_lag_seconds_count": 10.0}}
    server["metrics"]["event_loop_lag_seconds_sum"] = 0.5  # type: ignore[index]
    answer = found(Plan(start=100), limited(300, lambda: result(p99_ms=999, server=server)))
    assert answer.saturated == ["server CPU: 99% of a core", "server event loop: 50 ms late in the mean"]


def test_a_generator_at_its_end_stops_the_search_upward() -> None:
    answer = found(Plan(start=100), limited(300, weak))
    assert (answer.bound, max(step.load for step in answer.steps)) == ("generator", 400)


def test_a_generator_at_its_end_is_not_blamed_on_the_server() -> None:
    answer = found(Plan(start=100), limited(300, weak))
    assert "the generator gave way first, not the server" in answer.sentence()


def test_a_server_that_gives_way_below_the_generator_is_still_found() -> None:
    async def run_step(load: float) -> Result:
        if load > 390:
            return weak()
        return result() if load <= 250 else result(p99_ms=999)

    answer = found(Plan(start=100), run_step)
    assert (answer.bound, 225 <= (answer.passing or 0) <= 250) == ("server", True)


def test_publishes_without_a_free_worker_are_the_server_s_doing() -> None:
    step = step_of(1, result(publishes=DROPPED))
    assert (step.outcome, step.signal) == ("fail", "dropped publishes")


@pytest.mark.parametrize(
    "trouble",
    [
        {"generator": {"loop_lag_ms": {"count": 9, "p99": 251.0}}},
        {"generator": {"handler_errors": 1}},
        {"publishes": {"scheduled": 100, "sent": 100, "accepted": 100, "late": 50}},
        {"generator": {"overrun": "drain"}},
    ],
)
def test_trouble_of_the_harness_is_not_the_server_s(trouble: dict[str, Any]) -> None:
    assert step_of(1, result(**trouble)).outcome == "generator"


def test_a_server_that_died_gave_way() -> None:
    assert step_of(1, result(server={"died": "it ended with status 1"})).signal == "server died"


def test_no_load_at_all_is_said() -> None:
    answer = found(Plan(start=64), limited(0, lambda: result(p99_ms=999)))
    assert (answer.passing, answer.bound, answer.exit_code) == (None, "floor", 1)


def test_a_generator_that_holds_no_load_is_an_invalid_search() -> None:
    assert found(Plan(start=64), limited(0, weak)).exit_code == 4


def test_the_ceiling_is_no_limit_of_the_server() -> None:
    answer = found(Plan(start=100, most=1_000), limited(1e9, weak))
    assert (answer.passing, answer.bound) == (1_000, "ceiling")


def test_a_load_that_no_scenario_can_describe_is_the_ceiling() -> None:
    error = ScenarioError(["That would need a ledger of more than 2 GiB."])
    answer = found(Plan(start=100), limited(500, raising(error)))
    assert (answer.bound, 450 <= (answer.passing or 0) <= 500) == ("ceiling", True)


def test_a_server_that_cannot_be_prepared_any_more_gave_way() -> None:
    error = SetupError("The clients did not get connected.")
    answer = found(Plan(start=100), limited(500, raising(error)))
    assert (answer.bound, answer.signal) == ("server", "set-up")


def test_a_target_that_was_never_there_is_no_result() -> None:
    with pytest.raises(SetupError):
        found(Plan(start=100), limited(0, raising(SetupError("Nobody answers."))))


def test_an_interrupted_run_ends_the_search_with_what_is_known() -> None:
    answer = found(Plan(start=100), limited(300, lambda: result(interrupted=True)))
    assert (answer.bound, answer.passing, answer.exit_code) == ("interrupted", 200, 130)


def test_the_budget_of_runs_is_kept() -> None:
    server = Server(100_000)
    answer = found(Plan(start=1, runs=5), server.run)
    assert (answer.bound, len(server.asked)) == ("budget", 5)


def test_every_run_is_told_to_the_watcher() -> None:
    told: list[Step] = []
    answer = asyncio.run(search(Plan(start=100), Server(300).run, told.append))
    assert told == answer.steps


@pytest.mark.parametrize(
    "plan",
    [{"start": 0}, {"start": 5, "least": 9}, {"start": 5, "factor": 1.0}, {"start": 5, "tolerance": 0}],
)
def test_impossible_plans_are_refused(plan: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError, match="capacity:"):
        Plan(**plan)


def test_a_level_nothing_ended_for_is_the_first_signal() -> None:
    never = Level(name="caught_up_p99_ms", unit="ms", limit=5, at_most=True, measured=None, held=False)
    storm = result(p99_ms=999)
    broken = storm.model_copy(update={"slo": [*storm.slo, never]})
    assert step_of(1, broken).signal == "caught_up_p99_ms"


def test_the_document_survives_json() -> None:
    answer = found(Plan(start=100), Server(300).run)
    assert Capacity.model_validate_json(answer.model_dump_json()) == answer


BEAT = "vouchstorm_bus_heartbeat_seconds"
SATURATED = {
    "the busy service": (
        {"cpu_share": 1.1, "cpu_share_by_service": {"node-1": 0.97, "redis": 0.05}},
        "node-1 CPU: 97% of a core",
    ),
    "a slow bus": (
        {"metrics": {f"{BEAT}_count": 4.0, f"{BEAT}_sum": 0.4}},
        "bus (Redis): 100 ms for a round trip in the mean",
    ),
}


@pytest.mark.parametrize(("server", "named"), SATURATED.values(), ids=SATURATED)
def test_what_a_step_saturated_is_named(server: dict[str, Any], named: str) -> None:
    assert step_of(1, result(server=server | {"managed": True})).pressure.saturated == [named]


def test_a_machine_without_a_free_core_is_named() -> None:
    step = step_of(
        1, result(host={"cpus": 2}, generator={"cpu_share": 0.6}, server={"cpu_share": 1.3, "managed": True})
    )
    assert "machine: server and generator use 190% of 2 cores" in step.pressure.saturated


def test_an_interruption_before_anything_was_run_is_an_answer_too() -> None:
    answer = found(Plan(start=100), limited(0, raising(InterruptedRunError("Interrupted."))))
    assert (answer.bound, answer.exit_code) == ("interrupted", 130)
    assert "before the search was interrupted" in answer.sentence()


def test_a_generator_that_cannot_be_prepared_is_not_blamed_on_the_server() -> None:
    error = GeneratorLimitError("1000 sockets do not fit into the 600 open files.")
    answer = found(Plan(start=100), limited(500, raising(error)))
    assert (answer.bound, answer.signal, 450 <= (answer.passing or 0) <= 500) == ("generator", "set-up", True)
    assert not Point(nodes=1, capacity=answer).exact


def test_sockets_that_do_not_fit_are_the_generator_s_limit() -> None:
    with pytest.raises(GeneratorLimitError, match="do not fit"):
        allow_sockets(2**40)


PROCESS = {"clients": 5, "loop_lag_ms": {"count": 9}}


def test_one_process_at_its_end_is_the_generator_s_end_whatever_the_others_do() -> None:
    parts = [
        {"name": "clients 0-4", "cpu_share": 0.97} | PROCESS,
        {"name": "clients 5-9", "cpu_share": 0.1} | PROCESS,
    ]
    generator = {"processes": 2, "cpu_share": 1.07, "by_process": parts}
    assert step_of(1, result(generator=generator, publishes=DROPPED)).outcome == "generator"


def test_several_processes_below_their_ends_are_no_end_of_the_generator() -> None:
    """The one that publishes has no clients, and a core of its own."""
    parts = [{"name": "clients 0-9", "cpu_share": 0.5} | PROCESS, {"name": "publishing", "cpu_share": 0.5}]
    generator = {"processes": 1, "cpu_share": 1.0, "by_process": parts}
    step = step_of(1, result(generator=generator, publishes=DROPPED))
    assert (step.outcome, step.signal) == ("fail", "dropped publishes")


def test_a_lost_process_is_the_generator_s_trouble() -> None:
    generator = {"lost_processes": ["Process 2 of 2 was lost."]}
    assert step_of(1, result(generator=generator, publishes=DROPPED)).outcome == "generator"
