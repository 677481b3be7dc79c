"""By hand, from nothing: register, post, vote, read, find one's way."""

import pytest
from playwright.async_api import expect

from tests.browser.visitors import Visitors, expect_live
from tests.browser.web_stack import PASSWORD, Community

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_register_post_and_find_it_again(visitors: Visitors, people: Community) -> None:
    page = await visitors.visit(None, "/claims/new")
    await page.get_by_role("link", name="Make an account").click()
    await page.get_by_label("Username").fill((await people.register("Seed")).username + "x")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.locator("form").get_by_role("button", name="Register").click()
    await expect(page.locator("h1")).to_have_text("Post a claim")
    await page.get_by_label("Claim").fill("Posted by hand")
    await page.get_by_label("Evidence").fill("https://example.org/a https://example.org/b")
    await page.get_by_role("button", name="Post it").click()
    await expect(page.locator("h1")).to_have_text("Posted by hand")
    await expect(page.locator(".evidence a")).to_have_count(2)
    await page.reload()
    await expect(page.locator("h1")).to_have_text("Posted by hand")
    await expect(page.get_by_text("This is your claim.")).to_be_visible()


async def test_field_errors_stand_at_their_fields(visitors: Visitors, people: Community) -> None:
    visitors.allow(r"error: Failed to load resource: the server responded with a status of (422|409)")
    taken = await people.register("Taken")
    page = await visitors.visit(None, "/register")
    await page.get_by_label("Username").fill(taken.username)
    await page.get_by_label("Password").fill("short")
    await page.locator("form").get_by_role("button", name="Register").click()
    await expect(page.get_by_label("Password")).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.locator("form").get_by_role("button", name="Register").click()
    await expect(page.get_by_role("alert").filter(has_text="taken")).to_be_visible()


async def test_vote_with_a_comment_shows_up_for_everybody(visitors: Visitors, people: Community) -> None:
    owner, voter = await people.several(2)
    claim = await people.post_claim(owner, "Comment on it")
    watcher = await visitors.visit(owner, f"/claims/{claim}")
    await expect_live(watcher)
    page = await visitors.visit(voter, f"/claims/{claim}")
    await page.get_by_label("Comment").fill("<b>I was there.</b>")
    await page.get_by_role("button", name="Dispute").click()
    await expect(page.locator("[data-testid=voted]")).to_have_text("You disputed this claim.")
    await expect(watcher.locator(".validation-comment")).to_have_text("<b>I was there.</b>")
    await page.reload()
    await expect(page.locator("[data-testid=voted]")).to_have_text("You disputed this claim.")


async def test_filters_of_the_notifications_page(visitors: Visitors, people: Community) -> None:
    owner, *voters = await people.several(4)
    claim = await people.post_claim(owner, "Filter me")
    for voter in voters:
        await people.vote(voter, claim)
    page = await visitors.visit(owner, "/notifications")
    total = len(await people.ledger(owner))
    notes = page.locator(".note-list .note")
    await expect(notes).to_have_count(total)
    await page.get_by_role("button", name="Validations").click()
    await expect(notes).to_have_count(3)
    await page.get_by_role("button", name="Everything").click()
    await notes.first.click()
    await page.goto(f"{visitors.url}/app/notifications")
    await expect(notes).to_have_count(total)
    await page.get_by_role("button", name="Unread", exact=True).click()
    await expect(notes).to_have_count(total - 1)


async def test_guests_can_read_and_are_asked_to_sign_in(visitors: Visitors, people: Community) -> None:
    owner = await people.register("Owner")
    claim = await people.post_claim(owner, "Guests may read")
    page = await visitors.visit(None, f"/claims/{claim}")
    await expect(page.locator("h1")).to_have_text("Guests may read")
    await page.locator(".vote-hint").get_by_role("link", name="Sign in").click()
    await page.get_by_label("Username").fill(owner.username)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.locator("form").get_by_role("button", name="Sign in").click()
    await expect(page.locator("h1")).to_have_text("Guests may read")
    await expect_live(page)


async def test_back_and_forward(visitors: Visitors, people: Community) -> None:
    page = await visitors.visit(await people.register("Walker"))
    await page.get_by_role("navigation", name="Main").get_by_role("link", name="Leaderboard").click()
    await expect(page.locator("h1")).to_have_text("Leaderboard")
    await expect(page.locator("h1")).to_be_focused()
    await page.go_back()
    await expect(page.locator("h1")).to_have_text("Claims")
    await page.go_forward()
    await expect(page.locator("h1")).to_have_text("Leaderboard")


async def test_theme_choice_stays(visitors: Visitors, people: Community) -> None:
    page = await visitors.visit(await people.register("Owl"), color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    before = await page.evaluate(ground)
    await page.get_by_role("button", name="Account of").click()
    await page.get_by_label("Theme").select_option("dark")
    assert await page.evaluate(ground) != before
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
