"""Sessions on a played transport: order, bounds, slow peers, bad peers, and every way to end."""

import asyncio

import pytest

from backend.app.contracts.types import DeliveryClass
from backend.app.realtime.engine import INBOX_LIMIT, POLL_PACKETS, POST_PACKETS
from backend.app.realtime.rate_limit import InflowLimits
from backend.app.realtime.websocket import ENGINE_PING, PING, PONG, close_frame, frame
from tests.support.backend.fake_wire import FakeTransport, Wire, durable, say, snapshot, stall, state, texts
from tests.support.backend.raw import client_frame
from tests.support.waiting import until

NOW_S = 1e9


@pytest.fixture
async def wire() -> Wire:
    return Wire(queue_packets=16, queue_bytes=100_000, slow_abort_s=10.0)


# ---------------------------------------------------------------- healthy


async def test_messages_are_written_as_they_are(wire: Wire) -> None:
    session, transport = await wire.session()
    session.post([durable(1), durable(2)])
    assert transport.written == durable(1).wire + durable(2).wire


async def test_a_packet_of_its_own_is_written_at_once(wire: Wire) -> None:
    session, transport = await wire.session()
    session.post_text("31[]")
    assert texts(transport.written) == ["431[]"]


async def test_what_the_peer_says_is_heard_in_order(wire: Wire) -> None:
    session, transport = await wire.session()
    say(transport, *(f"4{number}" for number in range(10)))
    await until(lambda: len(wire.heard) == 10)
    assert wire.heard == [(session.sid, str(number)) for number in range(10)]


async def test_a_websocket_ping_is_answered(wire: Wire) -> None:
    _, transport = await wire.session()
    transport.protocol.data_received(client_frame(b"hello", PING))
    assert transport.written == frame(b"hello", PONG)


async def test_a_flood_stops_being_read_until_it_is_handled(wire: Wire) -> None:
    _, transport = await wire.session()
    wire.gate.clear()
    say(transport, *["4x"] * (INBOX_LIMIT + 5))
    paused = not transport.reading
    wire.gate.set()
    await until(lambda: transport.reading)
    assert (paused, len(wire.heard)) == (True, INBOX_LIMIT + 5)


async def test_the_peers_first_words_may_come_with_the_handshake(wire: Wire) -> None:
    wire.connection(behind=client_frame(b"4early"))
    await until(lambda: wire.heard)
    assert wire.heard[0][1] == "early"


# ---------------------------------------------------------------- slow


async def test_a_slow_peer_gets_everything_later_and_in_order(wire: Wire) -> None:
    session, transport = await wire.session()
    stall(session, transport)
    sent = [durable(number) for number in range(1, 10)]
    session.post(sent)
    held = transport.written
    transport.drain()
    assert (held, transport.written) == (b"", b"".join(message.wire for message in sent))


async def test_a_slow_peer_gets_only_the_newest_of_each_counter(wire: Wire) -> None:
    session, transport = await wire.session()
    stall(session, transport)
    session.post([snapshot("a", 1), snapshot("b", 1), snapshot("a", 2), snapshot("a", 3)])
    transport.drain()
    assert texts(transport.written) == ['42["c",{"b":1}]', '42["c",{"a":3}]']


async def test_a_slow_peer_gets_durable_events_before_counters(wire: Wire) -> None:
    session, transport = await wire.session()
    stall(session, transport)
    session.post([snapshot("a", 1), durable(1)])
    transport.drain()
    assert texts(transport.written) == [*texts(durable(1).wire), '42["c",{"a":1}]']


async def test_many_counters_do_not_end_a_slow_peer(wire: Wire) -> None:
    session, transport = await wire.session()
    stall(session, transport)
    for version in range(1_000):
        session.post([snapshot("a", version)])
    assert not transport.aborted


async def test_state_is_dropped_for_a_slow_peer_and_counted(wire: Wire) -> None:
    session, transport = await wire.session()
    stall(session, transport)
    session.post([state("read")])
    transport.drain()
    assert (transport.written, wire.drops) == (b"", [(DeliveryClass.STATE, "paused")])


async def test_too_many_waiting_messages_end_a_slow_peer(wire: Wire) -> None:
    session, transport = await wire.session()
    stall(session, transport)
    session.post([durable(number) for number in range(40)])
    assert (transport.aborted, wire.metrics.aborts) == (True, ["overflow"])


