"""The lean client against servers that refuse, break the protocol, hang or vanish."""

import asyncio
import json
import random
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from simulator.socketio_client import Endpoint, HeartbeatSweep, LeanClient, ReconnectPolicy
from tests.e2e.socketio_client.client_drivers import (
    DEADLINE_S,
    QUICK,
    Witness,
    connected,
    gives_up,
    make_client,
)
from tests.e2e.socketio_client.scripted_server import OPEN, Conversation, scripted
from tests.support.waiting import until

NEVER = ReconnectPolicy.none()
PATIENCE_S = 0.5


@pytest.fixture
def witness() -> Witness:
    return Witness()


async def hold(talk: Conversation) -> None:
    """A good session."""
    await talk.open_session()
    await hold_open(talk)


async def hold_open(talk: Conversation) -> None:
    """Read until the client leaves, and answer its close frame."""
    while True:
        packet = await talk.receive()
        if packet.startswith(b"\x88"):
            await talk.send(packet[1:], 0x88)


async def busy(talk: Conversation) -> None:
    await talk.read_request()
    await talk.answer(b"busy", "503 Service Unavailable", "Retry-After: 1")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_busy_server_is_waited_for_as_long_as_it_asks(witness: Witness, transport: str) -> None:
    """Far longer than the policy would wait by itself."""
    came_s: list[float] = []

    async def note(talk: Conversation) -> None:
        came_s.append(time.monotonic())
        await busy(talk)

    async with scripted(note) as port:
        client = make_client(port, witness, transport)
        client.start()
        await until(lambda: len(came_s) == 2)
        await client.stop()
    assert client.counters.throttled >= 1
    assert came_s[1] - came_s[0] >= 1.0 > QUICK.delay_max_s


async def test_a_busy_server_is_connected_to_afterwards(witness: Witness) -> None:
    async with scripted(busy, hold) as port, connected(port, witness) as client:
        assert (client.counters.throttled, client.counters.attempts) == (1, 2)


async def test_a_busy_server_does_not_wake_a_client_without_policy(witness: Witness) -> None:
    async with scripted(busy) as port:
        client = make_client(port, witness, policy=NEVER)
        await gives_up(client, "HTTP 503: busy")


REFUSALS = {
    "an HTTP error with its body": (
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\nno such place",
        "HTTP 404: no such place",
        1,
    ),
    "a body that ends with the connection": (b"HTTP/1.1 403 Forbidden\r\n\r\nno", "HTTP 403: no", 1),
    "an answer to another key": (
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
        "not to our key",
        0,
    ),
}


