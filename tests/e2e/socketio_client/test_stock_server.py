"""The lean client against a plain python-socketio server, over real sockets and every transport."""

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvloop

from simulator.socketio_client import (
    CallTimeoutError,
    ClientState,
    HeartbeatSweep,
    NotConnectedError,
    ReconnectPolicy,
)
from tests.e2e.socketio_client.client_drivers import (
    DEADLINE_S,
    QUICK,
    Witness,
    connected,
    gives_up,
    make_client,
    running,
)
from tests.support.waiting import until, until_async

TRANSPORTS = ["websocket", "polling", "upgrade"]
every_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A stock server whose heartbeat is as quick as python-engineio can announce one."""
    with running("stock_server", "--ping-interval", "1", "--ping-timeout", "1") as found:
        yield found


@pytest.fixture
def witness() -> Witness:
    return Witness()


async def connected_count(port: int) -> int:
    """How many clients the server counts."""
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{port}/connected")
        return int(answer.json()["connected"])


async def until_count(port: int, expected: int) -> None:
    async def counted() -> bool:
        return await connected_count(port) == expected

    await until_async(counted)


@every_transport
async def test_connects(port: int, witness: Witness, transport: str) -> None:
    async with connected(port, witness, transport) as client:
        assert witness.connects == [client.sid]


@every_transport
async def test_receives_in_order(port: int, witness: Witness, transport: str) -> None:
    async with connected(port, witness, transport) as client:
        assert await client.call("count", {"n": 300}, timeout_s=DEADLINE_S) == 300
        assert witness.named("tick") == [{"n": number} for number in range(1, 301)]


@every_transport
async def test_acknowledgements_come_back_to_their_callers(
    port: int, witness: Witness, transport: str
) -> None:
    async with connected(port, witness, transport) as client:
        answers = await asyncio.gather(
            *(client.call("echo", number, timeout_s=DEADLINE_S) for number in range(40))
        )
        assert answers == list(range(40))


@every_transport
async def test_stays_connected_over_several_heartbeats(port: int, witness: Witness, transport: str) -> None:
    async with connected(port, witness, transport) as client:
        await until(lambda: client.counters.pings >= 4)
        assert witness.disconnects == []


@every_transport
async def test_comes_back_after_a_drop(port: int, witness: Witness, transport: str) -> None:
    async with connected(port, witness, transport) as client:
        client.drop()
        await until(lambda: len(witness.connects) == 2)
        assert witness.disconnects == ["client drop"]
        assert await client.call("echo", "again", timeout_s=DEADLINE_S) == "again"


@every_transport
async def test_times_never_run_backwards(port: int, witness: Witness, transport: str) -> None:
    async with connected(port, witness, transport) as client:
        await client.call("count", {"n": 50}, timeout_s=DEADLINE_S)
        client.drop()
        await until(lambda: len(witness.connects) == 2)
    assert witness.times_ns == sorted(witness.times_ns)


@every_transport
async def test_a_refusal_is_told_and_final(port: int, witness: Witness, transport: str) -> None:
    client = make_client(port, witness, transport, auth=lambda: {"refuse": "not you"})
    await gives_up(client, "not you")
    assert client.state is ClientState.STOPPED
    assert witness.refusals == [b'{"message":"not you"}']
    assert witness.disconnects == []


async def test_a_refusal_is_retried_when_the_policy_says_so(port: int, witness: Witness) -> None:
    """The auth payload is made afresh, so the second attempt may be a better one."""
    tries = iter([{"refuse": "not yet"}, {}])
    policy = ReconnectPolicy(delay_s=0.01, delay_max_s=0.01, retry_refused=True)
    async with connected(port, witness, auth=lambda: next(tries), policy=policy):
        assert len(witness.refusals) == 1


@every_transport
async def test_a_clean_stop_leaves_the_server_without_the_client(witness: Witness, transport: str) -> None:
    """The server's heartbeat is far too slow to find out by itself."""
    with running("stock_server") as port:
        async with connected(port, witness, transport) as client:
            assert await connected_count(port) == 1
        assert witness.disconnects == ["client stop"]
        assert client.state is ClientState.STOPPED
        await until_count(port, 0)


@every_transport
async def test_bytes_in_events_are_counted_and_left_out(port: int, witness: Witness, transport: str) -> None:
    async with connected(port, witness, transport) as client:
        client.emit("attach")
        await until(lambda: witness.named("picture"))
        assert client.counters.attachments == 2
        assert witness.named("picture")[0]["name"] == "one"


