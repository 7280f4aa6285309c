"""The gateway answers as an HTTP API does; the tiny template has one route of each kind."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.local.deployment import Api
from infra.local.gateway import Gateway
from infra.local.runtime import Result
from infra.local.server import Answer, Request
from infra.local.stack import Stack
from infra.local.template import TemplateError
from tests.integration.local.support import Reply, send, tiny_stack

PAGE = "http://page.example"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with tiny_stack() as made:
        yield made


def call(stack: Stack, method: str, target: str, body: bytes | None = None, **headers: str) -> Reply:
    return send(stack.api_url, method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})


def echo(stack: Stack, target: str = "/echo", body: bytes | None = None, method: str = "POST", **headers: str) -> dict:
    reply = call(stack, method, target, body, **headers)
    assert reply.status == 200, reply
    event: dict = json.loads(reply.body)
    return event


def test_the_event_is_payload_2(stack: Stack) -> None:
    event = echo(
        stack, "/echo?a=1&a=2&b=%20x", b'{"n": 1}', Content_Type="application/json", X_Api_Key="K", Cookie="c=1; d=2"
    )
    assert (event["version"], event["routeKey"], event["rawPath"]) == ("2.0", "ANY /{proxy+}", "/echo")
    assert event["rawQueryString"] == "a=1&a=2&b=%20x"
    assert event["queryStringParameters"] == {"a": "1,2", "b": " x"}
    assert event["pathParameters"] == {"proxy": "echo"}
    assert event["cookies"] == ["c=1", "d=2"]
    assert (event["body"], event["isBase64Encoded"]) == ('{"n": 1}', False)
    headers = event["headers"]
    assert (headers["x-api-key"], headers["x-forwarded-proto"], "cookie" in headers) == ("K", "http", False)
    http = event["requestContext"]["http"]
    assert (http["method"], http["path"], http["sourceIp"]) == ("POST", "/echo", "127.0.0.1")
    assert event["requestContext"]["stage"] == "$default"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("application/json; charset=utf-8", True),
        ("text/plain", True),
        ("application/problem+json", True),
        ("application/xml", True),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=x", False),
        ("image/png", False),
    ],
)
def test_a_body_is_base64_unless_its_type_is_text(stack: Stack, kind: str, text: bool) -> None:
    event = echo(stack, body=b"\x61bc", Content_Type=kind)
    assert event["isBase64Encoded"] is not text
    assert (event["body"] if text else base64.b64decode(event["body"]).decode()) == "abc"


def test_no_body_is_no_body(stack: Stack) -> None:
    event = echo(stack, method="GET")
    assert "body" not in event
    assert event["isBase64Encoded"] is False


def test_the_more_specific_route_wins(stack: Stack) -> None:
    assert json.loads(call(stack, "GET", "/item/4%202").body) == {"id": "4 2"}
    assert json.loads(call(stack, "POST", "/item/42").body) == {"proxy": "item/42"}
    assert json.loads(call(stack, "GET", "/item/4/2").body) == {"proxy": "item/4/2"}


def test_answers(stack: Stack) -> None:
    reply = call(stack, "GET", "/binary")
    assert (reply.status, reply.body, reply.headers["content-type"]) == (201, bytes(range(256)), "image/png")
    assert reply.headers["set-cookie"] == "a=1, b=2"
    reply = call(stack, "GET", "/plain")
    assert json.loads(reply.body) == {"greeting": "from the layer", "shade": "blue"}
    assert reply.headers["content-type"] == "application/json"
    assert call(stack, "GET", "/x").headers["content-type"] == "text/plain; charset=utf-8"
    assert call(stack, "HEAD", "/binary").body == b""


@pytest.mark.parametrize("path", ["/raise", "/exit", "/large"])
def test_a_function_that_fails_is_500(stack: Stack, path: str) -> None:
    reply = call(stack, "GET", path)
    assert (reply.status, reply.body) == (500, b'{"message":"Internal Server Error"}')
    assert call(stack, "GET", "/x").status == 200


@pytest.mark.parametrize("method", ["GET", "TRACE", "QUERY"])
def test_unknown_paths_are_404(stack: Stack, method: str) -> None:
    reply = call(stack, method, "/")
    assert (reply.status, reply.body) == (404, b'{"message":"Not Found"}')


def test_large_requests_are_413(stack: Stack) -> None:
    body = b"x" * (10 << 20)
    for content in (body + b"x", body[: len(body) * 3 // 4]):  # above the gateway's limit, and above the function's
        reply = call(stack, "POST", "/echo", content, Content_Type="image/png", Origin=PAGE)
        assert (reply.status, reply.body) == (413, b'{"message":"Request Entity Too Large"}')
        assert reply.headers["access-control-allow-origin"] == PAGE
    assert call(stack, "POST", "/x", b"x" * 4_600_000, Content_Type="image/png").status == 200


def test_cors_is_the_gateways(stack: Stack) -> None:
    ask = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "x-api-key"}
    reply = call(stack, "OPTIONS", "/echo", Origin=PAGE, **ask)
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (204, PAGE)
    assert reply.headers["access-control-max-age"] == "60"
    reply = call(stack, "OPTIONS", "/echo", Origin="http://evil.example", **ask)
    assert (reply.status, "access-control-allow-origin" in reply.headers) == (204, False)
    for path in ("/binary", "/raise", "/"):
        reply = call(stack, "GET", path, Origin=PAGE)
        assert reply.headers["access-control-allow-origin"] == PAGE
        assert reply.headers["access-control-expose-headers"] == "retry-after"
        assert "access-control-allow-origin" not in call(stack, "GET", path).headers


def test_throttling_is_a_token_bucket(stack: Stack) -> None:
    statuses = [call(stack, "GET", "/throttled").status for _ in range(4)]
    assert statuses == [200, 200, 429, 429]
    reply = call(stack, "GET", "/throttled", Origin=PAGE)
    assert reply.body == b'{"message":"Too Many Requests"}'
    assert reply.headers["access-control-allow-origin"] == PAGE


def test_calls_run_side_by_side(stack: Stack) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: call(stack, "GET", "/sleep/0"), range(4)))  # four warm processes
        started = time.monotonic()
        replies = list(threads.map(lambda _: call(stack, "GET", "/sleep/0.5"), range(4)))
    assert {reply.status for reply in replies} == {200}
    assert time.monotonic() - started < 1.5


def test_30_seconds_are_over_as_503() -> None:
    body = {"paths": {"$default": {"x-amazon-apigateway-any-method": integration()}}}
    gateway = Gateway(Api("api", body), lambda arn: "Web", lambda *_: None, lambda *_: None)
    reply = gateway(Request("GET", "/", [("Host", "x")]))
    assert reply == Answer(503, [("content-type", "application/json")], b'{"message":"Service Unavailable"}')


def test_an_answer_that_is_none_is_500() -> None:
    for payload in (
        b'{"statusCode": "x"}',
        b'{"statusCode": 200, "body": {}}',
        b'{"statusCode": 200, "body": "\\u00e4", "isBase64Encoded": true}',
    ):
        body = {"paths": {"$default": {"x-amazon-apigateway-any-method": integration()}}}
        gateway = Gateway(Api("api", body), lambda arn: "Web", lambda *_, said=payload: Result(said), lambda *_: None)
        assert gateway(Request("GET", "/", [("Host", "x")])).status == 500


def test_a_route_that_is_not_understood_raises() -> None:
    for operation in (integration(payloadFormatVersion="1.0"), integration(type="http_proxy"), integration(uri="x")):
        with pytest.raises(TemplateError):
            Gateway(Api("api", {"paths": {"/": {"get": operation}}}), str, lambda *_: None, lambda *_: None)


def integration(**other: str) -> dict:
    uri = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:x/invocations"
    return {
        "x-amazon-apigateway-integration": {
            "type": "aws_proxy",
            "payloadFormatVersion": "2.0",
            "uri": uri,
            **other,
        }
    }
