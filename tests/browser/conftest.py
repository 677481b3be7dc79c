"""Browser, server and people for the tests of the web client.

Chromium is Debian's own. Where it, or Node.js for the build, is missing, the tests are skipped with the
reason, and fail where CI is set. Every page is watched: a console line that its test did not announce fails
the test.
"""

import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.browser.visitors import FOUND_WITHIN_MS, Visitors
from tests.browser.web_stack import Community, MissingError, Server, build_web_client

CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def unavailable(reason: str) -> None:
    """Skip here, fail in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def chromium_path() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        unavailable("There is no Chromium: install it with `apt-get install chromium`.")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def web_client() -> None:
    """The client is built and up to date."""
    try:
        build_web_client()
    except MissingError as error:
        unavailable(str(error))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = chromium_path()
    expect.set_options(timeout=FOUND_WITHIN_MS)  # what a context is told does not hold for expectations
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(web_client: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A node that all tests share which do not stop it."""
    server = Server(tmp_path_factory.mktemp("shared"))
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def new_server(web_client: None, tmp_path: Path) -> AsyncIterator[Callable[..., Server]]:
    """Makes servers of one's own, to stop or to configure."""
    servers: list[Server] = []

    def make(**settings: str) -> Server:
        servers.append(Server(tmp_path / f"node{len(servers)}", settings))
        return servers[-1]

    yield make
    for server in servers:
        await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def people_of() -> AsyncIterator[Callable[[Server], Community]]:
    """People on a server of one's own."""
    made: list[Community] = []

    def gather(server: Server) -> Community:
        made.append(Community(server.url))
        return made[-1]

    yield gather
    for community in made:
        await community.aclose()


@pytest.fixture
def people(server: Server, people_of: Callable[[Server], Community]) -> Community:
    """People on the shared server."""
    return people_of(server)


@pytest_asyncio.fixture(loop_scope="session")
async def visitors(browser: Browser, server: Server) -> AsyncIterator[Visitors]:
    """Visitors of the shared server; at the end their consoles must be empty."""
    visitors = Visitors(browser, server.url)
    yield visitors
    await visitors.close()
    assert visitors.unexpected() == []


@pytest_asyncio.fixture(loop_scope="session")
async def visitors_of(browser: Browser) -> AsyncIterator[Callable[[str], Visitors]]:
    """Same, of a server of one's own."""
    made: list[Visitors] = []

    def visit(url: str) -> Visitors:
        made.append(Visitors(browser, url))
        return made[-1]

    yield visit
    for visitors in made:
        await visitors.close()
        assert visitors.unexpected() == []
