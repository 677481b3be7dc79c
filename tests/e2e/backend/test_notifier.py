"""Processes without sockets reach connected users: by the services, or by the library's own manager."""

import os
from collections.abc import Iterator

import pytest
import socketio

from backend.app.contracts.types import NotificationType, UserId
from backend.app.errors import SetupError
from backend.app.notifier import outside
from backend.app.settings import Settings, load_settings
from tests.support.backend.node import SECRET, Node, running_node
from tests.support.backend.rest import Rest
from tests.support.backend.sockets import connected
from tests.support.services import running_valkey

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def bus_url() -> Iterator[str]:
    try:
        with running_valkey() as valkey:
            yield valkey.url()
    except SetupError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def node(bus_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with running_node(tmp_path_factory.mktemp("outside"), bus_url=bus_url) as started:
        yield started


@pytest.fixture
def beside(node: Node, bus_url: str) -> Settings:
    """Settings of a process beside the node: the same store, the same bus."""
    return load_settings(data_dir=node.data_dir, bus_url=bus_url, jwt_secret=SECRET)


async def test_a_notification_made_outside_reaches_a_connected_user(node: Node, beside: Settings) -> None:
    async with Rest(node.url) as rest:
        ann = await rest.account()
        async with connected(node.url, ann) as bell:
            async with outside(beside) as services:
                await services.notifications.create_notification(
                    UserId(ann.id), NotificationType.SYSTEM, "Maintenance", "Tonight at ten."
                )
            heard = await bell.hear("new_notification")
    assert (heard["seq"], heard["type"], heard["title"]) == (1, "system", "Maintenance")


async def test_a_notification_made_outside_is_stored(node: Node, beside: Settings) -> None:
    async with Rest(node.url) as rest:
        ann = await rest.account()
        async with outside(beside) as services:
            await services.notifications.create_notification(
                UserId(ann.id), NotificationType.SYSTEM, "Maintenance", "Tonight at ten."
            )
        assert [row["title"] for row in await rest.bell(ann)] == ["Maintenance"]


async def test_without_a_bus_it_is_stored_all_the_same(node: Node) -> None:
    alone = load_settings(data_dir=node.data_dir, jwt_secret=SECRET)
    async with Rest(node.url) as rest:
        ann = await rest.account()
        async with outside(alone) as services:
            await services.notifications.create_notification(
                UserId(ann.id), NotificationType.SYSTEM, "Quiet", "Nobody is told."
            )
        assert [row["title"] for row in await rest.bell(ann)] == ["Quiet"]


async def test_the_librarys_write_only_manager_reaches_a_room(node: Node, bus_url: str) -> None:
    async with Rest(node.url) as rest:
        ann = await rest.account()
        async with connected(node.url, ann) as bell:
            manager = socketio.AsyncRedisManager(bus_url, write_only=True)
            await manager.emit("maintenance", {"at": "22:00"}, room=f"user:{ann.id}")
            heard = await bell.hear("maintenance")
            await manager.redis.aclose()
    assert heard == {"at": "22:00"}
