"""The full stack with real MongoDB, Valkey, two nodes and Caddy, started as the user starts it."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.stack.balancer import caddyfile
from backend.stack.plan import Kind, StackOptions
from backend.stack.programs import caddy_program
from backend.stack.up import stack_status, start_detached, stop_stack
from simulator.processes import DEVNULL, PIPE, Program, free_port
from tests.e2e.stack.stack_people import (
    DEADLINE_S,
    PATH,
    listening,
    post_claim,
    register,
    vouch,
)
from tests.support.waiting import until, until_async

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[3]
FRONTEND = ROOT / "frontend"
OFFICIAL_CLIENT = Path(__file__).with_name("official_client.mjs")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    data_dir = tmp_path_factory.mktemp("stack")
    facts = start_detached(StackOptions(Kind.FULL, nodes=2, port=0, data_dir=data_dir))
    try:
        yield facts
    finally:
        stop_stack(data_dir)


@pytest.fixture
def url(stack: dict[str, Any]) -> str:
    public: str = stack["url"]
    return public


@pytest.fixture
def nodes(stack: dict[str, Any]) -> list[str]:
    return [node["url"] for node in stack["nodes"]]


async def test_a_validation_on_one_node_notifies_the_owner_on_the_other(nodes):
    owner, validator = register(nodes[0], "owner"), register(nodes[1], "validator")
    claim_id = post_claim(nodes[0], owner)
    async with listening(nodes[0], owner) as ear:
        await asyncio.to_thread(vouch, nodes[1], validator, claim_id)
        said = await ear.hears("validation_received")
        assert said["claim_id"] == claim_id


async def test_live_counts_reach_watchers_on_the_other_node(nodes):
    owner, validator, watcher = (register(nodes[0]) for _ in range(3))
    claim_id = post_claim(nodes[0], owner)
    async with listening(nodes[0], watcher) as ear:
        await asyncio.to_thread(vouch, nodes[1], validator, claim_id)
        said = await ear.hears("validation_count_update", lambda data: data["claim_id"] == claim_id)
        assert said["count"] == 1


@pytest.mark.parametrize("transports", [("polling",), ("polling", "websocket"), ("websocket",)])
async def test_clients_get_through_the_load_balancer_and_are_notified(url, transports):
    owner, validator = register(url), register(url)
    claim_id = post_claim(url, owner)
    async with listening(url, owner, transports) as ear:
        assert ear.sio.transport() == transports[-1]
        await asyncio.to_thread(vouch, url, validator, claim_id)
        await ear.hears("validation_received", lambda data: data["claim_id"] == claim_id)


async def test_polling_clients_are_spread_over_the_nodes_and_stick(url, nodes):
    people = [register(url) for _ in range(8)]
    async with AsyncExitStack() as ears:
        for person in people:
            await ears.enter_async_context(listening(url, person, ("polling",)))
        assert [users_on(node) > 0 for node in nodes] == [True, True]


async def test_the_number_of_connected_users_is_that_of_all_nodes(nodes):
    async with listening(nodes[0], register(nodes[0])) as here, listening(nodes[1], register(nodes[1])):

        async def both() -> bool:
            return await here.connected_users() == 2

        await until_async(both)


async def test_a_killed_node_is_forgotten_and_comes_back(stack, nodes):
    """Its users are counted no more, although it never said goodbye; it is started again."""
    async with listening(nodes[0], register(nodes[0])) as survivor:
        async with listening(nodes[1], register(nodes[0])) as lost:

            async def both() -> bool:
                return await survivor.connected_users() == 2

            await until_async(both)
            os.kill(pids(stack)["node-2"], signal.SIGKILL)
            await until(lambda: not lost.sio.connected)

        async def one() -> bool:
            return await survivor.connected_users() == 1

        await until_async(one)
    await until_async(lambda: answers(nodes[1]))


async def test_a_roll_replaces_the_nodes_one_by_one_and_clients_get_through(stack, url, nodes):
    """Asked all the time: one of the nodes is ready at every moment, and the balancer always has one."""
    before, over, seen = pids(stack), asyncio.Event(), set[tuple[bool, ...]]()
    statuses: set[int] = set()

    async def ask() -> None:
        while not over.is_set():
            statuses.add(await status_of(f"{url}/api/claims"))

    async def look() -> None:
        while not over.is_set():
            now = pids(stack)
            seen.add(tuple(now.get(name) != before[name] for name in ("node-1", "node-2")))
            await asyncio.sleep(0.05)

    looking, asking = asyncio.create_task(look()), asyncio.create_task(ask())
    rolling = await Program(
        [sys.executable, str(ROOT / "cli.py"), "up", "--roll", "--data-dir", stack["data_dir"]], stdout=PIPE
    ).spawn()
    said = (await rolling.output(DEADLINE_S * 2)).decode().splitlines()
    over.set()
    await asyncio.gather(looking, asking)
    after = pids(stack)
    assert (rolling.returncode, [line.split()[0] for line in said]) == (0, ["node-1", "node-2"])
    assert seen <= {(False, False), (True, False), (True, True)}
    assert statuses == {200}
    assert [after[name] != pid for name, pid in before.items()] == [
        name.startswith("node-") for name in before
    ]
    assert await is_status(f"{url}/readyz", 200)


async def test_the_official_client_polls_upgrades_watches_and_resumes(url):
    owner, validator, late = register(url), register(url), register(url)
    claim_id = post_claim(url, owner, quorum=10)
    words = ["node", str(OFFICIAL_CLIENT), str(FRONTEND), url, owner.token, claim_id]
    async with Program(words, stdin=PIPE, stdout=PIPE).spawned() as client:

        async def next_step(name: str) -> dict[str, Any]:
            said = await client.facts(DEADLINE_S)
            assert said["step"] == name, said
            return said

        assert (await next_step("connected"))["transport"] == "polling"
        await next_step("authenticated")
        assert (await next_step("watching"))["count"] == 0
        assert (await next_step("upgraded"))["transport"] == "websocket"
        await asyncio.to_thread(vouch, url, validator, claim_id)
        first_seq = (await next_step("notified"))["seq"]
        await next_step("away")
        await asyncio.to_thread(vouch, url, late, claim_id)
        assert client.process.stdin is not None
        client.process.stdin.write(b"come back\n")
        assert (await next_step("resumed"))["recovered"] is True
        assert (await next_step("caught up"))["seq"] > first_seq
        assert await asyncio.wait_for(client.process.wait(), DEADLINE_S) == 0


async def test_without_redis_the_stack_serves_says_so_and_heals(stack, url, nodes):
    os.kill(pids(stack)["redis"], signal.SIGSTOP)
    try:
        await until_async(lambda: is_status(f"{nodes[0]}/readyz", 503))
        owner, validator = await asyncio.to_thread(register, url), await asyncio.to_thread(register, url)
        claim_id = await asyncio.to_thread(post_claim, url, owner)
        await asyncio.to_thread(vouch, url, validator, claim_id)
    finally:
        os.kill(pids(stack)["redis"], signal.SIGCONT)
    await until_async(lambda: answers(nodes[0]))


async def test_without_mongodb_requests_are_refused_and_nothing_is_lost(stack, url):
    owner = register(url)
    claim_id = post_claim(url, owner)
    os.kill(pids(stack)["mongodb"], signal.SIGSTOP)
    try:
        await until_async(lambda: is_status(f"{url}/api/claims", 503))
    finally:
        os.kill(pids(stack)["mongodb"], signal.SIGCONT)
    await until_async(lambda: is_status(f"{url}/api/claims/{claim_id}", 200))


async def test_without_stickiness_polling_requests_meet_a_node_that_does_not_know_them(nodes, tmp_path):
    """The negative control: it is the cookie that makes polling work."""
    port = free_port()
    ports = [int(node.rpartition(":")[2]) for node in nodes]
    sticky = r"lb_policy cookie \w+ \{[^}]*\}"
    text = re.sub(sticky, "lb_policy round_robin", caddyfile(port, ports))
    assert "cookie" not in text
    (tmp_path / "Caddyfile").write_text(text)
    command = [caddy_program(), "run", "--adapter", "caddyfile", "--config", str(tmp_path / "Caddyfile")]
    home = {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    async with Program(command, env=home, stderr=DEVNULL).spawned():
        await until_async(lambda: answers(f"http://127.0.0.1:{port}"))
        assert 400 in await polling_answers(f"http://127.0.0.1:{port}")


async def test_with_stickiness_polling_requests_meet_the_node_that_knows_them(url):
    assert await polling_answers(url) == {200}


async def polling_answers(url: str) -> set[int]:
    """Statuses of the requests of one polling session."""
    query = {"EIO": "4", "transport": "polling"}
    async with httpx.AsyncClient(base_url=url, timeout=DEADLINE_S) as client:
        opened = await client.get(PATH, params=query)
        query["sid"] = json.loads(opened.text.removeprefix("0"))["sid"]
        packets = ["40", *['42["ping",{}]'] * 5]
        return {(await client.post(PATH, params=query, content=packet)).status_code for packet in packets}


def pids(stack: dict[str, Any]) -> dict[str, int]:
    services = stack_status(Path(stack["data_dir"]))["services"]
    return {service["name"]: service["pid"] for service in services}


def users_on(node: str) -> float:
    page = httpx.get(f"{node}/metrics", timeout=DEADLINE_S).text
    sample = re.search(r"^websocket_connected_users (\S+)$", page, re.MULTILINE)
    assert sample is not None
    return float(sample[1])


async def answers(url: str) -> bool:
    return await is_status(f"{url}/readyz", 200)


async def is_status(url: str, status: int) -> bool:
    try:
        return await status_of(url) == status
    except httpx.TransportError:
        return False


async def status_of(url: str) -> int:
    async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
        return (await client.get(url)).status_code
