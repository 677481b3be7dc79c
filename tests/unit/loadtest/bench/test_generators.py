"""The trial of load generators: who takes part, its table and targets, its sender's frames, Artillery."""

import json
from pathlib import Path

import pytest

from loadtest.bench import generators
from loadtest.bench.command import parse, plan_of
from loadtest.bench.generator_peers import PEERS, LedgerPeer
from loadtest.bench.plan import CLIENTS, FULL, GENERATORS, QUICK, Plan
from loadtest.bench.report import Report, Source, document, markdown
from loadtest.bench.samples import Sample, Series
from loadtest.bench.servers.frame_sender import broadcast_frame
from loadtest.bench.sockets import split_frames
from loadtest.bench.system import ContestantError

SOURCE = Source("python -m loadtest.bench --clients", "abc1234", "now", "clients", 3)
CPU_US: dict[str, list[float | None]] = {
    "ledger": [6.0, 9.0, 6.5],
    "locust_ours": [10.0, None, 10.0],
    "locust_own": [100.0, 10.0, 100.0],
}
KIB: dict[str, list[float | None]] = {"ledger": [3.0, 5.0, 4.0], "locust_ours": [8.0], "locust_own": [27.0]}


def samples_of(metric: str, figures: dict[str, list[float | None]]) -> list[Sample]:
    return [
        Sample(metric, name, value, "" if value else "late")
        for name, values in figures.items()
        for value in values
    ]


def a_report() -> Report:
    series = samples_of("generators_cpu@1000", CPU_US) + samples_of("generators_kib@1000", KIB)
    return Report().with_run(Series(series), SOURCE)


def test_the_result_has_the_medians_of_the_valid_repetitions() -> None:
    assert document(a_report())["clients"] == {
        "cpu_us_per_message": {"ledger": 6.5, "locust_ours": 10.0, "locust_own": 100.0},
        "kib_per_connection": {"ledger": 4.0, "locust_ours": 8.0, "locust_own": 27.0},
    }


def test_ratios_are_named_after_their_targets() -> None:
    assert document(a_report())["ratios"] == {
        "ledger_cpu_us": 6.5,
        "ledger_kib": 4.0,
        "locust_own_over_ours": 10.0,
    }


@pytest.mark.parametrize(
    "line",
    [
        "Clients: 1,000 connections, 4 pushes a second to each, medians of alternating repetitions.",
        "| client | CPU us per received message | KiB per connection |",
        "| ours, with ledger | 6.5 | 4.0 |",
        "| ours with ledger, us per message | <= 7 | 6.50 | met |",
        "Invalid: generators_cpu@1000 of locust_ours: late.",
    ],
)
def test_the_table_says(line: str) -> None:
    assert line in markdown(a_report()).splitlines()


def test_load_generators_are_no_column_of_the_servers() -> None:
    assert "server CPU or memory" not in markdown(a_report())


def test_a_client_without_a_figure_is_not_in_the_table() -> None:
    report = Report().with_run(Series(samples_of("generators_cpu@1000", {"lean": [None]})), SOURCE)
    assert GENERATORS["lean"] not in markdown(report)


def test_every_kind_of_asyncio_client_takes_part() -> None:
    assert set(PEERS) < set(GENERATORS)


def test_clients_are_one_more_trial() -> None:
    assert plan_of(parse(["--clients"])) == CLIENTS
    assert {name for name in CLIENTS.contestants if CLIENTS.takes_part(name, "generators_cpu@1000")} == {
        *GENERATORS
    }


@pytest.mark.parametrize("plan", [QUICK, FULL])
def test_servers_are_measured_without_them(plan: Plan) -> None:
    assert "generators" not in plan.only
    assert not FULL.takes_part("lean", "fanout@1000")


def test_sizes_are_those_of_clients_too() -> None:
    assert plan_of(parse(["--clients", "--sizes", "40"])).generator_sizes == (40,)


def test_a_push_is_about_150_bytes() -> None:
    assert 130 <= len(broadcast_frame(1)) <= 170


def test_the_ledger_knows_a_push_by_its_version() -> None:
    (payload,), _ = split_frames(broadcast_frame(7))
    peer = LedgerPeer()
    peer.open_ledger(clients=1)
    args = payload.removeprefix(b'42["validation_count_update",').removesuffix(b"]")
    assert peer.row_of(args).position == 7


def test_artillery_that_is_named_and_not_there_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(generators.VARIABLE, str(tmp_path))
    with pytest.raises(ContestantError, match=generators.VARIABLE):
        generators.artillery_command()
    assert str(generators.artillery_trouble()).startswith(generators.VARIABLE)


def test_artillery_is_asked_to_keep_its_connections() -> None:
    test = json.loads(generators.artillery_script(8_000, 50))
    assert test["config"]["phases"][0]["arrivalCount"] == 50
    assert test["scenarios"][0]["flow"] == [{"think": generators.STAY_S}]
