"""Everybody can use it: screen readers, keyboards, small screens, both themes, less motion."""

from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.visitors import Visitors, expect_live, expect_unread
from tests.browser.web_stack import Community, Person, axe_source

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WIDTHS = (320, 768, 1440)
RUN_AXE = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  const told = (node) => `${node.html.slice(0, 160)} ${node.failureSummary}`;
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(told).join(" | ")}`);
}"""


class Town:
    """A small community with something on every page."""

    owner: Person
    voter: Person
    open_claim: str
    settled_claim: str

    def paths(self) -> dict[str, str]:
        return {
            "claims": "/",
            "open claim": f"/claims/{self.open_claim}",
            "settled claim": f"/claims/{self.settled_claim}",
            "post a claim": "/claims/new",
            "notifications": "/notifications",
            "leaderboard": "/leaderboard",
            "profile": f"/users/{self.owner.id}",
            "not found": "/nowhere/at/all",
        }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def town(server: Any) -> Any:
    people = Community(server.url)
    try:
        yield await populated(people)
    finally:
        await people.aclose()


async def populated(people: Community) -> Town:
    town = Town()
    town.owner, town.voter, *others = await people.several(5)
    town.open_claim = await people.post_claim(
        town.owner,
        "A claim with a rather long title that has to wrap somewhere on every small screen",
        quorum=4,
    )
    town.settled_claim = await people.post_claim(town.owner, "Settled")
    for number, voter in enumerate(others):
        await people.vote(voter, town.open_claim, ("vouch", "dispute", "unsure")[number])
        await people.vote(voter, town.settled_claim)
    return town


async def violations(page: Page) -> list[str]:
    """What the checker objects to, in both themes."""
    await page.evaluate(axe_source())
    found: list[str] = []
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found += [f"{scheme}: {line}" for line in await page.evaluate(RUN_AXE)]
    return found


async def go(page: Page, visitors: Visitors, path: str) -> None:
    await page.goto(f"{visitors.url}/app{path}")
    await expect(page.locator("h1")).to_be_visible()
    await expect(page.locator(".skeleton")).to_have_count(0)


async def test_no_axe_violations(visitors: Visitors, town: Town) -> None:
    # The checker is put in from outside, which the page's own policy would rightly refuse.
    page = await visitors.visit(town.voter, bypass_csp=True)
    found: dict[str, list[str]] = {}
    for name, path in town.paths().items():
        await go(page, visitors, path)
        found[name] = await violations(page)
    guest = await visitors.visit(None, bypass_csp=True)
    for name, path in {"sign in": "/signin", "register": "/register", "guest": "/"}.items():
        await go(guest, visitors, path)
        found[name] = await violations(guest)
    assert {name: lines for name, lines in found.items() if lines} == {}


async def test_no_axe_violations_in_open_panels(visitors: Visitors, town: Town) -> None:
    page = await visitors.visit(town.owner, bypass_csp=True)
    await expect_live(page)
    found: dict[str, list[str]] = {}
    for name in ("Notifications", "Connection", "Account"):
        await page.get_by_role("button", name=name).first.click()
        await expect(page.get_by_role("dialog", name=name)).to_be_visible()
        found[name] = await violations(page)
        await page.keyboard.press("Escape")
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize("width", WIDTHS)
async def test_nothing_overflows(visitors: Visitors, town: Town, width: int) -> None:
    page = await visitors.visit(town.owner, viewport={"width": width, "height": 800})
    wider: dict[str, int] = {}
    for name, path in town.paths().items():
        await go(page, visitors, path)
        needed = await page.evaluate("document.documentElement.scrollWidth")
        if needed > width:
            wider[name] = needed
    await page.locator(".bell-button").click()
    box = await page.locator(".bell-panel").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert wider == {}


async def test_bell_by_keyboard(visitors: Visitors, town: Town) -> None:
    page = await visitors.visit(town.owner)
    bell = page.locator(".bell-button")
    await expect(page.locator("[data-testid=unread]")).to_be_visible()
    await bell.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog", name="Notifications")).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await expect(page.locator(".bell-list a").first).to_be_focused()
    await page.keyboard.press("End")
    await expect(page.locator(".bell-list a").last).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator(".bell-panel")).to_have_count(0)
    await expect(bell).to_be_focused()


async def test_bell_tells_screen_readers_once(visitors: Visitors, people: Community) -> None:
    owner, *voters = await people.several(6)
    claim = await people.post_claim(owner, "Said once", quorum=50)
    page = await visitors.visit(owner)
    await expect_live(page)
    await expect_unread(page, 0)
    status = page.locator(".bell [role=status]")
    # The announcer waits for the number to settle before it takes it as known.
    await expect(status).to_have_attribute("data-known", "0")
    for voter in voters:
        await people.vote(voter, claim)
    await expect(status).to_have_text("5 unread notifications")


async def test_reduced_motion_stops_the_pulse(visitors: Visitors, town: Town) -> None:
    page = await visitors.visit(town.owner, reduced_motion="reduce")
    badge = page.locator("[data-testid=unread]")
    await expect(badge).to_be_visible()
    assert await badge.evaluate("node => getComputedStyle(node).animationName") == "none"


async def test_five_newest_with_priorities(visitors: Visitors, town: Town) -> None:
    page = await visitors.visit(town.owner)
    await page.locator(".bell-button").click()
    items = page.locator(".bell-list .note")
    await expect(items).to_have_count(5)
    assert await page.locator(".bell-list .note-high").count() >= 1
    seqs = await items.evaluate_all("notes => notes.map(n => Number(n.dataset.seq))")
    assert seqs == sorted(seqs, reverse=True)
