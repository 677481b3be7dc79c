"""Parts of several load processes become one document, and the simulator's verdict judges it."""

import random

import pytest

from loadtest.options import LoadOptions
from loadtest.verdict import Judge, Part, merge
from simulator.histogram import Histogram
from simulator.host import describe
from simulator.result import Connections, Publishes
from simulator.run.collect import versions
from simulator.verdict import Honesty, judge

FACTS = {
    "scenario": {"name": "locust"},
    "seed": 1,
    "target": "http://localhost:8000",
    "versions": versions(),
    "host": describe(),
    "started_at": "2026-01-01T00:00:00+00:00",
}


def encoded(values_us: list[int]) -> str:
    histogram = Histogram()
    histogram.record_many(values_us)
    return histogram.encode()


def part(values_us: list[int], lost: int = 0, **more) -> Part:
    count = len(values_us)
    return Part(
        connections=Connections(attempted=2, established=2),
        publishes=Publishes(scheduled=3, sent=3, accepted=3),
        totals={"durable": {"live": count, "received": count, "expected": count + lost, "lost": lost}},
        histograms={"new_notification": encoded(values_us), "loop_lag": encoded([100])},
        cpu_s=1.0,
        wall_s=10.0,
        **more,
    )


def test_counts_of_workers_are_summed() -> None:
    findings = merge([part([1_000]), part([2_000, 3_000])], FACTS)
    assert (findings.connections.established, findings.publishes.accepted) == (4, 6)
    assert (findings.ledger.live, findings.ledger.balanced) == (3, True)


def test_percentiles_come_from_merged_counts() -> None:
    rng = random.Random(1)
    values_us = [rng.randint(1_000, 900_000) for _ in range(2_000)]
    together = merge([part(values_us)], FACTS).latency_ms["durable"]
    apart = merge([part(values_us[:1_500]), part(values_us[1_500:])], FACTS).latency_ms["durable"]
    assert (apart.p50, apart.p99, apart.count) == (together.p50, together.p99, together.count)


def test_fan_out_is_both_kinds_together() -> None:
    both = Part(
        histograms={
            "new_notification": encoded([5_000]),
            "validation_count_update": encoded([1_000, 2_000]),
            "loop_lag": encoded([1]),
        }
    )
    assert merge([both], FACTS).latency_ms["fanout"].count == 3


def test_a_sound_run_passes() -> None:
    assert judge(merge([part([1_000])], FACTS), {}, Honesty()).verdict == "PASS"


def test_a_lost_message_fails_the_run() -> None:
    result = judge(merge([part([1_000], lost=1)], FACTS), {}, Honesty())
    assert (result.verdict, result.exit_code) == ("FAIL", 1)


def test_a_slow_push_fails_the_level_that_was_asked_for() -> None:
    result = judge(merge([part([400_000])], FACTS), {"durable_p99_ms": 100}, Honesty())
    assert result.verdict == "FAIL"


def test_pushes_without_a_latency_are_told() -> None:
    notes = merge([part([1_000], unmeasured={"new_notification": 4})], FACTS).notes
    assert notes == [
        "4 pushes 'new_notification' were received without a latency: not published by this run."
    ]


def test_the_error_of_the_clocks_is_told() -> None:
    notes = merge([part([1_000], clock_error_ns=1_500_000)], FACTS).notes
    assert notes == ["Clocks of the machines were compared to within 1.5 ms."]


def test_a_part_survives_the_way_to_the_master() -> None:
    sent = part([1_000, 2_000], lost=1)
    assert Part.model_validate(sent.model_dump()) == sent


def test_an_unbalanced_ledger_is_not_hidden() -> None:
    broken = Part(
        totals={"durable": {"live": 2, "expected": 1, "received": 2}}, histograms=part([1]).histograms
    )
    assert not merge([broken], FACTS).ledger.balanced


@pytest.mark.parametrize("processes", [1, 3])
def test_the_share_of_a_core_is_that_of_all_processes(processes: int) -> None:
    findings = merge([part([1_000])] * processes, FACTS)
    assert findings.generator.cpu_share == pytest.approx(0.1 * processes)


def test_a_run_whose_workers_all_died_has_findings_of_nothing() -> None:
    findings = merge([], FACTS)
    assert findings.ledger.expected == 0
    assert findings.latency_ms["fanout"].count == 0


def test_a_run_without_findings_is_invalid() -> None:
    leader = Judge()
    leader.begin(LoadOptions(), {"users": 10, "host": "http://localhost:1"})
    result = leader.verdict([], ["worker-1"])
    assert (result.verdict, result.exit_code) == ("INVALID", 4)
