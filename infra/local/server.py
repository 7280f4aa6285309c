"""`Server`: a small threaded HTTP/1.1 server on the loopback, shared by storage, gateway and runtime API.

Guarantees: listens on 127.0.0.1 only; a handler sees the request line as it was sent and the whole body; a body above
`limit` is refused without being kept; `close` ends every connection and joins every thread.
"""

from __future__ import annotations

import socket
import socketserver
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

LOOPBACK = "127.0.0.1"
IDLE_SECONDS = 75
LINGER_SECONDS, LINGER_BYTES = 2, 256 << 20
MAX_BODY = 5 << 30  # S3's largest single PUT

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Request:
    method: str
    target: str = field(metadata={"why": "still percent-encoded: a signature covers the path as it was sent"})
    headers: Headers
    body: bytes = b""
    client: str = LOOPBACK

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name]
        return ",".join(values) if values else None


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Headers = ()
    body: bytes = b""


class BadRequest(Exception):
    """The bytes on the connection are not an HTTP request that can be served; the connection is closed."""


class Server:
    def __init__(
        self,
        handle: Callable[[Request], Answer],
        port: int = 0,
        *,
        limit: int = MAX_BODY,
        too_large: Callable[[Request], Answer] = lambda head: Answer(413),
    ) -> None:
        self.handle = handle
        self.limit = limit
        self.too_large = too_large
        self._http = _Http((LOOPBACK, port), self)
        self.port = self._http.server_address[1]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.end_connections()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False  # server_close joins them
    block_on_close = True

    def __init__(self, address: tuple[str, int], owner: Server) -> None:
        self.owner = owner
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own looks the host name up, which can take seconds

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._open_lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        with self._open_lock:
            still_open = list(self._open)
        for connection in still_open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # its client was faster

    def handle_error(self, request: Any, client_address: Any) -> None:
        traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        owner = cast(_Http, self.server).owner
        try:
            body = self._body(owner.limit)
        except BadRequest:
            self.close_connection = True
            return self._send(Answer(400))
        except (ConnectionError, TimeoutError):
            self.close_connection = True
            return None
        target = self.requestline.split()[1]  # self.path has a leading "//" already shortened
        request = Request(self.command, target, self.headers.items(), body or b"", self.client_address[0])
        if body is None:
            self.close_connection = True
            self._send(owner.too_large(request))
            return self._discard()
        try:
            answer = owner.handle(request)
        except Exception:  # the edge of the process: the client is told, the operator sees why
            traceback.print_exc()
            answer = Answer(500)
        return self._send(answer)

    def __getattr__(self, name: str) -> Any:
        """http.server looks for do_<METHOD>: every method is served, and it is the owner who says what is not found."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def handle_expect_100(self) -> bool:
        if self._declared() > cast(_Http, self.server).owner.limit:
            return True  # the final answer comes at once, the client need not send the body
        return super().handle_expect_100()

    def _declared(self) -> int:
        length = self.headers.get("Content-Length", "0")
        return int(length) if length.isdigit() else 0

    def _body(self, limit: int) -> bytes | None:
        """The whole body; None if it is above the limit."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks(limit)
        if not self.headers.get("Content-Length", "0").isdigit():
            raise BadRequest
        length = self._declared()
        if length > limit:
            return None
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError("the client went away in the middle of its body")
        return body

    def _discard(self) -> None:
        """Reads on for a while: a client that is still sending would see a reset connection, not the answer."""
        self.connection.settimeout(LINGER_SECONDS)
        left = LINGER_BYTES
        try:
            while left > 0 and (chunk := self.rfile.read1(1 << 16)):
                left -= len(chunk)
        except (ConnectionError, TimeoutError):
            return

    def _chunks(self, limit: int) -> bytes | None:
        parts: list[bytes] = []
        total = 0
        while True:
            try:
                size = int(self.rfile.readline(64).partition(b";")[0], 16)
            except ValueError:
                raise BadRequest from None
            total += size
            if total > limit:
                return None
            if size == 0:
                while self.rfile.readline(8192).strip():
                    pass  # trailers
                return b"".join(parts)
            parts.append(self.rfile.read(size))
            self.rfile.readline(8)

    def _send(self, answer: Answer) -> None:
        names = {name.lower() for name, _ in answer.headers}
        bodiless = self.command == "HEAD" or answer.status in (204, 304)
        lines = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, '')}"]
        lines += [
            f"{name}: {value}"
            for name, value in answer.headers
            if name.lower() not in ("content-length", "connection", "transfer-encoding")
        ]
        if answer.status != 204:
            declared = next((value for name, value in answer.headers if name.lower() == "content-length"), None)
            length = declared if bodiless and declared is not None else str(len(answer.body))
            lines.append(f"Content-Length: {length}")
        if "date" not in names:
            lines.append(f"Date: {self.date_time_string()}")
        if self.close_connection:
            lines.append("Connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        try:
            self.wfile.write(head if bodiless else head + answer.body)
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the client is gone: nobody is left to tell

    def log_message(self, format: str, *args: Any) -> None:
        """The stack keeps its own timeline."""