async def test_too_many_waiting_bytes_end_a_slow_peer(wire: Wire) -> None:
    session, transport = await wire.session()
    stall(session, transport)
    session.post([durable(number, 60_000) for number in range(3)])
    assert (transport.aborted, wire.metrics.aborts) == (True, ["overflow"])


async def test_a_peer_that_takes_nothing_is_aborted(wire: Wire) -> None:
    session, transport = await wire.session()
    stall(session, transport)
    assert session.paused_at is not None
    wire.engine.sweep(session.paused_at + 10.1)
    assert (transport.aborted, wire.metrics.aborts) == (True, ["stuck"])


async def test_what_waited_for_an_aborted_peer_is_let_go_of(wire: Wire) -> None:
    session, transport = await wire.session()
    stall(session, transport)
    session.post([durable(1)])
    session.abort("stuck")
    await until(lambda: transport.lost, "it is gone")
    assert session.outbox is None


async def test_a_peer_is_given_its_time(wire: Wire) -> None:
    session, transport = await wire.session()
    stall(session, transport)
    assert session.paused_at is not None
    wire.engine.sweep(session.paused_at + 9.9)
    assert not transport.aborted


async def test_a_peer_that_recovered_is_not_aborted(wire: Wire) -> None:
    session, transport = await wire.session()
    stall(session, transport)
    transport.drain()
    wire.engine.sweep(NOW_S)
    assert (transport.aborted, session.write is not None) == (False, True)


async def test_a_slow_peer_that_keeps_taking_is_not_stuck(wire: Wire) -> None:
    session, transport = await wire.session()
    stall(session, transport)
    session.post([durable(1, 70_000)])
    now_s = asyncio.get_running_loop().time()
    session.paused_at = now_s - 11  # the pause began long ago ...
    transport.drain()  # ... and the peer took all of it, but there is as much again
    assert session.write is None
    wire.engine.sweep(now_s)
    assert not transport.aborted


async def test_a_slow_peer_is_pinged_as_soon_as_it_reads_again(wire: Wire) -> None:
    session, transport = await wire.session()
    stall(session, transport)
    wire.engine.heartbeat.ping_due(NOW_S)
    transport.drain()
    assert transport.written == ENGINE_PING


async def test_a_slow_peers_websocket_pings_cost_nothing(wire: Wire) -> None:
    session, transport = await wire.session()
    stall(session, transport)
    transport.protocol.data_received(client_frame(b"x" * 125, PING) * 1_000)
    assert transport.written == b""


# ---------------------------------------------------------------- too much

FEW = InflowLimits(frames_per_s=1_000.0, frames_burst=10, bytes_per_s=1e6, bytes_burst=100_000, offences=3)


async def test_who_sends_too_much_is_read_more_slowly() -> None:
    wire = Wire(inflow=FEW)
    _, transport = await wire.session()
    say(transport, *["4x"] * 15)
    stopped = not transport.reading
    await until(lambda: transport.reading)
    assert (stopped, len(wire.heard), wire.metrics.rate_limited) == (True, 15, ["frames"])


async def test_who_goes_on_sending_too_much_is_ended() -> None:
    wire = Wire(inflow=FEW)
    _, transport = await wire.session()
    for _ in range(3):
        say(transport, *["4x"] * 50)
    assert (transport.aborted, wire.metrics.aborts) == (True, ["flood"])


async def test_frames_that_nobody_handles_count_too() -> None:
    wire = Wire(inflow=FEW)
    _, transport = await wire.session()
    for _ in range(3):
        transport.protocol.data_received(client_frame(b"", PONG) * 50)
    assert wire.metrics.aborts == ["flood"]


async def test_a_message_that_never_ends_counts_by_its_bytes() -> None:
    wire = Wire(inflow=InflowLimits(1e6, 1_000_000, 1.0, 50_000, 1))
    _, transport = await wire.session()
    transport.protocol.data_received(client_frame(b"4" + b"x" * 60_000)[:-1])
    assert (wire.metrics.rate_limited, wire.metrics.aborts) == (["bytes"], ["flood"])


async def test_long_polling_that_sends_too_much_is_ended() -> None:
    wire = Wire(inflow=FEW)
    session = await wire.polling()
    for _ in range(3):
        await wire.post(session.sid, *["4x"] * 30)
    await until(lambda: session.closed)
    assert wire.metrics.aborts == ["flood"]


