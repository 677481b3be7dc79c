"""One quick node that end-to-end tests share; those that stop, kill or configure a node start their own."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.backend.node import Node, running_node
from tests.support.backend.rest import Rest


@pytest.fixture(scope="session")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with the default settings, apart from cheap passwords."""
    with running_node(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture
async def rest(shared_node: Node) -> AsyncIterator[Rest]:
    """REST client of the shared node."""
    async with Rest(shared_node.url) as client:
        yield client
