"""Writes the committed Grafana JSON from the boards.

python -m dashboards.build            write dashboards/grafana/*.json
python -m dashboards.build --check    write nothing; exit 1 when a file has drifted or is nobody's
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from simulator import interrupts

from .boards import BOARDS
from .grafana_json import to_json

TARGET = Path(__file__).with_name("grafana")


def documents() -> dict[str, str]:
    """File name -> text of every dashboard."""
    return {f"{board.uid}.json": to_json(board) for board in BOARDS}


def drifted(directory: Path = TARGET) -> list[str]:
    """Names of files that are not what the code says: changed, missing, or left over."""
    wanted = documents()
    present = {path.name: path.read_text(encoding="utf-8") for path in directory.glob("*.json")}
    return sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))


def write(directory: Path = TARGET) -> list[str]:
    """Write all, remove what is left over; names of the files that changed."""
    changed = drifted(directory)
    wanted = documents()
    for name in changed:
        if name in wanted:
            (directory / name).write_text(wanted[name], encoding="utf-8")
        else:
            (directory / name).unlink()
    return changed


def main(arguments: Sequence[str]) -> int:
    """Write or check; the exit code."""
    if "--check" in arguments:
        names = drifted()
        for name in names:
            print(f"dashboards/grafana/{name} has drifted; run: python -m dashboards.build", file=sys.stderr)  # noqa: T201
        return 1 if names else 0
    for name in write():
        print(f"wrote dashboards/grafana/{name}")  # noqa: T201
    return 0


if __name__ == "__main__":
    interrupts.program(lambda: main(sys.argv[1:]), "dashboards")
