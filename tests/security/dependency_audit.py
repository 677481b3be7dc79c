"""`make audit`: are the locked dependencies free of known faults? Says which sources it could ask.

Three judges. The committed floors (`floors.toml`) always; `pip-audit` and `npm audit` where their databases
answer. A database that is asked about nothing but our packages and knows none of them also says "no known
vulnerabilities": so pip-audit must first find a fault that is known to be there. A judge that cannot be asked
is named as such and is no failure; one that finds something is.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
FLOORS = Path(__file__).with_name("floors.toml")
REQUIREMENTS = ("requirements/run.txt", "requirements/dev.txt")
LOCKS = ("frontend/package-lock.json", "loadtest/bench/node/package-lock.json")
CANARY = "python-socketio==5.13.0"
CANARY_FAULT = "CVE-2025-61765"
TIMEOUT_S = 300
_PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class Floor:
    ecosystem: str
    name: str
    fixed: Version
    why: str


@dataclass(frozen=True)
class Locked:
    """One dependency in one lock file."""

    ecosystem: str
    name: str
    version: Version
    file: str


def floors() -> list[Floor]:
    """The committed floors."""
    with open(FLOORS, "rb") as file:
        table = tomllib.load(file)
    return [
        Floor(ecosystem, name, Version(entry["fixed"]), entry["why"])
        for ecosystem, entries in table.items()
        for name, entry in entries.items()
    ]


def locked() -> list[Locked]:
    """Everything in the lock files."""
    return [*_python(), *_javascript()]


def _python() -> Iterator[Locked]:
    for file in REQUIREMENTS:
        for name, version in _PINNED.findall((ROOT / file).read_text()):
            yield Locked("python", name.lower(), Version(version), file)


def _javascript() -> Iterator[Locked]:
    for file in LOCKS:
        packages = json.loads((ROOT / file).read_text())["packages"]
        for place, facts in packages.items():
            if place and "version" in facts:
                name = place.rpartition("node_modules/")[2]
                yield Locked("javascript", name, Version(re.sub("-.*", "", facts["version"])), file)


def below(floor: Floor, dependencies: Iterable[Locked]) -> list[Locked]:
    """What is older than its floor."""
    return [
        item
        for item in dependencies
        if (item.ecosystem, item.name) == (floor.ecosystem, floor.name) and item.version < floor.fixed
    ]


# ---------------------------------------------------------------- the databases


def _pip_audit(file: str) -> tuple[bool, str]:
    """(clean, output) of pip-audit over a requirements file; it installs nothing."""
    command = [sys.executable, "-m", "pip_audit", "-r", file, "--no-deps", "--disable-pip"]
    done = subprocess.run(
        [*command, "--progress-spinner", "off", "--timeout", "10"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode == 0, done.stdout + done.stderr


def pip_audit_knows_the_canary() -> bool:
    """Does pip-audit's database answer, and know what it must know?"""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(CANARY + "\n")
        file.flush()
        try:
            clean, output = _pip_audit(file.name)
        except subprocess.TimeoutExpired:
            return False
    return not clean and (CANARY_FAULT in output or "GHSA-" in output or "PYSEC-" in output)


def npm_audit(folder: Path) -> tuple[bool | None, str]:
    """(clean, output) of `npm audit`; clean is None when its database does not answer."""
    try:
        done = subprocess.run(
            ["npm", "audit", "--json", "--audit=true"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        report = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None, "npm does not answer"
    if "vulnerabilities" not in report:
        return None, str(report.get("message", "no report"))
    return not report["vulnerabilities"], ", ".join(sorted(report["vulnerabilities"]))


def main() -> int:
    """Judge, say what was asked, exit 1 when something was found."""
    dependencies, known = locked(), floors()
    old = [(floor, item) for floor in known for item in below(floor, dependencies)]
    for floor, item in old:
        print(f"FOUND  {item.name} {item.version} in {item.file} is below {floor.fixed}: {floor.why}")
    print(
        f"asked  committed floors: {len(known)} floors, {len(dependencies)} locked versions, {len(old)} below"
    )
    return 1 if [bool(old), _ask_pip_audit(), _ask_npm()].count(True) else 0


def _ask_pip_audit() -> bool:
    """Whether pip-audit found something."""
    if not pip_audit_knows_the_canary():
        print(f"NOT ASKED  pip-audit: its database does not answer, or does not know {CANARY_FAULT}")
        return False
    verdicts = {file: _pip_audit(file) for file in REQUIREMENTS}
    for file, (clean, output) in verdicts.items():
        print(f"asked  pip-audit on {file}: {'clean' if clean else 'FOUND' + chr(10) + output}")
    return not all(clean for clean, _ in verdicts.values())


def _ask_npm() -> bool:
    """Whether npm audit found something."""
    found = False
    for lock in LOCKS:
        clean, output = npm_audit((ROOT / lock).parent)
        if clean is None:
            print(f"NOT ASKED  npm audit on {lock}: its database does not answer")
        else:
            print(f"asked  npm audit on {lock}: {'clean' if clean else 'FOUND ' + output}")
            found = found or not clean
    return found


if __name__ == "__main__":
    sys.exit(main())
