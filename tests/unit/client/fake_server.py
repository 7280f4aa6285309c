"""A small Upscayl-shaped server and its storage, in memory: the other end of `httpx.MockTransport`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

API = "https://api.test"
STORE = "https://store.test"
KEY = "sk-very-secret-key"
SIGNATURE = "X-Amz-Signature=deadbeefcafe"
JPEG = b"\xff\xd8\xff\xe0" + b"j" * 96
PNG = b"\x89PNG\r\n\x1a\n" + b"p" * 92
WEBP = b"RIFF\x00\x00\x00\x00WEBP" + b"w" * 88
RESULT = b"\x89PNG\r\n\x1a\nthe result"
FAR_MS = 4_000_000_000_000  # Unix ms, in the year 2096

Handler = Callable[[httpx.Request], httpx.Response]


def success(data: Any, **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"status": "success", "data": data, **more})


def error(status: int, code: str, message: str, **headers: str) -> httpx.Response:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json={"error": code, "message": message}, headers=headers)


def unknown(request: httpx.Request) -> httpx.Response:
    return error(404, "NOT_FOUND", "Requested resource could not be found")


@dataclass
class FakeServer:
    """Happy by default. `answers[route]` is a list of handlers used up first; `refuse_part(n)` breaks one part."""

    part_size: int | None = None
    expires_at: int = FAR_MS
    statuses: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, list[Handler]] = field(default_factory=dict)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    puts: list[httpx.Request] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)
    final: dict[str, Any] = field(default_factory=dict)
    start_keys: list[str | None] = field(default_factory=list)
    uploads: int = 0
    key: str = KEY
    store: str = STORE
    lock: threading.Lock = field(default_factory=threading.Lock)

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)

    def next(self, route: str, *handlers: Handler) -> None:
        self.answers.setdefault(route, []).extend(handlers)

    def bodies(self, route: str) -> list[Any]:
        return [body for name, body in self.calls if name == route]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method != "POST" and not request.url.path.startswith("/v1/"):
            return self.storage(request)
        route = request.url.path.lstrip("/")
        request.read()
        with self.lock:
            is_json = request.headers.get("content-type") == "application/json"
            self.calls.append((route, json.loads(request.content) if is_json else request.content.decode()))
            self.start_keys += [request.headers.get("Idempotency-Key")] if route == "start-task" else []
            planned = self.answers.get(route)
            handler = (
                planned.pop(0) if planned else getattr(self, "on_" + route.replace("-", "_").replace("/", "_"), unknown)
            )
            if request.headers.get("X-API-Key") != self.key:
                return error(401, "UNAUTHORIZED", "Invalid or missing API key")
            answer: httpx.Response = handler(request)
            return answer

    def storage(self, request: httpx.Request) -> httpx.Response:
        assert "x-api-key" not in request.headers
        name = request.url.path
        route = f"{request.method} {name}"
        if request.method == "GET":
            planned = self.answers.get("GET")
            return planned.pop(0)(request) if planned else httpx.Response(200, content=RESULT)
        content = request.read()
        with self.lock:
            self.puts.append(request)
            planned = self.answers.get(route) or self.answers.get("PUT")
            handler = planned.pop(0) if planned else None
        if handler:
            return handler(request)
        assert int(request.headers["content-length"]) == len(content)
        assert "transfer-encoding" not in request.headers
        self.stored[name] = content
        return httpx.Response(200, headers={"ETag": f'"etag-{name.rsplit("/", 1)[-1]}"'})

    def on_get_upload_url(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.uploads += 1
        place = f"{self.store}/u{self.uploads}"
        data = {
            "uploadURL": f"{place}?{SIGNATURE}",
            "fileName": f"0000000{self.uploads}-{body['originalFileName']}",
            "fileType": body["fileType"],
            "createdAt": 1,
            "expiresAt": self.expires_at,
            "somethingNew": {"tolerated": True},
        }
        if self.part_size and body.get("multipart"):
            count = -(-body["fileSize"] // self.part_size)
            parts = [{"PartNumber": n, "url": f"{place}/{n}?{SIGNATURE}"} for n in range(1, count + 1)]
            data |= {"uploadId": f"id{self.uploads}", "key": f"uploads/{self.uploads}"}
            data |= {"partSize": self.part_size, "parts": parts}
        return success(data)

    def on_complete_multipart_upload(self, request: httpx.Request) -> httpx.Response:
        return success({"status": "success"})

    def on_start_task(self, request: httpx.Request) -> httpx.Response:
        return success(
            {"taskId": f"task-{len(self.bodies('start-task'))}", "message": "Task request sent successfully"}
        )

    def on_get_task_status(self, request: httpx.Request) -> httpx.Response:
        if self.statuses:
            return success(self.statuses.pop(0))
        return success(self.completed())

    def completed(self) -> dict[str, Any]:
        file = {
            "originalFileName": "photo.jpg",
            "downloadLink": f"{self.store}/result?{SIGNATURE}",
            "finalFileSize": len(RESULT),
            "dimensions": {"width": 40, "height": 20},
            **self.final,
        }
        return {
            "status": "completed",
            "progress": "100",
            "model": "upscayl-standard-4x",
            "scale": "4",
            "saveImageAs": "png",
            "files": [file],
        }
