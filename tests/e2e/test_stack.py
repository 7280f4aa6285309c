"""The one-machine stack with the real template: it starts, it answers, it comes back as it was."""

from __future__ import annotations

import http.client
import io
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from infra.local.stack import Stack


def ask(stack: Stack, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(stack.api_url.removeprefix("http://"), timeout=30)
    headers = {"Content-Type": "application/json", **({"X-API-Key": key} if key else {})}
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


UPLOAD = {"originalFileName": "photo.jpg", "fileType": "image/jpeg", "fileSize": 24368}


def test_it_starts_and_knows_its_routes() -> None:
    with Stack() as stack:
        assert ask(stack, "GET", "/no-such-path") == (404, {"message": "Not Found"})
        assert ask(stack, "POST", "/get-upload-url", UPLOAD)[0] == 401
        status, answer = ask(stack, "POST", "/get-upload-url", UPLOAD, stack.api_key)
        assert status == 200
        assert answer["data"]["uploadURL"].startswith(f"{stack.storage_url}/{stack.bucket}/uploads/")
        assert stack.outputs["ApiUrl"] == stack.api_url


def test_a_restart_keeps_key_and_state(tmp_path: Path) -> None:
    with Stack(state_dir=tmp_path) as stack:
        first = (stack.api_key, stack.storage_url)
        dynamodb = stack.client("dynamodb")
        items = dynamodb.scan(TableName=stack.table)["Count"]
        dynamodb.close()
    assert items > 0
    with Stack(state_dir=tmp_path) as stack:
        assert (stack.api_key, stack.storage_url) == first
        dynamodb = stack.client("dynamodb")
        assert dynamodb.scan(TableName=stack.table)["Count"] == items
        dynamodb.close()
        assert ask(stack, "POST", "/get-upload-url", UPLOAD, stack.api_key)[0] == 200


def test_a_wished_key_is_made_valid(tmp_path: Path) -> None:
    for _ in range(2):
        with Stack(state_dir=tmp_path, api_key="wished-key-of-my-own") as stack:
            assert stack.api_key == "wished-key-of-my-own"
            assert ask(stack, "POST", "/get-upload-url", UPLOAD, "wished-key-of-my-own")[0] == 200


def picture(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def start_task(stack: Stack, content: bytes) -> str:
    named = {**UPLOAD, "fileSize": len(content)}
    upload = ask(stack, "POST", "/get-upload-url", named, stack.api_key)[1]["data"]
    link = urlsplit(upload["uploadURL"])
    connection = http.client.HTTPConnection(link.netloc, timeout=30)
    try:
        connection.request("PUT", f"{link.path}?{link.query}", content)
        assert connection.getresponse().status == 200
    finally:
        connection.close()
    file = {name: upload[name] for name in ("fileName", "fileType", "fileSize", "originalFileName")}
    task = {"files": [file], "scale": "4", "saveImageAs": "jpg"}
    status, answer = ask(stack, "POST", "/start-task", task, stack.api_key)
    assert status == 200, answer
    task_id: str = answer["data"]["taskId"]
    return task_id


def finished(stack: Stack, task: str, seconds: float) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while True:
        status: dict[str, Any] = ask(stack, "POST", "/get-task-status", {"taskId": task}, stack.api_key)[1]["data"]
        if status["status"] not in ("pending", "processing"):
            return status
        assert time.monotonic() < end, status
        time.sleep(0.2)


def test_a_restart_in_the_middle_of_a_task_ends_it_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.local.stack.GRACE_SECONDS", 0.0)  # or the task would be done before the stack is
    with Stack(state_dir=tmp_path) as stack:
        task = start_task(stack, picture(1600))
        end = time.monotonic() + 30
        while not stack.running("UpscaleWorkerFunction"):
            assert time.monotonic() < end
            time.sleep(0.05)
    assert not any("UpscaleWorkerFunction" in hop.what and "failed" not in hop.what for hop in stack.hops())
    with Stack(state_dir=tmp_path) as stack:
        status = finished(stack, task, 90)
        assert status["status"] == "completed"
        assert status["files"][0]["dimensions"] == {"width": 6400, "height": 6400}
