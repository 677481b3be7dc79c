"""The report of the suite: all rows as JSON, and as the Markdown table of docs/FAULTS.md.

Several processes may add rows to one report at the same time.
"""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import IO, Self

from tests.chaos.faults import FAULTS
from tests.chaos.run import Row

COLUMNS = {
    "fault": "fault",
    "seeds": "seeds",
    "lost": "lost",
    "duplicated_in_effect": "duplicated in effect",
    "misrouted": "misrouted",
    "silent_holes": "silent holes",
    "conservation_violations": "conservation broken",
    "acknowledged_but_gone": "acknowledged, then gone",
    "duplicates_on_wire": "duplicates on the wire",
    "posts_failed": "posts failed / accepted",
    "drops": "clients cut off",
    "expected": "deliveries owed",
    "unverified": "undecided",
    "time_to_recover_s": "time to recover, s",
}
BEGIN, END = "<!-- table of `make chaos`: begin -->", "<!-- table of `make chaos`: end -->"


class Report:
    """`reports/chaos.json`: a list of rows in the order of the table, whole at any moment."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of_repository(cls) -> Self:
        """The one that `make chaos` writes."""
        return cls(Path(__file__).parents[2] / "reports" / "chaos.json")

    def rows(self) -> list[Row]:
        """What came so far; none where there is no report."""
        if not self.path.exists():
            return []
        return [Row(**document) for document in json.loads(self.path.read_text(encoding="utf-8"))]

    def add(self, row: Row, run: str | None) -> None:
        """Add a row, in place of an older one of the same fault and seed.

        run: what the processes of one run have in common: the first row of another run empties the report.
        None: the report is continued, whoever began it.
        """
        with self._locked() as lock:
            kept = self.rows() if run is None or lock.read() == run else []
            if run is not None:
                lock.seek(0)
                lock.truncate()
                lock.write(run)
            others = [old for old in kept if (old.fault, old.seed) != (row.fault, row.seed)]
            self._write(sorted([*others, row], key=_place))

    @contextmanager
    def _locked(self) -> Iterator[IO[str]]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_suffix(".lock"), "a+", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.seek(0)
            yield lock

    def _write(self, rows: Sequence[Row]) -> None:
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps([row.document() for row in rows], indent=2) + "\n", encoding="utf-8")
        draft.replace(self.path)

    def paste_if_whole(self, page: Path, day: date) -> None:
        """Bring the page's table up to date, if there is a row for each fault."""
        with self._locked():
            rows = self.rows()
            if {row.fault for row in rows} >= {fault.name for fault in FAULTS}:
                paste(page, markdown(rows, day))


def _place(row: Row) -> tuple[int, int]:
    names = [fault.name for fault in FAULTS]
    return (names.index(row.fault) if row.fault in names else len(names), row.seed)


def markdown(rows: Sequence[Row], day: date) -> str:
    """One line per fault: counts summed over its seeds, the longest time to recover."""
    lines = [f"Run of {day.isoformat()}.", ""]
    lines += ["| " + " | ".join(COLUMNS.values()) + " |", "|---" + "|--:" * (len(COLUMNS) - 1) + "|"]
    by_fault: dict[str, list[Row]] = {}
    for row in rows:
        by_fault.setdefault(row.fault, []).append(row)
    lines += ["| " + " | ".join(_cell(name, some) for name in COLUMNS) + " |" for some in by_fault.values()]
    return "\n".join(lines)


def paste(page: Path, table: str) -> None:
    """Replace the table in the page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def _cell(name: str, rows: Sequence[Row]) -> str:
    if name == "fault":
        return rows[0].fault
    if name == "seeds":
        return str(len(rows))
    if name == "posts_failed":
        return f"{sum(row.posts_failed for row in rows)} / {sum(row.posts_accepted for row in rows)}"
    if name == "time_to_recover_s":
        times = [row.time_to_recover_s for row in rows]
        return "never" if None in times else f"{max(time for time in times if time is not None):.1f}"
    return str(sum(getattr(row, name) for row in rows))
