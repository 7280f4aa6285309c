"""LE-30, SUP-07: what callers name is reached only where it is public, whatever it is written like and resolves to."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from tessera import outbound
from tessera.addresses import MAX_URL, allowed, check_url, reachable, shown
from tessera.errors import Invalid
from tessera.outbound import Forbidden, GuardedNetwork, UnknownHost, client
from tessera.redaction import redacted
from tessera.settings import Settings

from tests.served import Answer, Served

OK = Answer.of(b"here")
PUBLIC = "93.184.216.34"

# Private, special and embedded addresses, each as it comes out of a resolver.
PRIVATE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255",
    "192.168.0.1", "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1",
    "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "168.63.129.16",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2001:10::1", "3fff::1", "5f00::1", "100::1",
    "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::1%lo", "fec0::1", "ff02::1", "4000::1",
]  # fmt: skip

# ruff: noqa: RUF001
# How an address may be hidden in a URL; {port} is the listener's.
HOSTILE = [
    "http://127.0.0.1:{port}/", "https://127.0.0.1:{port}/", "http://[::1]:{port}/", "http://2130706433:{port}/",
    "http://0x7f000001:{port}/", "http://0x7f.1:{port}/", "http://0x7f.0.0.0x1:{port}/", "http://017700000001:{port}/",
    "http://0177.0.0.1:{port}/", "http://127.1:{port}/", "http://127.0.1:{port}/", "http://127.0.0.1.:{port}/",
    "http://0:{port}/", "http://0.0.0.0:{port}/", "http://[::]:{port}/", "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/", "http://[::ffff:7f00:1]:{port}/", "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/", "http://[2002:7f00:1::]:{port}/", "http://[fe80::1%25lo]:{port}/",
    "http://[fe80::1%lo]:{port}/", "http://[::1%25lo]:{port}/", "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/", "http://100.100.100.200/", "http://localhost:{port}/",
    "http://LOCALHOST:{port}/", "http://sub.localhost:{port}/", "http://private.example:{port}/",
    "http://mixed.example:{port}/", "http://mixed6.example:{port}/", "http://metadata.google.internal/",
    "http://public.example@127.0.0.1:{port}/", "http://127.0.0.1:{port}@public.example/",
    "http://public.example:80@127.0.0.1:{port}/", "http://a:b@127.0.0.1:{port}/",
    "http://public.example\\@127.0.0.1:{port}/", "http://127.0.0.1:{port}\\@public.example/",
    "http://127.0.0.1:{port}#@public.example/", "http://127.0.0.1:{port}?@public.example/",
    "http:\\\\127.0.0.1:{port}/", "http:/127.0.0.1:{port}/", "http:127.0.0.1:{port}/", "//127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/", "http://１２７.0.0.1:{port}/", "http://①②⑦.0.0.1:{port}/",
    "http://127。0。0。1:{port}/", "http://ⓛocalhost:{port}/", "http://127%2e0.0.1:{port}/",
    "http://%31%32%37.0.0.1:{port}/", "http://127.0.0.1%00.public.example:{port}/", "http://127.0.0.1\t:{port}/",
    " http://127.0.0.1:{port}/", "http://127.0.0.1\n:{port}/", "http://127.0.0.1:{port}/\r\nHost: x",
    "file:///etc/passwd", "ftp://127.0.0.1:{port}/", "gopher://127.0.0.1:{port}/_x", "unix:///var/run/docker.sock",
    "data:image/png;base64,AAAA", "javascript:alert(1)", "http+unix://x/", "ws://127.0.0.1:{port}/",
    "http://public.example:0/", "http://public.example:22/", "http://public.example:25/", "http://public.example:445/",
    "http://public.example:65536/", "http://public.example:-1/", "http://public.example:80:80/",
    "http:///", "http://", "http://:{port}/",
    "http://./", "http://a..b/", "http://-a.example/", "http://1.2.3.4.5/", "http://256.256.256.256/",
    "http://[127.0.0.1]:{port}/", "http://[::1]x:{port}/", "http://[::1/", "", "127.0.0.1:{port}", "http://a b/",
]  # fmt: skip

NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "sub.localhost": ["127.0.0.1"],
    "private.example": ["127.0.0.1"],
    "mixed.example": [PUBLIC, "127.0.0.1"],
    "mixed6.example": ["2606:4700::1", "::1"],
    "metadata.google.internal": ["169.254.169.254"],
    "public.example": [PUBLIC],
}


def settings(entries: str = "") -> Settings:
    return Settings(table="t", bucket="b", work_queue_url="q", allowed_addresses=entries)


class Names:
    """The system's resolver, with names of its own and a list of what it was asked."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self.names = names
        self.asked: list[str] = []
        self.real = socket.getaddrinfo

    def __call__(self, host: Any, port: Any, *more: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        with suppress(ValueError):
            ip_address(name.partition("%")[0])
            return self.real(name, port, *more, **options)  # an address: nobody is asked
        self.asked.append(name)
        if name not in self.names:
            with suppress(OSError):  # 2130706433 and the like, which the system reads as addresses
                return self.real(name, port, *more, flags=socket.AI_NUMERICHOST, **options)
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        found = [self.real(address, port, *more, **options)[0] for address in self.names[name]]
        return found


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    resolver = Names(dict(NAMES))
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


class Listener:
    """On 127.0.0.1 and ::1, one port; counts who comes."""

    def __init__(self) -> None:
        four = socket.create_server(("127.0.0.1", 0))
        self.port = four.getsockname()[1]
        self.sockets = [four]
        with suppress(OSError):
            self.sockets.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))

    def came(self) -> int:
        count = 0
        for listening in self.sockets:
            listening.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    listening.accept()[0].close()
                    count += 1
        return count

    def close(self) -> None:
        for listening in self.sockets:
            listening.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with closing(Listener()) as listener:
        yield listener


