"""Sets of results on disk, as `vouchstorm compare` takes them: files, and directories full of them.

Refuses what is no result, all complaints at once. Called by the command line.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import ScenarioError
from ..result import Result
from .files import read_result


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
