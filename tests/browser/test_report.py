"""The HTML report in a real browser: it asks for nothing, says nothing on the console, fits a phone."""

from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Page

from simulator.histogram import Histogram
from simulator.report import render_html
from simulator.result import Findings, Host, Latency
from simulator.verdict import Honesty, judge

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def latency() -> Latency:
    histogram = Histogram()
    histogram.record_many(range(1_000, 400_000, 100))
    return histogram.latency()


@pytest.fixture
def report(tmp_path: Path) -> Path:
    findings = Findings.model_validate(
        {
            "scenario": {"name": "storm", "question": "Is everybody back?", "duration_s": 20},
            "seed": 1,
            "target": "http://127.0.0.1:1",
            "versions": {"python": "3"},
            "host": Host(),
            "started_at": "2026-01-01T00:00:00Z",
            "connections": {"attempted": 50, "established": 50},
            "ledger": {"expected": 3_990, "live": 3_990, "received": 3_990},
            "latency_ms": {"fanout": latency()},
            "reconnect": {
                "drops": 50,
                "reconnected": 50,
                "time_to_reconnect": latency(),
                "time_to_caught_up": latency(),
            },
            "faults": [{"at_s": 5, "until_s": 6, "kind": "drop", "clients": 50}],
            "timeline": [{"t_s": t_s, "delivered": 9, "p50_ms": 1, "p99_ms": 300} for t_s in range(25)],
        }
    )
    path = tmp_path / "report.html"
    path.write_text(render_html(judge(findings, {"fanout_p99_ms": 500}, Honesty())), encoding="utf-8")
    return path


async def opened(browser: Browser, report: Path, scheme: Literal["light", "dark"], width: int) -> Page:
    context = await browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 900}, offline=True
    )
    page = await context.new_page()
    await page.goto(report.as_uri())
    return page


async def test_the_report_opens_offline_with_an_empty_console(browser: Browser, report: Path) -> None:
    said: list[str] = []
    asked: list[str] = []
    context = await browser.new_context(offline=True)
    page = await context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(report.as_uri())
    drawn = await page.locator("svg").count()
    await context.close()
    assert (said, asked, drawn) == ([], [report.as_uri()], 5)


@pytest.mark.parametrize("width", [390, 820, 1400])
async def test_the_report_needs_no_sideways_scrolling(browser: Browser, report: Path, width: int) -> None:
    page = await opened(browser, report, "light", width)
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    await page.context.close()


async def test_light_and_dark_have_papers_of_their_own(browser: Browser, report: Path) -> None:
    papers = []
    for scheme in ("light", "dark"):
        page = await opened(browser, report, scheme, 1_000)
        papers.append(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
        await page.context.close()
    assert papers == ["rgb(247, 248, 250)", "rgb(15, 20, 26)"]


@pytest.mark.parametrize(
    "label", ["drop: 50 clients", "load ends", "fanout_p99_ms \N{LESS-THAN OR EQUAL TO} 500 ms"]
)
async def test_marks_lie_inside_their_chart(browser: Browser, report: Path, label: str) -> None:
    page = await opened(browser, report, "light", 1_000)
    mark = page.locator("svg text", has_text=label).first
    inner, outer = await mark.bounding_box(), await mark.locator("xpath=..").bounding_box()
    await page.context.close()
    assert inner is not None
    assert outer is not None
    assert outer["x"] <= inner["x"]
    assert inner["x"] + inner["width"] <= outer["x"] + outer["width"]
