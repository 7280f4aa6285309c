"""The page as a test sees it."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Response

from infra.local.stack import Stack

PATIENCE = 60_000  # ms; a bound for a hanging test, never a measure
SAMPLE_PATIENCE = 30_000  # ms: what the page promises for its sample


class Shown:
    """A tab with the page. What its console says goes wrong fails the test, unless it was expected."""

    def __init__(self, page: Page, stack: Stack) -> None:
        self.page = page
        self.stack = stack
        self.complaints: list[str] = []
        self.expected: list[str] = []
        self.responses: list[Response] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: dialog.accept())
        page.on("response", lambda answer: self.responses.append(answer))  # a method of list is refused

    def enter(self, key: str | None = None) -> None:
        """Opens it as `make serve` prints it, and waits until it knows the account."""
        address = self.stack.page_url if key is None else f"{self.stack.api_url}/#key={key}"
        self.page.goto(address)
        self.page.wait_for_selector("#credits:not([hidden])", state="attached")

    def choose(self, *files: Path) -> None:
        self.page.set_input_files("#files", [*map(str, files)])

    def scale(self, times: int) -> None:
        self.page.locator(f"#options .segments label:has(input[value='{times}'])").click()

    def start(self) -> None:
        self.page.click("#options button[type=submit]:enabled")

    def rows(self, state: str = "") -> Locator:
        return self.page.locator(f"#list .item[data-state={state}]" if state else "#list .item")

    def await_rows(self, state: str, count: int = 1) -> None:
        self.rows(state).nth(count - 1).wait_for()

    def await_true(self, expression: str) -> None:
        """As Playwright's wait_for_function, which compiles text in the page: the policy refuses that."""
        until = time.monotonic() + PATIENCE / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < until, expression
            self.page.wait_for_timeout(50)

    def unexpected(self) -> list[str]:
        return [text for text in self.complaints if not any(re.search(some, text) for some in self.expected)]


@contextmanager
def shown(browser: Browser, stack: Stack, **context: Any) -> Iterator[Shown]:
    with browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **context}) as opened:
        page = Shown(opened.new_page(), stack)
        yield page
        assert page.unexpected() == []


def photo(path: Path, width: int = 60, height: int = 40, seed: int = 0) -> Path:
    """Every seed another picture, so that no result is one of before."""
    noise = np.random.default_rng(seed).integers(0, 255, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    Image.fromarray(noise).resize((width, height)).save(path)
    return path


def heavy_photo(path: Path, size: int) -> Path:
    """A small JPEG of many bytes: what follows its end is not looked at."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (20, 90, 120)).save(buffer, "jpeg")
    path.write_bytes(buffer.getvalue())
    with path.open("r+b") as file:
        file.truncate(size)
    return path
