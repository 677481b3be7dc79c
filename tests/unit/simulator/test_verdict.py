"""Which findings make which verdict, and in what order of precedence."""

import json
import math
from typing import Any

import pytest

from simulator.errors import ScenarioError
from simulator.histogram import Histogram
from simulator.result import Findings, Result, from_json, to_json
from simulator.scenario.loader import list_builtin, load
from simulator.thresholds import KNOWN, parse
from simulator.verdict import ExitCode, Honesty, judge
from tests.support.simulator.findings import findings


def verdict(found: Findings, **slo: float) -> Result:
    return judge(found, slo, Honesty())


def test_all_well_is_a_pass() -> None:
    assert verdict(findings()).exit_code == ExitCode.PASS


def test_a_pass_has_no_reasons() -> None:
    assert verdict(findings()).reasons == []


def test_a_broken_service_level_fails_and_says_so() -> None:
    result = verdict(findings(), fanout_p99_ms=10)
    assert (result.verdict, result.reasons) == (
        "FAIL",
        ["fanout_p99_ms: 20 ms, at most 10 ms was asked for."],
    )


@pytest.mark.parametrize(
    "trouble",
    [
        {"generator__loop_lag_ms": {"count": 9, "p99": 251.0}},
        {"generator__loop_lag_ms": {"count": 9, "p90": 51.0}},
        {"generator__cpu_share": 0.95},
        {"publishes__late": 6},
        {"publishes__dropped": 2},
        {"ledger__balanced": False},
        {"connections__established": 0},
        {"publishes__accepted": 0},
        {"ledger__expected": 0},
    ],
)
def test_trouble_of_the_harness_itself_is_invalid(trouble: dict[str, Any]) -> None:
    assert verdict(findings(**trouble)).exit_code == ExitCode.INVALID


def test_invalid_comes_before_fail_and_keeps_both_reasons() -> None:
    result = verdict(findings(ledger__lost=3, generator__cpu_share=1.0))
    assert (result.verdict, len(result.reasons)) == ("INVALID", 2)


def test_a_dead_server_fails_even_if_the_harness_struggled() -> None:
    result = verdict(findings(server__died="exit status 137", generator__cpu_share=1.0))
    assert (result.verdict, "137" in result.reasons[0]) == ("FAIL", True)


def test_an_interrupted_run_is_no_pass() -> None:
    assert verdict(findings(interrupted=True)).exit_code == ExitCode.INTERRUPTED


def test_a_storm_nobody_came_back_from_fails() -> None:
    storm = {"drops": 5, "censored": 5}
    result = verdict(findings(reconnect=storm), reconnect_p99_ms=100)
    measured = {level.name: level.measured for level in result.slo}
    assert (result.verdict, measured["reconnect_p99_ms"]) == ("FAIL", None)


GONE = {"drops": 10, "reconnected": 0, "censored": 10}


@pytest.mark.parametrize("name", sorted(list_builtin()))
def test_no_built_in_scenario_passes_when_everybody_was_cut_off_for_good(name: str) -> None:
    result = verdict(findings(reconnect=GONE), **load(name).slo)
    assert "censored" in {level.name for level in result.slo if not level.held}


def test_one_who_does_not_come_back_fails_without_being_asked() -> None:
    result = verdict(findings(reconnect={"drops": 10, "reconnected": 9, "censored": 1}))
    assert (result.verdict, result.reasons) == ("FAIL", ["censored: 1, at most 0 was asked for."])


def storm(*groups: tuple[int, float], never: int) -> dict[str, Any]:
    """groups: so many were back in so many seconds."""
    back = Histogram()
    for count, took_s in groups:
        back.record_many([round(took_s * 1e6)] * count)
    drops = back.count + never
    return {
        "drops": drops,
        "reconnected": back.count,
        "censored": never,
        "time_to_reconnect": back.latency().model_dump(),
    }


@pytest.mark.parametrize(
    ("percentile", "least_ms", "most_ms"),
    [("p50", 99, 101), ("p95", 8_990, 9_010), ("p99", math.inf, math.inf)],
)
def test_a_reconnect_percentile_is_of_all_who_were_dropped(
    percentile: str, least_ms: float, most_ms: float
) -> None:
    """Of a hundred 92 were back in 0.1 s, 4 in 9 s, 4 never: the 95th took 9 s."""
    found = findings(reconnect=storm((92, 0.1), (4, 9.0), never=4))
    measured = KNOWN[f"reconnect_{percentile}_ms"].read(found)
    assert measured is not None
    assert least_ms <= measured <= most_ms


