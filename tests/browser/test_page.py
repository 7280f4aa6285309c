"""The page in a browser, from files to results."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route

from infra.local.stack import Stack
from tests.browser.shown import SAMPLE_PATIENCE, Shown, heavy_photo, photo, shown

HEAVY = 60_000_000  # bytes
PARTS = 8  # of 8 MiB


@pytest.fixture
def tab(chromium: Browser, stack: Stack) -> Iterator[Shown]:
    with shown(chromium, stack) as opened:
        opened.enter()
        yield opened


def test_the_sample_is_shown_before_and_after_within_half_a_minute(tab: Shown) -> None:
    assert "key" not in tab.page.url
    tab.page.click("#sample")
    tab.page.wait_for_selector("#compare:not([hidden])", timeout=SAMPLE_PATIENCE)
    loaded = "layer => layer.decode().then(() => [layer.naturalWidth, layer.naturalHeight])"
    assert tab.page.eval_on_selector(".layer.before", loaded) == [480, 279]
    assert tab.page.eval_on_selector(".layer.after", loaded) == [1920, 1116]
    sides = "layers => layers.map(layer => layer.getBoundingClientRect()).map(({width, height}) => [width, height])"
    assert tab.page.eval_on_selector_all(".layer", sides) == [[1920, 1116], [1920, 1116]]


def drop(page: Page, *paths: Path) -> None:
    """By the browser's own protocol: what a hand does, folders included."""
    box = page.locator("#drop").bounding_box()
    assert box is not None
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [*map(str, paths)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": box["x"] + 20, "y": box["y"] + 20, "data": data})


def test_a_folder_of_twenty_photos_with_a_bad_one_is_dropped(tab: Shown, tmp_path: Path) -> None:
    folder = tmp_path / "holiday"
    (folder / "day 2").mkdir(parents=True)
    for number in range(19):
        photo(folder / ("day 2" if number > 9 else "") / f"photo {number}.png", seed=number)
    whole = photo(folder / "photo 19.png", 300, 200, seed=19)
    whole.write_bytes(whole.read_bytes()[:-2000])
    (folder / ".DS_Store").write_bytes(b"noise")
    (folder / "notes.txt").write_text("not a photo")
    drop(tab.page, folder)
    tab.await_rows("chosen", 20)
    tab.start()
    tab.await_rows("done", 19)
    assert tab.rows().count() == 21
    refused = tab.rows("refused").inner_text()
    assert "notes.txt" in refused and "Choose JPEG, PNG or WebP" in refused
    failed = tab.rows("failed").inner_text()
    assert "photo 19.png" in failed and "not charged" in failed
    assert "21 photos, 19 done, 2 with a problem" in tab.page.inner_text("#list-count")


def test_all_results_are_downloaded_as_one_zip(tab: Shown, tmp_path: Path) -> None:
    tab.page.evaluate("window.showSaveFilePicker = undefined")  # its dialog is not of the page
    (tmp_path / "other").mkdir()
    tab.choose(photo(tmp_path / "a.png", 30, 20, 1), photo(tmp_path / "b.png", 30, 20, 2))
    tab.choose(photo(tmp_path / "other" / "a.png", 30, 20, 3))
    tab.await_rows("chosen", 3)
    tab.start()
    tab.await_rows("done", 3)
    with tab.page.expect_download() as saved:
        tab.page.click("#zip")
    with zipfile.ZipFile(saved.value.path()) as packed:
        assert packed.testzip() is None
        assert sorted(packed.namelist()) == ["a-4x (2).jpg", "a-4x.jpg", "b-4x.jpg"]
        for name in packed.namelist():
            assert Image.open(io.BytesIO(packed.read(name))).size == (120, 80)
    with tab.page.expect_download() as one:
        tab.rows("done").first.get_by_role("button", name="Download").click()
    assert one.value.suggested_filename == "a-4x.jpg"


def test_a_picture_is_pasted(tab: Shown) -> None:
    tab.page.evaluate("""async () => {
        const clipboardData = new DataTransfer();
        const sample = await (await fetch("assets/lighthouse.jpg")).blob();
        clipboardData.items.add(new File([sample], "image.jpg", { type: "image/jpeg" }));
        document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
    }""")
    tab.await_rows("chosen")
    assert "image.jpg" in tab.rows().inner_text()


def test_the_options_are_those_of_the_result(tab: Shown, tmp_path: Path) -> None:
    tab.choose(photo(tmp_path / "a.png", 30, 20, 4))
    tab.await_rows("chosen")
    tab.scale(2)
    tab.page.select_option("#format", "webp")
    tab.page.get_by_label("Tessera Fidelity").check()
    tab.page.wait_for_selector("#cost:has-text('1 credit')")
    assert re.search(r"30\W+20 → 60\W+40", tab.rows().first.inner_text())
    tab.start()
    tab.await_rows("done")
    with tab.page.expect_download() as saved:
        tab.rows("done").first.get_by_role("button", name="Download").click()
    with Image.open(saved.value.path()) as result:
        assert (result.format, result.size) == ("WEBP", (60, 40))


def test_a_cut_connection_costs_one_part(tab: Shown, tmp_path: Path) -> None:
    cut: list[str] = []

    def cut_once(route: Route) -> None:
        if cut:
            return route.fallback()
        cut.append(route.request.url)
        return route.abort("connectionreset")

    tab.expected.append("ERR_CONNECTION_RESET")
    tab.page.route(lambda url: "partNumber=3&" in url, cut_once)
    tab.choose(heavy_photo(tmp_path / "heavy.jpg", HEAVY))
    tab.await_rows("chosen")
    tab.start()
    tab.await_rows("done")
    sent = [answer.url for answer in tab.responses if answer.request.method == "PUT" and answer.status == 200]
    assert len(cut) == 1 and len(sent) == PARTS


def test_an_upload_goes_on_after_a_pause_and_after_a_reload(tab: Shown, tmp_path: Path) -> None:
    heavy = heavy_photo(tmp_path / "heavy.jpg", 40_000_000)
    tab.page.route(lambda url: "partNumber=5&" in url, lambda route: None)  # no answer comes
    tab.choose(heavy)
    tab.await_rows("chosen")
    tab.start()
    kept = "Object.values(JSON.parse(sessionStorage['tessera.uploads'] || '{}'))[0]?.sent"
    tab.await_true(f"{kept} > 33_000_000")
    tab.rows().first.get_by_role("button", name="Pause").click()
    tab.await_rows("paused")
    tab.page.reload()
    tab.page.wait_for_selector("#unfinished:not([hidden]) >> text=heavy.jpg")
    tab.page.unroute_all()
    tab.responses.clear()
    tab.choose(heavy)
    tab.await_rows("done")
    sent = [answer.url for answer in tab.responses if answer.request.method == "PUT" and answer.status == 200]
    assert len(sent) == 1 and "partNumber=5&" in sent[0]
    assert tab.page.is_hidden("#unfinished")


def test_the_divider_is_moved_by_mouse_and_keys(tab: Shown) -> None:
    tab.page.click("#sample")
    tab.page.wait_for_selector("#compare:not([hidden])")
    divider = tab.page.get_by_role("slider", name="Divider")
    assert divider.get_attribute("aria-valuenow") == "50"
    box, stage = divider.bounding_box(), tab.page.locator(".stage").bounding_box()
    assert box is not None and stage is not None
    tab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    tab.page.mouse.down()
    tab.page.mouse.move(stage["x"] + stage["width"] / 4, stage["y"] + 90, steps=4)
    tab.page.mouse.up()
    assert divider.get_attribute("aria-valuenow") == "25"
    for press, value in (("ArrowRight", "27"), ("PageDown", "17"), ("Home", "0"), ("End", "100")):
        divider.press(press)
        assert divider.get_attribute("aria-valuenow") == value
    where = "layer => new DOMMatrix(getComputedStyle(layer).transform).e"
    before = tab.page.eval_on_selector(".layer.after", where)
    tab.page.locator(".stage").press("ArrowRight")
    assert tab.page.eval_on_selector(".layer.after", where) < before
    tab.page.get_by_role("button", name="Fit").click()
    assert (
        tab.page.eval_on_selector(".layer.after", "layer => layer.getBoundingClientRect().width") <= stage["width"] + 1
    )


def test_everything_is_done_with_the_keyboard(tab: Shown) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(60):
            tab.page.keyboard.press("Tab")
            if tab.page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"{selector} is not reached by Tab")

    tab_to("#sample")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector("#compare:not([hidden])")
    tab_to("#list button[aria-label^='Compare']")
    tab.page.keyboard.press("Space")
    tab.await_true("document.activeElement.getAttribute('role') === 'slider'")
    tab.page.keyboard.press("ArrowLeft")
    assert tab.page.get_by_role("slider", name="Divider").get_attribute("aria-valuenow") == "48"
    tab_to("#list button[aria-label^='Delete now']")
    tab.page.keyboard.press("Enter")
    tab.await_rows("deleted")
    assert tab.page.evaluate("document.activeElement.closest('#list') !== null")


