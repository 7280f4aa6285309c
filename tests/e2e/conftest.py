from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from infra.local.stack import Stack

PATIENCE = 60  # seconds; a bound for a hanging test, never a measure


@dataclass
class Session:
    """A client of the running stack, with nothing but its address and a key."""

    http: httpx.Client
    url: str
    key: str

    def post(self, path: str, body: Any = None, key: str | None = None, **more: Any) -> httpx.Response:
        sent = {"json": body} if body is not None else {}
        return self.http.post(self.url + path, headers={"X-API-Key": key or self.key}, **sent, **more)

    def ticket(self, size: int, name: str = "photo.png", kind: str = "image/png") -> dict[str, Any]:
        answer = self.post("/get-upload-url", {"originalFileName": name, "fileType": kind, "fileSize": size})
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    def upload(self, body: bytes, name: str = "photo.png") -> dict[str, Any]:
        data = self.ticket(len(body), name)
        assert self.http.put(data["uploadURL"], content=body).status_code == 200
        return data

    def start(self, *uploads: dict[str, Any], **fields: Any) -> str:
        files = [{name: data[name] for name in ("fileName", "fileType", "fileSize")} for data in uploads]
        answer = self.post("/start-task", {"files": files, **fields})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"]["taskId"])

    def status(self, task: str) -> dict[str, Any]:
        answer = self.post("/get-task-status", {"taskId": task})
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    def ended(self, task: str, meanwhile: Callable[[], object] = lambda: None) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            data = self.status(task)
            if data["status"] in ("completed", "failed"):
                return data
            meanwhile()
            time.sleep(0.1)
        raise AssertionError(f"still {data['status']} after {PATIENCE} s: {data}")


def session_of(stack: Stack, http: httpx.Client) -> Session:
    return Session(http, stack.api_url, stack.api_key)


def picture(width: int = 12, height: int = 8, colour: tuple[int, int, int] = (200, 40, 90)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def parameters() -> dict[str, str]:
    """Of the template; a test module overrides it."""
    return {}


@pytest.fixture(scope="module")
def stack(parameters: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("state")
    with Stack(state_dir=folder, parameters=parameters, api_key="test") as running:
        yield running


@pytest.fixture
def session(stack: Stack, http: httpx.Client) -> Session:
    return session_of(stack, http)
