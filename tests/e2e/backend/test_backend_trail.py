"""One validation followed through the log: from its request to the sockets that were told of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.backend.node import Node, running_node
from tests.support.backend.rest import Rest
from tests.support.backend.sockets import connected
from tests.support.waiting import until

REQUEST = "a-request-of-ours-1"


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    options = {"log_level": "debug", "log_format": "json"}
    with running_node(tmp_path_factory.mktemp("trail"), **options) as node:
        yield node


def lines(node: Node, message: str, **facts: object) -> list[dict[str, Any]]:
    """Log lines with this message and these facts."""
    entries = [json.loads(line) for line in node.log().splitlines()]
    return [
        entry for entry in entries if entry["message"] == message and entry.items() >= dict(facts).items()
    ]


async def test_a_request_id_leads_to_the_socket_that_was_told(talkative: Node) -> None:
    async with Rest(talkative.url) as rest, connected(talkative.url, await rest.account()) as other:
        ann, ben = await rest.accounts(2)
        claim_id = await rest.claim(ann)
        async with connected(talkative.url, ann) as socket:
            session_id = socket.named("connection_established")[0]["session_id"]
            answer = await rest.validate(ben, claim_id, X_Request_ID=REQUEST)
            validation_id = answer.json()["validation"]["id"]
            notification_id = (await socket.hear("new_notification"))["id"]
            assert other.named("new_notification") == []

        accepted = lines(talkative, "validation accepted", request_id=REQUEST)
        assert [entry["validation_id"] for entry in accepted] == [validation_id]
        handed_on = lines(talkative, "push handed on", request_id=REQUEST, notification_id=notification_id)
        assert [entry["validation_id"] for entry in handed_on] == [validation_id]

        def written() -> list[dict[str, Any]]:
            found = lines(talkative, "push written")
            return [entry for entry in found if notification_id in entry["notification_ids"].split()]

        await until(lambda: bool(written()))
        [entry] = written()
        [opened] = lines(talkative, "socket opened", session_id=session_id)
        assert entry["socket_ids"].split() == [opened["socket_id"]]


async def test_the_write_to_the_sockets_is_not_put_down_to_the_request_that_woke_it(talkative: Node) -> None:
    assert not [entry for entry in lines(talkative, "push written") if "request_id" in entry]


async def test_nobody_can_poll_in_place_of_a_socket_that_the_log_names(talkative: Node) -> None:
    async with Rest(talkative.url) as rest, connected(talkative.url, await rest.account()) as socket:
        transport = socket.client.eio.sid
    assert transport
    assert transport not in talkative.log()
