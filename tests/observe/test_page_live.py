"""The live page in a real browser: it follows the cluster, and breaks it for whoever may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.observe.running import Running
from tests.peers import need

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=need("chromium"), args=["--no-sandbox"]
        )
        yield browser.new_page()
        browser.close()


def test_it_follows_the_cluster_without_reloading_and_asks_nobody_else(
    running: Running, browser_page: Page
):
    problems: list[str] = []
    asked: list[str] = []
    browser_page.on("console", lambda message: problems.append(message.text))
    browser_page.on("pageerror", lambda error: problems.append(str(error)))
    browser_page.on("request", lambda request: asked.append(request.url))
    browser_page.goto(running.url)
    expect(browser_page.locator("tr", has_text="web-1").first).to_contain_text("up")
    browser_page.evaluate("document.querySelector('tr[data-tier=web]').dataset.mark = 'mine'")
    number = running.ask("inject", {"verb": "kill", "target": "web-2"})["number"]
    expect(browser_page.locator(".now .fault")).to_contain_text("kill web-2")
    expect(browser_page.locator("tr", has_text="web-2")).to_contain_text("killed")
    assert browser_page.title().startswith("6/7 up")
    running.ask("undo", number)
    expect(browser_page.locator(".now .fault")).to_have_count(0)
    expect(browser_page.locator("button[data-do]").first).to_be_hidden()
    assert problems == []
    assert all(url.startswith((running.url, "data:")) for url in asked)


def test_a_chosen_tier_lists_its_nodes_only(running: Running, browser_page: Page):
    browser_page.goto(running.url)
    browser_page.locator(".tier[data-tier=web]").click()
    expect(browser_page.locator("tbody tr:visible")).to_have_count(3)
    browser_page.locator(".tier[data-tier=web]").click()
    expect(browser_page.locator("tbody tr:visible")).to_have_count(7)


def test_the_token_in_the_address_shows_buttons_that_work_and_leaves_the_address(
    running: Running, browser_page: Page
):
    browser_page.goto("about:blank")
    browser_page.goto(running.facts["page"])
    row = browser_page.locator("tr", has_text="web-3")
    row.get_by_text("kill").click()
    expect(row).to_contain_text("killed")
    assert "token" not in browser_page.url
    browser_page.get_by_role("button", name="undo").click()
    expect(row).to_contain_text("up")
    assert running.ask("active") == []


def places(browser_page: Page) -> list[tuple[float, float]]:
    """Where the buttons of the nodes are."""
    found = browser_page.locator("td.act").all()
    return [(box["x"], box["y"]) for each in found if (box := each.bounding_box())]


def test_a_fault_moves_no_row_and_no_button(running: Running, browser_page: Page):
    browser_page.goto("about:blank")
    browser_page.goto(running.facts["page"])
    expect(browser_page.locator(".now .fault")).to_have_count(0)
    before = places(browser_page)
    assert len(before) == 7
    numbers = [
        running.ask("inject", {"verb": "kill", "target": f"web-{number}"})["number"]
        for number in (1, 2, 3)
    ]
    expect(browser_page.locator(".now .fault")).to_have_count(3)
    expect(browser_page.locator("tr", has_text="web-1").locator("td.act")).to_have_text("start")
    assert places(browser_page) == before
    for number in numbers:
        running.ask("undo", number)
    expect(browser_page.locator(".now .fault")).to_have_count(0)
    assert places(browser_page) == before


SAYS_MUCH = """() => {
    const said = {state: "draining", role: "authoritative", p99: "888.8 ms", known: "lag 7.3 s · "};
    for (const [where, text] of Object.entries(said))
        for (const each of document.querySelectorAll(`.nodes tbody .${where}`))
            each.textContent = text.repeat(where == "known" ? 20 : 1);
    return [...document.querySelectorAll("td.act")].map((cell) => {
        const box = cell.getBoundingClientRect();
        return [box.x, box.y];
    });
}"""


@pytest.mark.parametrize("width", [1400, 1000])
def test_whatever_nodes_say_moves_no_button(running: Running, browser_page: Page, width: int):
    before: Any = browser_page.viewport_size
    browser_page.set_viewport_size({"width": width, "height": 900})
    browser_page.goto("about:blank")
    browser_page.goto(running.facts["page"])
    expect(browser_page.locator("td.act")).to_have_count(7)
    says_little = [list(place) for place in places(browser_page)]
    assert browser_page.evaluate(SAYS_MUCH) == says_little
    browser_page.set_viewport_size(before)


CLIPPED = """() => [...document.querySelectorAll("td.act button")].filter((button) => {
    const box = button.getBoundingClientRect();
    const card = button.closest(".card").getBoundingClientRect();
    return box.left < card.left || box.right > Math.min(card.right, innerWidth);
}).length"""
TOO_WIDE = "() => document.documentElement.scrollWidth > innerWidth"


@pytest.mark.parametrize("width", [1400, 1000, 390])
def test_every_button_can_be_seen_and_nothing_is_wider_than_the_screen(
    running: Running, browser_page: Page, width: int
):
    before: Any = browser_page.viewport_size
    browser_page.set_viewport_size({"width": width, "height": 900})
    browser_page.goto("about:blank")
    browser_page.goto(running.facts["page"])
    expect(browser_page.locator("td.act button:visible")).to_have_count(14)
    assert browser_page.evaluate(CLIPPED) == 0
    assert not browser_page.evaluate(TOO_WIDE)
    browser_page.set_viewport_size(before)
