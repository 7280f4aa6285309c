"""Our own routes on the running stack: a large upload that stops and goes on, a task that is cancelled, and deleted."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from infra.local.stack import Stack
from tests.e2e.conftest import Session, picture


def data(session: Session, path: str, body: Any) -> dict[str, Any]:
    answer = session.post(path, body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


def large() -> bytes:
    """9.6 MB: two parts."""
    buffer = io.BytesIO()
    Image.effect_noise((2000, 1600), 90).convert("RGB").save(buffer, "png", compress_level=0)
    return buffer.getvalue()


def test_an_upload_stops_and_goes_on_its_task_is_cancelled_and_deleted(stack: Stack, session: Session) -> None:
    body = large()
    wish = {"originalFileName": "big.png", "fileType": "image/png", "fileSize": len(body), "multipart": True}
    ticket = data(session, "/get-upload-url", wish)
    upload = {"uploadId": ticket["uploadId"], "key": ticket["key"]}
    size = ticket["partSize"]
    assert session.http.put(ticket["parts"][0]["url"], content=body[:size]).status_code == 200

    (stored,) = data(session, "/v1/uploads/parts/list", upload)["parts"]
    assert (stored["PartNumber"], stored["Size"]) == (1, size)
    (link,) = data(session, "/v1/uploads/parts", {**upload, "partNumbers": [2]})["parts"]
    assert session.http.put(link["url"], content=body[size:] + b"x").status_code == 403  # another length
    assert session.http.put(link["url"], content=body[size:]).status_code == 200
    parts = data(session, "/v1/uploads/parts/list", upload)["parts"]
    listed = [{name: part[name] for name in ("PartNumber", "ETag")} for part in parts]
    assert data(session, "/complete-multipart-upload", {**upload, "parts": listed}) == {"status": "success"}
    assert session.post("/v1/uploads/parts/list", upload).status_code == 404

    stack.pause("DispatchFunction")  # so that the task is open for as long as the test needs
    try:
        before = session.http.get(session.url + "/v1/account", headers={"X-API-Key": session.key}).json()["data"]
        task = data(session, "/v1/tasks", {"files": [{"fileName": ticket["fileName"]}], "scale": 2})["taskId"]
        ended = data(session, "/v1/tasks/cancel", {"taskId": task})
        assert (ended["status"], ended["cancelled"]) == ("cancelled", 1)
        assert data(session, "/v1/tasks/cancel", {"taskId": task}) == ended
    finally:
        stack.resume("DispatchFunction")
    assert session.status(task)["status"] == "failed"
    assert data(session, "/v1/tasks/delete", {"taskId": task}) == {"taskId": task, "deleted": 0}
    after = session.http.get(session.url + "/v1/account", headers={"X-API-Key": session.key}).json()["data"]
    assert before["credits"] == after["credits"]
    listed_uploads = stack.client("s3").list_objects_v2(Bucket=stack.bucket, Prefix=ticket["key"])
    assert listed_uploads["KeyCount"] == 0


@pytest.mark.parametrize("kind", ["tiff", "avif"])
def test_a_finished_task_is_deleted_with_its_links(session: Session, kind: str) -> None:
    source = session.upload(picture())
    wish = {"files": [{"fileName": source["fileName"]}], "model": "tessera-fidelity", "scale": 3, "saveImageAs": kind}
    task = data(session, "/v1/tasks", wish)["taskId"]
    (file,) = session.ended(task)["files"]
    answer = session.http.get(file["downloadLink"])
    assert Image.open(io.BytesIO(answer.content)).size == (36, 24)
    assert data(session, "/v1/tasks/delete", {"taskId": task})["deleted"] == 1
    for link in ("downloadLink", "thumbnailLink"):
        assert session.http.get(file[link]).status_code in (403, 404)  # S3 says 404 to who may list, and moto 403
    status = session.status(task)
    assert status["deletedAt"] and "downloadLink" not in status["files"][0]


def test_an_upload_that_is_given_up(session: Session) -> None:
    wish = {"originalFileName": "a.png", "fileType": "image/png", "fileSize": 9_000_000, "multipart": True}
    ticket = data(session, "/get-upload-url", wish)
    upload = {"uploadId": ticket["uploadId"], "key": ticket["key"]}
    assert data(session, "/v1/uploads/abort", upload) == {}
    assert session.http.put(ticket["parts"][0]["url"], content=bytes(8)).status_code in (403, 404)
    assert session.post("/v1/uploads/parts", {**upload, "partNumbers": [1]}).status_code == 404


def test_the_reference_is_served_to_everybody_and_may_be_read_by_pages(session: Session) -> None:
    answer = session.http.get(session.url + "/openapi.json", headers={"Origin": "https://page.test"})
    assert answer.json()["openapi"] == "3.1.0"
    assert answer.headers["access-control-allow-origin"] == "*"
    page = session.http.get(session.url + "/reference")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert session.http.get(session.url + "/reference/style.css").status_code == 200
