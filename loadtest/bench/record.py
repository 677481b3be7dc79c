"""The files of a run: written after each trial, so that an interrupted run leaves what it measured."""

import json
import os
from pathlib import Path

from .report import Report, document, markdown, read


class Record:
    """A JSON file and, beside it, the same as Markdown. path: None keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @property
    def markdown_path(self) -> Path | None:
        return None if self.path is None else self.path.with_suffix(".md")

    def load(self) -> Report:
        """What the file holds; an empty report when there is none. Raises OSError when it cannot be used."""
        if self.path is None or not self.path.exists():
            return Report()
        try:
            return read(json.loads(self.path.read_text()))
        except (ValueError, KeyError, TypeError) as error:
            raise OSError(f"{self.path} cannot be added to: {error}") from error

    def keep(self, report: Report) -> None:
        """Write both files, each whole or not at all."""
        if self.path is None or self.markdown_path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _replace(self.path, json.dumps(document(report), indent=2))
        _replace(self.markdown_path, markdown(report))


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text + "\n")
    partial.replace(path)