def test_a_reconnect_percentile_of_all_who_are_back_is_the_one_of_the_result() -> None:
    found = findings(reconnect=storm((89, 0.1), (1, 9.0), never=0))
    assert KNOWN["reconnect_p99_ms"].read(found) == found.reconnect.time_to_reconnect.p99


def test_a_percentile_that_cannot_be_read_again_is_not_taken_for_less_than_the_longest() -> None:
    """Results without their counts, as other tools may write them."""
    bare = {"drops": 100, "reconnected": 96, "time_to_reconnect": {"count": 96, "p95": 100, "max": 9_000}}
    assert KNOWN["reconnect_p95_ms"].read(findings(reconnect=bare)) == 9_000


def test_limits_parse_from_texts() -> None:
    assert parse(["fanout_p99_ms=250,lost=0", "duplicate=1"]) == {
        "fanout_p99_ms": 250,
        "lost": 0,
        "duplicate": 1,
    }


def test_a_typing_error_is_told_with_the_known_names() -> None:
    with pytest.raises(ScenarioError) as raised:
        parse(["fanout_p9_ms=250"])
    assert "Did you mean fanout_p9" in str(raised.value)
    assert "lost" in str(raised.value)


def test_all_wrong_limits_are_told_at_once() -> None:
    with pytest.raises(ScenarioError) as raised:
        parse(["lost=x", "nonsense=1", "late=-1"])
    assert len(raised.value.problems) == 3


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_level_reads_a_run_without_data(name: str) -> None:
    KNOWN[name].read(findings())


def test_a_result_survives_its_file() -> None:
    result = verdict(findings())
    assert from_json(to_json(result)) == result


def test_the_verdict_comes_first_in_the_file() -> None:
    assert list(json.loads(to_json(verdict(findings()))))[:2] == ["schema_version", "verdict"]


def test_a_fault_that_did_not_come_about_makes_a_run_invalid() -> None:
    result = verdict(findings(generator__failed_faults=["The fault 'kill' at 3 s: nobody there."]))
    assert (result.verdict, "nobody there" in result.reasons[0]) == ("INVALID", True)


def beside_strangers(calm_ms: float, hostile_ms: float) -> dict[str, Any]:
    calm = [{"t_s": n, "p50_ms": calm_ms} for n in range(5)]
    return {"timeline": calm + [{"t_s": n, "p50_ms": hostile_ms, "faults": ["hostile"]} for n in range(5, 9)]}


BACK = {"drops": 100, "reconnected": 98, "censored": 2, "time_to_reconnect": {"count": 98, "p99": 5}}
BROKE = {"drops": 1, "reconnected": 1, "time_to_reconnect": {"count": 1}}
BLAMED = {"inputs": 9, "server_errors": 1}
REPEATED = {"snapshot": {"duplicate": 5}, "durable": {"duplicate": 0}}
VERDICTS: dict[str, tuple[dict[str, Any], dict[str, float], str]] = {
    "the limit itself is still held": ({}, {"fanout_p99_ms": 20}, "PASS"),
    "losing fails without being asked": ({"ledger__lost": 1}, {}, "FAIL"),
    "leaking fails without being asked": ({"ledger__misrouted": 1}, {}, "FAIL"),
    "a violated conservation law fails, too": ({"conservation__violation_count": 1}, {}, "FAIL"),
    "a lower bound fails from below": ({"connections__established": 9}, {"established_ratio": 1}, "FAIL"),
    "an unreachable server fails": ({"server__unreachable": True}, {}, "FAIL"),
    "a level without anything to measure": ({}, {"reconnect_p99_ms": 100}, "INVALID"),
    "the censored are slower than all others": ({"reconnect": BACK}, {"reconnect_p99_ms": 100}, "FAIL"),
    "a scenario may say that some stay away": ({"reconnect": GONE}, {"censored": 10}, "PASS"),
    "held connections that broke and came back": ({"reconnect": BROKE}, load("hold").slo, "FAIL"),
    "answers that blame the server": ({"hostile": BLAMED}, {"server_errors": 0}, "FAIL"),
    "repeated counters are not durable": ({"ledger_by_kind": REPEATED}, {"duplicate_durable": 0}, "PASS"),
    "strangers that slow others down": (beside_strangers(10.0, 45.0), {"hostile_slowdown": 4}, "FAIL"),
    "a slow machine is no stranger": (beside_strangers(500.0, 450.0), {"hostile_slowdown": 3}, "PASS"),
}


@pytest.mark.parametrize(("found", "slo", "expected"), VERDICTS.values(), ids=VERDICTS)
def test_the_verdict_on_findings(found: dict[str, Any], slo: dict[str, float], expected: str) -> None:
    assert verdict(findings(**found), **slo).verdict == expected
