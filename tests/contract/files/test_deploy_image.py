"""What the stages of the Dockerfile copy is enough: their programs start from the copied files alone.

The copies are laid out as in the image; Python sees the locked packages and nothing else, above all not the
checkout that the tests themselves run in.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
IGNORED = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().split()
STAGES = {
    name: (base, body)
    for base, name, body in re.findall(
        r"^FROM (\S+) AS (\S+)\n((?:(?!FROM ).*\n)*)",
        (ROOT / "deploy" / "Dockerfile").read_text(),
        re.MULTILINE,
    )
}
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
START_S = 60


def copies(stage: str) -> list[tuple[str, str]]:
    """(source in the repository, place in the image) of a stage and of those it is built from."""
    base, body = STAGES[stage]
    below = copies(base) if base in STAGES else []
    lines = [line.split() for line in re.findall(r"^COPY (?!--from)(.+)$", body, re.MULTILINE)]
    return below + [(source, place) for *sources, place in lines for source in sources]


def laid_out(stage: str, root: Path) -> Path:
    """What the stage copies, without the web UI that another stage builds."""
    for source, place in copies(stage):
        if (ROOT / source).is_dir():
            ignore = shutil.ignore_patterns("node_modules", "__pycache__")
            shutil.copytree(ROOT / source, root / place, ignore=ignore)
        else:
            shutil.copy(ROOT / source, root / place)
    return root


def locked_packages(names: list[str], into: Path) -> Path:
    """A directory with these installed packages only; those for other systems are left out."""
    tops: set[str] = set()
    for name in names:
        with suppress(PackageNotFoundError):
            tops |= {file.parts[0] for file in distribution(name).files or []}
    into.mkdir()
    for top in tops - {".."}:
        (into / top).symlink_to(SITE_PACKAGES / top)
    return into


def started(root: Path, packages: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`-S`: no `.pth` file is read, so an editable install of this repository is not seen."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VOUCHSTORM_")}
    return subprocess.run(
        [sys.executable, "-S", "-B", *words],
        cwd=root,
        env={**environment, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
        timeout=START_S,
    )


@pytest.fixture(scope="module")
def run_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lock = (ROOT / "requirements" / "run.txt").read_text()
    names = re.findall(r"^([\w.-]+)(?:\[.*\])?==", lock, re.MULTILINE)
    return locked_packages(names, tmp_path_factory.mktemp("image") / "packages")


@pytest.fixture(scope="module")
def node_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return laid_out("node", tmp_path_factory.mktemp("node"))


@pytest.mark.parametrize("words", [["serve", "--help"], ["seed", "--help"]], ids=" ".join)
def test_the_command_line_starts_in_the_node_image(node_root, run_packages, words):
    done = started(node_root, run_packages, "cli.py", *words)
    assert done.returncode == 0, done.stderr


def test_the_service_is_composed_in_the_node_image(node_root, run_packages):
    done = started(node_root, run_packages, "-c", "import backend.app.main, backend.app.process.node")
    assert done.returncode == 0, done.stderr


def test_the_checkout_is_not_seen_from_the_image(tmp_path, run_packages):
    done = started(tmp_path, run_packages, "-c", "import backend")
    assert "No module named 'backend'" in done.stderr


def test_locust_finds_our_users_in_the_loadtest_image(tmp_path):
    root = laid_out("loadtest", tmp_path)
    words = ["-m", "locust", "-f", "loadtest/locustfile.py", "--list"]
    done = started(root, SITE_PACKAGES, *words)
    assert done.returncode == 0, done.stderr
    assert "ValidatorUser" in done.stdout + done.stderr


@pytest.mark.parametrize("source", sorted({source for name in STAGES for source, _ in copies(name)}))
def test_what_is_copied_is_not_kept_from_the_builder(source):
    assert IGNORED[0] == "**"
    allowed = [line.removeprefix("!") for line in IGNORED if line.startswith("!")]
    assert any(source == each or (each.endswith("/") and source.startswith(each)) for each in allowed)


def test_what_npm_installed_here_is_kept_from_the_builder():
    assert "**/node_modules/" in IGNORED
