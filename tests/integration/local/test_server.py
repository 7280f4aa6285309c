"""Connections that end as they should not."""

from __future__ import annotations

import socket
import struct

import pytest

from infra.local.server import Answer, Request, Server

AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a reset
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def reset_after(server: Server, sent: bytes, answered: int) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        connection.sendall(sent)
        if answered:
            assert connection.recv(answered)


@pytest.mark.parametrize(
    ("sent", "answered"),
    [(REQUEST, 1000), (REQUEST, 0), (REQUEST[:-4], 0), (b"PUT / HTTP/1.1\r\nContent-Length: 9", 0)],
)
def test_a_client_that_resets_its_connection_is_no_error(
    sent: bytes, answered: int, capfd: pytest.CaptureFixture[str]
) -> None:
    server = Server(lambda request: Answer(200, body=bytes(1 << 20)))
    for _ in range(20):
        reset_after(server, sent, answered)
    server.close()  # joins every connection's thread
    assert capfd.readouterr().err == ""


def test_what_a_handler_raises_is_told_to_client_and_operator(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(request: Request) -> Answer:
        raise ValueError("a fault of ours")

    server = Server(broken)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(REQUEST)
        assert connection.recv(1000).startswith(b"HTTP/1.1 500")
    server.close()
    assert "a fault of ours" in capfd.readouterr().err
