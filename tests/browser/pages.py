"""How the tests speak of what is on a page."""

from playwright.async_api import Locator, Page, expect

from tests.browser.web_stack import until

BADGE = "[data-testid=unread]"
BANNER = "[data-testid=status-banner]"


async def shown_unread(page: Page) -> str:
    """What the badge says; "0" when there is none."""
    return "".join(await page.locator(BADGE).all_inner_texts()) or "0"


async def expect_unread(page: Page, count: int, within_s: float = 20.0) -> None:
    """The badge says so many, and the client compared it with the server in a quiet moment."""
    label = "99+" if count > 99 else str(count)

    async def settled() -> bool:
        exact = await page.locator(".bell-button").get_attribute("data-exact")
        return exact == "true" and await shown_unread(page) == label

    try:
        await until(settled, f"{count} unread", within_s)
    except AssertionError:
        raise AssertionError(f"the bell shows {await shown_unread(page)}, not {label}") from None


async def expect_live(page: Page, within_s: float = 20.0) -> None:
    """The connection is up and authenticated."""
    button = page.locator(".connection-button")
    await expect(button).to_have_attribute("data-state", "online", timeout=within_s * 1000)


def share(page: Page, action: str) -> Locator:
    """One part of the claim page's bar."""
    return page.locator(f".share-bar-large [data-share={action}]")


async def listed_seqs(page: Page) -> list[int]:
    """Seqs on the notifications page, from top to bottom, after loading all older ones."""
    older = page.get_by_role("button", name="Older notifications")
    while await older.count():
        before = await page.locator(".note-list .note").count()
        await older.click()

        async def longer(count: int = before) -> bool:
            return await page.locator(".note-list .note").count() > count

        await until(longer, "an older page")
    return await page.locator(".note-list .note").evaluate_all(
        "notes => notes.map(n => Number(n.dataset.seq))"
    )