# ---------------------------------------------------------------- bad


@pytest.mark.parametrize("packet", ["2", "5", "6", "0{}", "9", "x", ""])
async def test_packets_that_no_client_sends_end_it(wire: Wire, packet: str) -> None:
    _, transport = await wire.session()
    say(transport, packet)
    assert (transport.aborted, wire.metrics.aborts) == (True, ["protocol"])


async def test_binary_ends_it(wire: Wire) -> None:
    _, transport = await wire.session()
    transport.protocol.data_received(client_frame(b"4x", 0x2))
    assert (transport.aborted, wire.metrics.aborts) == (True, ["binary"])


async def test_text_that_is_no_text_ends_it(wire: Wire) -> None:
    _, transport = await wire.session()
    transport.protocol.data_received(client_frame(b"4\xff\xfe"))
    assert (transport.aborted, wire.metrics.aborts) == (True, ["protocol"])


async def test_a_message_that_cannot_be_handled_ends_it(wire: Wire) -> None:
    _, transport = await wire.session()
    say(transport, "4fail")
    await until(lambda: transport.aborted)
    assert wire.metrics.aborts == ["protocol"]


async def test_a_broken_frame_is_answered_with_its_code(wire: Wire) -> None:
    _, transport = await wire.session()
    transport.protocol.data_received(b"\x81\x01x")
    assert transport.written == close_frame(1002, "client frames must be masked")


async def test_nothing_is_heard_after_a_broken_frame(wire: Wire) -> None:
    _, transport = await wire.session()
    transport.protocol.data_received(b"\x81\x01x")
    transport.protocol.data_received(client_frame(b"4more"))
    assert wire.heard == []


# ---------------------------------------------------------------- the end


async def closed(wire: Wire) -> list[tuple[str, str]]:
    await until(lambda: wire.ended and not wire.engine.sockets)
    return wire.ended


async def test_a_lost_connection_is_reported_once(wire: Wire) -> None:
    session, transport = await wire.session()
    transport.abort()
    assert await closed(wire) == [(session.sid, wire.engine.reason.TRANSPORT_CLOSE)]


async def test_a_close_packet_is_a_client_disconnect(wire: Wire) -> None:
    session, transport = await wire.session()
    say(transport, "1")
    assert await closed(wire) == [(session.sid, wire.engine.reason.CLIENT_DISCONNECT)]


async def test_a_close_frame_is_answered(wire: Wire) -> None:
    _, transport = await wire.session()
    transport.protocol.data_received(client_frame(b"\x03\xe8", 0x8))
    assert transport.written == close_frame(1000)


async def test_nothing_is_written_after_a_close_frame(wire: Wire) -> None:
    session, transport = await wire.session()
    transport.stalled = True
    session.post([durable(1)])  # some bytes wait, so that the transport lives on for a while
    transport.protocol.data_received(client_frame(b"\x03\xe8", 0x8))
    session.post([durable(2), snapshot("a", 1)])
    session.post_text("31[]")
    assert transport.written.endswith(close_frame(1000))


async def test_ending_in_good_order_sends_what_was_posted(wire: Wire) -> None:
    session, transport = await wire.session()
    session.post([durable(1)])
    session.end("draining")
    await closed(wire)
    assert transport.written == durable(1).wire + close_frame(1000)


async def test_what_is_posted_after_the_end_is_not_sent(wire: Wire) -> None:
    """A flush of the fan-out may come before the closing task has its turn."""
    session, transport = await wire.session()
    session.end("token_revoked")
    session.post([durable(1)])
    if session.write is not None:
        session.write(durable(2).wire)
    await closed(wire)
    assert transport.written == close_frame(1000)


