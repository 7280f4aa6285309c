"""Clients as they are in use, which differ from the document and from each other, each as a script.

Four clients of the real paths are known. All send their bodies in a {"data": ...} envelope, start tasks by a form with
the file in it, and wait for PROCESSED; the document says flat bodies and `completed`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.contract.upscayl import HISTORY, START, STATUS, UPLOAD, Api, Body, Part, form
from tests.world import png

POLLS = 110  # the JavaScript client's: one a second
LINK_NAMES = ("downloadUrl", "url", "signedUrl", "presignedUrl", "fileUrl")


class Client:
    """Sends what a client sends, as bytes; what it reads of an answer is up to it."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def post(self, path: str, body: Any, content_type: str = "application/json", headers: Body | None = None) -> Body:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.api.world.request(path, raw, {"content-type": content_type, **(headers or {})}, self.api.key)
        assert answer["statusCode"] == 200, answer["body"]
        read: Body = json.loads(answer["body"])
        return read

    def wait(self, until: Callable[[Body], bool], task: str) -> Body:
        """Polls, the service working at its own pace meanwhile."""
        pace = iter([self.api.deliver_uploads, lambda: None, self.api.world.run])
        for _ in range(POLLS):
            status: Body = self.post(STATUS, {"data": {"taskId": task}})["data"]
            if until(status):
                return status
            next(pace, lambda: None)()
            self.api.world.clock.forward(1)
        raise AssertionError(f"still waiting after {POLLS} polls: {status['status']}")

    def start(self, *parts: Part) -> str:
        return str(self.post(START, *form(*parts))["data"]["taskId"])


OPTIONS = (Part.text("enhanceFace", "false"), Part.text("scale", "2"), Part.text("model", "digital-art"))


@pytest.fixture
def client(api: Api) -> Client:
    return Client(api)


def js_is_done(status: Body) -> bool:
    if status["status"] == "PROCESSING_FAILED":
        raise RuntimeError(status["error"])
    return status["status"] == "PROCESSED"


def test_javascript_client_waits_for_processed_and_reads_download_link(client: Client) -> None:
    task = client.start(Part.file(png(5, 5), file_name="me.png"), *OPTIONS, Part.text("saveImageAs", "png"))
    status = client.wait(js_is_done, task)
    assert client.api.download(status["files"][0]["downloadLink"]).startswith(b"\x89PNG")


def test_javascript_client_learns_that_its_picture_failed(client: Client) -> None:
    task = client.start(Part.file(b"not a picture at all"), *OPTIONS)
    with pytest.raises(RuntimeError, match="Unsupported file type"):
        client.wait(js_is_done, task)


def test_javascript_client_sends_several_files_numbered_and_links_beside(client: Client) -> None:
    parts = [Part.file(png(n, 2), f"{n - 1}.file", f"{n}.png") for n in (1, 2)]
    status = client.wait(js_is_done, client.start(*parts, Part.text("urls", "[]"), *OPTIONS))
    assert [file["dimensions"]["width"] for file in status["files"]] == [2, 4]


def test_nestjs_client_finds_a_link_without_knowing_download_link(client: Client) -> None:
    def is_done(status: Body) -> bool:
        assert status["status"] in ("PENDING", "ENHANCING", "PROCESSED")
        return bool(status["status"] == "PROCESSED")

    status = client.wait(is_done, client.start(Part.file(png(3, 3)), *OPTIONS))
    (file,) = status["files"]
    links = [file[name] for name in LINK_NAMES if name in file] + [file["path"]] * file["path"].startswith("http")
    assert client.api.download(links[0]).startswith(b"\xff\xd8\xff")


def test_php_client_downloads_without_a_redirect(client: Client) -> None:
    """It adds X-API-Key to the download too, which must not be a signed header: the link goes to storage itself."""
    task = client.start(Part.file(png()), Part.text("enhanceFace", "true"), *OPTIONS[1:])
    (file,) = client.wait(js_is_done, task)["files"]
    link = urlsplit(file["downloadLink"])
    assert str(link.hostname).startswith(client.api.world.services.settings.bucket)
    assert "X-Amz-SignedHeaders=host&" in f"{link.query}&"


def test_python_client_takes_either_word(client: Client) -> None:
    def is_done(status: Body) -> bool:
        if status["status"] in ("failed", "PROCESSING_FAILED"):
            raise RuntimeError
        return status["status"] in ("completed", "PROCESSED")

    task = client.start(Part.file(png()), Part.text("enhanceFace", "true"), *OPTIONS[1:])
    status = client.wait(is_done, task)
    assert (status["enhanceFace"], status["scale"]) == (True, "2")


def test_vendors_own_collection_asks_for_a_link_in_an_envelope(client: Client) -> None:
    wish = {"originalFileName": "me.png", "fileType": "image/png", "fileSize": len(png())}
    ticket = client.post(UPLOAD, {"data": wish})["data"]
    client.api.world.put(ticket["uploadURL"], png())
    task = client.post(START, {"data": {"urls": [ticket["uploadURL"]], "enhanceFace": False}})["data"]["taskId"]
    assert client.wait(js_is_done, task)["files"][0]["dimensions"] == {"width": 24, "height": 16}


def test_documents_own_client_waits_for_completed(client: Client) -> None:
    task = client.start(Part.file(png()), *OPTIONS)
    client.api.run()
    status = client.post(STATUS, {"taskId": task})["data"]
    assert (status["status"], status["progress"]) == ("completed", "100")
    assert client.post(HISTORY, {"processed": "completed"})["data"][0]["taskId"] == task


def test_a_browsers_headers_do_no_harm(client: Client) -> None:
    headers = {"origin": "https://app.example", "accept": "*/*", "user-agent": "Mozilla/5.0", "cookie": "a=b"}
    assert client.post(HISTORY, {"data": {}}, "application/json;charset=UTF-8", headers)["status"] == "success"
