"""What is received of a lying server is what it counted itself; each of its lies: `test_seeds.py`."""

import asyncio

import pytest

from simulator.errors import SetupError
from simulator.progress import Silent
from simulator.run.runner import RunOptions, run
from simulator.scenario.loader import build
from tests.support.simulator.planted import DROPS, GENEROUS, SERVER, Planted, planted, scenario, server


@pytest.fixture(scope="module")
def honest() -> Planted:
    """A run against a server that does not lie."""
    return asyncio.run(planted([], scenario()))


@pytest.fixture(scope="module")
def recovered() -> Planted:
    """The same with half of the clients cut off for a while."""
    return asyncio.run(planted([], scenario(faults=DROPS)))


def test_an_honest_server_passes(honest: Planted) -> None:
    assert (honest.result.verdict, honest.result.reasons) == ("PASS", [])


def test_what_an_honest_server_sent_is_what_was_received(honest: Planted) -> None:
    assert honest.result.ledger.received == honest.counts["sent"]


async def test_delayed_messages_are_late() -> None:
    spec = scenario(windows={"late_ms": 400, "grace_ms": 500})
    run = await planted(["--delay-every", "1", "--delay-ms", "700"], spec)
    assert run.result.ledger.late == run.counts["delayed"]


def test_an_honest_recovery_loses_nothing(recovered: Planted) -> None:
    assert (recovered.result.verdict, recovered.result.ledger.lost) == ("PASS", 0)
    assert recovered.result.reconnect.recovery.full == recovered.result.reconnect.drops == 6


def test_replayed_messages_are_told_from_live_ones(recovered: Planted) -> None:
    assert 0 < recovered.result.ledger.replayed <= recovered.counts["replayed"]


async def test_without_a_promise_of_replay_the_absent_are_owed_nothing() -> None:
    spec = {key: value for key, value in SERVER.items() if key != "recover"} | {"rooms": {"count": 2}}
    run = await planted([], scenario(faults=DROPS, server=spec))
    assert (run.result.verdict, run.result.ledger.lost) == ("PASS", 0)


@pytest.mark.parametrize("transport", ["polling", "upgrade"])
async def test_the_ledger_holds_over_other_transports(transport: str) -> None:
    run = await planted([], scenario(transports={"websocket": 0, transport: 1}))
    assert (run.result.verdict, run.result.ledger.received) == ("PASS", run.counts["sent"])


async def test_a_server_that_is_no_vouchstorm_is_told_what_to_use_instead() -> None:
    async with server("lying_server") as port:
        with pytest.raises(SetupError, match="is not a Vouchstorm server"):
            await run(RunOptions(build({"clients": 4}), url=f"http://127.0.0.1:{port}"), Silent())


STOCK = {
    "join": [{"event": "join", "args": [{"room": "{room}"}]}],
    "rooms": {"count": 3},
    "publish": {"via": "socket", "event": "say", "args": [{"room": "{room}", "id": "{id}"}]},
    "receive": {"event": "said", "id": "/0/id"},
}


async def test_a_stock_server_is_driven_by_a_socket_from_toml_alone() -> None:
    async with server("stock_server") as port:
        result = await run(RunOptions(scenario(server=STOCK), url=f"http://127.0.0.1:{port}"), Silent())
    assert (result.verdict, result.reasons) == ("PASS", [])
    assert result.latency_ms["event"].count > 100


async def test_a_bare_server_only_has_to_echo() -> None:
    spec = build({"profile": "echo", "clients": 10, "duration_s": 1, "honesty": GENEROUS})
    async with server("stock_server") as port:
        result = await run(RunOptions(spec, url=f"http://127.0.0.1:{port}"), Silent())
    assert (result.verdict, result.reasons) == ("PASS", [])
    assert result.ledger.live == result.publishes.accepted > 0


async def test_a_server_that_does_not_know_the_event_loses_every_echo() -> None:
    spec = build(
        {
            "profile": "echo",
            "clients": 4,
            "duration_s": 1,
            "honesty": GENEROUS,
            "publish": {"timeout_s": 1},
            "phases": {"warmup_s": 0, "drain_s": 0.5},
        }
    )
    async with server("lying_server") as port:
        result = await run(RunOptions(spec, url=f"http://127.0.0.1:{port}"), Silent())
    assert (result.verdict, result.publishes.accepted) == ("INVALID", 0)
