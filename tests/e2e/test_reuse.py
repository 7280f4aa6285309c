"""A repeat on the running stack: signed copies, their real events, no worker."""

from __future__ import annotations

from infra.local.stack import Stack
from tests.e2e.conftest import Session, picture

WORKER = "UpscaleWorkerFunction"


def test_the_same_picture_again_comes_without_a_worker(stack: Stack, session: Session) -> None:
    body = picture(40, 30)
    first = session.ended(session.start(session.upload(body)))
    stack.pause(WORKER)
    try:
        second = session.ended(session.start(session.upload(body)))
    finally:
        stack.resume(WORKER)
    (made,), (copied,) = first["files"], second["files"]
    assert (made["cache"], copied["cache"]) == ("miss", "hit")
    results = [session.http.get(file["downloadLink"]) for file in (made, copied)]
    assert [result.status_code for result in results] == [200, 200]
    assert results[0].content == results[1].content
    assert results[0].headers["content-type"] == results[1].headers["content-type"] == "image/jpeg"
    assert session.http.get(copied["thumbnailLink"]).status_code == 200
