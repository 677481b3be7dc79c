"""Accounts: registering, logging in and out, and whose token this is."""

import asyncio
import threading
from dataclasses import replace

import pytest
from argon2 import extract_parameters

from backend.app.clock import SortableIds
from backend.app.contracts.errors import Code
from backend.app.contracts.types import UserId
from backend.app.domain.records import User
from backend.app.errors import RefusedError, UnavailableError
from backend.app.services.accounts import Accounts
from backend.app.services.passwords import Passwords
from tests.support.backend.rest_app import PASSWORD, World
from tests.support.waiting import until


async def test_the_username_is_shown_where_no_other_name_is_given(world: World) -> None:
    session = await world.services.accounts.register("anna", PASSWORD)
    assert session.user.display_name == "anna"


async def test_login_with_the_right_password(world: World) -> None:
    registered = await world.services.accounts.register("anna", PASSWORD)
    session = await world.services.accounts.login("Anna", PASSWORD)
    assert session.user.id == registered.user.id


@pytest.mark.parametrize(("username", "password"), [("anna", "wrong"), ("nobody", PASSWORD), ("\x00", "x")])
async def test_wrong_names_and_wrong_passwords_are_refused_alike(
    world: World, username: str, password: str
) -> None:
    await world.services.accounts.register("anna", PASSWORD)
    with pytest.raises(RefusedError, match="username or the password") as refusal:
        await world.services.accounts.login(username, password)
    assert refusal.value.code is Code.WRONG_CREDENTIALS


async def test_a_user_without_usable_hash_cannot_log_in(world: World) -> None:
    user = User(UserId("seeded"), "seeded", "Seeded", world.clock.now())
    await world.services.store.users.create_user(user, "!")
    with pytest.raises(RefusedError) as refusal:
        await world.services.accounts.login("seeded", PASSWORD)
    assert refusal.value.code is Code.WRONG_CREDENTIALS


async def test_a_seeded_hash_logs_in(world: World) -> None:
    password_hash = await world.services.accounts.hash_password(PASSWORD)
    user = User(UserId("seeded"), "seeded", "Seeded", world.clock.now())
    await world.services.store.users.create_users([user], password_hash)
    assert (await world.services.accounts.login("seeded", PASSWORD)).user.id == "seeded"


async def test_logout_leaves_other_tokens_valid(world: World) -> None:
    accounts = world.services.accounts
    first = await accounts.register("anna", PASSWORD)
    second = await accounts.login("anna", PASSWORD)
    _, claims = await accounts.authenticate(first.token.token)
    await accounts.logout(claims)
    assert (await accounts.authenticate(second.token.token))[0].id == first.user.id


class GatedPasswords(Passwords):
    """Hashes only when the gate is open, and remembers how many worked at once."""

    def __init__(self, concurrency: int, waiting: int) -> None:
        super().__init__(time_cost=1, memory_kib=8, concurrency=concurrency, waiting=waiting)
        self.gate = threading.Event()
        self.running = 0
        self.most = 0
        self._count = threading.Lock()

    def _matches(self, password: str, password_hash: str) -> bool:
        with self._count:
            self.running += 1
            self.most = max(self.most, self.running)
        self.gate.wait(10)
        with self._count:
            self.running -= 1
        return super()._matches(password, password_hash)


async def test_a_login_storm_never_hashes_more_than_the_bound_at_once() -> None:
    passwords = GatedPasswords(concurrency=2, waiting=100)
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(passwords.verify("x", None))
        await until(lambda: passwords.running == 2)
        passwords.gate.set()
    assert passwords.most == 2


async def test_a_login_beyond_the_line_is_told_to_come_back() -> None:
    passwords = GatedPasswords(concurrency=1, waiting=1)
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(passwords.verify("x", None))
        await until(lambda: passwords.running == 1)
        with pytest.raises(UnavailableError) as refusal:
            await passwords.verify("x", None)
        passwords.gate.set()
    assert refusal.value.code is Code.RATE_LIMITED


async def test_places_in_the_line_are_given_back() -> None:
    passwords = Passwords(time_cost=1, memory_kib=8, concurrency=1, waiting=0)
    for _ in range(3):
        await passwords.verify("x", None)
    assert await passwords.verify("x", await passwords.hash("x"))


async def test_an_unknown_name_costs_a_hash_as_well(world: World) -> None:
    passwords = GatedPasswords(concurrency=1, waiting=1)
    passwords.gate.set()
    services = world.services
    accounts = Accounts(services.store, services.tokens, passwords, world.clock, SortableIds(world.clock))
    with pytest.raises(RefusedError):
        await accounts.login("nobody", PASSWORD)
    assert passwords.most == 1


async def test_the_hash_of_nothing_costs_what_a_real_one_costs_and_matches_nothing() -> None:
    passwords = Passwords(time_cost=1, memory_kib=8)
    real = await passwords.hash(PASSWORD)
    assert extract_parameters(passwords.nothing) == extract_parameters(real)
    assert not await passwords.verify("", None)


async def test_the_display_name_is_kept(world: World) -> None:
    session = await world.services.accounts.register("anna", PASSWORD, "Anna A.")
    stored = await world.services.store.users.user(session.user.id)
    assert stored is not None
    assert replace(stored) == session.user
