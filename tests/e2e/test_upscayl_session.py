"""Upscayl's session against the running stack, as its documents show it, with nothing but HTTP."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from PIL import Image

from infra.local.stack import Stack
from tests.e2e.conftest import Session, picture
from tests.world import ROOT

SAMPLE = ROOT / "infra/local/sample/lighthouse.jpg"


def opened(http: httpx.Client, url: str) -> Image.Image:
    answer = http.get(url)  # httpx follows no redirect
    assert answer.status_code == 200
    return Image.open(io.BytesIO(answer.content))


def test_a_real_photo_goes_in_and_comes_out_four_times_larger_with_its_facts_right(session: Session) -> None:
    body = SAMPLE.read_bytes()
    ticket = session.ticket(len(body), "lighthouse.jpg", "image/jpeg")
    assert session.http.put(ticket["uploadURL"], content=body).status_code == 200
    status = session.ended(session.start(ticket, saveImageAs="webp"))
    (file,) = status["files"]
    answer = session.http.get(file["downloadLink"])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/webp"
    assert 'filename="lighthouse-4x.webp"' in answer.headers["content-disposition"]
    assert len(answer.content) == file["finalFileSize"]
    result = Image.open(io.BytesIO(answer.content))
    assert result.size == (480 * 4, 279 * 4) == (file["dimensions"]["width"], file["dimensions"]["height"])
    small = result.convert("RGB").resize((480, 279), Image.Resampling.BOX)
    source = Image.open(SAMPLE).convert("RGB")
    off = [abs(a - b) for a, b in zip(small.tobytes(), source.tobytes(), strict=True)]
    assert sum(off) / len(off) < 4  # levels: the same picture, upright and in its colours
    thumbnail = opened(session.http, file["thumbnailLink"])
    assert thumbnail.format == "WEBP"
    assert max(thumbnail.size) <= 320


@pytest.mark.parametrize("scale", ["2", "4", "8"])
@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_ups_19_and_20_every_scale_and_format(session: Session, scale: str, kind: str) -> None:
    status = session.ended(session.start(session.upload(picture()), scale=scale, saveImageAs=kind))
    result = opened(session.http, status["files"][0]["downloadLink"])
    assert result.size == (12 * int(scale), 8 * int(scale))
    assert result.format == {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[kind]


def test_c_08_a_form_with_the_file_itself(session: Session) -> None:
    form = {"scale": "2", "enhanceFace": "false", "model": "digital-art"}
    answer = session.http.post(
        session.url + "/start-task",
        headers={"X-API-Key": session.key},
        data=form,
        files={"file": ("holiday.png", picture(), "image/png")},
    )
    status = session.ended(answer.json()["data"]["taskId"])
    assert status["status"] == "completed"
    assert status["model"] == "digital-art-4x"
    assert status["files"][0]["originalFileName"] == "holiday.png"


def test_c_04_a_client_with_envelopes_waits_for_processed(session: Session) -> None:
    task = session.start(session.upload(picture()))
    for _ in range(300):
        data = session.post("/get-task-status", {"data": {"taskId": task}}).json()["data"]
        if data["status"] == "PROCESSED":
            break
        assert data["status"] in ("PENDING", "ENHANCING")
        time.sleep(0.1)
    assert session.http.get(data["files"][0]["url"]).status_code == 200


def test_served_under_its_prefix_too(session: Session) -> None:
    body = {"originalFileName": "a.png", "fileType": "image/png", "fileSize": 5}
    assert session.post("/upscayl/get-upload-url", body).status_code == 200
    assert session.post("/upscayl/nothing", body).json()["error"] == "NOT_FOUND"


def test_ups_35_parts_make_one_file(session: Session) -> None:
    noise = Image.effect_noise((2000, 1600), 90).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "png", compress_level=0)  # 9.6 MB: two parts
    body = buffer.getvalue()
    wish = {"originalFileName": "big.png", "fileType": "image/png", "fileSize": len(body), "multipart": True}
    ticket = session.post("/get-upload-url", wish).json()["data"]
    size = ticket["partSize"]
    parts = []
    for part in ticket["parts"]:
        piece = body[(part["PartNumber"] - 1) * size :][:size]
        sent = session.http.put(part["url"], content=piece)
        parts.append({"PartNumber": part["PartNumber"], "ETag": sent.headers["etag"].strip('"')})
    assert len(parts) == 2
    assert session.http.put(ticket["parts"][0]["url"], content=b"shorter").status_code == 403
    complete = {"data": {"uploadId": ticket["uploadId"], "key": ticket["key"], "parts": parts}}
    answer = session.post("/complete-multipart-upload", complete)
    assert answer.json() == {"status": "success", "data": {"status": "success"}}
    assert session.post("/complete-multipart-upload", complete).json() == answer.json()  # its answer was lost
    unknown = {"data": {**complete["data"], "key": session.ticket(5)["uploadURL"].split("?")[0].split("/", 4)[4]}}
    refused = session.post("/complete-multipart-upload", unknown)
    assert (refused.status_code, refused.json()["error"]) == (400, "BAD_REQUEST")
    status = session.ended(session.start(ticket, scale="2", saveImageAs="jpg"))
    assert status["files"][0]["dimensions"] == {"width": 4000, "height": 3200}


# ---------------------------------------------------------------- links


def test_a_tampered_or_longer_or_shorter_upload_is_refused(session: Session) -> None:
    body = picture()
    ticket = session.ticket(len(body))
    url = ticket["uploadURL"]
    changed = {
        "signature": (url[-4:], "0000"),
        "key": ("/uploads/", "/results/"),
        "expiry": ("Expires=3600", "Expires=99999"),
    }
    for old, new in changed.values():
        tampered = url.replace(old, new)
        assert tampered != url
        assert session.http.put(tampered, content=body).status_code == 403
    assert session.http.put(url, content=body + b"x").status_code == 403
    assert session.http.put(url, content=body[:-1]).status_code == 403
    assert session.http.get(url).status_code == 403
    assert session.http.put(url, content=body).status_code == 200


def test_a_download_link_reads_one_object_and_writes_nothing(session: Session) -> None:
    status = session.ended(session.start(session.upload(picture())))
    url = status["files"][0]["downloadLink"]
    assert session.http.put(url, content=b"x").status_code == 403
    assert session.http.delete(url).status_code == 403
    assert session.http.get(url.replace("/results/", "/uploads/")).status_code == 403
    assert session.http.get(url).status_code == 200


# ---------------------------------------------------------------- history, money, strangers


def test_ups_33_the_history_pages_through_45_tasks_without_gap_or_repeat(stack: Stack, session: Session) -> None:
    upload = session.upload(picture())
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: session.start(upload), range(45)))
    seen: list[str] = []
    offset: dict[str, Any] = {}
    for _ in range(100):
        page = session.post("/get-upscayl-history", {"limit": 7, **offset}).json()
        seen += [entry["taskId"] for entry in page["data"]]
        if not page["pagination"]["hasMore"]:
            break
        offset = {"timestampOffset": page["pagination"]["nextOffset"]}
    assert len(seen) == len(set(seen)) == page["pagination"]["total"]
    assert set(made) <= set(seen)


def test_g2_a_hundred_parallel_starts_with_credit_for_one(stack: Stack, session: Session, http: httpx.Client) -> None:
    from contextlib import closing

    from tessera import services, settings

    from infra.admin import create_account
    from infra.local.stack import _Session as BotoSession

    environment = {**stack.environment, **stack._settings()}
    with closing(BotoSession(environment)) as boto:
        chosen = settings.Settings.from_environ(environment)
        key = create_account(services.build(chosen, boto, environment["AWS_ENDPOINT_URL"]), None, 1)
    poor = Session(http, session.url, key)
    upload = poor.upload(picture())
    body = {"files": [{name: upload[name] for name in ("fileName", "fileType", "fileSize")}]}
    with ThreadPoolExecutor(20) as pool:
        codes = sorted(pool.map(lambda _: poor.post("/start-task", body).status_code, range(100)))
    assert codes == [200] + [402] * 99
    history = poor.post("/get-upscayl-history", {}).json()
    assert history["pagination"]["total"] == 1
    foreign = session.post("/get-task-status", {"taskId": history["data"][0]["taskId"]})
    unknown = session.post("/get-task-status", {"taskId": "30a89e69-c702-4247-9905-f0a53dfa45ab"})
    assert (foreign.status_code, foreign.content) == (unknown.status_code, unknown.content)


def test_g3_the_same_start_sent_many_times_at_once_is_one_task(session: Session) -> None:
    upload = session.upload(picture())
    body = {"files": [{name: upload[name] for name in ("fileName", "fileType", "fileSize")}]}

    def send(_: int) -> tuple[int, bytes]:
        headers = {"X-API-Key": session.key, "Idempotency-Key": "the-same"}
        answer = session.http.post(session.url + "/start-task", json=body, headers=headers)
        return answer.status_code, answer.content

    with ThreadPoolExecutor(10) as pool:
        answers = set(pool.map(send, range(30)))
    assert {code for code, _ in answers} == {200}
    assert len(answers) == 1


def test_g25_no_log_of_the_stack_tells_a_key_or_a_signature(stack: Stack, session: Session) -> None:
    answer = session.post("/start-task", {"files": []}, key="an-unknown-key-of-somebody")
    assert answer.status_code == 401
    ticket = session.upload(picture())
    session.ended(session.start(ticket))
    logs = {log.name: log.read_text(errors="replace") for log in stack.logs.glob("*.log")}
    assert logs
    for secret in ("an-unknown-key-of-somebody", "X-Amz-Signature=", *ticket["uploadURL"].split("Signature=")[1:]):
        assert not [name for name, text in logs.items() if secret in text], secret


def test_a_body_that_lambda_cannot_take_is_refused_in_the_dialects_words(session: Session) -> None:
    for size in (4_600_000, 20_000_000):
        answer = session.http.post(
            session.url + "/start-task",
            headers={"X-API-Key": session.key},
            files={"file": ("large.jpg", b"x" * size, "image/jpeg")},
        )
        assert answer.status_code == 413
        assert "/get-upload-url" in answer.json()["message"]