async def test_a_peer_that_ignores_the_close_is_aborted(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.app.realtime.websocket.CLOSE_TIMEOUT_S", 0.01)
    session, transport = await wire.session()
    stall(session, transport)
    session.end("draining")
    await until(lambda: transport.aborted)


async def test_ending_twice_is_counted_once(wire: Wire) -> None:
    session, _ = await wire.session()
    session.abort("abuse")
    session.abort("abuse")
    await closed(wire)
    assert wire.metrics.aborts == ["abuse"]


async def test_posting_to_a_session_that_ended_is_harmless(wire: Wire) -> None:
    session, transport = await wire.session()
    session.abort("abuse")
    await closed(wire)
    transport.written = b""
    session.post([durable(1), snapshot("a", 1), state("x")])
    assert transport.written == b""


async def test_silence_after_a_ping_ends_it(wire: Wire) -> None:
    session, transport = await wire.session()
    wire.engine.heartbeat.ping_due(NOW_S)
    (silent,) = wire.engine.heartbeat.overdue(NOW_S + 31)
    await silent.ping_timed_out()
    assert (transport.aborted, wire.ended) == (True, [(session.sid, wire.engine.reason.PING_TIMEOUT)])


async def test_a_pong_keeps_it(wire: Wire) -> None:
    _, transport = await wire.session()
    wire.engine.heartbeat.ping_due(NOW_S)
    say(transport, "3")
    assert wire.engine.heartbeat.overdue(NOW_S + 31) == []


async def test_the_servers_shutdown_says_come_back_later(wire: Wire) -> None:
    _, transport = await wire.session()
    transport.protocol.shutdown()
    assert transport.written == close_frame(1012)


async def test_a_connection_leaves_the_servers_list(wire: Wire) -> None:
    _, transport = await wire.session()
    transport.abort()
    await until(lambda: not wire.state.connections)


async def test_no_task_is_left_behind(wire: Wire) -> None:
    for _ in range(3):
        _, transport = await wire.session()
        transport.abort()
    await until(lambda: not wire.state.tasks and not wire.engine.sockets)


# ---------------------------------------------------------------- polling and the upgrade


async def probing(wire: Wire) -> tuple[str, FakeTransport]:
    """A polling session whose websocket has had its probe answered."""
    session = await wire.polling()
    transport = wire.connection(session.sid)
    await until(lambda: transport.written.startswith(b"HTTP/1.1 101"))
    say(transport, "2probe")
    await until(lambda: "3probe" in texts(transport.written))
    transport.written = b""
    return session.sid, transport


async def test_the_upgrade_makes_it_direct(wire: Wire) -> None:
    sid, transport = await probing(wire)
    say(transport, "5")
    await until(lambda: wire.engine.sockets[sid].direct)
    assert wire.engine.sockets[sid].upgraded


async def test_what_waited_for_a_poll_goes_out_first(wire: Wire) -> None:
    sid, transport = await probing(wire)
    session = wire.engine.sockets[sid]
    session.post([durable(1)])
    say(transport, "5")
    await until(lambda: session.direct)
    session.post([durable(2)])
    assert texts(transport.written) == [*texts(durable(1).wire), *texts(durable(2).wire)]


async def test_what_follows_the_upgrade_in_one_piece_is_heard(wire: Wire) -> None:
    _, transport = await probing(wire)
    say(transport, "5", "4first", "4second")
    await until(lambda: len(wire.heard) == 2)
    assert [text for _, text in wire.heard] == ["first", "second"]


@pytest.mark.parametrize("cut_bytes", [1, 2, 4, 7, 9])
async def test_a_frame_cut_at_the_upgrade_is_heard_whole(wire: Wire, cut_bytes: int) -> None:
    sid, transport = await probing(wire)
    following = client_frame(b"4" + b"x" * 200)
    transport.protocol.data_received(client_frame(b"5") + following[:cut_bytes])
    await until(lambda: wire.engine.sockets[sid].direct)
    transport.protocol.data_received(following[cut_bytes:])
    await until(lambda: wire.heard or transport.closing)
    assert [text for _, text in wire.heard] == ["x" * 200]


async def test_a_message_in_fragments_across_the_upgrade_is_heard_whole(wire: Wire) -> None:
    sid, transport = await probing(wire)
    transport.protocol.data_received(client_frame(b"5") + client_frame(b"4one ", final=False))
    await until(lambda: wire.engine.sockets[sid].direct)
    transport.protocol.data_received(client_frame(b"message", 0x0))
    await until(lambda: wire.heard or transport.closing)
    assert [text for _, text in wire.heard] == ["one message"]


async def test_aborting_during_the_probe_ends_the_session_too(wire: Wire) -> None:
    sid, transport = await probing(wire)
    wire.engine.sockets[sid].abort("auth_deadline")
    await until(lambda: not wire.engine.sockets)
    assert (transport.aborted, wire.metrics.aborts) == (True, ["auth_deadline"])


async def test_a_probe_that_is_never_finished_ends() -> None:
    wire = Wire(ping_timeout_s=0.05)
    sid, transport = await probing(wire)
    await until(lambda: transport.lost)
    assert not wire.engine.sockets[sid].upgrading


async def test_a_failed_probe_leaves_the_polling_session_alone(wire: Wire) -> None:
    sid, transport = await probing(wire)
    say(transport, "4not the upgrade")
    await until(lambda: transport.lost)
    session = wire.engine.sockets[sid]
    session.post([durable(1)])
    answer = await wire.get(sid)
    assert (session.closed, durable(1).packets[0].decode() in answer.text) == (False, True)


async def test_a_second_probe_is_refused_while_one_is_under_way(wire: Wire) -> None:
    sid, first = await probing(wire)
    second = wire.connection(sid)
    await until(lambda: second.closing)
    say(first, "5")
    await until(lambda: wire.engine.sockets[sid].direct)
    assert not second.written.startswith(b"HTTP/1.1 101")


async def test_a_lost_probe_leaves_no_task_behind(wire: Wire) -> None:
    _, transport = await probing(wire)
    transport.abort()
    await until(lambda: not wire.state.tasks)


async def test_a_poll_brings_what_the_clients_accept_at_once() -> None:
    wire = Wire()
    session = await wire.polling()
    for number in range(POLL_PACKETS):
        session.post_text(f"3[{number}]")
    session.post_text("3[last]")
    first, second = await wire.get(session.sid), await wire.get(session.sid)
    assert (first.text.count("\x1e") + 1, second.text) == (POLL_PACKETS, "43[last]")


async def test_a_poll_waits_for_something_to_bring(wire: Wire) -> None:
    session = await wire.polling()
    poll = asyncio.create_task(wire.get(session.sid))
    await asyncio.sleep(0)
    session.post_text("3[]")
    assert (await poll).text == "43[]"


async def test_a_poll_that_brings_nothing_in_time_ends_the_session() -> None:
    wire = Wire(ping_interval_s=0.02, ping_timeout_s=0.02)
    session = await wire.polling()
    answer = await wire.get(session.sid)
    assert (answer.status_code, session.closed) == (400, True)


async def test_many_packets_in_one_request_are_all_heard(wire: Wire) -> None:
    session = await wire.polling()
    await wire.post(session.sid, *(f"4{number}" for number in range(POST_PACKETS)))
    assert [text for _, text in wire.heard] == [str(number) for number in range(POST_PACKETS)]


@pytest.mark.parametrize(
    ("packets", "reason"),
    [
        (["x"], "protocol"),
        ([""], "protocol"),
        (["4ok", "0{}"], "protocol"),
        (["4fail"], "protocol"),
        (["bAAAA"], "binary"),
        (["4x"] * (POST_PACKETS + 1), "protocol"),
    ],
    ids=["nonsense", "nothing", "open", "unhandled", "binary", "too many"],
)
async def test_a_request_that_breaks_the_protocol_ends_the_session(
    wire: Wire, packets: list[str], reason: str
) -> None:
    session = await wire.polling()
    await wire.post(session.sid, *packets)
    await until(lambda: not wire.engine.sockets)
    assert wire.metrics.aborts == [reason]


async def test_a_request_that_is_too_long_ends_the_session() -> None:
    wire = Wire()
    wire.engine.max_http_buffer_size = 1_000
    session = await wire.polling()
    answer = await wire.post(session.sid, "4" + "x" * 1_000)
    assert (answer.status_code, wire.engine.sockets, wire.heard) == (400, {}, [])


async def test_too_much_waiting_for_a_poll_ends_the_session_once(wire: Wire) -> None:
    session = await wire.polling()
    session.post([durable(number) for number in range(40)])
    await until(lambda: not wire.engine.sockets)
    assert (wire.metrics.aborts, len(wire.ended)) == (["overflow"], 1)


async def test_too_many_bytes_waiting_for_a_poll_end_the_session(wire: Wire) -> None:
    session = await wire.polling()
    session.post([durable(number, 60_000) for number in range(3)])
    await until(lambda: not wire.engine.sockets)
    assert wire.metrics.aborts == ["overflow"]
