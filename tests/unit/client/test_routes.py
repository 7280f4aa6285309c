from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from tessera_client import Client, ServerError
from tessera_client.models import UploadedFile

from tests.unit.client.fake_server import FakeServer, success


def test_ups_10_upload_request_is_the_documented_flat_body(client: Client, server: FakeServer) -> None:
    ticket = client.get_upload_url("photo.jpg", "image/jpeg", 7)
    client.get_upload_url("photo.jpg", "image/jpeg", 7, multipart=True)
    flat = {"originalFileName": "photo.jpg", "fileType": "image/jpeg", "fileSize": 7}
    assert server.bodies("get-upload-url") == [flat, {**flat, "multipart": True}]
    assert ticket.file_name == "00000001-photo.jpg"


def test_ups_15_start_is_a_form_with_files_as_a_json_list(client: Client, server: FakeServer) -> None:
    file = UploadedFile(file_name="f", file_type="image/png", file_size=3, created_at=1, expires_at=2)
    client.start_task([file], model="digital-art-4x", scale=2, save_as="webp", enhance_face=True)
    (form,) = server.bodies("start-task")
    parts = dict(re.findall(r'name="(\w+)"(?:\r\n[^\r]+)*\r\n\r\n([^\r]*)', form))
    assert json.loads(parts.pop("files")) == [
        {"fileName": "f", "fileType": "image/png", "fileSize": 3, "createdAt": 1, "expiresAt": 2}
    ]
    assert parts == {"model": "digital-art-4x", "scale": "2", "saveImageAs": "webp", "enhanceFace": "true"}
    assert "filename=" not in form


def test_ups_35_complete_lists_parts_in_order(client: Client, server: FakeServer) -> None:
    client.complete_multipart_upload("id", "k", {2: "b", 1: "a"})
    parts = [{"PartNumber": 1, "ETag": "a"}, {"PartNumber": 2, "ETag": "b"}]
    assert server.bodies("complete-multipart-upload") == [{"data": {"uploadId": "id", "key": "k", "parts": parts}}]


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("pending", "pending"),
        ("processing", "processing"),
        ("completed", "completed"),
        ("failed", "failed"),
        ("PROCESSED", "completed"),
        ("PROCESSING_FAILED", "failed"),
        ("ENHANCING", "processing"),
    ],
)
def test_c_04_both_vocabularies_are_understood(client: Client, server: FakeServer, word: str, state: str) -> None:
    server.statuses = [{"status": word}]
    assert client.get_task_status("t").state == state


def test_ups_28_fields_old_new_and_missing(client: Client, server: FakeServer) -> None:
    own = {"engineModel": "mini", "standIn": True, "cache": "hit", "notes": "soft", "status": "completed"}
    server.final = own | {"downloadUrl": "x", "new": 1}
    (file,) = client.get_task_status("t").files
    assert (file.engine_model, file.stand_in, file.cache, file.notes) == ("mini", True, "hit", ("soft",))
    assert file.dimensions and file.dimensions.width == 40
    server.statuses = [{"status": "processing", "progress": 75, "files": None}]
    bare = client.get_task_status("t")
    assert (bare.percent, bare.files) == (75, ())


@pytest.mark.parametrize(
    ("said", "percent"), [("75", 75), ("12.5", 12), ("", 0), ("soon", 0), ("140", 100), ("nan", 0)]
)
def test_ups_25_progress_is_a_number_in_a_string(client: Client, server: FakeServer, said: str, percent: int) -> None:
    server.statuses = [{"status": "processing", "progress": said}]
    assert client.get_task_status("t").percent == percent


def page_of(times: range, limit: int, body: dict[str, Any]) -> httpx.Response:
    newest_first = [time for time in reversed(times) if time < body.get("timestampOffset", times.stop)]
    shown = newest_first[:limit]
    more = len(newest_first) > limit
    data = [{"status": "completed", "taskId": f"t{time}", "createdAt": time} for time in shown]
    return success(data, pagination={"total": len(times), "hasMore": more, "nextOffset": shown[-1] if more else None})


def test_ups_33_the_walk_has_no_gap_and_no_repeat(client: Client, server: FakeServer) -> None:
    times = range(1000, 1045)
    server.next(
        "get-upscayl-history",
        *[lambda request: page_of(times, 20, json.loads(request.content))] * 3,
    )
    walked = [task.created_at for task in client.history(status="completed", page_size=20)]
    assert walked == list(reversed(times))
    first, second, third = server.bodies("get-upscayl-history")
    assert first == {"processed": "completed", "limit": 20}
    assert (second["timestampOffset"], third["timestampOffset"]) == (1025, 1005)


def test_pages_are_asked_for_when_wanted(client: Client, server: FakeServer) -> None:
    server.next("get-upscayl-history", *[lambda r: page_of(range(45), 20, json.loads(r.content))] * 3)
    pages = client.get_upscayl_history(batch=True, failed=False)
    assert next(pages).pagination.total == 45
    assert server.bodies("get-upscayl-history") == [{"batch": True, "failed": False, "limit": 20}]


def test_a_history_that_does_not_move_ends(client: Client, server: FakeServer) -> None:
    stuck = {"total": 9, "hasMore": True, "nextOffset": 5}
    server.next("get-upscayl-history", *[lambda _: success([], pagination=stuck)] * 3)
    with pytest.raises(ServerError, match="repeats"):
        list(client.history())
