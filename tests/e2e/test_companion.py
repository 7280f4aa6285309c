"""A token against storage that checks what was signed: what moto alone lets through."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Session, picture

PAGE = {"Origin": "https://page.example.com"}
MIB = 1024 * 1024


class Page:
    """Has an address, and no key."""

    def __init__(self, session: Session, **limits: Any) -> None:
        answer = session.post("/v1/upload-tokens", limits)
        assert answer.status_code == 200, answer.text
        self.http = session.http
        self.url = answer.json()["data"]["companionUrl"]

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.http.get(f"{self.url}/s3{path}", params=query, headers=PAGE)

    def post(self, path: str, body: Any, **query: Any) -> httpx.Response:
        return self.http.post(f"{self.url}/s3{path}", json=body, params=query, headers=PAGE)

    def form(self, **query: Any) -> dict[str, Any]:
        answer = self.get("/params", **({"filename": "photo.png", "type": "image/png"} | query))
        assert answer.status_code == 200, answer.text
        form: dict[str, Any] = answer.json()
        return form

    def send(self, form: dict[str, Any], body: bytes, **fields: str) -> httpx.Response:
        sent = {"file": ("blob", body, "image/png")}
        return self.http.post(form["url"], data={**form["fields"], **fields}, files=sent, headers=PAGE)


def test_b_a_form_stores_one_picture_and_a_task_is_started_by_its_key(session: Session) -> None:
    page = Page(session)
    form = page.form()
    body = picture()
    stored = page.send(form, body)
    assert stored.status_code == 204
    assert stored.headers["access-control-allow-origin"] == "*"
    key = form["fields"]["key"]
    upload = {"fileName": key, "fileType": "image/png", "fileSize": len(body)}
    assert session.ended(session.start(upload))["status"] == "completed"


@pytest.mark.parametrize(("size", "code"), [(101, "EntityTooLarge"), (0, "EntityTooSmall")])
def test_b_storage_holds_a_form_to_its_size(session: Session, size: int, code: str) -> None:
    page = Page(session, maxBytes=100)
    answer = page.send(page.form(), bytes(size))
    assert (answer.status_code, code in answer.text) == (400, True)
    told = page.form(**{"metadata[size]": "50"})
    assert page.send(told, bytes(51)).status_code == 400
    assert page.send(told, bytes(50)).status_code == 204


def test_b_storage_holds_a_form_to_its_key(session: Session) -> None:
    page = Page(session)
    form = page.form()
    other = form["fields"]["key"][:-1] + ("0" if form["fields"]["key"][-1] != "0" else "1")
    assert page.send(form, picture(), key=other).status_code == 403


def test_b_a_form_ends_with_its_token(session: Session) -> None:
    page = Page(session, expiresIn=2)
    form = page.form()
    assert form["expires"] <= 2
    time.sleep(2.1)
    assert page.send(form, picture()).status_code == 403
    assert page.get("/params", filename="photo.png", type="image/png").status_code == 404


def test_g23_no_more_uploads_are_begun_than_the_token_has(session: Session) -> None:
    page = Page(session, count=3)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: page.get("/params", filename="a.png", type="image/png"), range(24)))
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [403] * 21


def test_b_an_upload_in_parts_by_links_that_a_page_of_another_origin_uses(session: Session) -> None:
    page = Page(session)
    begun = page.post("/multipart", {"filename": "a.png", "type": "image/png", "metadata": {}}).json()
    where = f"/multipart/{begun['uploadId']}"
    parts = []
    for number, body in ((1, bytes(5 * MIB)), (2, b"end")):
        link = page.get(f"{where}/{number}", key=begun["key"]).json()["url"]
        sent = page.http.put(link, content=body, headers=PAGE)
        assert (sent.status_code, sent.headers["access-control-expose-headers"].split(", ")[0]) == (200, "ETag")
        parts.append({"PartNumber": number, "ETag": sent.headers["etag"].strip('"')})
    assert [part["Size"] for part in page.get(where, key=begun["key"]).json()] == [5 * MIB, 3]
    assert page.post(f"{where}/complete", {"parts": parts}, key=begun["key"]).status_code == 200
    gone = page.http.delete(f"{page.url}/s3{where}", params={"key": begun["key"]}, headers=PAGE)
    assert (gone.status_code, gone.json()) == (200, {})


def test_b_storage_holds_parts_to_the_size_that_the_page_has_told(session: Session) -> None:
    page = Page(session, exact=True)
    told = {"size": 5 * MIB + 3, "partSize": 5 * MIB}
    begun = page.post("/multipart", {"filename": "a.png", "type": "image/png", "metadata": told}).json()
    link = page.get(f"/multipart/{begun['uploadId']}/2", key=begun["key"]).json()["url"]
    assert [page.http.put(link, content=bytes(size)).status_code for size in (2, 4, 3)] == [403, 403, 200]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_b_a_page_of_another_origin_may_ask(session: Session, method: str) -> None:
    page = Page(session)
    wish = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "content-type"}
    answer = page.http.options(f"{page.url}/s3/multipart/x", headers=PAGE | wish)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert method in answer.headers["access-control-allow-methods"]
