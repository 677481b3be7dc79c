"""Results on disk: one, a set of them, the outputs that were asked for, and the directory of a run.

Written whole or not at all, read back with one sentence where they cannot be. `-` stands for standard output.

A run directory holds what is needed to believe a run later, to compare it, and to run it once more:

    scenario.toml   the scenario as resolved, overrides included: `vouchstorm simulate DIR/scenario.toml`
    run.json        command line, seed, versions, machine, start: written before anything happens
    run.log         phases, seconds and notes as they came, one line each with the time in UTC
    result.json     the result; `report.html`, `summary.md` and `junit.xml` are made from it
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from ..errors import ScenarioError
from ..host import describe
from ..progress import Live
from ..result import Result, from_json, to_json
from ..run.collect import versions
from ..scenario.loader import scenario_toml
from ..scenario.models import Scenario
from .html import render_html
from .junit import junit_xml
from .markdown import result_markdown

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


def read_runs(paths: Sequence[Path]) -> list[Result]:
    """The results of files, of run directories, and of what directories hold of both.

    A file named twice counts once: it would be no second run.

    Raises:
        ScenarioError: one sentence for each file that is missing or no result, or an empty directory.
    """
    results: list[Result] = []
    problems: list[str] = []
    for path in dict.fromkeys(file.resolve() for given in paths for file in _files(given)):
        try:
            results.append(read_result(path))
        except ScenarioError as error:
            problems += error.problems
    problems += [
        f"There is no *.json in {given}." for given in paths if given.is_dir() and not any(_files(given))
    ]
    if problems:
        raise ScenarioError(problems)
    return results


def _files(given: Path) -> Iterable[Path]:
    if not given.is_dir():
        return [given]
    if (given / "result.json").exists():
        return [given / "result.json"]  # a run directory itself: its other *.json are no results
    return sorted([*given.glob("*.json"), *given.glob("*/result.json")])


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
        """Try all places before the run: nobody waits ten minutes to learn that a directory is missing.

        Raises ScenarioError.
        """
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
