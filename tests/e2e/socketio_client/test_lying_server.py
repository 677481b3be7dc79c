"""The lying server lies exactly as told, and is honest otherwise: the harness is judged against it."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.e2e.socketio_client.client_drivers import DEADLINE_S, Witness, connected, running
from tests.support.waiting import until

MESSAGES = 40


class Publisher:
    """Publishes over HTTP and asks for the server's own counts."""

    def __init__(self, port: int, http: httpx.AsyncClient) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.http = http

    async def publish(self, count: int, room: str = "a") -> None:
        for number in range(count):
            body = {"room": room, "id": f"{room}{number}", "stamp": number}
            answer = await self.http.post(f"{self.url}/publish", json=body)
            assert answer.status_code == 200

    async def counts(self) -> dict[str, int]:
        counts: dict[str, int] = (await self.http.get(f"{self.url}/counts")).json()
        return counts


async def received(*flags: str, wait_for: int = MESSAGES) -> tuple[list[int], dict[str, int]]:
    """The seqs that a member of the room got of MESSAGES, and the server's counts."""
    witness = Witness()
    with running("lying_server", *flags) as port:
        async with httpx.AsyncClient() as http, connected(port, witness) as client:
            assert await client.call("join", {"room": "a"}, timeout_s=DEADLINE_S) == {"room": "a", "seq": 0}
            publisher = Publisher(port, http)
            await publisher.publish(MESSAGES)
            await until(lambda: len(witness.named("message")) >= wait_for)
            return [message["seq"] for message in witness.named("message")], await publisher.counts()


async def test_without_flags_it_is_honest() -> None:
    seqs, counts = await received()
    assert seqs == list(range(1, MESSAGES + 1))
    assert counts == {
        "published": MESSAGES,
        "sent": MESSAGES,
        "dropped": 0,
        "duplicated": 0,
        "swapped": 0,
        "delayed": 0,
        "leaked": 0,
        "replayed": 0,
        "withheld": 0,
    }


async def test_it_drops() -> None:
    seqs, counts = await received("--drop-every", "10", wait_for=MESSAGES - 4)
    assert [seq for seq in range(1, MESSAGES + 1) if seq not in seqs] == [10, 20, 30, 40]
    assert (counts["dropped"], counts["sent"]) == (4, MESSAGES - 4)


async def test_it_duplicates() -> None:
    seqs, counts = await received("--duplicate-every", "10", wait_for=MESSAGES + 4)
    assert [seq for seq in set(seqs) if seqs.count(seq) == 2] == [10, 20, 30, 40]
    assert counts["duplicated"] == 4


async def test_it_swaps_neighbours() -> None:
    seqs, counts = await received("--swap-every", "15")
    assert seqs[14:16] == [16, 15]
    assert seqs[29:31] == [31, 30]
    assert counts["swapped"] == 2


async def test_it_delays() -> None:
    seqs, counts = await received("--delay-every", "15", "--delay-ms", "800")
    assert sorted(seqs) == list(range(1, MESSAGES + 1))
    assert seqs.index(15) > seqs.index(16)
    assert seqs.index(30) > seqs.index(31)
    assert counts["delayed"] == 2


async def test_it_leaks_to_a_stranger() -> None:
    witness, stranger = Witness(), Witness()
    with running("lying_server", "--leak-every", "10") as port:
        async with (
            httpx.AsyncClient() as http,
            connected(port, witness) as client,
            connected(port, stranger) as other,
        ):
            await client.call("join", {"room": "a"}, timeout_s=DEADLINE_S)
            await other.call("join", {"room": "b"}, timeout_s=DEADLINE_S)
            await Publisher(port, http).publish(MESSAGES)
            await until(lambda: len(stranger.named("message")) == 4)
            assert {message["room"] for message in stranger.named("message")} == {"a"}
            assert len(witness.named("message")) == MESSAGES


async def missed(*flags: str) -> tuple[Witness, dict[str, int]]:
    """A member that was away for five of fifteen messages, and came back with its cursor."""
    witness = Witness()
    cursor: dict[str, Any] = {}
    with running("lying_server", *flags) as port:
        async with (
            httpx.AsyncClient() as http,
            connected(port, witness, auth=lambda: {"last_seq": cursor}) as client,
        ):
            publisher = Publisher(port, http)
            await client.call("join", {"room": "a"}, timeout_s=DEADLINE_S)
            await publisher.publish(10)
            await until(lambda: len(witness.named("message")) == 10)
            cursor["a"] = 10
            client.go_offline(0.3)
            await publisher.publish(5)
            await until(lambda: witness.named("recovery"))
            return witness, await publisher.counts()


async def test_recovery_is_honest() -> None:
    witness, counts = await missed()
    assert [message["seq"] for message in witness.named("message")] == list(range(1, 16))
    word = {"room": "a", "recovered": True, "from_seq": 11, "to_seq": 15}
    assert witness.named("recovery") == [word]
    assert counts["replayed"] + counts["sent"] >= 15


async def test_recovery_can_be_stalled() -> None:
    witness, counts = await missed("--stall-recovery")
    assert witness.named("recovery")[0]["recovered"] is True
    assert counts["withheld"] == 15 - len(witness.named("message"))
    assert counts["withheld"] > 0


@pytest.mark.parametrize("flags", [["--no-recovery"], ["--history", "2"]], ids=["refused", "trimmed history"])
async def test_no_recovery_is_admitted(flags: list[str]) -> None:
    witness, _ = await missed(*flags)
    assert witness.named("recovery")[0]["recovered"] is False


async def test_sync_gives_what_was_missed() -> None:
    witness = Witness()
    with running("lying_server") as port:
        async with httpx.AsyncClient() as http, connected(port, witness) as client:
            await Publisher(port, http).publish(5)
            answer = await client.call("sync", {"room": "a", "after_seq": 3}, timeout_s=DEADLINE_S)
            assert (answer["recovered"], answer["from_seq"], answer["to_seq"]) == (True, 4, 5)
            assert [item["seq"] for item in answer["items"]] == [4, 5]


async def test_order_holds_for_publishers_at_once() -> None:
    witness = Witness()
    with running("lying_server") as port:
        async with httpx.AsyncClient() as http, connected(port, witness) as client:
            await client.call("join", {"room": "a"}, timeout_s=DEADLINE_S)
            publisher = Publisher(port, http)
            await asyncio.gather(*(publisher.publish(20) for _ in range(5)))
            await until(lambda: len(witness.named("message")) == 100)
            assert [message["seq"] for message in witness.named("message")] == list(range(1, 101))


@pytest.mark.parametrize("body", [b"", b"[]", b'{"room":"a"}'])
async def test_a_publication_without_its_fields_is_refused(body: bytes) -> None:
    with running("lying_server") as port:
        async with httpx.AsyncClient() as http:
            answer = await http.post(f"http://127.0.0.1:{port}/publish", content=body)
            assert answer.status_code == 422
