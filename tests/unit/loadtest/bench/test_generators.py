"""The client bench: its figures and tables, its sender's frames, and what it says without Artillery."""

import json
from pathlib import Path
from typing import Any

import pytest

from loadtest.bench import generator_peers
from loadtest.bench.generator_peers import LedgerPeer
from loadtest.bench.generators import NAMES, ClientPlan
from loadtest.bench.report import TITLES, Results, ratios, summary, table
from loadtest.bench.servers.frame_sender import broadcast_frame
from loadtest.bench.sockets import split_frames


def repetition(cpu_us: float, kib: float) -> dict[str, Any]:
    return {"cpu_us_per_message": cpu_us, "kib_per_connection": kib}


RESULTS: Results = {
    "ledger": [repetition(6.0, 3.0), repetition(9.0, 5.0), repetition(6.5, 4.0)],
    "locust_ours": [repetition(10.0, 8.0), {"invalid": "late"}],
    "locust_own": [repetition(100.0, 27.0)],
}


def a_part(**changed: Any) -> dict[str, Any]:
    figures = summary(RESULTS)
    part = {"figures": figures, "ratios": ratios(figures), "absent": {}}
    plan = {"clients": 1_000, "per_s": 4.0, "repetitions": 3}
    return {**part, "plan": plan, **changed}


def test_the_median_is_of_the_valid_repetitions() -> None:
    assert summary(RESULTS)["ledger"] == {"cpu_us_per_message": 6.5, "kib_per_connection": 4.0}


def test_a_client_without_a_valid_repetition_has_no_figure() -> None:
    assert summary({"lean": [{"invalid": "late"}]}) == {}


def test_ratios_are_named_after_their_targets() -> None:
    assert ratios(summary(RESULTS)) == {
        "ledger_cpu_us": 6.5,
        "ledger_kib": 4.0,
        "locust_own_over_ours": 10.0,
    }


def test_a_target_is_said_to_be_met() -> None:
    assert "| ours with ledger, us per message | <= 7 | 6.50 | met |" in table(a_part())


def test_an_absent_client_is_said_with_its_reason() -> None:
    assert "\nNot measured: artillery: not here." in table(a_part(absent={"artillery": "not here"}))


def test_without_clients_there_is_no_table() -> None:
    assert table({}) == []


def test_every_kind_of_client_has_a_title() -> None:
    assert set(NAMES) == set(TITLES)


def test_pushes_are_counted_in_whole_rounds() -> None:
    assert ClientPlan(seconds=2.5, per_s=4.0).rounds == 10


def test_a_push_is_about_150_bytes() -> None:
    assert 130 <= len(broadcast_frame(1)) <= 170


def test_the_ledger_knows_a_push_by_its_version() -> None:
    (payload,), _ = split_frames(broadcast_frame(7))
    peer = LedgerPeer()
    peer._make_ledger(clients=1)
    args = payload.removeprefix(b'42["validation_count_update",').removesuffix(b"]")
    assert peer.row_of(args).position == 7


def test_artillery_that_is_named_and_not_there_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(generator_peers.VARIABLE, str(tmp_path))
    with pytest.raises(generator_peers.AbsentError, match=generator_peers.VARIABLE):
        generator_peers.command()


def test_artillery_is_asked_to_keep_its_connections() -> None:
    document = json.loads(generator_peers.script(8_000, 50))
    assert (document["config"]["phases"][0]["arrivalCount"], document["scenarios"][0]["flow"]) == (
        50,
        [{"think": generator_peers.STAY_S}],
    )