@every_transport
async def test_an_event_that_asks_for_an_acknowledgement_gets_an_empty_one(
    port: int, witness: Witness, transport: str
) -> None:
    async with connected(port, witness, transport) as client:
        assert await client.call("ask", timeout_s=DEADLINE_S) == "acknowledged with None"


@every_transport
async def test_a_kicked_client_stays_away(port: int, witness: Witness, transport: str) -> None:
    async with connected(port, witness, transport) as client:
        client.emit("kick")
        await until(lambda: witness.disconnects)
        assert witness.disconnects == ["server disconnect"]
        assert client.state is ClientState.STOPPED


async def test_a_kicked_client_returns_when_the_policy_says_so(port: int, witness: Witness) -> None:
    policy = ReconnectPolicy(delay_s=0.01, delay_max_s=0.01, retry_kicked=True)
    async with connected(port, witness, policy=policy) as client:
        client.emit("kick")
        await until(lambda: len(witness.connects) == 2)


@every_transport
async def test_a_server_that_closes_is_come_back_to(port: int, witness: Witness, transport: str) -> None:
    async with connected(port, witness, transport) as client:
        client.emit("close")
        await until(lambda: len(witness.connects) == 2)
        assert len(witness.disconnects) == 1


async def test_the_auth_payload_is_fresh_for_each_connection(port: int, witness: Witness) -> None:
    cursor = iter(range(10))
    async with connected(port, witness, auth=lambda: {"last": next(cursor)}) as client:
        await until(lambda: witness.named("hello"))
        client.drop()
        await until(lambda: len(witness.named("hello")) == 2)
        assert [hello["auth"] for hello in witness.named("hello")] == [{"last": 0}, {"last": 1}]


async def test_an_auth_callback_that_raises_costs_one_attempt(port: int, witness: Witness) -> None:
    answers: list[Any] = [ValueError("no token yet"), {"token": 1}]

    def auth() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with connected(port, witness, auth=auth) as client:
        assert client.counters.connect_failures == 1


async def test_an_upgrade_under_fire_loses_and_reorders_nothing(port: int, witness: Witness) -> None:
    """Events every millisecond or so from before the probe until long after the switch."""
    client = make_client(port, witness, "upgrade")
    client.start()
    await client.wait_connected(DEADLINE_S)
    counting = asyncio.create_task(client.call("count", {"n": 400, "gap_ms": 1}, timeout_s=DEADLINE_S))
    await until(lambda: client.counters.upgrades == 1)
    assert await counting == 400
    assert [tick["n"] for tick in witness.named("tick")] == list(range(1, 401))
    await client.stop()


async def test_what_is_emitted_during_the_upgrade_arrives_in_order(port: int, witness: Witness) -> None:
    async with connected(port, witness, "upgrade") as client:
        await client.call("join", {"room": client.sid}, timeout_s=DEADLINE_S)
        sent = 0
        while sent < 300:
            assert client.emit("say", {"room": client.sid, "n": sent})
            sent += 1
            await asyncio.sleep(0.001)
        await until(lambda: len(witness.named("said")) == sent)
        assert [said["n"] for said in witness.named("said")] == list(range(sent))
        assert client.counters.upgrades == 1


async def test_polling_only_servers_are_polled(witness: Witness) -> None:
    with running("stock_server", "--polling-only") as port:
        async with connected(port, witness, "upgrade") as client:
            assert await client.call("echo", 1, timeout_s=DEADLINE_S) == 1
            assert (client.counters.upgrades, client.counters.upgrade_failures) == (0, 0)


async def test_an_acknowledgement_that_does_not_come_times_out(port: int, witness: Witness) -> None:
    async with connected(port, witness) as client:
        with pytest.raises(CallTimeoutError, match="silent"):
            await client.call("silent", timeout_s=0.05)


async def test_a_lost_connection_fails_the_calls_it_owes(port: int, witness: Witness) -> None:
    async with connected(port, witness) as client:
        call = asyncio.create_task(client.call("silent", timeout_s=DEADLINE_S))
        await until(lambda: client.counters.emits == 1)
        client.drop()
        with pytest.raises(NotConnectedError):
            await call
        assert client.counters.acks_lost == 1


async def test_an_acknowledgement_callback_gets_raw_json(port: int, witness: Witness) -> None:
    answers: list[bytes] = []
    async with connected(port, witness) as client:
        client.emit("echo", {"a": [1, 2]}, ack=lambda args, at_ns: answers.append(args))
        await until(lambda: answers)
        assert answers == [b'{"a":[1,2]}']


async def test_nothing_is_sent_or_kept_without_a_connection(port: int, witness: Witness) -> None:
    client = make_client(port, witness)
    assert client.emit("say", {}) is False
    assert client.counters.emits_dropped == 1


