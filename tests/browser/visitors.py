"""Visitors of the web client: browsers of their own, what their consoles say, what is on their pages."""

import re
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

from tests.browser.web_stack import Person, until

FOUND_WITHIN_MS = 15_000
"""For everything that has to appear, expectations included; machines may be busy."""
REFUSED_LINE = r"error: Failed to load resource: the server responded with a status of 401"
"""Chromium itself reports every 401; no page can prevent that."""
GIVEN_UP_LINE = r"warning: WebSocket connection to .* failed: WebSocket is closed before the connection"
"""Chromium's word for a socket that the page no longer wanted while it was being opened."""


class Visitors:
    """Opens pages as somebody, and collects what their consoles say."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self.url = url
        self._contexts: list[BrowserContext] = []
        self._allowed: list[re.Pattern[str]] = []
        self.noise: list[str] = []

    async def context(
        self, person: Person | None = None, *, url: str | None = None, **options: Any
    ) -> BrowserContext:
        """A browser of its own; `person` signed in there before."""
        storage: Any = person and person.storage(url or self.url)
        context = await self._browser.new_context(storage_state=storage, **options)
        context.set_default_timeout(FOUND_WITHIN_MS)
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.noise.append(f"uncaught: {error.error}"))
        self._contexts.append(context)
        return context

    async def visit(self, person: Person | None = None, path: str = "/", **options: Any) -> Page:
        """A page in a browser of its own."""
        return await self.open(await self.context(person, **options), path, options.get("url"))

    async def open(self, context: BrowserContext, path: str = "/", url: str | None = None) -> Page:
        """One more tab."""
        page = await context.new_page()
        await page.goto(f"{url or self.url}/app{path}")
        return page

    def allow(self, pattern: str) -> None:
        """Announce console lines that this test provokes on purpose."""
        self._allowed.append(re.compile(pattern))

    def _hear(self, message: ConsoleMessage) -> None:
        self.noise.append(f"{message.type}: {message.text}")

    async def close(self) -> None:
        for context in self._contexts:
            await context.close()

    def unexpected(self) -> list[str]:
        return [line for line in self.noise if not any(pattern.search(line) for pattern in self._allowed)]


# ---------------------------------------------------------------- what is on a page


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
