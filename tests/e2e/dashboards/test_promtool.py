"""Prometheus' own tools on our files and on a node's page."""

import shutil
import subprocess
from pathlib import Path

import pytest

from dashboards.prometheus_server import MissingPrometheusError, find_program
from tests.support.backend.node import Node
from tests.support.watched_stack import need_prometheus

DASHBOARDS = Path(__file__).resolve().parents[3] / "dashboards"
DEPLOYED = DASHBOARDS.parent / "deploy" / "prometheus"
TESTS = sorted((DASHBOARDS / "rules" / "tests").glob("*.yml"))


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    """The Debian package `prometheus` has both programs."""
    need_prometheus("prometheus", "promtool")


def promtool(*words: str, cwd: Path = DASHBOARDS) -> "subprocess.CompletedProcess[str]":
    program = find_program("promtool")
    return subprocess.run([program, *words], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_the_configuration_is_valid() -> None:
    done = promtool("check", "config", "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_of_the_containers_is_valid() -> None:
    """Their paths are those inside the container: only the syntax can be checked here."""
    done = promtool("check", "config", "--syntax-only", "prometheus.yml", cwd=DEPLOYED)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["recording.yml", "alerts.yml"])
def test_the_rules_are_valid(name: str) -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", f"rules/{name}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_rules_do_what_their_unit_tests_say(path: Path) -> None:
    done = promtool("test", "rules", path.name, cwd=path.parent)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("tests", "written", "changed"),
    [
        ("service_level", "websocket_push_seconds_count", "websocket_push_duration_count"),
        ("nodes", 'up{job="vouchstorm"} == 0', 'up{job="vouchstorm"} == 1'),
        ("bus", "bus_gap_open", "bus_gap_ajar"),
        ("service_level", "> 14.4 * 0.01", "> 44.4 * 0.01"),
    ],
)
def test_a_broken_rule_is_found_by_them(tmp_path: Path, tests: str, written: str, changed: str) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(DASHBOARDS / "rules", rules)
    for path in rules.glob("*.yml"):
        path.write_text(path.read_text().replace(written, changed))
    done = promtool("test", "rules", f"{tests}.yml", cwd=rules / "tests")
    assert done.returncode != 0


def test_a_node_passes_prometheus_own_lint(shared_node: Node) -> None:
    import httpx

    page = httpx.get(f"{shared_node.url}/metrics").text
    ours = "\n".join(line for line in page.splitlines() if "python_" not in line and "process_" not in line)
    done = subprocess.run(
        [find_program("promtool"), "check", "metrics"],
        input=ours + "\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_missing_prometheus_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingPrometheusError, match="apt-get install prometheus"):
        find_program("prometheus")
