"""JUnit and Markdown of results, and sets of them read: what a CI would count, and what breaks nothing."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.capacity.search import Bound, Capacity, Step
from simulator.compare import Comparison, Rules, compare
from simulator.errors import ScenarioError
from simulator.report.files import read_runs, write_json
from simulator.report.junit import junit_xml
from simulator.report.markdown import capacity_markdown, comparison_markdown, result_markdown, step_line
from simulator.result import Result
from simulator.verdict import Honesty, judge
from tests.support.simulator.findings import findings


def result(p99_ms: float = 20.0, **changes: Any) -> Result:
    return judge(findings(p99_ms, **changes), {"fanout_p99_ms": 50}, Honesty())


def suite(of: Result) -> ET.Element:
    found = ET.fromstring(junit_xml(of)).find("testsuite")  # noqa: S314
    assert found is not None
    return found


def failing(of: Result, kind: str) -> list[str | None]:
    return [case.get("name") for case in suite(of).iter("testcase") if case.find(kind) is not None]


def sides(slower: float = 1.0, **changes: Any) -> Comparison:
    rng = np.random.default_rng(1)
    before, after = ([result(20 * f * rng.lognormal(0, 0.01)) for _ in range(5)] for f in (1.0, slower))
    if changes:
        after[-1] = after[-1].model_copy(update=changes)
    return compare(before, after, Rules(), rng)


def searched(bound: Bound) -> Capacity:
    return Capacity(
        scenario="fanout",
        hold_s=5,
        tolerance=0.1,
        passing=900,
        failing=980,
        bound=bound,
        signal="fanout_p99_ms",
        saturated=["server CPU: 99% of a core"],
        steps=[
            Step(load=980, outcome="fail", signal="fanout_p99_ms"),
            Step(load=900, outcome="pass"),
        ],
    )


def rows(markdown: str) -> list[str]:
    return [line for line in markdown.splitlines() if line.startswith("|")]


def test_a_pass_is_a_suite_without_trouble() -> None:
    found = suite(result())
    assert [found.get(key) for key in ("failures", "errors", "tests")] == ["0", "0", "11"]


def test_a_broken_level_is_one_failure() -> None:
    assert failing(result(p99_ms=99), "failure") == ["fanout_p99_ms"]


def test_an_invalid_run_is_an_error_of_the_harness() -> None:
    assert failing(result(generator={"cpu_share": 0.99}), "error") == ["honest"]


def test_an_unbalanced_ledger_is_an_error_of_the_ledger_too() -> None:
    assert failing(result(ledger={"expected": 50, "balanced": False}), "error") == ["balanced", "honest"]


def test_a_server_that_died_is_a_failure() -> None:
    assert failing(result(server={"died": "it ended with status 1"}), "failure") == ["stays up"]


@pytest.mark.parametrize("trouble", [{}, {"interrupted": True}, {"server": {"died": "x"}}, {"publishes": {}}])
def test_the_file_is_green_exactly_when_the_exit_code_is_0(trouble: dict[str, Any]) -> None:
    judged = result(**trouble)
    assert (failing(judged, "failure") + failing(judged, "error") == []) == (judged.exit_code == 0)


def test_characters_that_xml_cannot_hold_are_replaced() -> None:
    found = suite(result(server={"died": 'it said "\x00\x1b[31m<&'}))
    assert [case.get("message") for case in found.iter("failure")] == [
        'The server died during the run: it said "\ufffd\ufffd[31m<&.'
    ]


def test_the_summary_begins_with_the_verdict() -> None:
    assert result_markdown(result()).splitlines()[0] == "## ✅ demo: PASS"


def test_the_summary_gives_the_reasons() -> None:
    assert "- fanout\\_p99\\_ms: 99 ms, at most 50 ms was asked for." in result_markdown(result(99))


def test_foreign_text_cannot_break_a_table_or_inject_markup() -> None:
    text = result_markdown(result(server={"died": "a | b <script>\n# head"}))
    assert "a \\| b \\<script\\> \\# head" in text


def test_every_table_has_as_many_cells_as_its_head() -> None:
    for text in (
        result_markdown(result()),
        comparison_markdown(sides()),
        capacity_markdown(searched("server")),
    ):
        blocks = [block for block in text.split("\n\n") if block.startswith("|")]
        assert blocks
        assert all(len({line.count("|") for line in rows(block)}) == 1 for block in blocks)


def test_a_comparison_without_change_says_so() -> None:
    assert comparison_markdown(sides()).startswith("## ✅ No change")


def test_a_comparison_names_what_got_worse() -> None:
    assert comparison_markdown(sides(1.3)).startswith("## ❌ Worse: fanout_p50_ms, fanout_p99_ms")


def test_a_comparison_shows_the_change_in_percent() -> None:
    before, after = ([result(p99_ms) for _ in range(5)] for p99_ms in (20, 26))
    told = compare(before, after, Rules(), np.random.default_rng(1))
    assert [row.split(" | ")[3] for row in rows(comparison_markdown(told)) if "`fanout_p99_ms`" in row] == [
        "+30.0%"
    ]


def test_a_comparison_counts_what_was_left_out() -> None:
    rng = np.random.default_rng(1)
    before = [result(20 + n / 100) for n in range(5)]
    told = compare([*before, result(interrupted=True)], before, Rules(), rng)
    assert "5 runs (1 interrupted left out) → 5 runs" in comparison_markdown(told)


def test_a_comparison_shows_faults_only_where_there_were_any() -> None:
    lost = sides(ledger=result(ledger={"expected": 9, "lost": 3}).ledger)
    assert [row for row in rows(comparison_markdown(lost)) if "`lost`" in row] == [
        "| `lost` | 0 | 3 |  |  |  | ❌ worse |"
    ]


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ("server", "900 clients held; at 980 fanout\\_p99\\_ms gave way first."),
        ("generator", "the generator gave way first, not the server."),
        ("ceiling", "nothing larger was or could be run."),
        ("budget", "the search ran out of runs."),
        ("interrupted", "the search was interrupted."),
    ],
)
def test_a_capacity_search_is_answered_in_its_headline(bound: Bound, words: str) -> None:
    assert words in capacity_markdown(searched(bound)).splitlines()[0]


def test_a_capacity_search_lists_its_runs_by_load() -> None:
    assert [row[:5] for row in rows(capacity_markdown(searched("server")))[2:]] == ["| 900", "| 980"]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A directory with two results, one of them in a run directory."""
    write_json(result(), str(tmp_path / "a.json"))
    write_json(result(), str(tmp_path / "run-2" / "result.json"))
    return tmp_path


def test_a_directory_is_read_with_its_run_directories(runs: Path) -> None:
    assert read_runs([runs]) == [result(), result()]


def test_a_file_that_is_named_twice_is_one_run(runs: Path) -> None:
    assert len(read_runs([runs / "a.json", runs])) == 2


def test_every_unusable_file_is_named(runs: Path) -> None:
    (runs / "b.json").write_text("{}")
    with pytest.raises(ScenarioError) as caught:
        read_runs([runs, runs / "missing.json"])
    assert len(caught.value.problems) == 2


def test_an_empty_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"There is no \*\.json"):
        read_runs([tmp_path])


def test_a_step_of_a_search_is_one_line() -> None:
    line = step_line(Step(load=1_600, outcome="fail", signal="fanout_p99_ms"), "clients")
    assert line.split() == ["1,600", "clients", "❌", "gave", "way:", "fanout_p99_ms,", "generator", "0%"]