def test_what_was_done_before_is_listed_and_can_be_deleted(tab: Shown, tmp_path: Path) -> None:
    tab.choose(photo(tmp_path / "earlier.png", 30, 20, 5))
    tab.await_rows("chosen")
    tab.start()
    tab.await_rows("done")
    tab.page.reload()
    row = tab.page.locator("#history-list .item", has_text="earlier-4x.jpg")
    row.wait_for()
    assert "deleted in 24 hours" in row.inner_text()
    link = row.get_by_role("link", name="Download").get_attribute("href")
    assert link is not None and httpx.get(link, trust_env=False).status_code == 200
    row.get_by_role("button", name="Delete now").click()
    tab.page.locator("#history-list .item:not([data-state=done])", has_text="earlier-4x.jpg").wait_for()
    assert httpx.get(link, trust_env=False).status_code in (403, 404)  # moto says the first, S3 the second


def test_a_task_that_waits_is_cancelled_and_not_charged(tab: Shown, stack: Stack, tmp_path: Path) -> None:
    balance = tab.page.inner_text("#credits")
    stack.pause("UpscaleWorkerFunction")
    try:
        tab.choose(photo(tmp_path / "late.png", 30, 20, 6))
        tab.await_rows("chosen")
        tab.start()
        tab.page.wait_for_selector("#list .item[data-state=queued], #list .item[data-state=enlarging]")
        tab.rows().first.get_by_role("button", name="Cancel").click()
        tab.await_rows("cancelled")
    finally:
        stack.resume("UpscaleWorkerFunction")
    tab.page.reload()
    tab.page.wait_for_selector("#credits:not([hidden])")
    assert tab.page.inner_text("#credits") == balance
