"""The command line as a user types it: real processes, exit codes, one sentence per mistake."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli import make_app
from simulator.processes import free_port

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT_S = 60


def vouchstorm(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *words],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env={**os.environ, "COLUMNS": "200", **env},
        check=False,
    )


def invoke(*words: str, **env: str) -> Result:
    """The same in this process, for commands that start nothing: quick."""
    return CliRunner().invoke(make_app(), list(words), env={"COLUMNS": "200", **env})


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("seeded")
    done = vouchstorm(
        *("seed", "--users", "5", "--claims", "3", "--validations", "4", "--data-dir", str(data_dir)),
        *("--tokens", str(data_dir / "tokens.jsonl"), "--claims-file", str(data_dir / "claims.jsonl")),
    )
    assert done.returncode == 0, done.stderr
    return data_dir


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_help_shows_every_command() -> None:
    shown = invoke("--help").stdout
    for command in ("serve", "up", "seed", "simulate", "report", "doctor", "token", "down", "status"):
        assert command in shown


@pytest.mark.parametrize("command", ["serve", "up", "seed", "simulate", "report", "doctor", "token"])
def test_the_help_of_a_command_teaches_by_example(command: str) -> None:
    shown = invoke(command, "--help").stdout
    assert "Example" in shown


def test_seed_writes_a_token_per_user(seeded: Path) -> None:
    found = rows(seeded / "tokens.jsonl")
    assert [row["username"] for row in found] == [f"user{number:05d}" for number in range(5)]


def test_seeded_tokens_are_readable_by_the_owner_only(seeded: Path) -> None:
    assert (seeded / "tokens.jsonl").stat().st_mode & 0o077 == 0


def test_the_same_seed_gives_the_same_users(seeded: Path, tmp_path: Path) -> None:
    words = ["seed", "--users", "5", "--claims", "3", "--data-dir", str(tmp_path)]
    vouchstorm(*words, "--tokens", str(tmp_path / "tokens.jsonl"))
    again = [row["user_id"] for row in rows(tmp_path / "tokens.jsonl")]
    assert again == [row["user_id"] for row in rows(seeded / "tokens.jsonl")]


def test_seeding_twice_says_what_to_do(seeded: Path) -> None:
    again = vouchstorm("seed", "--users", "5", "--data-dir", str(seeded))
    assert again.returncode == 3
    assert again.stderr.strip().endswith("choose another --prefix or a fresh --data-dir.")


def test_too_many_validations_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    refused = vouchstorm(
        *("seed", "--users", "2", "--claims", "1", "--validations", "9", "--data-dir", str(tmp_path))
    )
    assert (refused.returncode, (tmp_path / "vouchstorm.db").exists()) == (3, False)
    assert "At most 1 validations fit" in refused.stderr


def test_token_prints_a_token(seeded: Path) -> None:
    printed = vouchstorm("token", "user00000", "--data-dir", str(seeded))
    assert printed.stdout.count(".") == 2


def test_a_token_for_nobody_is_one_sentence(seeded: Path) -> None:
    refused = vouchstorm("token", "nobody", "--data-dir", str(seeded))
    assert refused.returncode == 3
    assert "There is no user 'nobody'" in refused.stderr


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = vouchstorm("serve", "--port", port, "--data-dir", str(tmp_path))
    assert refused.returncode == 3
    assert refused.stderr.strip() == (
        f"vouchstorm: Port {port} on 127.0.0.1 is in use; stop what uses it or choose another with --port."
    )


def test_a_bad_setting_names_the_variable(tmp_path: Path) -> None:
    refused = vouchstorm(
        "serve", "--port", "0", VOUCHSTORM_JWT_SECRET="short", VOUCHSTORM_DATA_DIR=str(tmp_path)
    )
    assert refused.returncode == 3
    assert "VOUCHSTORM_JWT_SECRET" in refused.stderr
    assert "short" not in refused.stderr.replace("shorter", "")


def test_production_without_a_secret_does_not_start(tmp_path: Path) -> None:
    refused = vouchstorm(
        "serve", "--port", "0", VOUCHSTORM_MODE="production", VOUCHSTORM_DATA_DIR=str(tmp_path)
    )
    assert refused.returncode == 3
    assert "openssl rand -hex 32" in refused.stderr


def test_a_data_directory_that_cannot_be_written_is_one_sentence() -> None:
    refused = vouchstorm("serve", "--port", "0", "--data-dir", "/proc/nowhere")
    assert refused.returncode == 3
    assert refused.stderr.count("\n") == 1
    assert "choose another with --data-dir" in refused.stderr


@pytest.mark.parametrize("count", ["1", "2"])
def test_who_asks_for_workers_is_told_to_run_nodes(count: str) -> None:
    refused = invoke("serve", "--workers", count)
    assert refused.exit_code == 2
    assert "vouchstorm up --nodes N" in " ".join(refused.stderr.replace("│", " ").split())
    assert "--workers" not in invoke("serve", "--help").stdout


def test_doctor_names_what_it_looked_at() -> None:
    shown = invoke("doctor")
    assert shown.exit_code == 0
    for thing in ("Python", "open files", "MongoDB", "Redis / Valkey", "Caddy", "Chromium"):
        assert thing in shown.stdout


def test_doctor_looks_at_the_data_directory_of_the_environment(tmp_path: Path) -> None:
    shown = invoke("doctor", VOUCHSTORM_DATA_DIR=str(tmp_path))
    assert (shown.exit_code, str(tmp_path) in shown.stdout) == (0, True)


def test_doctor_looks_at_the_machine_with_bad_settings_too() -> None:
    shown = invoke("doctor", VOUCHSTORM_MODE="production")
    assert (shown.exit_code, "open files" in shown.stdout) == (0, True)
    assert "VOUCHSTORM_JWT_SECRET is required" in shown.stderr


def test_simulate_lists_its_scenarios() -> None:
    shown = invoke("simulate", "--list")
    assert shown.exit_code == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()][:1] == ["bell"]


MISTAKES = {
    "an unknown scenario": (["dmeo"], "demo"),
    "a mistyped level lists the known ones": (["demo", "--slo", "losst=0"], "lost"),
    "a result that cannot be written": (["demo", "--json", "/proc/nowhere/run.json"], "Cannot write"),
}


@pytest.mark.parametrize(("words", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_usage_error_is_found_before_the_run(words: list[str], said: str) -> None:
    refused = invoke("simulate", *words)
    assert (refused.exit_code, said in refused.stderr) == (2, True)


def test_every_mistake_of_a_scenario_is_told_at_once(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("clinets = 5\n[publish]\nrate_per_s = -1\n")
    refused = invoke("simulate", str(wrong))
    assert refused.exit_code == 2
    assert "clinets" in refused.stderr
    assert "rate_per_s" in refused.stderr


def test_an_unreachable_target_ends_with_3(seeded: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    refused = vouchstorm(
        *("simulate", "demo", "--url", url, "--clients", "5", "--duration", "2"),
        *("--tokens", str(seeded / "tokens.jsonl"), "--claims-file", str(seeded / "claims.jsonl")),
    )
    assert refused.returncode == 3, refused.stderr


def test_report_of_something_else_is_a_usage_error(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    refused = invoke("report", str(other))
    assert refused.exit_code == 2
    assert "is not a result" in refused.stderr


def test_a_run_prints_one_json_document_and_nothing_else_on_stdout(tmp_path: Path) -> None:
    html = tmp_path / "run.html"
    done = vouchstorm(
        *("simulate", "fanout", "--clients", "20", "--duration", "3", "--json", "-", "--html", str(html))
    )
    result = json.loads(done.stdout)
    assert result["verdict"] in ("PASS", "FAIL", "INVALID")
    assert result["ledger"]["lost"] == 0, done.stderr
    assert html.read_text().startswith("<!doctype html>")


def test_down_and_status_where_nothing_runs(tmp_path: Path) -> None:
    assert invoke("down", "--data-dir", str(tmp_path)).stdout == "Nothing was running.\n"
    assert json.loads(invoke("status", "--data-dir", str(tmp_path)).stdout)["running"] is False