async def test_another_namespace_is_served_apart(port: int, witness: Witness) -> None:
    """The stock server knows only `/`, and says so."""
    client = make_client(port, witness, namespace="/admin")
    await gives_up(client, "Unable to connect")


async def test_a_client_goes_offline_and_returns_by_itself(port: int, witness: Witness) -> None:
    async with connected(port, witness, policy=ReconnectPolicy.none()) as client:
        client.go_offline(0.05)
        assert (client.state, witness.disconnects) == (ClientState.WAITING, ["client offline"])
        await until(lambda: len(witness.connects) == 2)


async def test_a_sleeping_client_leaves_a_half_open_socket_behind(witness: Witness) -> None:
    with running("stock_server") as port:
        async with connected(port, witness, policy=ReconnectPolicy.none()) as client:
            client.go_offline(3600.0, silent=True)
            assert witness.disconnects == ["client offline"]
            async with connected(port, Witness()) as other:
                assert await other.call("echo", 1, timeout_s=DEADLINE_S) == 1
                assert await connected_count(port) == 2
        await until_count(port, 0)


async def test_a_dropped_client_is_gone_for_the_server_at_once(witness: Witness) -> None:
    with running("stock_server") as port:
        async with connected(port, witness, policy=ReconnectPolicy.none()) as client:
            client.drop()
            assert client.state is ClientState.STOPPED
            await until_count(port, 0)


async def test_a_half_open_client_is_given_up_by_the_server_alone(witness: Witness) -> None:
    with running("stock_server", "--ping-interval", "1", "--ping-timeout", "1") as port:
        async with connected(port, witness) as client:
            client.half_open()
            assert client.emit("echo") is False
            await until_count(port, 0)
            assert (client.state, witness.disconnects) == (ClientState.CONNECTED, [])


async def test_a_slow_reader_gets_everything_once_it_reads(port: int, witness: Witness) -> None:
    async with connected(port, witness) as client:
        client.emit("count", {"n": 100})
        client.pause_reading()
        other = Witness()
        async with connected(port, other) as second:
            await second.call("count", {"n": 1}, timeout_s=DEADLINE_S)
        assert witness.named("tick") == []
        client.resume_reading()
        await until(lambda: len(witness.named("tick")) == 100)


async def test_many_clients_share_one_sweep(port: int) -> None:
    sweep, rng, witnesses = HeartbeatSweep(), random.Random(1), [Witness() for _ in range(50)]
    clients = [make_client(port, witness, rng=rng, sweep=sweep, policy=QUICK) for witness in witnesses]
    for client in clients:
        client.start()
    await asyncio.gather(*(client.wait_connected(DEADLINE_S) for client in clients))
    assert len(sweep) == 50
    await asyncio.gather(*(client.stop() for client in clients))
    assert len(sweep) == 0


async def test_a_source_address_can_be_chosen(port: int, witness: Witness) -> None:
    async with connected(port, witness, source_ip="127.0.0.5") as client:
        assert await client.call("echo", 1, timeout_s=DEADLINE_S) == 1


async def test_a_stopped_client_can_start_again(port: int, witness: Witness) -> None:
    async with connected(port, witness) as client:
        await client.stop()
        client.start()
        await client.wait_connected(DEADLINE_S)
        assert len(witness.connects) == 2


async def test_a_handler_that_raises_hurts_nobody_else(port: int, witness: Witness) -> None:
    client = make_client(port, witness)
    good = client.handler.on_event
    witness.on_event = lambda *_: 1 / 0  # type: ignore[assignment,method-assign]
    client.start()
    await client.wait_connected(DEADLINE_S)
    await until(lambda: client.counters.handler_errors)
    witness.on_event = good  # type: ignore[method-assign]
    await client.call("count", {"n": 3}, timeout_s=DEADLINE_S)
    assert len(witness.named("tick")) == 3
    await client.stop()


@every_transport
def test_uvloop_serves_as_well(port: int, witness: Witness, transport: str) -> None:
    """A real run is on uvloop; every other test here is on plain asyncio."""

    async def scenario() -> None:
        async with connected(port, witness, transport) as client:
            await client.call("count", {"n": 100}, timeout_s=DEADLINE_S)
            client.drop()
            await until(lambda: len(witness.connects) == 2)
            await client.call("count", {"n": 100}, timeout_s=DEADLINE_S)

    uvloop.run(scenario())
    assert [tick["n"] for tick in witness.named("tick")] == [*range(1, 101)] * 2
    assert witness.disconnects == ["client drop", "client stop"]
