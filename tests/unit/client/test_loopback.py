"""The same over real sockets: what only a real connection and a real Ctrl-C can show."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import tessera_client
from tessera_client import Client, Unreachable

from tests.unit.client.fake_server import JPEG, KEY, RESULT, FakeServer

PART = 300_000


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeServer

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = f"http://{self.headers['Host']}{self.path}"
        response = self.fake(httpx.Request(self.command, url, headers=self.headers.items(), content=body))
        self.send_response(response.status_code)
        response.headers["Content-Length"] = str(len(response.read()))
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.read())

    do_POST = do_PUT = do_GET = answer  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: object) -> None:
        pass


class Listener(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was stopped by Ctrl-C does not wait for its answers."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@pytest.fixture
def url(server: FakeServer) -> Iterator[str]:
    handler = type("BoundHandler", (Handler,), {"fake": server})
    with Listener(("127.0.0.1", 0), handler) as listener:
        threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True).start()
        server.store = f"http://127.0.0.1:{listener.server_port}"
        yield server.store
        listener.shutdown()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Just above the threshold for parts."""
    place = tmp_path / "large.jpg"
    place.write_bytes(JPEG + bytes(5 * PART))
    return place


def test_a_picture_there_and_back(
    server: FakeServer, url: str, large: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with Client(url, KEY, cache_dir=tmp_path / "cache") as client:
        done = client.upscale(large)
    assert done.path.read_bytes() == RESULT
    assert server.stored == {"/u1": large.read_bytes()}
    assert "httpcore" in caplog.text
    assert "Signature" not in caplog.text and KEY not in caplog.text


def test_parts_at_once(server: FakeServer, url: str, large: Path, tmp_path: Path) -> None:
    server.part_size = PART
    with Client(url, KEY, cache_dir=tmp_path / "cache", multipart_from=1) as client:
        client.upload(large)
    assert b"".join(server.stored[f"/u1/{n}"] for n in range(1, 7)) == large.read_bytes()


def test_nobody_listens(tmp_path: Path) -> None:
    with (
        Client("http://127.0.0.1:9", KEY, sleep=lambda _: None) as client,
        pytest.raises(Unreachable, match=r"no answer from 127\.0\.0\.1"),
    ):
        client.get_task_status("t")


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a POSIX signal")
def test_ctrl_c_keeps_the_parts_and_the_next_run_goes_on(server: FakeServer, url: str, tmp_path: Path) -> None:
    server.part_size = 4 * 1024 * 1024
    photo = tmp_path / "huge.jpg"
    photo.write_bytes(JPEG + bytes(17 * 1024 * 1024))  # above the command's own threshold
    release = threading.Event()

    def hang(request: httpx.Request) -> httpx.Response:
        release.wait(20)
        return httpx.Response(500)

    for number in (3, 4, 5):
        server.next(f"PUT /u1/{number}", hang)
    environ = {
        **os.environ,
        "PYTHONPATH": str(Path(tessera_client.__file__).parents[1]),
        "TESSERA_URL": url,
        "TESSERA_KEY": KEY,
        "TESSERA_CACHE": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-m", "tessera_client", "upscale", str(photo)]
    running = subprocess.Popen(
        command,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts its background jobs, this test run among them, with Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and not {"/u1/1", "/u1/2"} <= server.stored.keys():
        time.sleep(0.02)
    time.sleep(0.2)  # the second part's ETag has to reach the state
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)  # a bound for a hang, not a measure
    release.set()
    assert running.returncode == 130, err
    assert "finished parts of large uploads are kept" in err
    assert out == "" and "Traceback" not in err

    server.puts.clear()
    again = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=10)
    assert again.returncode == 0, again.stderr
    assert sorted(request.url.path for request in server.puts) == ["/u1/3", "/u1/4", "/u1/5"]
    assert (tmp_path / "huge-4x.png").read_bytes() == RESULT
