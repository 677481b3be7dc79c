"""A real run, watched while it goes on: scraped, kept in a run directory, summed up for a CI."""

import json
import re
import subprocess
import sys
import time
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from simulator.result import Result, from_json

ROOT = Path(__file__).resolve().parents[3]
CLIENTS = 40
DEADLINE_S = 90.0
SCENARIO = f"""
name = "watched"
clients = {CLIENTS}
duration_s = 6
[claims]
quorum = 4
[publish]
rate_per_s = 8
[phases]
drain_s = 4
[reconnect]
policy = "tuned"
delay_s = 1.5
[[faults]]
kind = "drop"
at_s = 2
fraction = 1.0
away_s = [2.5, 3.0]
"""


@dataclass
class Watched:
    """Scrapes in their order, name with labels -> value, and what the run left."""

    directory: Path
    result: Result
    stderr: str
    scrapes: list[dict[str, float]] = field(default_factory=list)

    def of(self, series: str) -> list[float]:
        return [scrape[series] for scrape in self.scrapes]


def scrape(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own page
        text = answer.read().decode()
    return {
        " ".join([item.name, *item.labels.values()]): item.value
        for family in text_string_to_metric_families(text)
        for item in family.samples
    }


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    home = tmp_path_factory.mktemp("watched")
    (home / "watched.toml").write_text(SCENARIO)
    words = ["simulate", str(home / "watched.toml"), "--metrics-port", "0", "--run-dir", str(home / "run")]
    words += ["--markdown", str(home / "out.md"), "--junit", str(home / "out.xml")]
    with (home / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "cli.py"), *words], stdout=subprocess.DEVNULL, stderr=stderr
        )
    try:
        scrapes = list(scrapes_of(process, home / "stderr"))
    finally:
        process.kill()
        process.wait()
    said = (home / "stderr").read_text()
    assert process.returncode in (0, 1, 4), said
    return Watched(home, from_json((home / "run" / "result.json").read_text()), said, scrapes)


def scrapes_of(process: subprocess.Popen[bytes], stderr: Path) -> Iterator[dict[str, float]]:
    """Everything the page says, four times a second, from when it is there to when it is gone."""
    end_s = time.monotonic() + DEADLINE_S
    while process.poll() is None and time.monotonic() < end_s:
        found = re.search(r"http://127\.0\.0\.1:\d+/metrics", stderr.read_text())
        if found:
            try:
                yield scrape(found[0])
            except OSError:
                assert process.wait(DEADLINE_S) is not None
                return
        time.sleep(0.25)


def test_the_page_saw_everybody_connected(watched: Watched) -> None:
    assert max(watched.of("simulator_connected_clients")) == CLIENTS


def test_the_page_saw_everybody_away(watched: Watched) -> None:
    assert max(watched.of("simulator_reconnecting_clients")) > CLIENTS / 2


def test_the_page_saw_the_fault(watched: Watched) -> None:
    seen = watched.of("simulator_fault drop")
    assert (seen[0], max(seen), seen[-1]) == (0, 1, 0)


@pytest.mark.parametrize("phase", ["load", "drain"])
def test_the_page_saw_the_phase(watched: Watched, phase: str) -> None:
    assert max(watched.of(f"simulator_phase {phase}")) == 1


@pytest.mark.parametrize(
    "series",
    [
        "simulator_events_received_total",
        "simulator_published_total",
        "simulator_messages_received_total durable",
        "simulator_messages_received_total snapshot",
        "simulator_fanout_seconds_count",
        "simulator_fanout_seconds_sum",
    ],
)
def test_counters_grow_and_never_shrink(watched: Watched, series: str) -> None:
    values = watched.of(series)
    assert values == sorted(values)
    assert values[-1] > 0


def test_publishes_of_the_page_are_those_of_the_result(watched: Watched) -> None:
    assert watched.of("simulator_published_total")[-1] == watched.result.publishes.accepted


def test_the_histogram_holds_what_the_ledger_timed(watched: Watched) -> None:
    """The page counts the warm-up, too, and not what came in after its last tick."""
    counted = watched.of("simulator_fanout_seconds_count")[-1]
    assert 0.9 * watched.result.latency_ms["fanout"].count <= counted <= watched.result.ledger.received


def test_nothing_is_overdue_on_an_honest_server(watched: Watched) -> None:
    assert (watched.of("simulator_overdue_messages_total")[-1], watched.result.ledger.lost) == (0, 0)


def test_the_run_directory_says_how_to_run_it_again(watched: Watched) -> None:
    facts = json.loads((watched.directory / "run" / "run.json").read_text())
    assert (facts["scenario"], facts["seed"]) == ("watched", watched.result.seed)
    assert 'name = "watched"' in (watched.directory / "run" / "scenario.toml").read_text()


def test_the_log_follows_the_run_from_phase_to_verdict(watched: Watched) -> None:
    lines = [line.split() for line in (watched.directory / "run" / "run.log").read_text().splitlines()]
    phases = [words[2] for words in lines if words[1] == "phase"]
    assert phases == ["setup", "connect", "warmup", "load", "drain", "reconcile"]
    assert lines[-1][1:3] == ["verdict", watched.result.verdict]


def test_without_a_terminal_progress_is_plain_lines(watched: Watched) -> None:
    assert "\x1b" not in watched.stderr
    assert "· Load" in watched.stderr


def test_the_summary_begins_with_the_verdict(watched: Watched) -> None:
    head = (watched.directory / "out.md").read_text().splitlines()[0]
    assert head.endswith(f"watched: {watched.result.verdict}")


def test_a_ci_counts_the_broken_levels(watched: Watched) -> None:
    suite = ET.parse(watched.directory / "out.xml").getroot()[0]  # noqa: S314 - our own
    assert suite.get("failures") == str(sum(not level.held for level in watched.result.slo))
