"""Without a Node.js that fits, `make setup` and `make test` say what they leave out and go on.

In CI the tests fail instead.

The recipes run in a copy of the Makefile, with programs of ours in the place of Node, npm and pytest.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from backend.stack.doctor import Finding, Level, examine
from backend.stack.programs import fits

ROOT = Path(__file__).parents[3]
MAKEFILE = (ROOT / "Makefile").read_text()
OLD, FIT = "v18.19.0", "v20.19.0"
NEEDED = "Node.js 20.19 or newer"
BUILT = "frontend/dist/.built"
MAKE = shutil.which("make") or "make"
LEFT_OUT = re.findall(r"--(?:ignore|deselect)=(\S+)", MAKEFILE)


@dataclass(frozen=True)
class Place:
    """A directory with the Makefile; `programs` is all that its recipes find."""

    root: Path
    programs: Path

    def program(self, name: str, script: str) -> Path:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def node(self, version: str) -> None:
        self.program("node", f"echo {version}")

    def npm(self) -> None:
        self.program("npm", 'echo "npm $*"; mkdir -p dist')

    def make(self, target: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """What is downloaded counts as done: `-o`. pytest only says how it was called."""
        python = self.program(
            "python", f'[ "$2" = pytest ] && {{ echo "pytest $*"; exit; }}; exec "{sys.executable}" "$@"'
        )
        done = [word for name in ("installed", "browser", "prometheus") for word in ("-o", f".venv/.{name}")]
        return subprocess.run(
            [MAKE, target, f"PY={python}", *done],
            cwd=self.root,
            env={"PATH": str(self.programs), "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "checkout", tmp_path / "programs")
    place.programs.mkdir()
    for name in ("find", "mkdir", "sh", "touch"):
        (place.programs / name).symlink_to(shutil.which(name) or name)
    (place.root / "frontend").mkdir(parents=True)
    (place.root / "frontend" / "package.json").write_text("{}")
    (place.root / "Makefile").write_text(MAKEFILE)
    return place


def without_node(place: Place) -> None:
    pass


def with_old_node(place: Place) -> None:
    place.node(OLD)
    place.npm()


def without_npm(place: Place) -> None:
    """Debian has it in a package of its own."""
    place.node(FIT)


unfit = pytest.mark.parametrize("machine", [without_node, with_old_node, without_npm])


@unfit
def test_setup_goes_on_without_the_web_ui(place, machine):
    machine(place)
    done = place.make(BUILT)
    assert (done.returncode, "npm ci" in done.stdout) == (0, False), done.stderr


@unfit
def test_setup_says_in_one_line_what_is_left_out_and_what_to_install(place, machine):
    machine(place)
    (said,) = place.make(BUILT).stdout.splitlines()
    assert said.startswith("The web UI is not built")
    assert NEEDED in said


def test_setup_says_which_node_it_found(place):
    with_old_node(place)
    assert OLD in place.make(BUILT).stdout


def test_setup_builds_the_web_ui_with_a_node_that_fits(place):
    place.node(FIT)
    place.npm()
    done = place.make(BUILT)
    assert re.findall(r"^npm (?:ci|run build)\b", done.stdout, re.MULTILINE) == ["npm ci", "npm run build"]
    assert (place.root / BUILT).is_file()


@unfit
def test_the_tests_go_on_without_those_of_the_web_ui(place, machine):
    machine(place)
    done = place.make("test")
    assert done.returncode == 0, done.stderr
    assert "npm test" not in done.stdout
    assert re.search(rf"^Skipped: .*{NEEDED}", done.stdout, re.MULTILINE)
    assert "pytest -m pytest" in done.stdout


@unfit
def test_what_needs_node_is_left_out_of_the_python_tests_as_well(place, machine):
    machine(place)
    called = place.make("test").stdout
    assert LEFT_OUT
    assert all(name in called for name in LEFT_OUT)


@unfit
def test_nothing_is_skipped_in_ci(place, machine):
    machine(place)
    done = place.make("test", CI="true")
    assert done.returncode != 0
    assert NEEDED in done.stdout
    assert "pytest -m pytest" not in done.stdout


@pytest.mark.parametrize("environment", [{}, {"CI": "true"}], ids=["here", "in CI"])
def test_all_tests_run_with_a_node_that_fits(place, environment):
    place.node(FIT)
    place.npm()
    done = place.make("test", **environment)
    assert done.returncode == 0, done.stderr
    assert "npm test" in done.stdout
    assert "pytest -m pytest" in done.stdout
    assert not any(name in done.stdout for name in LEFT_OUT)


def test_failing_tests_of_the_web_ui_fail_the_target(place):
    place.node(FIT)
    place.npm()
    place.make(BUILT)
    place.program("npm", 'test "$1" != test')
    done = place.make("test")
    assert done.returncode != 0
    assert "pytest -m pytest" not in done.stdout


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_exists(name):
    path, _, function = name.partition("::")
    assert (ROOT / path).exists()
    assert not function or function in functions(ROOT / path)


def test_what_starts_a_node_program_is_left_out():
    """Nothing else in the end-to-end tests does."""
    starts = re.compile(r"\bnode_server\(\)|\bOFFICIAL_CLIENT\b")
    found = {
        f"{path.relative_to(ROOT)}::{name}"
        for path in (ROOT / "tests" / "e2e").rglob("test_*.py")
        for name, text in functions(path).items()
        if name.startswith("test_") and starts.search(text)
    }
    assert found == {name for name in LEFT_OUT if "::" in name}


def functions(path: Path) -> dict[str, str]:
    source = path.read_text()
    return {
        each.name: ast.get_source_segment(source, each) or ""
        for each in ast.parse(source).body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.removeprefix("v").split(".")))


def satisfies(version: str, engines: str) -> bool:
    """The two forms of a range that are used: `^a.b.c` and `>=a.b.c`, joined by `||`."""
    found = numbers(version)
    for part in engines.split("||"):
        sign, least = re.fullmatch(r"(\^|>=)([\d.]+)", part.strip()).groups()  # type: ignore[union-attr]
        if found >= numbers(least) and (sign == ">=" or found[0] == numbers(least)[0]):
            return True
    return False


@pytest.mark.parametrize(
    "version", [OLD, "v20.18.9", FIT, "v20.20.2", "v21.7.3", "v22.11.0", "v22.12.0", "v23.0.0", "v24.1.0"]
)
def test_the_versions_that_fit_are_those_that_vite_accepts(version):
    lock = json.loads((ROOT / "frontend" / "package-lock.json").read_text())
    engines = lock["packages"]["node_modules/vite"]["engines"]["node"]
    assert fits(version) is satisfies(version, engines)


def test_what_is_not_a_version_does_not_fit():
    assert not fits("command not understood")


def examined(place: Place, monkeypatch: pytest.MonkeyPatch) -> Finding:
    monkeypatch.setenv("PATH", str(place.programs))
    (finding,) = [each for each in examine(8000, place.root) if each.name == "Node.js"]
    return finding


@unfit
def test_the_doctor_says_which_node_to_install(place, machine, monkeypatch):
    machine(place)
    finding = examined(place, monkeypatch)
    assert finding.level is Level.MISSING
    assert NEEDED in finding.fact


def test_the_doctor_names_the_version_that_fits(place, monkeypatch):
    place.node(FIT)
    place.npm()
    finding = examined(place, monkeypatch)
    assert finding.level is Level.OK
    assert FIT in finding.fact


def test_the_readme_says_which_node():
    assert NEEDED in (ROOT / "README.md").read_text()
