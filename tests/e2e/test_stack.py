"""The one-machine stack with the real template: it starts, it answers, it comes back as it was."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

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
