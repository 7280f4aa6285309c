"""Uppy as npm has it, `@uppy/aws-s3` 6.3.1, in a browser against the running stack: FEATURES section B."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Request, Route
from playwright.sync_api import Page as Tab

from infra.local.stack import Stack
from tests.e2e.conftest import Session, picture
from tests.world import ROOT

MIB = 1024 * 1024
SIZE = 11 * MIB + 5  # three parts
EXAMPLE = ROOT / "web/examples/uppy"


# What GoldenRetriever has written, which it does twice a second at most.
KEPT = """() => new Promise((resolve) => {
    indexedDB.open("uppy-blobs").onsuccess = ({target: {result: database}}) => {
        database.transaction(["metadata"]).objectStore("metadata").getAll().onsuccess = ({target: {result}}) => {
            database.close();
            resolve(JSON.stringify(result));
        };
    };
})"""


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page lives: another origin than the API and storage."""
    if which("npm") is None:
        pytest.skip("needs npm and Node 20")
    subprocess.run(["make", "--silent", "uppy"], cwd=ROOT, check=True, env={**os.environ, "MAKEFLAGS": ""})
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text('<!doctype html><script type="module" src="page.js"></script>')
    (folder / "page.js").write_bytes((ROOT / "build/uppy/page.js").read_bytes())
    handler = functools.partial(QuietHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@dataclass
class Visit:
    """One visitor of the page."""

    tab: Tab
    requests: list[Request]

    def add(self, size: int = SIZE, kind: str = "image/png", body: bytes | None = None) -> None:
        encoded = None if body is None else b64encode(body).decode()
        self.tab.evaluate("facts => { add(...facts) }", ["photo.png", kind, size, encoded])

    def upload(self) -> dict[str, Any]:
        """Uppy's own word on how it ended: the answers of what was stored, the errors of what was not."""
        return self.result("uppy.upload()")

    def result(self, ending: str) -> dict[str, Any]:
        told: dict[str, Any] = self.tab.evaluate(
            f"""async () => {{
                const result = await {ending};
                return {{
                    stored: result.successful.map((file) => ({{...file.response.body, url: file.uploadURL}})),
                    errors: result.failed.map((file) => file.error),
                }};
            }}"""
        )
        return told

    def sent_parts(self) -> list[str]:
        """Numbers of the parts whose PUT was answered."""
        puts = [request for request in self.requests if request.method == "PUT" and request.response() is not None]
        return [parse_qs(urlsplit(request.url).query)["partNumber"][0] for request in puts]

    def calls(self, method: str, ending: str = "") -> int:
        return sum(r.method == method and urlsplit(r.url).path.endswith(ending) for r in self.requests)


@pytest.fixture
def visit(chromium: Browser, origin: str, session: Session) -> Any:
    @contextmanager
    def visiting(limits: dict[str, Any] | None = None, **options: str) -> Iterator[Visit]:
        made = session.post("/v1/upload-tokens", limits or {}).json()["data"]
        context = chromium.new_context()
        tab = context.new_page()
        requests: list[Request] = []
        tab.on("request", lambda request: requests.append(request))
        tab.goto(f"{origin}/?{urlencode({'companion': made['companionUrl'], **options})}")
        tab.wait_for_function("window.uppy")
        yield Visit(tab, requests)
        context.close()

    return visiting


def sha256_of(stack: Stack, key: str) -> str:
    storage = stack.client("s3")
    digest = hashlib.sha256(storage.get_object(Bucket=stack.bucket, Key=key)["Body"].read()).hexdigest()
    storage.close()
    return digest


def pattern(size: int) -> str:
    """What page.js fills a file with."""
    return hashlib.sha256(bytes((at * 7 + (at >> 20)) & 255 for at in range(size))).hexdigest()


@pytest.fixture(scope="module")
def expected() -> str:
    return pattern(SIZE)


def open_uploads(stack: Stack) -> list[str]:
    storage = stack.client("s3")
    listed = storage.list_multipart_uploads(Bucket=stack.bucket).get("Uploads", [])
    storage.close()
    return [upload["UploadId"] for upload in listed]


# ---------------------------------------------------------------- cases


def test_b_a_single_file_is_sent_by_a_form_and_a_task_is_started_by_its_key(visit: Any, session: Session) -> None:
    body = picture()
    with visit() as page:
        page.add(body=body)
        ended = page.upload()
        assert ended["errors"] == []
        (stored,) = ended["stored"]
        assert stored["url"].endswith("/" + stored["key"])
        assert page.calls("PUT") == 0
    file = {"fileName": stored["key"], "fileType": "image/png", "fileSize": len(body), "originalFileName": "photo.png"}
    started = session.post("/start-task", {"files": [file], "scale": "2"})
    task = session.ended(started.json()["data"]["taskId"])
    assert (task["status"], task["files"][0]["originalFileName"]) == ("completed", "photo.png")


@pytest.mark.parametrize(("limits", "told"), [({}, {}), ({"exact": True}, {"exact": "1"})])
def test_b_a_large_file_is_sent_in_parts(
    visit: Any, stack: Stack, expected: str, limits: dict[str, Any], told: dict[str, str]
) -> None:
    with visit(limits, parts="5", **told) as page:
        page.add()
        ended = page.upload()
        assert ended["errors"] == []
        assert page.sent_parts() == ["1", "2", "3"]
        assert sha256_of(stack, ended["stored"][0]["key"]) == expected


def test_b_an_upload_goes_on_after_a_pause_without_sending_a_part_again(
    visit: Any,
    stack: Stack,
    expected: str,
) -> None:
    with visit(parts="5") as page:
        page.add()
        page.tab.evaluate(
            """() => {
                window.paused = happened("s3-multipart:part-uploaded").then(() => { uppy.pauseAll() });
                window.ending = uppy.upload();
            }"""
        )
        page.tab.evaluate("paused")
        assert page.tab.evaluate("uppy.getFiles()[0].isPaused") is True
        assert page.calls("GET", "/1") == 1
        page.tab.evaluate("uppy.resumeAll()")
        ended = page.result("ending")
        assert ended["errors"] == []
        assert page.sent_parts().count("1") == 1
        assert sha256_of(stack, ended["stored"][0]["key"]) == expected


def test_b_an_upload_goes_on_after_the_page_was_loaded_again(visit: Any, stack: Stack, expected: str) -> None:
    with visit(parts="5", retriever="1") as page:
        page.add()
        page.tab.wait_for_function("uppy.getPlugin('GoldenRetriever')")
        held: list[Route] = []

        def hold_second(route: Route) -> None:
            held.append(route) if "partNumber=2" in route.request.url else route.continue_()

        page.tab.route("**/*partNumber=*", hold_second)
        page.tab.evaluate("() => { uppy.upload() }")
        wait_until(page.tab, lambda: bool(held))
        begun = page.tab.evaluate("uppy.getFiles()[0].s3Multipart.uploadId")
        wait_until(page.tab, lambda: begun in page.tab.evaluate(KEPT))

        page.tab.reload()
        page.tab.unroute("**/*partNumber=*")
        page.tab.wait_for_function("window.uppy && uppy.getFiles().length === 1 && uppy.getFiles()[0].data")
        assert page.tab.evaluate("uppy.getFiles()[0].s3Multipart.uploadId") == begun
        first = len(page.requests)
        page.tab.evaluate("() => { window.ended = happened('complete'); uppy.emit('restore-confirmed') }")
        ended = page.result("ended.then(([result]) => result)")
        assert ended["errors"] == []
        page.requests[:] = page.requests[first:]
        assert page.sent_parts() == ["2", "3"]
        assert sha256_of(stack, ended["stored"][0]["key"]) == expected


def test_b_an_upload_that_is_cancelled_leaves_nothing(visit: Any, stack: Stack) -> None:
    with visit(parts="5") as page:
        page.add()
        with page.tab.expect_response(lambda answer: answer.request.method == "DELETE") as aborted:
            page.tab.evaluate(
                """() => {
                    happened("s3-multipart:part-uploaded").then(() => { uppy.cancelAll() });
                    uppy.upload();
                }"""
            )
        assert aborted.value.status == 200
        assert urlsplit(aborted.value.url).path.rpartition("/")[2] not in open_uploads(stack)


def test_b_storage_that_fails_is_asked_again_by_the_same_link(visit: Any, stack: Stack, expected: str) -> None:
    with visit(parts="5") as page:
        failed: list[str] = []

        def fail_once(route: Route) -> None:
            if failed:
                return route.continue_()
            failed.append(route.request.url)
            return route.fulfill(status=503, headers={"Access-Control-Allow-Origin": "*"})

        page.tab.route("**/*partNumber=1*", fail_once)
        page.add()
        ended = page.upload()
        assert (ended["errors"], len(failed)) == ([], 1)
        assert sha256_of(stack, ended["stored"][0]["key"]) == expected


@pytest.mark.parametrize(
    ("limits", "options", "phrase"),
    [
        ({"types": ["image/webp"]}, {}, "Unsupported Media Type"),
        ({"maxBytes": 6 * MIB}, {"parts": "5"}, "Request Entity Too Large"),
        ({"maxBytes": 6 * MIB}, {}, ""),  # storage's own refusal
    ],
)
def test_b_what_a_token_refuses_is_told_to_the_user(
    visit: Any, limits: dict[str, Any], options: dict[str, str], phrase: str
) -> None:
    with visit(limits, **options) as page:
        page.add()
        ended = page.upload()
        assert ended["stored"] == []
        assert phrase in ended["errors"][0]
        statuses = [answer.status for request in page.requests if (answer := request.response())]
        assert not [status for status in statuses if status >= 500]


def test_b_a_token_is_spent(visit: Any) -> None:
    with visit({"count": 1}) as page:
        page.add(body=picture())
        assert page.upload()["errors"] == []
        page.tab.evaluate("uppy.clear()")
        page.add(body=picture(9, 9))
        assert page.upload()["errors"] == ["Companion request failed: Forbidden"]


def wait_until(tab: Tab, holds: Any) -> None:
    for _ in range(600):
        if holds():
            return
        tab.wait_for_timeout(50)
    raise AssertionError("it never came")


# ---------------------------------------------------------------- the example


def test_the_example_sends_enlarges_and_shows_a_picture(
    chromium: Browser,
    origin: str,
    stack: Stack,
    tmp_path: Path,
) -> None:
    (tmp_path / "holiday.png").write_bytes(picture(16, 10))
    settings = {**os.environ, "TESSERA_URL": stack.api_url, "TESSERA_KEY": stack.api_key, "PORT": "0"}
    with subprocess.Popen(["node", "server.js"], cwd=EXAMPLE, env=settings, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        address = node.stdout.readline().strip()
        try:
            context = chromium.new_context()
            tab = context.new_page()
            tab.goto(address)
            tab.locator("input[type=file]").first.set_input_files(tmp_path / "holiday.png")
            tab.get_by_role("button", name="Upload 1 file").click()
            image = tab.locator("#results img")
            image.wait_for(timeout=60_000)
            tab.wait_for_function("document.querySelector('#results img').naturalWidth === 32")
            assert image.get_attribute("alt") == "holiday.png"
            context.close()
        finally:
            node.terminate()
