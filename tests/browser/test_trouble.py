"""Networks without websockets, tokens that end, wrong passwords: an honest state and no hammering."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from playwright.async_api import Page, expect

from backend.app.clock import SystemClock
from backend.app.contracts.types import UserId
from backend.app.services.tokens import Tokens
from tests.browser.visitors import BANNER, GIVEN_UP_LINE, REFUSED_LINE, Visitors, expect_live, expect_unread
from tests.browser.web_stack import PASSWORD, Community, NoWebSockets, Person, Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SECRET = "only for these tests, and long enough"
LIFE_S = 16
"""Of a token that ends during its test: signing in and looking fit in, on a busy machine, too."""
ENDED_WITHIN_MS = 20_000


def short_lived(person: Person, life_s: int) -> Person:
    """The same user with a token that ends soon, signed with the test server's own secret."""
    return replace(person, token=Tokens(SECRET, life_s, SystemClock()).issue(UserId(person.id)).token)


async def sign_in(page: Page, person: Person, password: str = PASSWORD) -> None:
    await page.get_by_label("Username").fill(person.username)
    await page.get_by_label("Password").fill(password)
    await page.locator("form").get_by_role("button", name="Sign in").click()


async def test_polling_only(
    server: Server, people: Community, visitors_of: Callable[[str], Visitors]
) -> None:
    owner, voter = await people.several(2)
    claim = await people.post_claim(owner, "No websockets here")
    async with NoWebSockets(server.url) as proxy:
        visitors = visitors_of(proxy.url)
        visitors.allow(r"error: WebSocket connection to .* failed")
        page = await visitors.visit(owner, f"/claims/{claim}")
        await expect_live(page)
        await people.vote(voter, claim)
        await expect_unread(page, 1)
        await expect(page.locator("[data-testid=count]")).to_have_text("1")
        await page.locator(".connection-button").click()
        await expect(page.locator("[data-fact=Transport]")).to_have_text("Long polling")
        await visitors.close()
        assert proxy.refused <= 2


async def test_refused_sign_in(visitors: Visitors, people: Community) -> None:
    visitors.allow(REFUSED_LINE)
    person = await people.register("Refused")
    page = await visitors.visit(None, "/signin")
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    await sign_in(page, person, "not the password")
    await expect(page.get_by_role("alert").filter(has_text="password")).to_be_visible()
    await expect(page.locator(".bell-button")).to_have_count(0)
    assert sockets == []
    await sign_in(page, person)
    await expect_live(page)


async def test_expired_token_says_so_and_stops(
    new_server: Callable[..., Server],
    people_of: Callable[[Server], Community],
    visitors_of: Callable[[str], Visitors],
) -> None:
    server = new_server(VOUCHSTORM_JWT_SECRET=SECRET)
    await server.start()
    people = people_of(server)
    person = short_lived(await people.register("Expired"), LIFE_S)
    visitors = visitors_of(server.url)
    visitors.allow(REFUSED_LINE)
    page = await visitors.visit(person, "/leaderboard")
    await expect_live(page)
    banner = page.locator(BANNER)
    await expect(banner).to_contain_text("Your session is about to end.", timeout=ENDED_WITHIN_MS)
    await expect(page.get_by_text("Your session has expired.")).to_be_visible(timeout=ENDED_WITHIN_MS)
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    await sign_in(page, person)
    await expect(page.locator("h1")).to_have_text("Leaderboard")
    await expect_live(page)
    assert len(sockets) == 1


async def test_signing_in_again_in_time_keeps_the_connection(
    new_server: Callable[..., Server],
    people_of: Callable[[Server], Community],
    visitors_of: Callable[[str], Visitors],
) -> None:
    server = new_server(VOUCHSTORM_JWT_SECRET=SECRET)
    await server.start()
    people = people_of(server)
    person = short_lived(await people.register("Again"), LIFE_S * 3 // 2)
    visitors = visitors_of(server.url)
    page = await visitors.visit(person)
    await expect_live(page)
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    again = page.locator(BANNER).get_by_role("link", name="Sign in again")
    await again.click(timeout=ENDED_WITHIN_MS)
    await sign_in(page, person)
    await expect(page.locator("h1")).to_have_text("Claims")
    await expect(page.locator(BANNER)).to_have_count(0)
    await expect_live(page)
    assert sockets == []
    await visitors.close()


async def test_token_revoked_elsewhere(visitors: Visitors, people: Community) -> None:
    # Which is heard first, the refusal over REST or the one of the opening socket, is not decided.
    visitors.allow(REFUSED_LINE)
    visitors.allow(GIVEN_UP_LINE)
    person = await people.register("Revoked")
    await people.logout(person)
    page = await visitors.visit(person, "/leaderboard")
    await expect(page.get_by_text("You were signed out.")).to_be_visible()
    assert await page.evaluate("localStorage.getItem('vouchstorm.token')") is None


async def test_sign_out_reaches_the_other_tab(visitors: Visitors, people: Community) -> None:
    # What either tab had under way when the other signed out is refused, or given up.
    visitors.allow(REFUSED_LINE)
    visitors.allow(GIVEN_UP_LINE)
    context = await visitors.context(await people.register("Leaver"))
    one, other = await visitors.open(context), await visitors.open(context, "/leaderboard")
    for page in (one, other):
        await expect_live(page)
    await one.bring_to_front()
    await one.get_by_role("button", name="Account of").click()
    await one.get_by_role("button", name="Sign out").click()
    for page in (one, other):
        await expect(page.locator(".bell-button")).to_have_count(0)
