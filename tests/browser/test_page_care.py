"""The page's manners: words for what goes wrong, access for everybody, a strict policy, few bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from tessera import services, settings

from infra.admin import create_account
from infra.local.stack import Stack, _Session
from tests.browser.shown import Shown, heavy_photo, photo, shown

LARGEST_PAGE = 150_000  # bytes as they are sent
TOO_LARGE = 100 * 1024 * 1024 + 1
NARROW = {"width": 360, "height": 740}


@pytest.fixture
def tab(chromium: Browser, stack: Stack) -> Iterator[Shown]:
    with shown(chromium, stack) as opened:
        yield opened


def test_the_page_is_small_and_soon_there(tab: Shown, stack: Stack) -> None:
    tab.enter()
    own = [answer for answer in tab.responses if answer.url.startswith(stack.api_url) and "/v1/" not in answer.url]
    sizes = {answer.url: answer.request.sizes()["responseBodySize"] for answer in own}
    paint = tab.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    print(f"\n{len(sizes)} files, {sum(sizes.values()):,} bytes; first paint after {paint:.0f} ms")
    assert len(sizes) > 10
    assert sum(sizes.values()) < LARGEST_PAGE
    assert not [answer.url for answer in tab.responses if not answer.url.startswith(stack.api_url)]


def test_the_policy_has_no_exception(tab: Shown, stack: Stack) -> None:
    answer = tab.page.goto(stack.api_url)
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy and stack.storage_url in policy and "amazonaws" not in policy
    tab.expected.append("Content Security Policy|Trusted")
    tab.page.evaluate("""() => {
        const script = document.createElement("script");
        script.append("window.slipped = true");
        document.head.append(script);
    }""")
    assert tab.page.evaluate("window.slipped") is None


def test_a_key_that_is_not_valid_is_said_to_be(tab: Shown, stack: Stack) -> None:
    tab.expected.append("401")
    tab.page.goto(stack.api_url)
    tab.page.fill("#key", "wrong")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector("#key-problem:has-text('This key is not valid')")
    tab.page.fill("#key", "test")
    tab.page.click("#key-form button")
    tab.page.wait_for_selector("#credits:not([hidden])")
    assert tab.page.is_hidden("#key-section")
    assert tab.page.evaluate("Object.keys(localStorage)") == []


def test_a_key_without_credits_is_told_before_the_start(tab: Shown, stack: Stack, tmp_path: Path) -> None:
    environment = {**stack.environment, **stack._settings()}
    with closing(_Session(environment)) as session:
        chosen = settings.Settings.from_environ(environment)
        create_account(services.build(chosen, session, stack.storage_url), "poor", 1)
    tab.enter("poor")
    tab.choose(photo(tmp_path / "a.png", seed=1), photo(tmp_path / "b.png", seed=2))
    tab.page.wait_for_selector("#options .problem:has-text('You have 1 credit, this needs 2')")
    assert tab.page.is_disabled("#options button[type=submit]")


def test_files_that_cannot_be_enlarged_say_why(tab: Shown, tmp_path: Path) -> None:
    tab.enter()
    (tmp_path / "words.jpg").write_text("not a picture")
    (tmp_path / "nothing.png").touch()
    (tmp_path / "scan.pdf").write_bytes(b"%PDF-1.7")
    tab.choose(
        heavy_photo(tmp_path / "huge.jpg", TOO_LARGE),
        *(tmp_path / name for name in ("words.jpg", "nothing.png", "scan.pdf")),
    )
    tab.await_rows("refused", 4)
    said = {row.locator(".name").inner_text(): row.locator(".problem").inner_text() for row in tab.rows().all()}
    assert "too large" in said["huge.jpg"]
    assert "not a picture" in said["words.jpg"]
    assert "empty" in said["nothing.png"]
    assert "JPEG, PNG or WebP" in said["scan.pdf"]


def test_a_result_that_would_be_too_large_is_told_before_the_start(tab: Shown, tmp_path: Path) -> None:
    tab.enter()
    tab.choose(photo(tmp_path / "wide.png", 3000, 2400))
    tab.scale(8)
    tab.page.wait_for_selector("#list .problem:not([hidden])")
    assert tab.page.is_disabled("#options button[type=submit]")
    tab.scale(2)
    tab.page.wait_for_selector("#options button[type=submit]:enabled")
    assert tab.page.locator("#list .problem").is_hidden()


def test_a_service_that_cannot_be_reached_is_told(tab: Shown, stack: Stack) -> None:
    tab.expected.append("ERR_CONNECTION_REFUSED|ERR_FAILED")
    tab.page.goto(stack.api_url)
    tab.page.route("**/v1/**", lambda route: route.abort("connectionrefused"))
    tab.page.fill("#key", "test")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector("#notices :text('cannot be reached')")


def test_every_error_of_the_api_has_words() -> None:
    root = Path(__file__).parents[2]
    words = set(re.findall(r"^  (\w+): \[", (root / "web/assets/words.js").read_text(), re.MULTILINE))
    tables = [*(root / "functions").glob("*/errors.py")]
    codes = {code for table in tables for code in re.findall(r'\d{3}, "([A-Z_]+)"', table.read_text())}
    assert len(codes) > 8
    assert codes <= words


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out(chromium: Browser, stack: Stack, tmp_path: Path, scheme: str) -> None:
    """axe finds nothing, and nothing has to be scrolled sideways at 360 pixels, in any state of the page."""
    with shown(chromium, stack, color_scheme=scheme, viewport=NARROW, bypass_csp=True) as tab:
        tab.page.goto(stack.api_url)
        tab.page.wait_for_selector("#key-section:not([hidden])")
        judge(tab, "key")
        tab.enter()
        judge(tab, "empty")
        (tmp_path / "words.jpg").write_text("not a picture")
        long_name = "a very long name of a photo that was taken on a holiday " * 3
        tab.choose(photo(tmp_path / f"{long_name}.png", seed=7), tmp_path / "words.jpg")
        tab.page.wait_for_selector("#cost:has-text('credit')")
        for summary in tab.page.locator("summary").all():
            summary.click()
        judge(tab, "chosen")
        stack.pause("UpscaleWorkerFunction")
        try:
            tab.start()
            tab.page.wait_for_selector("#list .item[data-state=queued], #list .item[data-state=enlarging]")
            judge(tab, "busy")
        finally:
            stack.resume("UpscaleWorkerFunction")
        tab.page.wait_for_selector("#compare:not([hidden])")
        judge(tab, "done")
        tab.page.reload()
        tab.page.wait_for_selector("#history-list .item")
        judge(tab, "history")


def judge(tab: Shown, state: str) -> None:
    tab.page.evaluate("document.getAnimations().filter(one => one instanceof CSSTransition).map(one => one.finish())")
    found = Axe().run(tab.page).response["violations"]
    told = [f"{entry['impact']} {entry['id']}: {[node['target'] for node in entry['nodes']]}" for entry in found]
    assert told == [], state
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], state
