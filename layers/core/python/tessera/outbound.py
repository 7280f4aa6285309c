"""The HTTP client for addresses that callers name: where pictures are fetched from and webhooks go.

A name is resolved once for each connection, every address that it has is checked, and the connection is opened to one
of those that were checked: what the name means a moment later changes nothing. TLS is with the name. Nothing of the
environment counts: no proxy, no netrc, no certificates of its own.

httpx.TransportError
|- httpx.ConnectError ...   the network's, which may be gone the next time
|  |- Forbidden             an address that may not be reached, before any packet to it
|  `- UnknownHost           the DNS knows no address by the name
`- ...
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import httpcore
import httpx
from httpcore import SOCKET_OPTION

from tessera.addresses import Address, check_url, reachable
from tessera.errors import Invalid
from tessera.settings import Settings

__all__ = ["TIMEOUT", "Forbidden", "UnknownHost", "check_url", "client"]

TIMEOUT = httpx.Timeout(10.0, connect=5.0)
# EAI codes for a name without an address; all others, EAI_AGAIN above all, may pass.
NO_ADDRESS = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class Forbidden(httpx.ConnectError):
    """Says nothing of the address: that would tell a caller about the network behind this one."""


class UnknownHost(httpx.ConnectError):
    pass


def client(settings: Settings, timeout: httpx.Timeout = TIMEOUT, total: float | None = None) -> httpx.Client:
    """Follows no redirect unless it is asked to, and then at most three; each request's URL is checked, a redirect's
    too. A connection serves one request, and lives for `total` seconds at most: httpx's own limits are on each single
    read and write. Requests raise Forbidden, UnknownHost and httpx's own errors."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells whole URLs

    def check(request: httpx.Request) -> None:
        try:
            check_url(str(request.url), settings)
        except Invalid as refused:
            raise Forbidden("The address is not allowed") from refused

    return httpx.Client(
        transport=GuardedTransport(settings, total),
        timeout=timeout,
        max_redirects=3,
        trust_env=False,
        event_hooks={"request": [check]},
    )


@lru_cache(maxsize=1)
def trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


class GuardedTransport(httpx.HTTPTransport):
    def __init__(self, settings: Settings, total: float | None = None) -> None:
        super().__init__(verify=trusted(), trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=trusted(), max_keepalive_connections=0, network_backend=GuardedNetwork(settings, total)
        )


class GuardedNetwork(httpcore.NetworkBackend):
    def __init__(self, settings: Settings, total: float | None = None) -> None:
        self.settings = settings
        self.total = total
        self.plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """To the first of the name's addresses that answers, all within `timeout`."""
        began = time.monotonic()
        stream = self._connected(host, port, timeout, local_address, socket_options)
        return stream if self.total is None else Bounded(stream, began + self.total)

    def _connected(
        self,
        host: str,
        port: int,
        timeout: float | None,
        local_address: str | None,
        socket_options: Iterable[SOCKET_OPTION] | None,
    ) -> httpcore.NetworkStream:
        addresses = resolve(host, port)
        if not all(reachable(address, port, self.settings) for address in addresses):
            raise Forbidden("The address is not allowed")
        ends = None if timeout is None else time.monotonic() + timeout
        options = tuple(socket_options or ())
        for address in addresses[:-1]:
            try:
                return self.plain.connect_tcp(str(address), port, _left(ends), local_address, options)
            except httpcore.ConnectError:
                continue  # a host that has an address of a kind that is not routed here
        return self.plain.connect_tcp(str(addresses[-1]), port, _left(ends), local_address, options)


class Bounded(httpcore.NetworkStream):
    """A connection that ends at a time (of the monotonic clock), however many reads and writes it has until then."""

    def __init__(self, stream: httpcore.NetworkStream, ends: float) -> None:
        self.stream = stream
        self.ends = ends

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, self._left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, self._left(timeout, httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._left(timeout, httpcore.ConnectTimeout)
        return Bounded(self.stream.start_tls(ssl_context, server_hostname, left), self.ends)

    def close(self) -> None:
        self.stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)

    def _left(self, timeout: float | None, over: type[httpcore.TimeoutException]) -> float:
        left = self.ends - time.monotonic()
        if left <= 0:
            raise over("The connection's time is over")
        return left if timeout is None else min(timeout, left)


def resolve(host: str, port: int) -> tuple[Address, ...]:
    """All addresses of a name, at least one, in the system's order. Raises UnknownHost and httpcore.ConnectError."""
    try:
        # Bytes: a str goes through Python's own IDNA, which is another one than the client's.
        found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in NO_ADDRESS:
            raise UnknownHost("The host is unknown") from error
        raise httpcore.ConnectError("The host's name could not be resolved") from error
    if not found:
        raise UnknownHost("The host is unknown")
    return tuple(dict.fromkeys(ip_address(address[0]) for *_, address in found))


def _left(ends: float | None) -> float | None:
    return None if ends is None else max(0.1, ends - time.monotonic())
