"""The report stands alone, escapes what it shows, and the result's schema is the committed one."""

import io
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from simulator.histogram import Histogram
from simulator.progress import Live, Silent, Watchers
from simulator.report import TerminalUi, print_result, render_html
from simulator.report.charts import linear, logarithmic, percentiles, short
from simulator.report.terminal import live_view, sparkline
from simulator.result import Findings, Host, Latency, Result, schema_json, to_json
from simulator.verdict import Honesty, judge

SCHEMA = Path(__file__).parents[4] / "docs" / "result.schema.json"


def latency(*values_us: int) -> Latency:
    histogram = Histogram()
    histogram.record_many(values_us)
    return histogram.latency()


def result(**changes: Any) -> Result:
    findings = Findings(
        scenario={"name": "demo", "question": "Does it <b>hold</b>?"},
        seed=1,
        target="http://127.0.0.1:1",
        versions={"python": "3"},
        host=Host(),
        started_at="2026-01-01T00:00:00Z",
    )
    body = {
        "connections": {"attempted": 3, "established": 3},
        "publishes": {"scheduled": 9, "accepted": 9},
        "ledger": {"expected": 27, "live": 27, "received": 27},
        "latency_ms": {"fanout": latency(1_000, 2_000, 90_000), "http": latency(500)},
        "reconnect": {
            "drops": 2,
            "reconnected": 1,
            "censored": 1,
            "time_to_reconnect": latency(4_000),
            "time_to_caught_up": latency(5_000),
        },
        "faults": [{"at_s": 1, "until_s": 2, "kind": "drop", "clients": 2}],
        "timeline": [{"t_s": 0, "delivered": 9, "p50_ms": 1, "p99_ms": 3}, {"t_s": 1, "connected": 3}],
    }
    merged = findings.model_dump() | body | changes
    return judge(Findings.model_validate(merged), {}, Honesty())


def test_the_committed_schema_is_the_generated_one() -> None:
    assert SCHEMA.read_text() == schema_json()


def test_a_result_file_is_valid_against_the_schema() -> None:
    jsonschema.validate(json.loads(to_json(result())), json.loads(SCHEMA.read_text()))


def test_the_page_loads_nothing_from_anywhere() -> None:
    page = render_html(result())
    assert not re.findall(r"""(?:src|href)\s*=|@import|url\(|<script""", page)


def test_the_page_escapes_what_it_shows() -> None:
    page = render_html(result())
    assert "<b>hold</b>" not in page
    assert "&lt;b&gt;hold&lt;/b&gt;" in page


@pytest.mark.parametrize(
    "title", ["Service levels", "Latency by percentile", "Timeline", "Coming back", "Ledger", "Environment"]
)
def test_the_page_has_its_parts(title: str) -> None:
    assert f"<h2>{title}" in render_html(result())


def test_the_page_marks_the_faults() -> None:
    assert "drop: 2 clients" in render_html(result())


def test_the_page_names_those_who_did_not_come_back() -> None:
    assert "1 of 2 were not back" in render_html(result())


def test_an_empty_run_still_makes_a_page() -> None:
    bare = result(latency_ms={}, timeline=[], reconnect={}, faults=[], ledger={}, publishes={})
    assert "INVALID" in render_html(bare)


def test_the_page_follows_the_colour_scheme_of_the_reader() -> None:
    assert "prefers-color-scheme: dark" in render_html(result())


def test_the_terminal_shows_verdict_and_reasons() -> None:
    shown = printed(result(ledger={"expected": 2, "live": 1, "lost": 1, "received": 1}), 140)
    assert "FAIL" in shown
    assert "lost: 1, at most 0 was asked for." in shown


def test_without_a_terminal_the_progress_is_a_line_per_phase() -> None:
    console = Console(file=io.StringIO(), width=140)
    with TerminalUi(console) as ui:
        ui.phase("setup")
        ui.progress("users", 1, 2)
        ui.phase("load")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.splitlines() == ["· Setting up users, rooms and server", "· Load"]


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_the_live_view_of_a_large_run_cuts_nothing_off(columns: int) -> None:
    live = Live(
        *("load", 5, 35, 200_000, 198_999, 1_001, 100, 12, 5_000, 1_234_567.0, 1_003.2, 10_017.5),
        overdue=7,
        faults=["drop"],
    )
    console = Console(file=io.StringIO(), width=columns)
    console.print(live_view([live] * 300, columns))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert len(shown.splitlines()) == 5
    assert "…" not in shown
    for fact in ("198,999 of 200,000", "1,001 reconnecting", "10,017.5 ms", "7 missing", "drop", "1,234,567"):
        assert fact in shown


@pytest.mark.parametrize("kind", [{}, {"force_terminal": True, "_environ": {"TERM": "dumb"}}])
def test_where_nothing_can_be_redrawn_a_line_every_ten_seconds_tells_how_it_goes(
    kind: dict[str, Any],
) -> None:
    console = Console(file=io.StringIO(), width=60, **kind)
    now_s = iter(range(100))
    with TerminalUi(console, clock=lambda: next(now_s)) as ui:
        for second in range(21):
            ui.tick(Live("load", second, 35, 300, 298, 2, 100, 1, 5_000, 900.0, 3.2, 17.5))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 2
    assert "298/300 connected, 2 reconnecting, 900 events/s, p50 3.2 ms, p99 17.5 ms" in lines[0]


