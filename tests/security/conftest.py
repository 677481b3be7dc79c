"""For the authorisation tests: nodes, a victim with something to protect, and a second user."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.security.wrong_tokens import Victim
from tests.support.backend.node import Node, running_node
from tests.support.backend.rest import Account, Rest


@pytest.fixture(scope="session")
def guarded_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with the default rules."""
    with running_node(tmp_path_factory.mktemp("guarded"), requests_per_user_per_min=0) as node:
        yield node


@pytest.fixture(scope="session")
def public_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that lets anonymous sockets watch."""
    with running_node(tmp_path_factory.mktemp("public"), anonymous_live=True) as node:
        yield node


@pytest.fixture
async def rest(guarded_node: Node) -> AsyncIterator[Rest]:
    async with Rest(guarded_node.url) as client:
        yield client


@pytest.fixture
async def victim(rest: Rest) -> Victim:
    """A user with a claim, an unread notification, and a token that was logged out."""
    return await a_victim(rest)


@pytest.fixture
async def other(rest: Rest) -> Account:
    """A second user with a valid token."""
    return await rest.account()


async def a_victim(rest: Rest) -> Victim:
    """See the fixture of that name."""
    account = await rest.account()
    revoked = await rest.login(account)
    await rest.post("/api/auth/logout", revoked)
    claim_id = await rest.claim(account, quorum=100)
    await rest.vouch(await rest.account(), claim_id)
    return Victim(account, revoked, claim_id, (await rest.bell(account))[0]["id"])
