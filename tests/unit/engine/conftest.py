"""Pictures made on the spot, and a storage server on the loopback that remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tessera_engine.transfer import Storage


def scene(width: int, height: int, channels: int = 3, seed: int = 7) -> NDArray[np.uint8]:
    """Soft shapes with some noise: compresses like a photograph and has no two equal corners."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:height, :width].astype(np.float64)
    waves = [np.sin(across / (5 + 3 * c) + c) * 60 + np.cos(down / (4 + 2 * c)) * 50 + 128 for c in range(channels)]
    pixels = np.stack(waves, axis=-1) + rng.normal(0, 4, (height, width, channels))
    return pixels.clip(0, 255).astype(np.uint8)


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    target = BytesIO()
    image.save(target, format=kind, **options)
    return target.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


@pytest.fixture
def make_scene() -> Callable[..., NDArray[np.uint8]]:
    return scene


@pytest.fixture
def make_file() -> Callable[..., bytes]:
    return file_of


@pytest.fixture
def open_file() -> Callable[[bytes], Image.Image]:
    return opened


@dataclass
class Bucket:
    """`refuse` maps "METHOD /path" to the statuses of the next answers; afterwards the answer is what it should be."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    etag: str = '"first"'
    refuse: dict[str, list[int]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)

    def puts(self) -> list[str]:
        return [line.removeprefix("PUT /") for line in self.asked if line.startswith("PUT ")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def bucket(self) -> Bucket:
        return self.server.bucket  # type: ignore[attr-defined, no-any-return]

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refused(self) -> bool:
        line = f"{self.command} {self.path}"
        self.bucket.asked.append(line)
        self.bucket.headers[line] = dict(self.headers)
        if statuses := self.bucket.refuse.get(line):
            self.answer(statuses.pop(0))
            return True
        return False

    def do_GET(self) -> None:
        if self.refused():
            return
        name = self.path.lstrip("/")
        if name not in self.bucket.objects:
            self.answer(404)
        elif (self.headers["If-Match"] or self.bucket.etag) != self.bucket.etag:
            self.answer(412)
        else:
            self.answer(200, self.bucket.objects[name])

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.refused():
            self.bucket.objects[self.path.lstrip("/")] = body
            self.answer(200)

    def log_message(self, *arguments: object) -> None:
        """The tests read `Bucket.asked` instead."""


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.bucket = Bucket(url=f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.bucket  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def storage() -> Iterator[Storage]:
    """Without pauses between tries."""
    ready = Storage(sleep=lambda _: None)
    yield ready
    ready.pool.clear()
