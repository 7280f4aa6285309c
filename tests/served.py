"""A server on this machine for what goes out: it answers as a test says, whatever is asked of it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """`pieces` are sent one after the other; with `cut` the connection ends then, whatever was promised."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Iterable[bytes] = (b"here",)
    length: int | None = None
    cut: bool = False

    @classmethod
    def of(cls, body: bytes, **headers: str) -> Answer:
        return cls(headers=headers, pieces=(body,), length=len(body))


Told = Callable[[str], Answer]


class Served:
    """`asked`: paths, in order; `sent`: the headers that came with them."""

    def __init__(self, answer: Told, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[str] = []
        self.sent: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.sent.append({name.lower(): value for name, value in self.headers.items()})
                told = answer(self.path)
                self.send_response(told.status)
                length = {} if told.length is None else {"Content-Length": str(told.length)}
                for name, value in (length | told.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(OSError):  # whoever asked has gone away
                    for piece in told.pieces:
                        self.wfile.write(piece)
                        self.wfile.flush()
                if told.cut:
                    self.connection.shutdown(socket.SHUT_RDWR)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that goes away, as one does that trusts no certificate of ours."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self.allowed = f"127.0.0.1:{self.port}"
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    def __enter__(self) -> Served:
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
