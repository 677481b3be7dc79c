"""The report of the suite: all rows as JSON, and as the Markdown table of docs/FAULTS.md."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from chaos_run import Row

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


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """A list of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.document() for row in rows], indent=2) + "\n", encoding="utf-8")


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
