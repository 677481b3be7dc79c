"""The commands that read runs: compare and report, in this process, on generated result files."""

import io
import json
import random
from pathlib import Path

import pytest
from click.testing import Result as Outcome
from rich.console import Console
from typer.testing import CliRunner

from cli import make_app
from simulator.report.files import write_json
from simulator.report.terminal import print_markdown
from simulator.result import Result
from simulator.verdict import Honesty, judge
from tests.support.simulator.findings import findings


def invoke(*words: str, **env: str) -> Outcome:
    return CliRunner().invoke(
        make_app(), list(words), env={"COLUMNS": "200", "GITHUB_STEP_SUMMARY": "", **env}
    )


def result(p99_ms: float) -> Result:
    return judge(findings(p99_ms), {}, Honesty())


@pytest.fixture
def sides(tmp_path: Path) -> tuple[str, str]:
    """Two directories of five runs, the second a third slower."""
    rng = random.Random(1)
    for name, factor in (("before", 1.0), ("after", 1.33)):
        for number in range(5):
            write_json(result(20 * factor * rng.uniform(0.99, 1.01)), str(tmp_path / name / f"{number}.json"))
    return str(tmp_path / "before"), str(tmp_path / "after")


def test_compare_takes_a_directory_as_the_baseline(sides: tuple[str, str]) -> None:
    before, after = sides
    done = invoke("compare", after, "--baseline", before)
    assert (done.exit_code, "fanout_p99" in done.stdout, "worse" in done.stdout) == (1, True, True)


def test_where_nobody_watches_the_comparison_is_markdown(sides: tuple[str, str]) -> None:
    before, after = sides
    assert invoke("compare", after, "--baseline", before).stdout.startswith("## ")


def test_markdown_on_standard_output_comes_once(sides: tuple[str, str]) -> None:
    before, after = sides
    assert invoke("compare", after, "--baseline", before, "--markdown", "-").stdout.count("## ") == 1


def test_the_comparison_as_json_is_alone_on_standard_output(sides: tuple[str, str], tmp_path: Path) -> None:
    before, after = sides
    copy = tmp_path / "copy.md"
    done = invoke("compare", after, "--baseline", before, "--json", "-", "--markdown", str(copy))
    assert json.loads(done.stdout)["metrics"]
    assert copy.read_text().startswith("## ")


def test_in_a_github_job_the_summary_gets_the_comparison(sides: tuple[str, str], tmp_path: Path) -> None:
    before, after = sides
    summary = tmp_path / "summary"
    words = ["compare", after, "--baseline", before, "--markdown", "-"]
    invoke(*words, GITHUB_STEP_SUMMARY=str(summary))
    assert summary.read_text().startswith("## ")


def test_report_writes_markdown_alone_when_that_is_asked_for(sides: tuple[str, str]) -> None:
    run = Path(sides[0]) / "0.json"
    done = invoke("report", str(run), "--markdown", "-")
    assert (done.stdout.startswith("## "), run.with_suffix(".html").exists()) == (True, False)


def test_report_writes_html_beside_the_result_by_default(sides: tuple[str, str]) -> None:
    run = Path(sides[0]) / "0.json"
    invoke("report", str(run))
    assert run.with_suffix(".html").read_text().startswith("<!doctype html>")


def test_a_table_is_drawn_in_a_terminal() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    print_markdown("| Load | Outcome |\n|:---|---:|\n| 100 | held |\n", console)
    assert "─" in console.file.getvalue()  # type: ignore[attr-defined]