class Connected:
    """Takes the place of the plain network: nothing leaves this machine, and it is known what would have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.to: list[tuple[str, int]] = []
        monkeypatch.setattr("httpcore.SyncBackend.connect_tcp", self.connect)

    def connect(self, host: str, port: int, *_: Any) -> Any:
        self.to.append((host, port))
        raise RuntimeError("connected")


def test_the_lists_are_long_enough() -> None:
    assert len(set(HOSTILE) | set(PRIVATE)) >= 50


@pytest.mark.parametrize("address", PRIVATE)
def test_le_30_sup_07_what_is_not_public_is_not_reached(address: str) -> None:
    assert not reachable(ip_address(address), 80, settings())


@pytest.mark.parametrize(
    "address", [PUBLIC, "1.1.1.1", "8.8.8.8", "2606:4700::1", "2a00:1450::1", "64:ff9b::101:101", "::ffff:1.1.1.1"]
)
def test_what_is_public_is_reached(address: str) -> None:
    assert reachable(ip_address(address), 443, settings())


@pytest.mark.parametrize("url", HOSTILE)
def test_le_30_sup_07_a_hostile_url_reaches_nobody(
    url: str, names: Names, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = Connected(monkeypatch)
    with client(settings()) as guarded, pytest.raises((Forbidden, UnknownHost, httpx.InvalidURL, TypeError)):
        guarded.get(url.format(port=listener.port))
    assert (public.to, listener.came()) == ([], 0)


@pytest.mark.parametrize("address", PRIVATE)
def test_le_30_a_name_that_means_an_address_that_is_not_public_is_not_connected_to(
    address: str, names: Names, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = Connected(monkeypatch)
    names.names["changed.example"] = [PUBLIC]  # which is not enough, and neither is being the first
    names.real = lambda host, port, *_, **__: [(0, 0, 0, "", (host, port))]
    names.names["changed.example"].append(address)
    with pytest.raises(Forbidden) as refused:
        GuardedNetwork(settings()).connect_tcp("changed.example", listener.port)
    assert (public.to, listener.came()) == ([], 0)
    assert address.partition("%")[0] not in str(refused.value)


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/", "http://[::1]:{port}/", "http://private.example:{port}/", "http://2130706433:{port}/",
        "//127.0.0.1:{port}/", "http://a@127.0.0.1:{port}/", "file:///etc/passwd", "ftp://127.0.0.1:{port}/",
        "http://169.254.169.254/", "http://127.0.0.1:22/", "https://localhost:{port}/",
    ],
)  # fmt: skip
def test_le_30_sup_07_a_redirect_to_a_refused_address_is_not_followed(
    target: str, names: Names, listener: Listener
) -> None:
    location = target.format(port=listener.port)
    with Served(lambda _: Answer(302, {"Location": location}, ())) as server:
        names.names["public.example"] = ["127.0.0.1"]
        allowing = settings(f"127.0.0.1:{server.port}")
        with client(allowing) as guarded, pytest.raises((Forbidden, httpx.UnsupportedProtocol)):
            guarded.get(f"http://public.example:{server.port}/", follow_redirects=True)
    assert listener.came() == 0


def countdown(path: str) -> Answer:
    left = int(path.strip("/"))
    return Answer(302, {"Location": f"/{left - 1}"}, (), 0) if left else OK


def test_a_redirect_is_followed_three_times_and_only_where_it_is_asked_for() -> None:
    with Served(countdown) as server:
        at = f"http://127.0.0.1:{server.port}"
        with client(settings("127.0.0.1")) as guarded:
            assert guarded.get(f"{at}/3").status_code == 302
            assert guarded.get(f"{at}/3", follow_redirects=True).content == b"here"
            with pytest.raises(httpx.TooManyRedirects):
                guarded.get(f"{at}/4", follow_redirects=True)


def test_le_30_a_name_is_resolved_once_and_what_was_checked_is_connected_to(names: Names) -> None:
    """Rebinding: what the name means at the second question does not matter, since there is none."""
    with Served(lambda _: OK) as server:
        answers = iter((["127.0.0.1"], ["127.0.0.2"]))
        names.names["rebinding.example"] = []

        def next_answer(host: Any, port: Any, *more: Any, **options: Any) -> Any:
            if host == b"rebinding.example":
                names.names["rebinding.example"] = next(answers)
            return names(host, port, *more, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", next_answer)
            with client(settings(f"127.0.0.1/32, 127.0.0.2:{server.port + 1}")) as guarded:
                url = f"http://rebinding.example:{server.port}/"
                assert guarded.get(url).content == b"here"
                assert names.asked == ["rebinding.example"]
                with pytest.raises(Forbidden):  # the next connection asks again, and checks again
                    guarded.get(url)
        assert names.asked == ["rebinding.example"] * 2


def test_an_address_that_does_not_answer_is_followed_by_the_next(names: Names) -> None:
    with Served(lambda _: OK) as server:
        names.names["two.example"] = ["127.0.0.9", "127.0.0.1"]
        with client(settings("127.0.0.0/8")) as guarded:
            assert guarded.get(f"http://two.example:{server.port}/").content == b"here"


def test_a_name_that_is_unknown_is_told_from_one_that_cannot_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(code: int) -> Callable[..., Any]:
        def answer(*_: Any, **__: Any) -> Any:
            raise socket.gaierror(code, "no")

        return answer

    with client(settings()) as guarded:
        for code in (socket.EAI_NONAME, socket.EAI_NODATA):
            monkeypatch.setattr(socket, "getaddrinfo", failing(code))
            with pytest.raises(UnknownHost):
                guarded.get("http://nowhere.example/")
        monkeypatch.setattr(socket, "getaddrinfo", failing(socket.EAI_AGAIN))
        with pytest.raises(httpx.ConnectError) as temporary:
            guarded.get("http://later.example/")
    assert not isinstance(temporary.value, UnknownHost | Forbidden)


def test_nothing_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch, listener: Listener) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
    with Served(lambda _: OK) as server, client(settings("127.0.0.1")) as guarded:
        assert guarded.get(f"http://127.0.0.1:{server.port}/").content == b"here"
    assert listener.came() == 0


def test_tls_is_with_the_name_and_its_certificate_is_checked(
    tmp_path: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = certificate(tmp_path, "pictures.example")
    names.names |= {"pictures.example": ["127.0.0.1"], "others.example": ["127.0.0.1"]}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    asked: list[str] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)  # type: ignore[assignment]
    with Served(lambda _: OK, context) as server:
        port = server.port
        with client(settings("127.0.0.1")) as guarded, pytest.raises(httpx.ConnectError, match="CERTIFICATE"):
            guarded.get(f"https://pictures.example:{port}/")
        trusting = ssl.create_default_context(cafile=str(files[0]))
        monkeypatch.setattr(outbound, "trusted", lambda: trusting)
        with client(settings("127.0.0.1")) as guarded:
            assert guarded.get(f"https://pictures.example:{port}/").content == b"here"
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE"):
                guarded.get(f"https://others.example:{port}/")
    assert asked == ["pictures.example", "pictures.example", "others.example"]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com", "https://example.com/a b".replace(" ", "%20"), "HTTPS://EXAMPLE.com:443/", "http://bücher.de/x",
        "http://example.com:8080/?q=http://127.0.0.1/", "http://93.184.216.34/a.png", "http://[2606:4700::1]/",
        "http://a_b.example.com/", "http://example.com/ä.png", "http://xn--bcher-kva.de/", "http://example.com/a@b",
    ],
)  # fmt: skip
def test_addresses_of_the_public_internet_are_accepted(url: str) -> None:
    check_url(url, settings())
    httpx.URL(url)


def test_a_refusal_tells_nothing_of_the_address_and_long_ones_are_refused() -> None:
    for url in ("http://10.1.2.3/", "http://user:secret@example.com/", f"http://example.com/{'a' * MAX_URL}"):
        with pytest.raises(Invalid) as refused:
            check_url(url, settings())
        assert "10.1.2.3" not in refused.value.reason
        assert "secret" not in refused.value.reason


@pytest.mark.parametrize(
    "url", ["http://public.example:８０/", "http://public.example:+80/", "http://public.example: 80/"]
)
def test_a_port_is_written_in_digits(url: str) -> None:
    with pytest.raises(Invalid):
        check_url(url, settings())


def test_a_deployment_may_allow_networks_and_ports() -> None:
    some = settings("10.1.0.0/16, 127.0.0.1:8123,[::1]:8123, fd00:1::/32")
    for address, port, expected in (
        ("10.1.9.9", 80, True), ("10.2.0.1", 80, False), ("127.0.0.1", 8123, True), ("127.0.0.1", 8124, False),
        ("127.0.0.2", 8123, False), ("::1", 8123, True), ("::1", 80, False), ("fd00:1::5", 443, True),
        ("fd00:2::5", 443, False), ("::ffff:10.1.9.9", 80, True), ("64:ff9b::a01:909", 80, True),
    ):  # fmt: skip
        assert reachable(ip_address(address), port, some) is expected, (address, port)
    check_url("http://10.1.9.9/", some)
    with pytest.raises(Invalid):
        check_url("http://127.0.0.1:8124/", some)
    for wrong in ("localhost", "10.1.0.1/16", "127.0.0.1:x"):
        with pytest.raises(ValueError):
            allowed(wrong)


def test_g25_what_a_log_may_say_of_a_url() -> None:
    assert shown("https://example.com:8443/hook/T0KEN?key=5ecret#x") == "https://example.com:8443"
    assert shown("http://example.com?key=5ecret") == "http://example.com"
    assert shown("http://[2606:4700::1]/x") == "http://[2606:4700::1]"
    assert shown("http://user:5ecret@example.com/") == "a URL"
    assert "5ecret" not in redacted("cannot reach 'https://user:5ecret@example.com/a'")


def test_g25_the_clients_own_log_lines_do_not_tell_urls(caplog: pytest.LogCaptureFixture) -> None:
    with Served(lambda _: OK) as server, client(settings("127.0.0.1")) as guarded:
        guarded.get(f"http://127.0.0.1:{server.port}/?key=5ecret")
    assert "5ecret" not in caplog.text


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@given(st.from_regex(r"https?://[\w.:\[\]%-]{1,40}([/?#].{0,20})?", fullmatch=True) | st.text(max_size=60))
def test_le_30_what_is_checked_is_what_the_client_reads(url: str) -> None:
    """One URL is one host to both of them: no address comes past the check by being read in another way."""
    try:
        check_url(url, settings())
    except Invalid:
        return
    read = httpx.URL(url)
    host = read.raw_host.decode("ascii")
    assert read.scheme in ("http", "https") and not read.userinfo
    with suppress(ValueError):
        assert reachable(ip_address(host), read.port or 80, settings())
