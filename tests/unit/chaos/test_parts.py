"""The bookkeeping of the fault suite: which runs are due, and a report that outlives a run cut short."""

from dataclasses import replace
from datetime import date
from pathlib import Path

from tests.chaos.faults import FAULTS, SHORT
from tests.chaos.report import BEGIN, END, Report, markdown
from tests.chaos.run import Row
from tests.chaos.seeds import SEEDS, SHORT_FORM, due, faults_of, seeds_of


def _row(fault: str, seed: int = 1, breaches: tuple[str, ...] = ()) -> Row:
    numbers = [0] * 4
    return Row(fault, seed, *numbers, 0.5, *[0] * 12, 3.0, list(breaches))


def test_seeds_are_a_number_or_a_range() -> None:
    assert [list(seeds_of({SEEDS: text})) for text in ("3", "4-6")] == [[1, 2, 3], [4, 5, 6]]


def test_one_seed_unless_told() -> None:
    assert list(seeds_of({})) == [1]


def test_a_continued_run_takes_what_is_missing_or_was_not_clean() -> None:
    first, second, third = FAULTS[:3]
    rows = [_row(first.name), _row(second.name, breaches=("lost is 1",))]
    assert due([first, second, third], range(1, 2), rows) == [(second, 1), (third, 1)]


def test_runs_go_seed_by_seed() -> None:
    assert [seed for _, seed in due(FAULTS[:2], range(1, 3), [])] == [1, 1, 2, 2]


def test_every_fault_of_the_short_form_exists() -> None:
    assert {fault.name for fault in faults_of({SHORT_FORM: "1"})} == set(SHORT)


def test_a_report_collects_the_rows_of_one_run(tmp_path: Path) -> None:
    report = Report(tmp_path / "chaos.json")
    for seed in (2, 1):
        report.add(_row("node SIGKILL", seed), "run")
    assert [row.seed for row in report.rows()] == [1, 2]


def test_another_run_begins_a_new_report(tmp_path: Path) -> None:
    report = Report(tmp_path / "chaos.json")
    report.add(_row("node SIGKILL"), "one")
    report.add(_row("rolling deploy"), "other")
    assert [row.fault for row in report.rows()] == ["rolling deploy"]


def test_a_continued_run_replaces_its_rows_and_keeps_the_others(tmp_path: Path) -> None:
    report = Report(tmp_path / "chaos.json")
    report.add(_row("node SIGKILL", breaches=("lost is 1",)), "one")
    report.add(_row("rolling deploy"), None)
    report.add(_row("node SIGKILL"), None)
    assert [(row.fault, row.breaches) for row in report.rows()] == [
        ("node SIGKILL", []),
        ("rolling deploy", []),
    ]


def test_the_table_adds_up_seeds_and_shows_the_longest_recovery() -> None:

    rows = [_row("node SIGKILL"), replace(_row("node SIGKILL", 2), lost=3, time_to_recover_s=7.25)]
    *_, line = markdown(rows, date(2030, 1, 2)).splitlines()
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert (cells[:3], cells[-1]) == (["node SIGKILL", "2", "3"], "7.2")


def test_the_page_changes_only_when_every_fault_has_a_row(tmp_path: Path) -> None:
    from tests.chaos.faults import FAULTS

    page = tmp_path / "FAULTS.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    report = Report(tmp_path / "chaos.json")
    report.add(_row(FAULTS[0].name), "run")
    report.paste_if_whole(page, date(2030, 1, 2))
    unchanged = page.read_text()
    for fault in FAULTS:
        report.add(_row(fault.name), "run")
    report.paste_if_whole(page, date(2030, 1, 2))
    assert ("old" in unchanged, "old" in page.read_text(), "after" in page.read_text()) == (True, False, True)
