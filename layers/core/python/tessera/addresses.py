"""Which addresses that callers name may be reached: their form, and the networks that they are of. Asks no network.

Public is, of IPv6, the global unicast range alone, and of both what no registry of special addresses lists (RFC 6890;
https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry).
A deployment may allow private networks by name: `Settings.allowed_addresses`, "10.1.0.0/16, 127.0.0.1:8123".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Self

from tessera.errors import Invalid
from tessera.settings import Settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 2048  # characters
MAX_HOST = 253  # RFC 1035 section 2.3.4
MAX_LABEL = 63
PORTS = {"http": 80, "https": 443}
FIRST_FREE_PORT = 1024  # those below belong to other services: mail, remote shells, file shares

# RFC 3986, and no more of it than pictures and webhooks need: no credentials, no percent sign in a host, no zone.
FORM = re.compile(
    r"(?P<scheme>https?)://"
    r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[^\s/?#@:\[\]\\%]+))"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[/?#].*)?",
    re.IGNORECASE | re.ASCII,
)
UNFIT = re.compile(r"[\x00-\x20\x7f-\x9f\\\u2028\u2029\ud800-\udfff]")
LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?", re.ASCII)
# What the C library takes for an IPv4 address in another way of writing: 2130706433, 0x7f.1, 0177.0.0.1
NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)", re.ASCII)
ENTRY = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]{1,5})", re.ASCII)

SPECIAL = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
            "168.63.129.16/32",  # Azure's platform, by an address that looks public
        ),
    )
)  # fmt: skip
UNICAST = IPv6Network("2000::/3")
SPECIAL_UNICAST = tuple(
    map(
        IPv6Network,
        # protocol assignments with Teredo, documentation, 6to4, documentation
        ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)
NAT64 = IPv6Network("64:ff9b::/96")  # how a network without IPv4 writes public IPv4 addresses, RFC 6052


@dataclass(frozen=True)
class Allowed:
    """An entry of the deployment: a network, and its one port or None for any."""

    network: Network
    port: int | None

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises ValueError."""
        if match := ENTRY.fullmatch(text):
            return cls(ip_network(match["six"] or match["four"]), int(match["port"]))
        return cls(ip_network(text), None)

    def holds(self, address: Address, port: int) -> bool:
        return address in self.network and self.port in (None, port)


@lru_cache(maxsize=8)
def allowed(entries: str) -> tuple[Allowed, ...]:
    """Raises ValueError for an entry that is neither a network nor an address with a port."""
    return tuple(Allowed.of(entry.strip()) for entry in entries.split(",") if entry.strip())


def reachable(address: Address, port: int, settings: Settings) -> bool:
    """Whether a connection there may be opened: it is public, or the deployment allows it."""
    plain = _unwrapped(address)
    return _public(plain) or any(
        entry.holds(form, port) for entry in allowed(settings.allowed_addresses) for form in {address, plain}
    )


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that is meant by an IPv6 one."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.scope_id is None and address in NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in SPECIAL)
    if address.scope_id is not None:
        return False
    return address in UNICAST and not any(address in network for network in SPECIAL_UNICAST)


def check_url(text: str, settings: Settings) -> None:
    """Whether this may be an address to fetch from or to call. Asks no network: a name's addresses are checked when it
    is connected to. Raises Invalid, with a reason that holds nothing of the address."""
    if len(text) > MAX_URL:
        raise Invalid(f"The URL is longer than {MAX_URL} characters")
    match = FORM.fullmatch(text)
    if match is None or UNFIT.search(text):
        raise Invalid("The URL must be http:// or https:// with a host, without a user name")
    port = int(match["port"] or PORTS[match["scheme"].lower()])
    if not 0 < port < 65_536 or (port < FIRST_FREE_PORT and port not in PORTS.values()):
        raise Invalid("The URL's port is not allowed")
    literal = _literal(match["six"], match["name"])
    if literal is not None and not reachable(literal, port, settings):
        raise Invalid("The URL's address is not allowed")


def shown(url: str) -> str:
    """What may be told of a URL in a log: where it leads. Paths and queries of other services may be secrets."""
    match = FORM.fullmatch(url)
    if match is None:
        return "a URL"
    return url[: match.end("port") if match["port"] else match.end("name") if match["name"] else match.end("six") + 1]


def _literal(six: str | None, name: str | None) -> Address | None:
    """The address that a host is, None for a name. Raises Invalid for what is neither."""
    try:
        if six:
            return IPv6Address(six)
        labels = _ascii(name or "").split(".")
        if NUMBER.fullmatch(labels[-1]):  # WHATWG URL: a host whose last part is a number is an address
            return IPv4Address(".".join(labels))
    except ValueError as wrong:
        raise Invalid("The URL's host is not valid") from wrong
    return None


def _ascii(name: str) -> str:
    """As it is asked of the DNS. Raises ValueError."""
    if not name.isascii():
        import idna  # of the client's packages, and seldom needed

        name = idna.encode(name.lower()).decode("ascii")  # IDNA 2008: no full-width or circled digits
    name = name.lower()
    if len(name) > MAX_HOST or not all(LABEL.fullmatch(label) and len(label) <= MAX_LABEL for label in name.split(".")):
        raise ValueError("not a host name")
    return name
