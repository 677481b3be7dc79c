"""A token that was logged out ends its sockets on every node, at once, and nobody else's."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.backend.node import Node
from tests.support.backend.raw import raw_socket
from tests.support.backend.rest import Account, Rest
from tests.support.backend.sockets import Witness, auth_of, connected
from tests.support.backend.two_nodes import running_pair_and_bus
from tests.support.services import Valkey
from tests.support.waiting import until, until_async

pytestmark = pytest.mark.services

Pair = tuple[Node, Node, Valkey]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with running_pair_and_bus(tmp_path_factory.mktemp("kick"), slow_abort_s=60) as nodes:
        yield nodes


async def hearing(*nodes: Node) -> None:
    """Return when each node hears the bus."""

    async def all_hear() -> bool:
        return all(node.metrics()["bus_connected"] == 1 for node in nodes)

    await until_async(all_hear, "the bus is heard")


async def log_in_again(rest: Rest, who: Account) -> Account:
    """The same user with another token."""
    answer = await rest.post(
        "/api/auth/login", body={"username": who.username, "password": "correct horse battery"}
    )
    assert answer.status_code == 200, answer.text
    return Account(who.id, who.username, answer.json()["token"])


async def test_logging_out_here_ends_the_tokens_sockets_there(pair: Pair) -> None:
    one, two, _ = pair
    await hearing(one, two)
    async with Rest(one.url) as rest:
        ann = await rest.account()
        async with connected(two.url, ann) as far, connected(one.url, ann) as near:
            await rest.post("/api/auth/logout", ann)
            await until(lambda: far.gone and near.gone, "both are ended")
            codes = [[error["code"] for error in witness.named("auth_error")] for witness in (far, near)]
    assert codes == [["token_revoked"], ["token_revoked"]]


async def test_other_tokens_and_other_users_stay(pair: Pair) -> None:
    one, two, _ = pair
    await hearing(one, two)
    async with Rest(one.url) as rest:
        ann, ben = await rest.accounts(2)
        again = await log_in_again(rest, ann)
        async with (
            connected(two.url, ann) as kicked,
            connected(two.url, again) as other_token,
            connected(two.url, ben) as other_user,
        ):
            await rest.post("/api/auth/logout", ann)
            await until(lambda: kicked.gone, "it is ended")
            await other_token.settle()
            await other_user.settle()
            assert (other_token.gone, other_user.gone) == (False, False)


async def test_a_socket_that_does_not_read_is_ended_too(pair: Pair) -> None:
    """It would never take the word, nor a close: only an abort frees it."""
    one, two, _ = pair
    await hearing(one, two)
    async with Rest(one.url) as rest, Rest(two.url) as there:
        ann, ben = await rest.accounts(2)
        async with (
            raw_socket(two, reading=False, receive_bytes=4_096) as stuck,
            connected(two.url, ben) as fine,
        ):
            await stuck.send(f'40{{"token":"{ann.token}"}}')

            async def connected_users() -> bool:
                status = await fine.ask("get_status")
                return bool(two.metrics()["websocket_connected_users"] == 2 and status)

            await until_async(connected_users, "it has joined")
            await stuck.send(*[f'42{number}["ping",{{}}]' for number in range(90)])
            before = two.metrics()['websocket_aborts_total{reason="token_revoked"}']
            await there.post("/api/auth/logout", ann)

            async def ended() -> bool:
                return two.metrics()['websocket_aborts_total{reason="token_revoked"}'] == before + 1

            await until_async(ended, "it is ended")
            await until_async(lambda: gone(two), "its user is gone")


async def gone(node: Node) -> bool:
    return node.metrics()["websocket_connected_users"] == 1


async def test_a_kick_that_the_bus_lost_is_made_up_for(pair: Pair) -> None:
    one, two, valkey = pair
    await hearing(one, two)
    async with Rest(one.url) as rest:
        ann, ben = await rest.accounts(2)
        async with connected(two.url, ann) as kicked, connected(two.url, ben) as other:
            valkey.kill()
            await rest.post("/api/auth/logout", ann)
            valkey.start()
            await until(lambda: kicked.gone, "the gap is closed", timeout_s=30)
            await other.settle()
            assert not other.gone


async def test_no_moment_is_left_between_the_look_up_and_the_entry(pair: Pair) -> None:
    """Logging out while sockets come: none of them is there afterwards, whoever was first."""
    one, two, _ = pair
    await hearing(one, two)
    async with Rest(one.url) as rest:
        for _ in range(10):
            ann = await rest.account()
            witnesses = [Witness() for _ in range(6)]
            coming = [
                asyncio.create_task(witness.connect(node.url, auth_of(ann), transports=["websocket"]))
                for witness, node in zip(witnesses, (one, two) * 3, strict=True)
            ]
            await rest.post("/api/auth/logout", ann)
            await asyncio.gather(*coming, return_exceptions=True)
            for witness in witnesses:
                await until(lambda witness=witness: witness.gone, "it does not stay")  # type: ignore[misc]
                await witness.close()
