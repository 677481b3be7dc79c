"""Pictures of a real run for the documentation: `python tests/browser/make_screenshots.py [directory]`.

Starts a node with a small community of its own, looks at it at three widths and in both themes, and stops it.
Not a test: nothing is asserted about the pictures.
"""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.async_api import async_playwright, expect

from tests.browser.visitors import BANNER, Visitors, expect_live
from tests.browser.web_stack import FRONTEND, Community, Person, Server, build_web_client

TITLES = (
    "The town library opens on Sundays from October on",
    "Bridge 4 closes for repairs in the first week of March",
    "The photo of the flooded underpass is from 2019",
    "Tap water in the northern district is safe to drink again",
    "The 7:40 train has not been on time once this month",
    "The new cycle path along the river is finished",
)
NAMES = ("Ana", "Bo", "Chidi", "Dana", "Emre", "Fatima", "Goran", "Hana", "Ivo", "Jun")
VOTES = ("vvu", "vvdvv", "ddudd", "vvv", "vdvu", "vud")
ACTIONS = {"v": "vouch", "d": "dispute", "u": "unsure"}
SIZES = {"phone": (320, 700, "dark"), "tablet": (768, 1000, "dark"), "desk": (1440, 900, "light")}
SETTLED_MS = 800
"""Animations are over by then."""


async def populate(people: Community) -> tuple[list[Person], list[str]]:
    """A handful of people, some claims on their way and some settled."""
    persons = [await people.register(name) for name in NAMES]
    claims = [
        await people.post_claim(persons[number % 2], title, quorum=4 if number % 2 == 0 else 3)
        for number, title in enumerate(TITLES)
    ]
    for claim, votes in zip(claims, VOTES, strict=True):
        for voter, letter in zip(persons[2:], votes, strict=False):
            if (await people.status(claim)) == "open":
                await people.vote(voter, claim, ACTIONS[letter])
    return persons, claims


async def look(
    visitors: Visitors, persons: list[Person], claims: list[str], server: Server, to: Path
) -> None:
    """One picture after the other; the last one is of a server that is gone."""
    owner, newcomer = persons[0], persons[-1]
    for size, (width, height, scheme) in SIZES.items():
        options = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
        page = await visitors.visit(owner, **options)
        await expect_live(page)
        await page.screenshot(path=to / f"claims-{size}.png")
        await page.locator(".bell-button").click()
        await page.wait_for_timeout(SETTLED_MS)
        await page.screenshot(path=to / f"bell-{size}.png")
        page = await visitors.visit(newcomer, f"/claims/{claims[0]}", **options)
        await expect_live(page)
        await expect(page.locator(".vote-button")).to_have_count(3)
        await page.wait_for_timeout(SETTLED_MS)
        await page.screenshot(path=to / f"claim-{size}.png")
    await page.get_by_role("button", name="Vouch").click()
    await expect(page.locator(".consensus-now")).to_be_visible()
    await page.wait_for_timeout(SETTLED_MS)
    await page.screenshot(path=to / "consensus-desk.png")
    page = await visitors.visit(owner, "/notifications", viewport={"width": 1440, "height": 900})
    await expect_live(page)
    await page.screenshot(path=to / "notifications-desk.png")
    await server.stop()
    await expect(page.locator(BANNER)).to_be_visible()
    await page.screenshot(path=to / "reconnecting-desk.png")


async def main(to: Path) -> None:
    build_web_client()
    with tempfile.TemporaryDirectory() as data_dir:
        server = Server(Path(data_dir))
        await server.start()
        people = Community(server.url)
        try:
            persons, claims = await populate(people)
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
                )
                await look(Visitors(browser, server.url), persons, claims, server, to)
                await browser.close()
        finally:
            await people.aclose()
            await server.stop()


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else FRONTEND / "screenshots"
    directory.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(directory))
