"""Results on disk: written whole or not at all, read back with one sentence when they cannot be.

Called by the command line. `-` stands for standard output.
"""

import sys
from pathlib import Path

from pydantic import ValidationError

from ..errors import ScenarioError
from ..result import Result, from_json, to_json
from .html import render_html

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
        write_text(Path(target), to_json(result))


def write_html(result: Result, target: Path | None) -> None:
    """The self-contained report; None: nowhere. Raises ScenarioError."""
    if target is not None:
        write_text(target, render_html(result))


def read_result(path: Path) -> Result:
    """A result that `write_json` wrote. Raises ScenarioError."""
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError([f"Cannot read {path}: {error.strerror}."]) from error
    except (ValidationError, ValueError) as error:
        raise ScenarioError([f"{path} is not a result that `vouchstorm simulate --json` wrote."]) from error


def write_text(path: Path, text: str) -> None:
    """The whole text, or what was there before. Raises ScenarioError."""
    draft = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")  # a device or a pipe must not be replaced by a file
            return
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise ScenarioError([f"Cannot write {path}: {error.strerror}."]) from error


def append_text(path: Path, text: str) -> None:
    """Behind what is there. Raises ScenarioError."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ScenarioError([f"Cannot write {path}: {error.strerror}."]) from error
