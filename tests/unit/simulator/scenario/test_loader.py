"""Scenarios say everything that is wrong with them at once, and built-in ones are valid."""

from pathlib import Path
from typing import Any

import pytest

from simulator.errors import ScenarioError
from simulator.scenario.loader import build, list_builtin, load, override, read


def problems(data: dict[str, Any]) -> str:
    with pytest.raises(ScenarioError) as raised:
        build(data)
    return str(raised.value)


@pytest.mark.parametrize("name", sorted(list_builtin()))
def test_every_built_in_scenario_is_valid(name: str) -> None:
    assert load(name).name == name


@pytest.mark.parametrize("name", sorted(list_builtin()))
def test_every_built_in_scenario_opens_with_its_question(name: str) -> None:
    assert "?" in list_builtin()[name]


def test_the_demo_is_as_promised() -> None:
    demo = load("demo")
    assert (demo.clients, demo.publish.rate_per_s, demo.duration_s) == (300, 20, 30)


def test_all_errors_come_at_once() -> None:
    said = problems({"clients": 0, "publish": {"rate_per_s": -1}, "phases": {"drain_s": "x"}})
    assert len(said.splitlines()) == 3


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"clientz": 3}, "clientz: unknown key. Did you mean clients?"),
        ({"publish": {"ratee": 3}}, "publish.ratee: unknown key."),
        ({"publish": {"rate_per_s": -1}}, "publish.rate_per_s: should be greater than 0 (got -1)."),
        ({"faults": [{"kind": "drop", "at_s": 1, "awy_s": 1}]}, "Did you mean away_s?"),
        ({"faults": [{"kind": "drop"}]}, "faults.0: give exactly one of at_s and at_share."),
        ({"faults": [{"kind": "drop", "at_s": 99}]}, "faults.0: it begins after the load"),
        ({"faults": [{"kind": "drop", "at_s": 1, "away_s": [3, 1]}]}, "faults.0.away_s: give [least, most]"),
        ({"faults": [{"kind": "melt", "at_s": 1}]}, "faults.0: "),
        ({"slo": {"los": 0}}, "slo.los: unknown service level. Did you mean lost?"),
        ({"slo": {"lost": -1}}, "slo.lost: the limit must be"),
        ({"clients": 1}, "clients: at least two users"),
        ({"claims": {"count": 1}}, "claims.count: 1 claims take"),
        ({"profile": "generic"}, "server: the generic profile needs"),
        ({"clients": 100_000, "duration_s": 3_600}, "ledger of more than 2 GiB"),
        ({"personas": {"reliable": 0, "contrarian": 0, "careless": 0}}, "somebody has to validate"),
        ({"transports": {"websocket": 0}}, "transports: at least one share"),
    ],
)
def test_one_clear_sentence_per_mistake(data: dict[str, Any], said: str) -> None:
    assert said in problems(data)


def test_broken_toml_is_said_to_be_broken() -> None:
    with pytest.raises(ScenarioError, match="not TOML"):
        read("clients = = 3", "x")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ScenarioError, match=r"Did you mean demo\?.*fanout"):
        load("demoo")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"Cannot read the scenario .*none\.toml"):
        load(str(tmp_path / "none.toml"))


def test_a_file_without_a_name_takes_its_own(tmp_path: Path) -> None:
    path = tmp_path / "My Storm.toml"
    path.write_text("clients = 5")
    assert load(str(path)).name == "my-storm"


def test_overrides_replace_and_merge() -> None:
    changed = override(load("demo"), clients=7, duration_s=3, rate_per_s=2, seed=9, slo={"late": 1})
    assert (changed.clients, changed.duration_s, changed.publish.rate_per_s, changed.seed) == (7, 3, 2, 9)
    assert {"late", "fanout_p99_ms"} <= changed.slo.keys()


def test_overrides_are_validated() -> None:
    with pytest.raises(ScenarioError, match=r"publish\.rate_per_s"):
        override(load("demo"), rate_per_s=-1)


def test_a_resolved_scenario_builds_itself_again() -> None:
    demo = load("demo")
    assert build(demo.model_dump(mode="json")) == demo


def test_a_long_run_is_limited_by_what_its_ledger_holds_at_once() -> None:
    night = {"clients": 1_000, "duration_s": 36_000, "claims": {"quorum": 1_000}}
    assert build(night).publishes_held == 6_000


def test_a_durable_room_is_held_for_the_whole_run() -> None:
    server = {"publish": {"via": "http", "path": "/p"}, "receive": {"event": "m"}, "rooms": {"durable": True}}
    night = {"profile": "generic", "clients": 1_000, "duration_s": 36_000, "server": server}
    assert "ledger of more than 2 GiB" in problems(night)
