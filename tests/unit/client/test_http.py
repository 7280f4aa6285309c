from __future__ import annotations

import logging
from collections.abc import Callable

import httpx
import pytest
from tessera_client import (
    ApiError,
    BadRequest,
    Client,
    InsufficientCredits,
    NotFound,
    RateLimited,
    ServerError,
    Unauthorized,
    Unreachable,
)
from tessera_client.models import UploadedFile

from tests.unit.client.conftest import FakeTime
from tests.unit.client.fake_server import API, JPEG, KEY, FakeServer, error, success

FILE = UploadedFile(file_name="a", file_type="image/png", file_size=1)
DOCUMENTED = [
    (400, "BAD_REQUEST", "Invalid request parameters provided", BadRequest),
    (400, "INVALID_FILE_TYPE", "Unsupported file type. Allowed: JPEG, PNG, WEBP", BadRequest),
    (401, "UNAUTHORIZED", "Invalid or missing API key", Unauthorized),
    (402, "INSUFFICIENT_CREDITS", "Not enough credits to process request", InsufficientCredits),
    (404, "NOT_FOUND", "Requested resource could not be found", NotFound),
    (413, "FILE_SIZE_EXCEEDED", "too large", BadRequest),
    (429, "RATE_LIMIT_EXCEEDED", "Too many requests. Try again in 1 hour", RateLimited),
    (500, "INTERNAL_SERVER_ERROR", "An unexpected error occurred", ServerError),
]


def fails(times: int, kind: Callable[[str], Exception]) -> list[Callable[[httpx.Request], httpx.Response]]:
    def fail(request: httpx.Request) -> httpx.Response:
        raise kind(f"cannot: {request.headers['x-api-key']}")

    return [fail] * times


@pytest.mark.parametrize(("status", "code", "message", "kind"), DOCUMENTED)
def test_ups_02_each_error_has_its_class(
    client: Client, server: FakeServer, status: int, code: str, message: str, kind: type[ApiError]
) -> None:
    server.next("start-task", lambda _: error(status, code, message))
    with pytest.raises(kind) as caught:
        client.start_task([FILE])
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.code, caught.value.message) == (status, code, message)


def test_ups_01_the_key_goes_to_every_route(client: Client, connect: Callable[..., Client]) -> None:
    client.get_task_status("t")
    with pytest.raises(Unauthorized):
        connect(API, "another").get_task_status("t")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"status":"success"}', b'{"message":"Forbidden"}'])
def test_an_answer_of_something_else_is_a_server_error(client: Client, server: FakeServer, body: bytes) -> None:
    server.next("get-task-status", *[lambda _: httpx.Response(200, content=body)] * 4)
    with pytest.raises(ServerError, match="is the URL right"):
        client.get_task_status("t")


def test_a_gateways_error_without_the_apis_words(client: Client, server: FakeServer) -> None:
    server.next("start-task", lambda _: httpx.Response(502, content=b"<html>bad gateway</html>"))
    with pytest.raises(ServerError, match="HTTP_502"):
        client.start_task([FILE])


def test_a_redirect_is_not_followed(client: Client, server: FakeServer) -> None:
    server.next("start-task", lambda _: httpx.Response(302, headers={"Location": "https://elsewhere.test/"}))
    with pytest.raises(ServerError):
        client.start_task([FILE])


def test_reads_are_retried_with_growing_pauses(client: Client, server: FakeServer, time: FakeTime) -> None:
    server.next("get-task-status", *[lambda _: error(500, "INTERNAL_SERVER_ERROR", "x")] * 3)
    assert client.get_task_status("t").state == "completed"
    assert time.slept == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("kind", [httpx.ReadError, httpx.ReadTimeout])
def test_a_task_that_may_have_started_is_never_started_again(
    client: Client, server: FakeServer, kind: type[httpx.HTTPError]
) -> None:
    server.next("start-task", *fails(1, kind))
    with pytest.raises(Unreachable) as caught:
        client.start_task([FILE])
    assert caught.value.sent
    assert len(server.bodies("start-task")) == 1
    server.next("start-task", lambda _: error(500, "INTERNAL_SERVER_ERROR", "x"))
    with pytest.raises(ServerError):
        client.start_task([FILE])


def test_a_start_that_never_left_is_sent_again(client: Client, server: FakeServer) -> None:
    server.next("start-task", *fails(2, httpx.ConnectError))
    assert client.start_task([FILE]).task_id


def test_a_short_retry_after_is_kept_and_a_long_one_is_told(client: Client, server: FakeServer, time: FakeTime) -> None:
    server.next("start-task", lambda _: error(429, "RATE_LIMIT_EXCEEDED", "x", Retry_After="7"))
    client.start_task([FILE])
    assert time.slept == [7.0]
    server.next("start-task", lambda _: error(429, "RATE_LIMIT_EXCEEDED", "x", Retry_After="3600"))
    with pytest.raises(RateLimited) as caught:
        client.start_task([FILE])
    assert caught.value.retry_after == 3600


def test_no_error_shows_the_key_or_a_signed_query(client: Client, server: FakeServer) -> None:
    server.next("get-task-status", *fails(4, httpx.ConnectError))
    with pytest.raises(Unreachable) as unreachable:
        client.get_task_status("t")
    signed = "https://store.test/x?X-Amz-Signature=abc"
    server.next("start-task", lambda _: error(400, "BAD_REQUEST", f"no {KEY} for {signed} here"))
    with pytest.raises(BadRequest) as refused:
        client.start_task([FILE])
    server.next("get-upload-url", *[lambda _: success({"uploadURL": signed, "parts": signed})] * 4)
    with pytest.raises(ServerError) as unreadable:
        client.get_upload_url("a.png", "image/png", 5)
    for caught in (unreachable, refused, unreadable):
        shown = f"{caught.value}{caught.value!r}{caught.getrepr(style='short')}"
        assert KEY not in str(caught.value) and KEY not in repr(caught.value)
        assert "Signature" not in str(caught.value) and "Signature" not in repr(caught.value), shown
    assert "https://store.test/x?…" in str(refused.value)


def test_models_do_not_show_links(client: Client) -> None:
    ticket = client.get_upload_url("a.jpg", "image/jpeg", len(JPEG))
    assert "Signature" in ticket.upload_url
    assert "Signature" not in repr(ticket) + repr(client.get_task_status("t"))


def test_httpx_log_lines_lose_their_query(client: Client, photo: object, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="httpx")  # whose level the service's own client sets
    client.upload(str(photo))
    assert "https://store.test/u1?…" in caplog.text
    assert "Signature" not in caplog.text and KEY not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "api.test",
        "ftp://api.test",
        "https://u:p@api.test",
        "https://api.test?x=1",
        "https://",
        "http://[::1",
        "http://a:b",
    ],
)
def test_a_wrong_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        Client(url, KEY)


@pytest.mark.parametrize("key", ["", "  ", "a\nb", "clé"])
def test_a_key_that_no_header_can_hold_is_refused_unseen(key: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        Client(API, key)
    assert not key.strip() or key not in str(caught.value)


def test_the_url_may_have_a_path(connect: Callable[..., Client], server: FakeServer) -> None:
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return success(server.completed())

    with connect(f"{API}/upscayl", KEY, transport=httpx.MockTransport(handle)) as client:
        client.get_task_status("t")
    assert seen == ["/upscayl/get-task-status"]
