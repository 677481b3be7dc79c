"""Secrets never reach the log: a node that says as much as it can, through everything that handles one."""

import json
from collections.abc import Iterator

import pytest

from tests.support.backend.node import SECRET, Node, running_node
from tests.support.backend.raw import raw_socket
from tests.support.backend.rest import PASSWORD, Account, Rest
from tests.support.backend.sockets import connected

RETIRED = "a-retired-secret-of-at-least-32-characters"
WRONG_PASSWORD = "an entirely wrong password"
BROKEN_PASSWORD = "a password in a broken body"


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that logs everything, for a collector."""
    options = {"log_level": "debug", "log_format": "json", "jwt_retired_secrets": RETIRED}
    with running_node(tmp_path_factory.mktemp("talkative"), **options) as node:
        yield node


async def everything_that_handles_secrets(node: Node) -> list[Account]:
    """Register, log in and out, connect in every way, with right and wrong secrets; the accounts."""
    async with Rest(node.url) as rest:
        ann, ben = await rest.accounts(2)
        again = await rest.login(ann)
        for body in (
            {"username": ann.username, "password": WRONG_PASSWORD},
            {"username": ann.username, "password": BROKEN_PASSWORD, "unexpected": True},
            {"username": "x", "password": BROKEN_PASSWORD},
        ):
            await rest.post("/api/auth/login", body=body)
            await rest.post("/api/auth/register", body=body)
        broken = f'{{"username": "ann", "password": "{BROKEN_PASSWORD}'
        headers = {"Content-Type": "application/json"}
        await rest.request("POST", "/api/auth/login", data=broken, headers=headers)
        await rest.request("GET", f"/api/claims?token={ann.token}", ann)
        await rest.request("GET", f"/api/claims/{ann.token}", ann)
        await rest.request("GET", "/api/auth/me", Account("", "", ann.token[:-3]))
        async with connected(node.url, ann, transports=["polling", "websocket"]) as socket:
            await socket.ask("reauth", {"token": again.token})
            await socket.ask("reauth", {"token": ben.token})
            await socket.ask("nonsense", {"token": again.token})
        async with connected(node.url) as socket:
            await socket.ask("authenticate", {"token": again.token, "user_id": ben.id})
            await socket.ask("authenticate", {"token": again.token})
        path = f"/ws/socket.io/?EIO=4&transport=websocket&token={ann.token}"
        async with raw_socket(node, path=path) as raw:
            await raw.send(f'40{{"token":"{ann.token}","live":"{ann.token}"}}')
            await raw.until_closed()
        await rest.post("/api/auth/logout", ann)
        return [ann, ben, again]


async def test_no_secret_is_in_the_log(talkative: Node) -> None:
    accounts = await everything_that_handles_secrets(talkative)
    signatures = [account.token.rpartition(".")[2] for account in accounts]
    log = talkative.log()
    found = [
        secret
        for secret in (SECRET, RETIRED, PASSWORD, WRONG_PASSWORD, BROKEN_PASSWORD, *signatures)
        if secret in log or secret[:16] in log
    ]
    assert not found
    assert "POST /api/auth/login 401" in log, "the node says something at this level"


async def test_every_line_is_one_json_object(talkative: Node) -> None:
    await everything_that_handles_secrets(talkative)
    for line in talkative.log().splitlines():
        assert {"time", "level", "logger", "node", "message"} <= set(json.loads(line)), line


async def test_no_traceback_is_in_the_log(talkative: Node) -> None:
    await everything_that_handles_secrets(talkative)
    assert "Traceback" not in talkative.log()


async def test_the_health_and_metrics_pages_hold_no_secret(talkative: Node) -> None:
    accounts = await everything_that_handles_secrets(talkative)
    async with Rest(talkative.url) as rest:
        pages = [
            (await rest.request("GET", path)).text for path in ("/", "/readyz", "/metrics", "/openapi.json")
        ]
    text = "".join(pages)
    assert not [account.token for account in accounts if account.token in text]
    assert SECRET not in text


async def test_nobody_can_poll_in_place_of_a_socket_by_what_the_log_says(talkative: Node) -> None:
    async with Rest(talkative.url) as rest, connected(talkative.url, await rest.account()) as socket:
        transport = socket.client.eio.sid
    assert transport
    assert transport not in talkative.log()
