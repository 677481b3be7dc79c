"""The command line as composition: what it registers, what it does not import, what it hands on."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cli
import simulator.commands
from backend.stack.plan import MAX_NODES
from simulator.profiles.registry import server_commands

ROOT = Path(__file__).resolve().parents[3]
HEAVY = {
    "fastapi",
    "socketio",
    "numpy",
    "scipy",
    "hdrh",
    "pymongo",
    "redis",
    "locust",
    "grafana_foundation_sdk",
}


def test_each_package_brings_its_commands() -> None:
    shown = CliRunner().invoke(cli.make_app(), ["--help"], env={"COLUMNS": "120"}).stdout
    listed = [line.split()[1] for line in shown.splitlines() if line.startswith("│ ") and line[2] != " "]
    assert {"serve", "up", "simulate", "capacity", "compare", "report", "loadtest", "dashboards"} <= set(
        listed
    )


def test_help_imports_none_of_the_heavy_libraries() -> None:
    asked = (
        "import sys, cli\nsys.argv[1:] = ['--help']\ntry: cli.main()\nexcept SystemExit: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_dashboards_check_looks_at_names_without_a_run() -> None:
    done = CliRunner().invoke(cli.make_app(), ["dashboards", "check", "--names"])
    assert (done.exit_code, "queries: green" in done.stderr) == (0, True)


def test_dashboards_build_check_passes_on_the_committed_files() -> None:
    assert CliRunner().invoke(cli.make_app(), ["dashboards", "build", "--check"]).exit_code == 0


def test_a_run_starts_its_server_by_the_program_it_was_given() -> None:
    commands = server_commands(("python", "x.py"), 3)
    assert tuple(commands.serve[:3]) == ("python", "x.py", "up")


def test_the_simulator_allows_as_many_nodes_as_the_stack() -> None:
    assert simulator.commands.MAX_NODES == MAX_NODES


NODE_COMMANDS = (["up"], ["simulate", "demo"], ["capacity"])


@pytest.mark.parametrize("command", NODE_COMMANDS, ids=" ".join)
def test_too_many_nodes_are_a_usage_error(command: list[str]) -> None:
    done = CliRunner().invoke(cli.make_app(), [*command, "--stack", "full", "--nodes", str(MAX_NODES + 1)])
    assert (done.exit_code, str(MAX_NODES) in done.stderr) == (2, True)


@pytest.mark.parametrize("command", NODE_COMMANDS, ids=" ".join)
def test_several_nodes_of_the_embedded_stack_are_a_usage_error(command: list[str]) -> None:
    done = CliRunner().invoke(
        cli.make_app(), [*command, "--stack", "embedded", "--nodes", "3"], env={"COLUMNS": "200"}
    )
    assert (done.exit_code, "use --stack full for several" in done.stderr) == (2, True)
