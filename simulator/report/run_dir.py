"""The directory of one run: what is needed to believe it later, to compare it, and to run it once more.

    scenario.toml   the scenario as resolved, overrides included: `vouchstorm simulate DIR/scenario.toml`
    run.json        command line, seed, versions, machine, start: written before anything happens
    run.log         phases, seconds and notes as they came, one line each with the time in UTC
    result.json     the result; `report.html`, `summary.md` and `junit.xml` are made from it

Refuses a directory that holds a run already. Written as the run goes on, so that one that was killed still
tells what it was. Called by the command line.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from ..errors import ScenarioError
from ..host import describe
from ..progress import Live
from ..result import Result, to_json
from ..run.collect import versions
from ..scenario.loader import Scenario
from ..toml_text import scenario_toml
from .files import write_text
from .html import render_html
from .junit import junit_xml
from .markdown import result_markdown

SCENARIO, FACTS, LOG, RESULT = "scenario.toml", "run.json", "run.log", "result.json"


class RunDirectory:
    """`with RunDirectory(...) as directory:` holds the log open; `directory.log` watches the run.

    now: the wall clock. command: what the user typed.
    """

    def __init__(
        self,
        path: Path,
        scenario: Scenario,
        command: Sequence[str],
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.path = path
        self._scenario = scenario
        self._command = list(command)
        self._now = now or (lambda: datetime.now(UTC))
        self._file: IO[str]
        self.log: RunLog

    def __enter__(self) -> "RunDirectory":
        """Make it and write what is known before the run. Raises ScenarioError."""
        if (self.path / FACTS).exists():
            raise ScenarioError([f"{self.path} holds a run already: name a fresh --run-dir."])
        write_text(self.path / SCENARIO, scenario_toml(self._scenario))
        write_text(self.path / FACTS, json.dumps(self._facts(), indent=2) + "\n")
        try:
            self._file = (self.path / LOG).open("w", encoding="utf-8")
        except OSError as error:
            raise ScenarioError([f"Cannot write {self.path / LOG}: {error.strerror}."]) from error
        self.log = RunLog(self._file, self._now)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is not None:
            self.log.line("ended", f"{type(error).__name__}: {error}")
        self._file.close()

    def write(self, result: Result) -> None:
        """The result and what is made from it. Raises ScenarioError."""
        self.log.line("verdict", " ".join([result.verdict, *result.reasons]))
        write_text(self.path / RESULT, to_json(result))
        write_text(self.path / "report.html", render_html(result))
        write_text(self.path / "summary.md", result_markdown(result))
        write_text(self.path / "junit.xml", junit_xml(result))

    def _facts(self) -> dict[str, Any]:
        return {
            "command": self._command,
            "scenario": self._scenario.name,
            "seed": self._scenario.seed,
            "started_at": self._now().isoformat(timespec="seconds"),
            "versions": versions(),
            "host": describe().model_dump(),
        }


class RunLog:
    """Watches a run (`simulator.progress.Ui`) and writes a line for everything but the progress bars."""

    def __init__(self, file: IO[str], now: Callable[[], datetime]) -> None:
        self._file = file
        self._now = now

    def line(self, kind: str, text: str) -> None:
        """One line: time, kind, text; flushed, for a run may be killed."""
        stamp = self._now().isoformat(timespec="milliseconds")
        self._file.write(f"{stamp} {kind:8} {' '.join(text.split())}\n")
        self._file.flush()

    def phase(self, name: str) -> None:
        """A phase begins."""
        self.line("phase", name)

    def progress(self, what: str, done: int, total: int) -> None:
        """Only the end of a countable work."""
        if done == total:
            self.line("progress", f"{what} {done}/{total}")

    def tick(self, live: Live) -> None:
        """Once a second while traffic flows."""
        figures = {name: value for name, value in asdict(live).items() if isinstance(value, int | float)}
        pairs = (
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in figures.items()
        )
        self.line("second", f"phase={live.phase} {' '.join(pairs)}")

    def note(self, text: str) -> None:
        """Something a person should know."""
        self.line("note", text)
