"""Two browsers, two users: what one does, the other sees."""

import pytest
from playwright.async_api import expect

from tests.browser.visitors import Visitors, expect_live, expect_unread, share, shown_unread
from tests.browser.web_stack import Community

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_bell_counts_up_when_another_user_votes(visitors: Visitors, people: Community) -> None:
    owner, voter = await people.several(2)
    claim = await people.post_claim(owner, "The bell counts up")
    bell = await visitors.visit(owner)
    vote = await visitors.visit(voter, f"/claims/{claim}")
    await expect_live(bell)
    await vote.get_by_role("button", name="Vouch").click()
    await expect(bell.locator("[data-testid=unread]")).to_have_text("1")
    await expect_unread(bell, 1)


async def test_bars_move_on_both_pages(visitors: Visitors, people: Community) -> None:
    owner, first, second = await people.several(3)
    claim = await people.post_claim(owner, "The bars move", quorum=5)
    pages = [await visitors.visit(person, f"/claims/{claim}") for person in (owner, first)]
    for page in pages:
        await expect_live(page)
    await pages[1].get_by_role("button", name="Vouch").click()
    for page in pages:
        await expect(share(page, "vouch")).to_have_attribute("data-percent", "100")
    await people.vote(second, claim, "dispute")
    for page in pages:
        await expect(share(page, "dispute")).to_have_attribute("data-percent", "50")
        await expect(page.locator("[data-testid=count]")).to_have_text("2")


async def test_consensus_is_a_moment_on_every_page(visitors: Visitors, people: Community) -> None:
    owner, voter, bystander, *others = await people.several(5)
    claim = await people.post_claim(owner, "The moment comes")
    for person in others:
        await people.vote(person, claim)
    pages = [await visitors.visit(person, f"/claims/{claim}") for person in (owner, voter, bystander)]
    for page in pages:
        await expect_live(page)
    await pages[1].get_by_role("button", name="Vouch").click()
    for page in pages:
        await expect(page.locator(".consensus-now")).to_contain_text("Consensus: Verified")
        await expect(page.locator("[data-testid=consensus]")).to_contain_text("Vouch 100%")


async def test_claims_list_moves_without_a_reload(visitors: Visitors, people: Community) -> None:
    owner, voter, reader = await people.several(3)
    claim = await people.post_claim(owner, "The list moves")
    page = await visitors.visit(reader)
    card = page.locator(f"[data-claim='{claim}']")
    await expect(card.locator("[data-testid=count]")).to_have_text("0")
    await expect_live(page)
    await people.vote(voter, claim)
    await expect(card.locator("[data-testid=count]")).to_have_text("1")


async def test_reading_in_one_tab_clears_the_other(visitors: Visitors, people: Community) -> None:
    owner, first, second = await people.several(3)
    claim = await people.post_claim(owner, "Read me")
    for voter in (first, second):
        await people.vote(voter, claim)
    context = await visitors.context(owner)
    one, other = await visitors.open(context), await visitors.open(context, "/leaderboard")
    for page in (one, other):
        await expect_unread(page, 2)
    await one.bring_to_front()
    await one.locator(".bell-button").click()
    await one.locator(".bell-list a").first.click()
    await expect(one.locator("h1")).to_have_text("Read me")
    for page in (one, other):
        await expect_unread(page, 1)
    await one.locator(".bell-button").click()
    await one.get_by_role("button", name="Mark all read").click()
    for page in (one, other):
        await expect_unread(page, 0)
    assert await people.unread(owner) == 0


async def test_reading_clears_the_bell_on_another_device(visitors: Visitors, people: Community) -> None:
    owner, voter = await people.several(2)
    claim = await people.post_claim(owner, "Two devices")
    await people.vote(voter, claim)
    desk, phone = await visitors.visit(owner), await visitors.visit(owner, "/notifications")
    await expect_unread(desk, 1)
    await phone.get_by_role("button", name="Mark all read").click()
    await expect_unread(desk, 0)


async def test_more_than_99_unread(visitors: Visitors, people: Community) -> None:
    owner, *voters = await people.several(11)
    claims = [await people.post_claim(owner, f"Claim {number}", quorum=100) for number in range(10)]
    page = await visitors.visit(owner)
    await expect_live(page)
    for claim in claims:
        for voter in voters:
            await people.vote(voter, claim)
    await expect_unread(page, 100)
    assert await shown_unread(page) == "99+"
    assert await page.title() == "(99+) Claims · Vouchstorm"