def test_a_terminal_is_not_redrawn_for_every_single_client() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, _environ={"TERM": "xterm"})
    with TerminalUi(console, clock=lambda: 0.0) as ui:
        for done in range(1, 1_000):
            ui.progress("connecting", done, 10_000)
        drawn = console.file.getvalue().count("connecting")  # type: ignore[attr-defined]
    assert drawn == 1


def test_names_of_distributions_are_whole_at_80_columns() -> None:
    named = {name: latency(60_000_000) for name in ("fanout", "schedule_lag")}
    assert "schedule lag" in printed(result(latency_ms=named))


def test_a_sparkline_is_highest_at_its_highest_value() -> None:
    assert sparkline([0, 5, 10])[-1] == "█"


def test_linear_ticks_are_round_and_inside() -> None:
    assert [value for value, _ in linear(0, 37, 0, 100).ticks] == [0, 10, 20, 30]


def test_a_logarithmic_scale_gives_each_decade_the_same_room() -> None:
    scale = logarithmic(1, 100, 0, 200)
    assert (scale.place(1), scale.place(10), scale.place(100)) == (0, 100, 200)


def test_the_percentile_scale_gives_each_nine_the_same_room() -> None:
    scale = percentiles(99.9, 0, 300)
    assert [round(scale.place(value)) for value in (0, 90, 99, 99.9)] == [0, 100, 200, 300]


@pytest.mark.parametrize(("value", "text"), [(0.05, "0.05"), (1_234, "1.23k"), (5e6, "5M"), (12, "12")])
def test_numbers_are_shown_short(value: float, text: str) -> None:
    assert short(value) == text


def test_several_watchers_hear_everything_in_their_order() -> None:
    heard: list[str] = []

    class Ear(Silent):
        def __init__(self, name: str) -> None:
            self.name = name

        def phase(self, name: str) -> None:
            heard.append(f"{self.name}: {name}")

        def note(self, text: str) -> None:
            heard.append(f"{self.name}: {text}")

    both = Watchers(Ear("left"), Ear("right"))
    both.phase("load")
    both.note("careful")
    assert heard == ["left: load", "right: load", "left: careful", "right: careful"]


def test_the_end_of_the_load_is_marked() -> None:
    assert "load ends" in render_html(result(scenario={"name": "demo", "duration_s": 1}))


def test_many_faults_are_listed_instead_of_labelled() -> None:
    faults = [{"at_s": n / 10, "until_s": n / 10, "kind": "drop", "clients": 1} for n in range(9)]
    page = render_html(result(faults=faults))
    assert ("Faults: 9" in page, "drop: 1 clients" in page) == (True, False)


def test_every_column_of_the_ledger_is_explained() -> None:
    page = render_html(result())
    words = page.partition("What the columns mean")[2]
    for name in ("live", "superseded", "unverified", "lost", "unowed"):
        assert f"<dt>{name}</dt>" in words


@pytest.mark.parametrize(("low", "high", "ends"), [(3, 80, (2, 100)), (0.7, 6, (0.5, 10)), (9, 9, (5, 100))])
def test_a_logarithmic_scale_ends_at_its_ticks(low: float, high: float, ends: tuple[float, float]) -> None:
    values = [value for value, _ in logarithmic(low, high, 0, 100).ticks]
    assert (values[0], values[-1]) == pytest.approx(ends)


def printed(of: Result, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_result(of, console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_why_publishes_failed_is_said() -> None:
    failures = {"cannot connect": 5, "500": 90, "timeout": 1, "rare": 1}
    shown = printed(result(publishes={"scheduled": 97, "failed": 97, "failures": failures}))
    assert "500 (90x); cannot connect (5x); timeout (1x)" in shown


def test_why_clients_did_not_connect_is_said() -> None:
    connections = {"attempted": 3, "established": 1, "failed": 2, "failures": {"refused": 2}}
    assert "refused (2x)" in printed(result(connections=connections))


def test_notes_are_said() -> None:
    assert "other publishers" in printed(result(notes=["3 messages of other publishers came in."]))


def test_long_reasons_stay_in_their_column() -> None:
    shown = printed(result(notes=["word " * 40]))
    assert all(line.startswith("    ") for line in shown.splitlines() if "word" in line and "·" not in line)


def test_one_of_many_runs_leaves_only_what_is_said() -> None:
    console = Console(file=io.StringIO(), width=80)
    with TerminalUi(console, clock=iter(range(0, 1000, 11)).__next__, many=True) as ui:
        ui.phase("setup")
        ui.tick(Live("load", 5, 35, 300, 298, 2, 100, 1, 5_000, 900.0, 3.2, 17.5))
        ui.say("100 clients held")
    assert console.file.getvalue() == "100 clients held\n"  # type: ignore[attr-defined]


def test_a_thousand_milliseconds_are_a_second() -> None:
    assert [label for _, label in logarithmic(500, 2_000, 0, 1, " ms").ticks] == [
        "500 ms",
        "1 s",
        "2 s",
        "5 s",
    ]


def test_each_process_of_the_generator_is_listed() -> None:
    parts = [{"name": f"clients {n}..{n}", "clients": 1} for n in (1, 2)]
    page = render_html(result(generator={"processes": 2, "by_process": parts}))
    assert ("clients 1..1" in page, "clients 2..2" in page) == (True, True)


def test_what_hostile_clients_did_is_shown_where_there_were_any() -> None:
    assert "Hostile clients" in render_html(result(hostile={"inputs": 5, "server_errors": 1}))
    assert "Hostile clients" not in render_html(result())


def test_the_live_view_leaves_standard_output_to_the_documents(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with TerminalUi(console) as ui:
        ui.phase("load")
        print("{}")
    assert capsys.readouterr().out == "{}\n"
