"""JUnit and Markdown of results, sets of them read, and run directories that can be run again."""

import json
import os
import threading
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.capacity.search import Bound, Capacity, Step
from simulator.compare import Comparison, Rules, compare
from simulator.errors import ScenarioError
from simulator.progress import Live
from simulator.report.files import (
    Outputs,
    RunDirectory,
    github_summary,
    read_runs,
    write_json,
    write_text,
)
from simulator.report.junit import junit_xml
from simulator.report.markdown import capacity_markdown, comparison_markdown, result_markdown, step_line
from simulator.result import Result, from_json
from simulator.scenario.loader import build, list_builtin, load, read, scenario_toml
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


TROUBLES: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "a broken level": ({"p99_ms": 99}, "failure", ["fanout_p99_ms"]),
    "an invalid run": ({"generator": {"cpu_share": 0.99}}, "error", ["honest"]),
    "an open ledger": ({"ledger": {"expected": 50, "balanced": False}}, "error", ["balanced", "honest"]),
    "a server that died": ({"server": {"died": "it ended with status 1"}}, "failure", ["stays up"]),
}


@pytest.mark.parametrize(("changes", "kind", "cases"), TROUBLES.values(), ids=TROUBLES)
def test_trouble_is_a_failure_or_an_error(changes: dict[str, Any], kind: str, cases: list[str]) -> None:
    assert failing(result(**changes), kind) == cases


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


# -------------------------------------------------------------- where results go


PUBLISH = {"via": "http", "path": "/p"}
LIVE = Live("load", 5, 35, 300, 298, 2, 100, 1, 5_000, 900.0, 3.2, 17.5)
JSON_LIKE = st.recursive(
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab .\"'", max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("name", list(list_builtin()))
def test_a_resolved_scenario_reads_back_as_itself(name: str) -> None:
    assert read(scenario_toml(load(name)), "other") == load(name)


@given(st.dictionaries(st.text(max_size=5), JSON_LIKE, max_size=3))
def test_payloads_survive_the_way_through_toml(payload: dict[str, object]) -> None:
    server = {"publish": PUBLISH | {"body": payload}, "receive": {"event": "m"}}
    scenario = build({"profile": "generic", "server": server})
    assert read(scenario_toml(scenario), "other") == scenario


def test_null_inside_a_list_is_refused() -> None:
    with pytest.raises(TypeError):
        scenario_toml(build({"server": {"publish": PUBLISH | {"body": [None]}, "receive": {"event": "m"}}}))


def test_two_documents_cannot_share_standard_output() -> None:
    with pytest.raises(ScenarioError, match="standard output"):
        Outputs(json="-", markdown="-").check()


def test_in_a_github_job_markdown_leaves_standard_output_alone(tmp_path: Path) -> None:
    outputs = Outputs(json="-", markdown="-", github_summary=tmp_path / "summary")
    outputs.check()
    assert outputs.takes_stdout


def test_markdown_is_added_to_the_summary_of_a_github_job(tmp_path: Path) -> None:
    summary = tmp_path / "summary"
    summary.write_text("before\n")
    Outputs(markdown="-", github_summary=github_summary({"GITHUB_STEP_SUMMARY": str(summary)})).write(
        result()
    )
    assert summary.read_text().startswith("before\n## ")


def test_outside_of_github_there_is_no_summary() -> None:
    assert github_summary({}) is None


def test_markdown_without_a_job_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    Outputs(markdown="-").write(result())
    assert capsys.readouterr().out.startswith("## ")


def test_every_wanted_document_is_written_and_named(tmp_path: Path) -> None:
    outputs = Outputs(
        str(tmp_path / "a.json"), tmp_path / "a.html", str(tmp_path / "a.md"), tmp_path / "a.xml"
    )
    assert outputs.write(result()) == [str(tmp_path / f"a.{kind}") for kind in ("json", "html", "md", "xml")]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "whole")
    reader.join(10)
    assert (got, pipe.is_fifo()) == (["whole"], True)


def test_a_run_directory_holds_all_that_a_run_was(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run", load("demo"), ["vouchstorm", "simulate", "demo"]) as kept:
        kept.write(result())
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        *("scenario.toml", "run.json", "run.log", "result.json"),
        *("report.html", "summary.md", "junit.xml"),
    }


def test_scenario_and_facts_are_there_before_the_run(tmp_path: Path) -> None:
    scenario = build({"name": "mine", "seed": 42})
    with RunDirectory(tmp_path / "run", scenario, ["vouchstorm"]):
        facts = json.loads((tmp_path / "run" / "run.json").read_text())
        kept = read((tmp_path / "run" / "scenario.toml").read_text(), "other")
    assert (facts["seed"], "python" in facts["versions"], kept) == (42, True, scenario)


def test_the_log_has_a_line_for_everything_that_was_told(tmp_path: Path) -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    with RunDirectory(tmp_path / "run", load("demo"), [], now=lambda: noon) as kept:
        kept.log.phase("load")
        kept.log.progress("connecting", 1, 2)
        kept.log.progress("connecting", 2, 2)
        kept.log.tick(LIVE)
        kept.log.note("two\nlines")
    lines = (tmp_path / "run" / "run.log").read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["phase", "progress", "second", "note"]
    assert lines[0].startswith("2026-01-01T12:00:00.000+00:00 ")
    assert "reconnecting=2" in lines[2]


def test_how_a_run_failed_is_in_its_log(tmp_path: Path) -> None:
    with pytest.raises(KeyError), RunDirectory(tmp_path / "run", load("demo"), []):
        raise KeyError("gone")
    assert "KeyError: 'gone'" in (tmp_path / "run" / "run.log").read_text()


def test_a_directory_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, load("demo"), []):
        pass
    with pytest.raises(ScenarioError, match="holds a run already"):
        RunDirectory(tmp_path, load("demo"), []).__enter__()


def test_run_directories_are_a_set_of_runs_to_compare(tmp_path: Path) -> None:
    for number in range(2):
        with RunDirectory(tmp_path / f"run-{number}", load("demo"), []) as kept:
            kept.write(result())
    assert read_runs([tmp_path]) == [from_json((tmp_path / "run-0" / "result.json").read_text())] * 2


def test_a_run_directory_is_one_run_to_compare(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, load("demo"), []) as kept:
        kept.write(result())
    assert len(read_runs([tmp_path])) == 1
