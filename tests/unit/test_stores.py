"""SUP-13: a caller's own bucket. Signatures are judged by a storage that checks them, as the local stack's does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
import urllib3
from botocore.config import Config
from tessera.errors import Invalid
from tessera.settings import Settings
from tessera.stores import MAX_KEY, Store, in_s3

from infra.local.guard import Guard
from infra.local.server import Request, Server
from infra.local.sigv4 import Keys, Refused, verify

KEYS = Keys("AKIDCALLER", "the/callers+secret=", "eu-central-1")
WISH: dict[str, Any] = {
    "key": KEYS.access, "secret": KEYS.secret, "bucket": "callers-pictures", "region": KEYS.region,
}  # fmt: skip
SETTINGS = Settings(table="t", bucket="b", work_queue_url="q")
HOST = "https://callers-pictures.s3.eu-central-1.amazonaws.com"
# What a key may hold, and what a URL has to write differently
PATHS = (
    "a.jpg",
    "holiday/2026/1.jpg",
    "a b+c&d=e?f#g%20.jpg",
    "Ферма/élan.jpg",
    "~-_.!*'()/x",
    "a//b",
    "a@b:c,d;$.jpg",
)


def signed(settings: Settings = SETTINGS, **change: Any) -> Store:
    return in_s3(settings, WISH | change, "image.jpg")


def put(store: Store, **headers: str) -> Request:
    """As the worker sends it: what it sends on its own is not signed."""
    parts = urlsplit(store.url)
    sent = {"host": parts.netloc, "content-type": "image/jpeg", "content-length": "4", **store.headers, **headers}
    return Request("PUT", f"{parts.path}?{parts.query}", tuple(sent.items()), b"here")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("acl", [None, "public-read"])
def test_sup_13_the_signature_is_good_for_this_object_and_no_other(path: str, acl: str | None) -> None:
    now = datetime.now(UTC)
    request = put(signed(path=path, acl=acl))
    assert verify(request, KEYS, now) == "s3"
    other = Request("PUT", request.target.replace("/", "/x", 1), request.headers, request.body)
    with pytest.raises(Refused, match="SignatureDoesNotMatch"):
        verify(other, KEYS, now)
    with pytest.raises(Refused, match="SignatureDoesNotMatch"):
        verify(Request("GET", request.target, request.headers), KEYS, now)


def test_sup_13_the_signature_covers_the_acl_and_ends_with_the_tasks_deadline() -> None:
    store = signed(acl="public-read")
    with pytest.raises(Refused):
        verify(put(store, **{"x-amz-acl": "private"}), KEYS, datetime.now(UTC))
    assert parse_qs(urlsplit(store.url).query)["X-Amz-Expires"] == [str(SETTINGS.task_deadline_seconds)]
    with pytest.raises(Refused, match="expired"):
        verify(put(store), KEYS, datetime.now(UTC) + timedelta(seconds=SETTINGS.task_deadline_seconds + 1))


def test_sup_13_nothing_of_the_secret_is_in_what_is_kept() -> None:
    kept = signed(acl="private").model_dump_json()
    assert KEYS.secret not in kept and KEYS.secret not in urllib3.util.parse_url(signed().url).url


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ({}, f"{HOST}/image.jpg"),
        ({"path": None}, f"{HOST}/image.jpg"),
        ({"path": ""}, f"{HOST}/image.jpg"),
        ({"path": "/"}, f"{HOST}/image.jpg"),
        ({"path": "holiday/"}, f"{HOST}/holiday/image.jpg"),
        ({"path": "/holiday/1"}, f"{HOST}/holiday/1"),
        ({"path": "a b"}, f"{HOST}/a%20b"),
        ({"bucket": "my.pictures"}, "https://s3.eu-central-1.amazonaws.com/my.pictures/image.jpg"),
        ({"region": "us-gov-west-1"}, "https://callers-pictures.s3.us-gov-west-1.amazonaws.com/image.jpg"),
        ({"region": "cn-north-1"}, "https://callers-pictures.s3.cn-north-1.amazonaws.com.cn/image.jpg"),
    ],
)
def test_sup_13_the_location_is_the_objects_own(change: dict[str, Any], location: str) -> None:
    store = signed(**change)
    assert store.location == location
    assert store.url.startswith(f"{location}?X-Amz-Algorithm=AWS4-HMAC-SHA256&")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("key", (None, "", 7, "with space", "x" * 257, "ключ", "line\n")),
        ("secret", (None, "", 7, ["a"], "with space", "line\n")),
        ("bucket", (None, "", "ab", "Upper", "a_b", "1.2.3.4", "a..b", "-ab", "ab-", "x" * 64, "a/b", "a@b", "b\n")),
        ("region", (None, "", "eu", "EU-CENTRAL-1", "eu-central-1.evil.example/", "eu-central-1\n", 1, "eu--1")),
        ("path", (7, ["a"], "x" * (MAX_KEY + 1), "é" * MAX_KEY, "\ud800", "../a", "a/../b", "a/./b", "..", ".")),
        ("acl", ("", "everybody", 7, ["private"], "private\r\nx-evil: 1", True)),
        ("endpoint", ("", 7, "https://s3.example.com", "http://127.0.0.1:9000", "http://10.0.0.1:9000/x",
                      "http://999.1.1.1:80", "http://a@10.0.0.1:80", "file:///etc")),
    ],
)  # fmt: skip
def test_sup_13_what_cannot_be_one_is_named(field: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(Invalid) as refused:
            signed(**{field: value})
        assert f"'{field}'" in refused.value.reason
        assert KEYS.secret not in refused.value.reason


def test_sup_13_a_parameter_that_there_is_not_is_named() -> None:
    with pytest.raises(Invalid, match="'session'"):
        signed(session="x")


def test_sup_13_another_storage_only_where_the_operator_has_allowed_it() -> None:
    allowed = SETTINGS.model_copy(update={"allowed_addresses": "127.0.0.1:9000, 10.1.0.0/16"})
    for endpoint in ("http://127.0.0.1:9000", "https://10.1.2.3:443"):
        assert signed(allowed, endpoint=endpoint).location == f"{endpoint}/callers-pictures/image.jpg"
    for endpoint in ("http://127.0.0.1:9001", "http://10.2.0.1:9000", "http://127.0.0.1"):
        with pytest.raises(Invalid, match="'endpoint'"):
            signed(allowed, endpoint=endpoint)


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, Guard]]:
    """Another S3, which knows the caller's keys and checks every signature."""
    guard = Guard(KEYS)
    server = Server(guard)
    yield server.url, guard
    server.close()
    guard.close()


