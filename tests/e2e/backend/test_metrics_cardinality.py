"""However strangers behave, the number of series of a node's metrics page stays what it is."""

import re
import uuid
from contextlib import suppress
from pathlib import Path

import aiohttp
import socketio

from tests.support.backend.node import Node, running_node
from tests.support.backend.rest import Account, Rest
from tests.support.backend.sockets import connected

ROUND = 40
MAX_SERIES = 3_000
"""Of one worker; what one scrape costs follows from it."""
AN_ID = re.compile(r"[0-9a-f]{16,}|[0-9a-f]{8}-[0-9a-f]{4}")


async def abuse(node: Node, ann: Account) -> None:
    """Names, paths, methods, codes and ids that nobody ever said before."""
    async with Rest(node.url) as rest:
        claim_id = await rest.claim(ann)
        for _ in range(ROUND):
            new = uuid.uuid4().hex
            await rest.request("GET", f"/{new}")
            await rest.request("GET", f"/api/claims/{new}", ann)
            await rest.request("GET", f"/api/users/{new}?{new}={new}", ann)
            await rest.request("GET", f"/app/{new}/{new}")
            await rest.request(f"M{new[:12].upper()}", "/api/claims")
            await rest.post(f"/api/claims/{claim_id}/validations", ann, {"action": new}, X_Request_ID=new)
            await rest.post("/api/auth/login", body={"username": new, "password": new})
            await rest.request("GET", f"/ws/socket.io/?EIO=4&transport={new}")
            await rest.request("GET", f"/ws/socket.io/?EIO=4&transport=polling&sid={new}")
    for _ in range(5):
        new = uuid.uuid4().hex
        async with connected(node.url, ann) as socket:
            for _ in range(ROUND):
                with suppress(socketio.exceptions.SocketIOError):
                    await socket.client.emit(uuid.uuid4().hex, {new: new})
                    await socket.client.emit("watch_claim", {"claim_id": uuid.uuid4().hex})
        with suppress(AssertionError, socketio.exceptions.SocketIOError, aiohttp.ClientError, TimeoutError):
            stranger = socketio.AsyncClient(reconnection=False)
            await stranger.connect(
                node.url, socketio_path="/ws/socket.io", transports=["websocket"], auth={"token": new}
            )
            await stranger.disconnect()


async def test_abuse_makes_no_new_series(tmp_path: Path) -> None:
    with running_node(tmp_path) as node:
        async with Rest(node.url) as rest:
            ann = await rest.account()
        node.metrics()  # reading the page makes a series, too: once
        await abuse(node, ann)
        once = set(node.metrics())
        await abuse(node, ann)
        twice = set(node.metrics())
    assert twice - once == set()
    assert len(twice) < MAX_SERIES
    assert [name for name in twice if AN_ID.search(name)] == []
