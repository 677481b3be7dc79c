"""The rules of the house (ADR 0009) that no other check holds: sizes, one of each kind, no old names."""

import ast
import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("backend", "simulator", "loadtest", "dashboards")
MOST_MODULES = 240
MOST_IN_A_FOLDER = 16
SMALL_LINES = 100
FEWER_SMALL = 25
"""Modules below SMALL_LINES with one importer: codecs, entry points, a noun of the REST interface."""
ALIASES = {"backend/app/outside.py", "backend/app/realtime/wire.py"}
"""Old names that work for one release."""


@cache
def modules() -> list[Path]:
    """Every Python module in git, relative to the root."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(line) for line in listed.stdout.split() if (ROOT / line).exists()]


def source() -> list[Path]:
    """Those outside the tests, without `__init__`."""
    return [path for path in modules() if path.parts[0] != "tests" and path.name != "__init__.py"]


def lines(pattern: str, paths: list[Path]) -> list[str]:
    """Where the pattern stands."""
    found = re.compile(pattern)
    return [
        f"{path}:{number}"
        for path in paths
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if found.search(line)
    ]


def test_there_are_not_more_modules_than_agreed() -> None:
    assert len(source()) <= MOST_MODULES


def test_no_folder_holds_more_modules_than_the_eye_takes_in() -> None:
    folders = Counter(path.parent for path in modules() if path.name != "__init__.py")
    assert {str(folder): count for folder, count in folders.items() if count > MOST_IN_A_FOLDER} == {}


def test_few_small_modules_have_one_importer() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    small = [
        str(path)
        for path in source()
        if path.parts[0] in PACKAGES
        and (name := ".".join(path.with_suffix("").parts)) in graph.modules
        and len((ROOT / path).read_text().splitlines()) < SMALL_LINES
        and len(graph.find_modules_that_directly_import(name)) == 1
    ]
    assert len(small) < FEWER_SMALL, small


def test_there_is_one_way_to_find_a_free_port() -> None:
    assert len(lines(r"^\s*(async )?def _?free_port\b", modules())) == 1


def test_no_docstring_says_who_calls_it() -> None:
    assert lines(r"\b(Called|Read|Used) by\b", source()) == []


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_nobody_imports_an_old_name(alias: str) -> None:
    old = ".".join(Path(alias).with_suffix("").parts)
    package, _, name = old.rpartition(".")
    importers = [
        str(path)
        for path in modules()
        if path != Path("tests/unit/backend/test_old_names.py")
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if (isinstance(node, ast.Import) and any(each.name == old for each in node.names))
        or (isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == old)
        or (
            isinstance(node, ast.ImportFrom)
            and node.level == 0
            and node.module == package
            and any(each.name == name for each in node.names)
        )
    ]
    assert importers == []
