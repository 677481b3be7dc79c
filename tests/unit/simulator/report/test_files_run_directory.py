"""Where results go: places tried first, one owner of standard output, directories that can be run again."""

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import ScenarioError
from simulator.progress import Live
from simulator.report.files import Outputs, RunDirectory, github_summary, read_runs, write_text
from simulator.result import Findings, Host, Result, from_json
from simulator.scenario.loader import build, list_builtin, load, read, scenario_toml
from simulator.verdict import Honesty, judge

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


def result() -> Result:
    findings = Findings(
        scenario={"name": "demo"},
        seed=7,
        target="http://127.0.0.1:1",
        versions={"vouchstorm": "1"},
        host=Host(),
        started_at="2026-01-01T00:00:00Z",
    )
    return judge(findings, {}, Honesty())


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
