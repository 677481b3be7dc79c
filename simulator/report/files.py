"""Results on disk: written whole or not at all, read back with one sentence when they cannot be.

Called by the command line. `-` stands for standard output.
"""

import sys
from pathlib import Path

from pydantic import ValidationError

from ..errors import ScenarioError
from ..result import Result, from_json, to_json
from .page import render_html

STDOUT = "-"


def check_writable(target: str | Path | None) -> None:
    """Find out before the run whether its result can be written after it. Raises ScenarioError."""
    if target is None or str(target) == STDOUT:
        return
    path = Path(target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            pass
    except OSError as error:
        raise ScenarioError([f"Cannot write {path}: {error.strerror}."]) from error


def write_json(result: Result, target: str | None) -> None:
    """The result document; None: nowhere. Raises ScenarioError."""
    if target == STDOUT:
        sys.stdout.write(to_json(result))
        sys.stdout.flush()
    elif target is not None:
        _write(Path(target), to_json(result))


def write_html(result: Result, target: Path | None) -> None:
    """The self-contained report; None: nowhere. Raises ScenarioError."""
    if target is not None:
        _write(target, render_html(result))


def read_result(path: Path) -> Result:
    """A result that `write_json` wrote. Raises ScenarioError."""
    try:
        return from_json(path.read_text())
    except OSError as error:
        raise ScenarioError([f"Cannot read {path}: {error.strerror}."]) from error
    except (ValidationError, ValueError) as error:
        raise ScenarioError([f"{path} is not a result that `vouchstorm simulate --json` wrote."]) from error


def _write(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text)
        draft.replace(path)
    except OSError as error:
        raise ScenarioError([f"Cannot write {path}: {error.strerror}."]) from error