@pytest.mark.parametrize(("answer", "why", "http_refused"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_is_told(witness: Witness, answer: bytes, why: str, http_refused: int) -> None:
    async def refuse(talk: Conversation) -> None:
        await talk.read_request()
        await talk.write(answer)

    async with scripted(refuse) as port:
        client = make_client(port, witness, policy=NEVER)
        await gives_up(client, why)
        assert client.counters.http_refused == http_refused


async def test_nobody_listening_is_a_sentence(witness: Witness) -> None:
    async with scripted(hold) as port:
        pass
    client = make_client(port, witness, policy=NEVER)
    await gives_up(client, "cannot connect")


async def test_retries_end_when_the_policy_says_so(witness: Witness) -> None:
    async with scripted(hold) as port:
        pass
    policy = ReconnectPolicy(delay_s=0.001, delay_max_s=0.002, attempts=3)
    client = make_client(port, witness, policy=policy)
    await gives_up(client, "gave up")
    assert client.counters.attempts == 4


@pytest.mark.parametrize(
    "packet",
    [b"", b"9", b"4", b"42", b'42["a"', b"0{}", b"40", b'0{"sid":"s","pingInterval":1,"pingTimeout":1}'],
)
async def test_garbage_ends_the_connection_and_nothing_else(witness: Witness, packet: bytes) -> None:
    async def babble(talk: Conversation) -> None:
        await talk.open_session()
        await talk.send(packet)
        await talk.receive()

    async with scripted(babble, hold) as port, connected(port, witness) as client:
        await until(lambda: len(witness.connects) == 2)
        assert witness.disconnects == ["protocol error"]
        assert client.counters.protocol_errors == 1


@pytest.mark.parametrize("frame", [b"\xff\xff", b"\x81\x80\0\0\0\0", b"\x81\x7f\x7f" + bytes(7)])
async def test_broken_frames_end_the_connection_after_what_came_before(
    witness: Witness, frame: bytes
) -> None:
    async def babble(talk: Conversation) -> None:
        await talk.open_session()
        good = b'42["good",1]'
        await talk.write(bytes((0x81, len(good))) + good + frame)
        await talk.receive()

    async with scripted(babble, hold) as port, connected(port, witness):
        await until(lambda: len(witness.connects) == 2)
        assert witness.disconnects == ["protocol error"]
        assert witness.named("good") == [1]


async def test_a_packet_in_place_of_an_attachment_is_a_breach(witness: Witness) -> None:
    async def babble(talk: Conversation) -> None:
        await talk.open_session()
        await talk.send(b'451-["a",{"_placeholder":true,"num":0}]')
        await talk.send(b'42["b"]')
        await talk.receive()

    async with scripted(babble, hold) as port, connected(port, witness):
        await until(lambda: len(witness.connects) == 2)
        assert witness.events == []
        assert witness.disconnects == ["protocol error"]


async def test_a_heartbeat_between_an_event_and_its_attachment_is_answered(witness: Witness) -> None:
    async def attach(talk: Conversation) -> None:
        await talk.open_session()
        await talk.send(b'451-["a",{"_placeholder":true,"num":0}]')
        await talk.send(b"2")
        assert await talk.receive() == b"3"
        await talk.send(b"bytes", 0x82)
        await talk.receive()

    async with scripted(attach) as port, connected(port, witness) as client:
        await until(lambda: witness.events)
        assert witness.events == [("a", [{"_placeholder": True, "num": 0}])]
        assert client.counters.attachments == 1


async def test_websocket_pings_are_answered(witness: Witness) -> None:
    answers: list[bytes] = []

    async def ping(talk: Conversation) -> None:
        await talk.open_session()
        await talk.send(b"are you there", 0x89)
        answers.append(await talk.receive())
        await talk.receive()

    async with scripted(ping) as port, connected(port, witness):
        await until(lambda: answers)
        assert answers == [b"\x8aare you there"]


async def test_a_close_frame_is_answered_and_come_back_from(witness: Witness) -> None:
    answers: list[bytes] = []

    async def restart(talk: Conversation) -> None:
        await talk.open_session()
        await talk.send(b"\x03\xf4restart", 0x88)
        answers.append(await talk.receive())

    async with scripted(restart, hold) as port, connected(port, witness) as client:
        await until(lambda: len(witness.connects) == 2)
        assert answers == [b"\x88\x03\xf4"]
        assert witness.disconnects == ["transport close"]
        assert "1012" in client.last_failure


async def test_a_server_without_a_heartbeat_is_dead(witness: Witness) -> None:
    sweep = HeartbeatSweep(0.02)

    async def vanish(talk: Conversation) -> None:
        await talk.open_session(pingInterval=100, pingTimeout=100)
        await talk.receive()

    async with scripted(vanish, hold) as port, connected(port, witness, sweep=sweep) as client:
        await until(lambda: len(witness.connects) == 2)
        assert witness.disconnects == ["ping timeout"]
        assert client.counters.ping_timeouts == 1
        assert witness.times_ns[1] - witness.times_ns[0] >= 200_000_000


def gave_up_all_but_the_last(client: LeanClient) -> bool:
    """Once, but for a machine that stalls: then the good server, too, may come too late."""
    counters = client.counters
    return counters.timed_out == counters.attempts - 1 >= 1


async def test_a_server_that_never_answers_connect_is_given_up(witness: Witness) -> None:
    async def mute(talk: Conversation) -> None:
        await talk.accept_websocket()
        await talk.send(b"0" + json.dumps(OPEN).encode())
        while True:
            await talk.receive()

    async with scripted(mute, hold) as port, connected(port, witness, connect_timeout_s=PATIENCE_S) as client:
        assert gave_up_all_but_the_last(client)
        assert witness.disconnects == []


async def test_a_server_that_accepts_and_says_nothing_is_given_up(witness: Witness) -> None:
    async def nothing(talk: Conversation) -> None:
        await talk.reader.read()

    async with (
        scripted(nothing, hold) as port,
        connected(port, witness, connect_timeout_s=PATIENCE_S) as client,
    ):
        assert gave_up_all_but_the_last(client)


async def test_a_server_that_ignores_the_goodbye_delays_it_by_the_grace_only(witness: Witness) -> None:
    async def deaf(talk: Conversation) -> None:
        await talk.open_session()
        await asyncio.Event().wait()

    async with scripted(deaf) as port:
        client = make_client(port, witness)
        client.start()
        await client.wait_connected(DEADLINE_S)
        await asyncio.wait_for(client.stop(), DEADLINE_S)
        assert witness.disconnects == ["client stop"]


async def test_what_comes_after_stop_is_told_to_nobody(witness: Witness) -> None:
    async def chatter(talk: Conversation) -> None:
        await talk.open_session()
        assert await talk.receive() == b"41"
        await talk.send(b'42["late",1]')
        await talk.send(b"", 0x88)

    async with scripted(chatter) as port, connected(port, witness):
        pass
    assert witness.events == []


async def test_events_ahead_of_the_connect_answer_are_delivered(witness: Witness) -> None:
    async def eager(talk: Conversation) -> None:
        await talk.accept_websocket()
        await talk.send(b"0" + json.dumps(OPEN).encode())
        await talk.receive()
        await talk.send(b'42["early",1]')
        await talk.send(b'40{"sid":"x1"}')
        await talk.receive()

    async with scripted(eager) as port, connected(port, witness):
        assert witness.named("early") == [1]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_sticky_cookies_are_kept_and_sent(witness: Witness, transport: str) -> None:
    """Also on the next connection, as a browser does."""
    seen: list[str] = []

    async def sticky(talk: Conversation) -> None:
        await talk.read_request()
        seen.append(talk.request.get("cookie", ""))
        await talk.answer(b"busy", "503 Busy", "Set-Cookie: lb=node7; Path=/; HttpOnly", "Retry-After: 0")

    async with scripted(sticky) as port:
        client = make_client(port, witness, transport)
        client.start()
        await until(lambda: len(seen) >= 2)
        assert seen[:2] == ["", "lb=node7"]
        assert client.cookies == {"lb": "node7"}
        await client.stop()


async def test_headers_of_the_owner_are_sent(witness: Witness) -> None:
    seen: list[str] = []

    async def look(talk: Conversation) -> None:
        await talk.read_request()
        seen.append(talk.request["origin"])
        await talk.answer(b"", "403 Forbidden")

    async with scripted(look) as port:
        client = make_client(port, witness, headers={"Origin": "http://app"}, policy=NEVER)
        await gives_up(client, "HTTP 403")
        assert seen == ["http://app"]


async def test_an_idle_connection_that_the_server_closed_is_replaced(witness: Witness) -> None:
    """Long polling over a server that closes each connection after one answer, without saying so before."""
    answers = [b"0" + json.dumps(OPEN).encode(), b'40{"sid":"x1"}', b'42["a",1]', b'42["a",2]']
    posts: list[bytes] = []

    async def one_answer(talk: Conversation) -> None:
        body = await talk.read_request()
        if talk.first_line.startswith("POST"):
            posts.append(body)
            await talk.answer(b"ok")
        elif answers:
            await talk.answer(answers.pop(0))
        else:
            await asyncio.Event().wait()

    async with scripted(one_answer) as port, connected(port, witness, "polling") as client:
        await until(lambda: len(witness.named("a")) == 2)
        assert client.emit("said", 1)
        await until(lambda: len(posts) == 2)
        assert posts == [b"40", b'42["said",1]']
        assert witness.disconnects == []


async def test_a_failed_upgrade_leaves_polling_as_it_was(witness: Witness) -> None:
    gets = [b"0" + json.dumps(OPEN | {"upgrades": ["websocket"]}).encode(), b'40{"sid":"x1"}', b'42["a",1]']
    failed = asyncio.Event()

    async def poll(talk: Conversation) -> None:
        while True:
            body = await talk.read_request()
            if "transport=websocket" in talk.first_line:
                await talk.answer(b"", "400 Bad Request")
                failed.set()
            elif talk.first_line.startswith("POST"):
                await talk.answer(b"ok")
                if body.endswith(b"1"):
                    return
            elif len(gets) == 1:
                await failed.wait()
                await talk.answer(gets.pop(0))
            elif gets:
                await talk.answer(gets.pop(0))
            else:
                await asyncio.Event().wait()

    async with scripted(poll) as port, connected(port, witness, "upgrade") as client:
        await until(lambda: witness.named("a"))
        await until(lambda: client.counters.upgrade_failures)
        assert client.counters.upgrades == 0
        assert witness.disconnects == []


async def test_an_outbox_that_nobody_empties_is_bounded(witness: Witness) -> None:
    gets = [b"0" + json.dumps(OPEN).encode(), b'40{"sid":"x1"}']

    async def stuck(talk: Conversation) -> None:
        while True:
            body = await talk.read_request()
            if talk.first_line.startswith("POST") and body == b"40":
                await talk.answer(b"ok")
            elif talk.first_line.startswith("GET") and gets:
                await talk.answer(gets.pop(0))
            else:
                await asyncio.Event().wait()

    async with scripted(stuck) as port, connected(port, witness, "polling") as client:
        sent = 0
        while client.emit("say", "x" * 10_000):
            sent += 1
            assert sent < 1000
        assert client.counters.emits_dropped == 1


async def test_a_full_write_buffer_refuses_events(witness: Witness) -> None:
    async def deaf(talk: Conversation) -> None:
        await talk.open_session()
        await asyncio.Event().wait()

    async with scripted(deaf) as port, connected(port, witness) as client:
        sent_bytes = 0
        while client.emit("say", "x" * 100_000):
            sent_bytes += 100_000
            assert sent_bytes < 1 << 30
        assert client.counters.emits_dropped == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of our own for 127.0.0.1, with its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    options = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run(
        [*command, *options, "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True
    )
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def tls_server(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def test_a_trusted_server_is_spoken_to_over_tls(witness: Witness, certificate: Path) -> None:
    async def greet(talk: Conversation) -> None:
        await talk.open_session()
        await talk.send(b'42["hello",1]')
        await hold_open(talk)

    trusting = ssl.create_default_context(cafile=f"{certificate}.crt")
    async with scripted(greet, tls=tls_server(certificate)) as port:
        endpoint = Endpoint.parse(f"wss://127.0.0.1:{port}", tls=trusting)
        client = LeanClient(endpoint, witness, transport="websocket", rng=random.Random(1), policy=NEVER)
        client.start()
        await until(lambda: witness.named("hello"))
        await client.stop()


async def test_a_server_that_nobody_vouches_for_is_not_spoken_to(witness: Witness, certificate: Path) -> None:
    async with scripted(hold, tls=tls_server(certificate)) as port:
        endpoint = Endpoint.parse(f"https://127.0.0.1:{port}")
        client = LeanClient(endpoint, witness, transport="polling", rng=random.Random(1), policy=NEVER)
        await gives_up(client, "certificate verify failed")


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "nowhere.invalid"])
async def test_a_host_without_address_is_a_sentence(witness: Witness, host: str) -> None:
    endpoint = Endpoint.parse(f"http://{host}")
    client = LeanClient(endpoint, witness, transport="websocket", rng=random.Random(1), policy=NEVER)
    await gives_up(client, "cannot connect")


@pytest.mark.parametrize(
    "option",
    [
        {"namespace": "admin"},
        {"namespace": "/a,b"},
        {"headers": {"a": "b\r\nc: d"}},
        {"source_ip": "localhost"},
        {"transport": "carrier pigeon"},
    ],
)
def test_options_that_cannot_be_meant_are_refused(witness: Witness, option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"namespace|header|address|transport"):
        make_client(1, witness, **{"transport": "websocket", **option})
