"""Where a result goes: JSON, HTML, Markdown, JUnit, and a run directory with all of it.

All places are tried before the run begins: nobody waits ten minutes to learn that a directory is missing.
Called by the command line. `-` stands for standard output, which only one of the outputs may have.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import ScenarioError
from ..result import Result, to_json
from .files import STDOUT, append_text, check_writable, write_text
from .html import render_html
from .junit import junit_xml
from .markdown import result_markdown

GITHUB_SUMMARY = "GITHUB_STEP_SUMMARY"
"""Where a GitHub job names the file of its summary. Source: GitHub's documentation of workflow commands."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Places asked for; None: not wanted.

    markdown: `-` is the job summary where GitHub names one (`github_summary`), else standard output.
    """

    json: str | None = None
    html: Path | None = None
    markdown: str | None = None
    junit: Path | None = None
    github_summary: Path | None = None

    @property
    def takes_stdout(self) -> bool:
        """Whether standard output belongs to a document, so that people's text must go elsewhere."""
        return self.json == STDOUT or self._markdown_to_stdout

    @property
    def _markdown_to_stdout(self) -> bool:
        return self.markdown == STDOUT and self.github_summary is None

    def check(self) -> None:
        """Find out before the run whether everything can be written after it. Raises ScenarioError."""
        if self.json == STDOUT and self._markdown_to_stdout:
            raise ScenarioError(["--json - and --markdown - both want standard output: give one a file."])
        for place in (self.json, self.html, self.markdown, self.junit):
            check_writable(place)

    def write(self, result: Result) -> list[str]:
        """Write all that is wanted of a run; the names of the files written. Raises ScenarioError."""
        makers: dict[str, Callable[[Result], str]] = {
            "json": to_json,
            "html": render_html,
            "markdown": result_markdown,
            "junit": junit_xml,
        }
        return self.write_texts({kind: make(result) for kind, make in makers.items() if getattr(self, kind)})

    def write_texts(self, texts: Mapping[str, str]) -> list[str]:
        """The same with finished documents, by the names of the fields; those not wanted are left out."""
        written = []
        for kind, text in texts.items():
            place = getattr(self, kind)
            if place == STDOUT and kind == "markdown":
                self._summarise(text)
            elif place == STDOUT:
                sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
            elif place is not None:
                write_text(Path(place), text)
                written.append(str(place))
        sys.stdout.flush()
        return written

    def _summarise(self, text: str) -> None:
        if self.github_summary is None:
            sys.stdout.write(text)
        else:
            append_text(self.github_summary, text)


def github_summary(environ: Mapping[str, str]) -> Path | None:
    """The file of the job summary, in a GitHub job."""
    return Path(environ[GITHUB_SUMMARY]) if environ.get(GITHUB_SUMMARY) else None