@pytest.mark.parametrize("path", PATHS)
def test_sup_13_another_s3_takes_it_under_the_very_key(elsewhere: tuple[str, Guard], path: str) -> None:
    url, _ = elsewhere
    settings = SETTINGS.model_copy(update={"allowed_addresses": "127.0.0.1/32"})
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=KEYS.access, aws_secret_access_key=KEYS.secret,
        region_name=KEYS.region, config=Config(s3={"addressing_style": "path"}),
    )  # fmt: skip
    client.create_bucket(Bucket="callers-pictures", CreateBucketConfiguration={"LocationConstraint": KEYS.region})
    store = signed(settings, endpoint=url, path=path, acl="public-read")
    with urllib3.PoolManager(retries=False) as pool:
        answer = pool.request("PUT", store.url, body=b"here", headers={**store.headers, "Content-Type": "image/jpeg"})
        assert answer.status == 200, answer.data
        got = client.get_object(Bucket="callers-pictures", Key=path)
        got["Body"].close()
        tampered = store.url.replace("X-Amz-Expires=1800", "X-Amz-Expires=180000")
        assert pool.request("PUT", tampered, body=b"there", headers=store.headers).status == 403
    assert (got["ContentType"], got["ContentLength"]) == ("image/jpeg", 4)
    client.close()
