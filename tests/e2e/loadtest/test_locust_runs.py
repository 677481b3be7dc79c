"""Short load tests by Locust against a real backend; `test_locust_long.py` has the others."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.processes import free_port
from simulator.report.files import read_result
from tests.support.locust_runs import (
    DEADLINE_S,
    PUSHED,
    Backend,
    Run,
    end,
    entries,
    read,
    running_backend,
    whole_run,
)
from tests.support.waiting import wait_until

FORGETFUL = """
import loadtest.locustfile as ours

ValidatorUser, WatcherUser = ours.ValidatorUser, ours.WatcherUser

class ForgetfulBell(ours.BellUser):
    \"\"\"A bell that throws away every notification, and what it asks for as well.\"\"\"

    def heard(self, name, args, at_ns):
        if name != "new_notification":
            super().heard(name, args, at_ns)

    def _fill(self, seq, row_id):
        pass
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two workers and a master, a backend of its own, bells that drop and come back."""
    return whole_run(
        tmp_path_factory.mktemp("locust"),
        seen=lambda text: "locust_users 30.0" in text and PUSHED in text,
        users=30,
        spawn_rate=30,
        duration_s=6,
        processes=2,
        think_s=0.5,
        quorum=3,
        drop_every_s=1,
    )


def test_the_exit_code_is_that_of_the_verdict(run: Run) -> None:
    assert run.status == run.result.exit_code
    assert run.result.verdict in ("PASS", "INVALID")  # a machine too busy to measure is no failure


def test_nothing_was_lost_across_drops(run: Run) -> None:
    ledger = run.result.ledger
    assert run.result.reconnect.drops > 0
    assert (ledger.lost, ledger.misrouted, ledger.balanced) == (0, 0, True)


@pytest.mark.parametrize(
    "name",
    [
        "connect",
        "authenticate",
        "replay",
        "push:new_notification",
        "push:validation_count_update",
        "POST /api/claims/[id]/validations",
    ],
)
def test_each_thing_has_its_entry(run: Run, name: str) -> None:
    assert int(run.entries[name]["Request Count"]) > 0


def test_acknowledgements_have_entries(run: Run) -> None:
    assert any(name.startswith("ack:") for name in run.entries)


@pytest.mark.parametrize("name", ["push:new_notification", "push:validation_count_update"])
def test_a_push_takes_time_in_locusts_table(run: Run, name: str) -> None:
    assert float(run.entries[name]["Min Response Time"]) > 0
    assert float(run.entries[name]["95%"]) > 0


def test_pushes_between_workers_are_measured(run: Run) -> None:
    pushes = int(run.entries["push:validation_count_update"]["Request Count"])
    assert pushes == run.result.ledger_by_kind["snapshot"].received
    assert run.result.notes == []  # none was received whose stamp never came


def test_the_figures_are_the_sum_of_both_workers(run: Run) -> None:
    assert run.result.generator.processes == 2
    assert run.result.connections.established == 24  # of 30 users, one in five is a validator
    posts = int(run.entries["POST /api/claims/[id]/validations"]["Request Count"])
    assert posts == run.result.publishes.sent


def test_dropping_on_purpose_is_no_failure(run: Run) -> None:
    assert {
        name: row["Failure Count"] for name, row in run.entries.items() if row["Failure Count"] != "0"
    } == {}


def test_the_metrics_page_shows_the_run(run: Run) -> None:
    assert "locust_users 30.0" in run.page
    assert "locust_workers 2.0" in run.page
    assert 'locust_response_seconds_bucket{le="+Inf",name="push:new_notification",type="PUSH"}' in run.page


def test_locusts_own_report_is_written(run: Run) -> None:
    assert run.html.stat().st_size > 10_000


def test_it_ends_without_a_traceback(run: Run) -> None:
    assert "Traceback" not in run.log


# -------------------------------------------------------------- on a running backend


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with running_backend(tmp_path_factory.mktemp("backend")) as running:
        yield running


def test_a_client_that_loses_messages_fails_the_run(backend: Backend, tmp_path: Path) -> None:
    """The planted bug: the ledger must see it, name it in Locust's table and fail the run."""
    locustfile = tmp_path / "forgetful.py"
    locustfile.write_text(FORGETFUL)
    process = backend.load(
        tmp_path,
        users=20,
        spawn_rate=20,
        duration_s=6,
        think_s=0.3,
        extra=["-f", str(locustfile), "--only-summary"],
    )
    status = end(process)
    result = read_result(tmp_path / "result.json")
    assert status == result.exit_code != 0  # 1, or 4 where the machine was too busy besides
    assert any(reason.startswith("lost: ") for reason in result.reasons)
    assert int(entries(tmp_path / "run")["lost"]["Failure Count"]) == result.ledger.lost


def test_a_missed_service_level_is_the_exit_code(backend: Backend, tmp_path: Path) -> None:
    process = backend.load(
        tmp_path, users=10, shape="spike", duration_s=3, think_s=0.2, slo=["fanout_p50_ms=0.001"]
    )
    status = end(process)
    result = read_result(tmp_path / "result.json")
    assert status == result.exit_code != 0
    assert any("fanout_p50_ms" in reason for reason in result.reasons)
    assert result.connections.peak > 1  # the shape let them in


def test_the_web_page_starts_and_stops_a_test(backend: Backend, tmp_path: Path) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    process = backend.load(tmp_path, users=10, think_s=0.2, duration_s=None, headless=False, web_port=port)
    try:
        wait_until(lambda: "Locust" in read(base), "the web page", DEADLINE_S)
        assert json.loads(read(f"{base}/swarm", b"user_count=10&spawn_rate=10", timeout_s=30))["success"]

        def pushes() -> int:
            rows = json.loads(read(f"{base}/stats/requests") or "{}").get("stats", [])
            return sum(row["num_requests"] for row in rows if row["name"].startswith("push:"))

        wait_until(lambda: pushes() > 0, "pushes on the web page", DEADLINE_S)
        assert json.loads(read(f"{base}/stop", b"", timeout_s=30))["success"]  # waits for the users
    finally:
        process.send(signal.SIGINT)
        status = end(process)
    assert status == read_result(tmp_path / "result.json").exit_code
