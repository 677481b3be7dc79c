"""`backup`, `restore` and `doctor --data` as a user runs them, beside a node that runs."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.backend.node import ROOT, Node, environment, running_node


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A seeded store."""
    done = vouchstorm(tmp_path, "seed", "--users", "5", "--claims", "3", "--validations", "6")
    assert done.returncode == 0, done.stderr
    return tmp_path


def vouchstorm(data_dir: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "cli.py"), *words, "--data-dir", str(data_dir)]
    settings = {name: value for name, value in Node(data_dir).settings.items() if name != "drain_s"}
    return subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=False)


def user_count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        count: int = connection.execute("SELECT count(*) FROM users").fetchone()[0]
        return count


def test_a_running_node_is_backed_up_and_the_stopped_one_restored(data_dir: Path) -> None:
    copy = data_dir / "backup.db"
    with running_node(data_dir) as node:
        backed_up = vouchstorm(data_dir, "backup", str(copy))
        refused = vouchstorm(data_dir, "restore", str(copy), "--force")
        node.stop()
    restored = vouchstorm(data_dir, "restore", str(copy), "--force")
    assert [backed_up.returncode, refused.returncode, restored.returncode] == [0, 3, 0]
    assert "stop the node first" in refused.stderr
    assert user_count(data_dir / "vouchstorm.db") == 5


def test_a_whole_store_passes_the_doctor_while_a_node_runs(data_dir: Path) -> None:
    with running_node(data_dir):
        done = vouchstorm(data_dir, "doctor", "--data")
    assert (done.returncode, "Every law of conservation holds." in done.stdout) == (0, True)


def test_the_doctor_finds_the_store_of_the_environment(data_dir: Path) -> None:
    settings = Node(data_dir).settings | {"data_dir": data_dir}
    command = [sys.executable, str(ROOT / "cli.py"), "doctor", "--data"]
    done = subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=False)
    assert (done.returncode, "Checked 5 users" in done.stdout) == (0, True)


def test_damage_is_an_exit_code_and_says_what_to_do(data_dir: Path) -> None:
    with closing(sqlite3.connect(data_dir / "vouchstorm.db")) as connection:
        connection.execute("UPDATE users SET unread = unread + 1")
        connection.commit()
    done = vouchstorm(data_dir, "doctor", "--data")
    assert (done.returncode, "set it to what the other rows make" in done.stdout) == (1, True)
