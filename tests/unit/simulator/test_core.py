"""The core of the simulator has users, rooms, messages and arrivals; a claim is its profile's business."""

import re
from collections.abc import Iterator
from pathlib import Path

import simulator

ROOT = Path(simulator.__file__).parent
OUTSIDE = ("profiles/vouchstorm/", "examples/")
PRODUCT = re.compile("vouchstorm", re.IGNORECASE)
WORDS = re.compile("quorum|persona|vote|vouch|dispute|trust|claim", re.IGNORECASE)
ALLOWED = {
    "commands.py": 1,  # the option --claims-file, as the command line promises it
    "socketio_client/endpoint.py": 1,  # trusted roots
    "socketio_client/errors.py": 1,  # bytes that cannot be trusted
}


def core() -> Iterator[tuple[str, str]]:
    """Each file of the core with its text."""
    for path in ROOT.rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(OUTSIDE):
            yield name, path.read_text("utf-8")


def test_the_core_has_no_words_of_claims() -> None:
    found = {
        name: sum(1 for line in text.splitlines() if WORDS.search(PRODUCT.sub("", line)))
        for name, text in core()
    }
    assert {name: count for name, count in found.items() if count} == ALLOWED


def test_only_the_registry_imports_the_profile() -> None:
    importing = {
        name for name, text in core() if re.search(r"^\s*(from|import)\b.*\bvouchstorm\b", text, re.MULTILINE)
    }
    assert importing == {"profiles/registry.py"}
