"""`up --seed-users` on data that has these users already: one sentence, exit code 3, nothing runs on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.stack.up import stack_status, stop_stack
from tests.support.backend.node import ROOT

DEADLINE_S = 60.0
SENTENCE = "vouchstorm: Users of these names exist already; choose another --prefix or a fresh --data-dir."


def command(*words: str) -> list[str]:
    return [sys.executable, str(ROOT / "cli.py"), *words]


def up(data_dir: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    place = ["--stack", "embedded", "--port", "0", "--data-dir", str(data_dir)]
    return subprocess.run(
        command("up", *place, *words),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, **env},
        check=False,
    )


@pytest.fixture
def seeded(tmp_path: Path) -> Iterator[Path]:
    """A data directory with three users; what a test leaves running is ended."""
    data_dir = tmp_path / "data"
    words = ("seed", "--users", "3", "--claims", "0", "--data-dir", str(data_dir))
    subprocess.run(command(*words), check=True, stdout=subprocess.DEVNULL, timeout=DEADLINE_S)
    yield data_dir
    stop_stack(data_dir)


@pytest.mark.parametrize("how", [(), ("--detach",)], ids=["foreground", "detached"])
def test_seeding_the_same_users_again_is_one_sentence_and_nothing_runs(
    seeded: Path, how: tuple[str, ...]
) -> None:
    done = up(seeded, "--seed-users", "3", *how)
    assert (done.returncode, done.stderr.strip()) == (3, SENTENCE)
    assert stack_status(seeded)["running"] is False


def test_another_prefix_seeds_beside_them(seeded: Path) -> None:
    done = up(seeded, "--seed-users", "3", "--prefix", "more", "--detach")
    assert (done.returncode, stack_status(seeded)["running"]) == (0, True)


def test_the_stack_is_seeded_whatever_store_the_environment_names(seeded: Path, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path}/other.db"
    up(seeded, "--seed-users", "3", "--prefix", "more", "--detach", VOUCHSTORM_STORE_URL=other)
    assert not (tmp_path / "other.db").exists()


def test_ctrl_c_while_it_is_seeded_ends_everything(tmp_path: Path) -> None:
    place = ["--stack", "embedded", "--port", "0", "--data-dir", str(tmp_path)]
    words = [*place, "--seed-users", "100000", "--seed-claims", "100000"]
    with subprocess.Popen(
        command("up", *words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        while process.poll() is None and not is_seeding(process.pid):
            pass
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
    assert stack_status(tmp_path)["services"] == []


def is_seeding(pid: int) -> bool:
    """Whether `seed` runs as a child of this process and has begun its work."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            words = path.with_name("cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        if parent == pid and b"seed" in words:
            return True
    return False
