"""`Gateway`: the API of the template over HTTP, with the events, limits and error bodies of an AWS HTTP API.

Payload format 2.0. CORS, throttling, sizes and the 30-second limit are the gateway's, not the handlers'.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from . import cors
from .deployment import Api, Throttle
from .guard import ACCOUNT
from .runtime import LARGEST_PAYLOAD, SHUTTING_DOWN, Result
from .server import Answer, Headers, Request
from .template import TemplateError

MAX_BODY = 10 << 20  # API Gateway
TIMEOUT = 30  # seconds; API Gateway
ANY = "x-amazon-apigateway-any-method"
TEXT = re.compile(r"text/|application/(json|xml|javascript)|application/[\w.-]+\+(json|xml)")
FUNCTION_IN_URI = re.compile(r"/functions/(arn:[^/]+)/invocations")

Invoke = Callable[[str, bytes, float], Result | None]
Observer = Callable[[Request, Answer, float], None]


@dataclass(frozen=True)
class Route:
    method: str  # or ANY
    path: str
    pattern: re.Pattern[str]
    function: str

    @property
    def key(self) -> str:
        return self.path if self.path == "$default" else f"{self.method} {self.path}"

    @property
    def rank(self) -> tuple[bool, int, int, bool]:
        """Smaller is more specific: no greedy part, few variables, long, a method of its own."""
        greedy = "+}" in self.path or self.path == "$default"
        return greedy, self.path.count("{"), -len(self.path), self.method == "ANY"


class _Bucket:
    """A token bucket; `take` says whether there was a token."""

    def __init__(self, throttle: Throttle) -> None:
        self._rate, self._burst = throttle.rate, throttle.burst
        self._tokens = float(throttle.burst or 0)
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> bool:
        if self._rate is None or self._burst is None:
            return True
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


class Gateway:
    def __init__(
        self,
        api: Api,
        function_of: Callable[[str], str],
        invoke: Invoke,
        observe: Observer,
        *,
        timeout: float = TIMEOUT,
        page: Callable[[Request], Answer | None] = lambda _: None,
    ) -> None:
        """`invoke` gives None when the seconds are over; the function goes on, as it does in the cloud. `page` is asked
        for what no route has."""
        self._api = api
        self._routes = sorted(_routes(api.body, function_of), key=lambda route: route.rank)
        self._cors = _cors(api.body.get("x-amazon-apigateway-cors"))
        self._invoke = invoke
        self._observe = observe
        self._timeout = timeout
        self._page = page
        self._buckets: dict[str, _Bucket] = defaultdict(lambda: _Bucket(api.throttle))
        self._buckets |= {route: _Bucket(throttle) for route, throttle in api.route_throttles.items()}

    def __call__(self, request: Request) -> Answer:
        return self._respond(request, cut=False)

    def too_large(self, head: Request) -> Answer:
        """The answer to a body above MAX_BODY, which was not read."""
        return self._respond(head, cut=True)

    def _respond(self, request: Request, cut: bool) -> Answer:
        started = time.monotonic()
        if self._cors is not None and cors.is_preflight(request):
            answer = Answer(204, cors.preflight([self._cors], request) or ())
        else:
            answer = self._answer(request, cut)
            answer = Answer(answer.status, self._with_cors(request, answer.headers), answer.body)
        self._observe(request, answer, time.monotonic() - started)
        return answer

    def _with_cors(self, request: Request, headers: Headers) -> Headers:
        """The gateway's own CORS settings replace what the function says."""
        if self._cors is None:
            return headers
        kept = [(name, value) for name, value in headers if not name.startswith("access-control-")]
        origin = request.header("origin")
        return [*kept, *(self._cors.answer(origin) if origin and self._cors.admits_origin(origin) else ())]

    def _answer(self, request: Request, cut: bool) -> Answer:
        path = unquote(request.path)
        found = next(_matches(self._routes, request.method, path), None)
        if found is None:
            return self._page(request) or _message(404, "Not Found")
        route, variables = found
        if not self._buckets[route.key].take():
            return _message(429, "Too Many Requests")
        payload = self._payload(request, route, path, variables)
        cut = cut or len(payload) > LARGEST_PAYLOAD
        if cut:
            # API Gateway answers this itself. Here the function is asked without the body, so that its callers read
            # the words of the API that they called; any answer but 413 is replaced by API Gateway's.
            head = Request(request.method, request.target, request.headers, b"", request.client)
            payload = self._payload(head, route, path, variables)
        result = self._invoke(route.function, payload, self._timeout)
        if result is None:
            return _message(503, "Service Unavailable")
        if result.error == SHUTTING_DOWN:
            return _message(503, "Service Unavailable")
        if result.error is not None:
            return _message(500, "Internal Server Error")
        answer = _from_lambda(result.payload)
        return _message(413, "Request Entity Too Large") if cut and answer.status != 413 else answer

    def _payload(self, request: Request, route: Route, path: str, variables: dict[str, str]) -> bytes:
        return json.dumps(self._event(request, route, path, variables), ensure_ascii=False).encode(errors="replace")

    def _event(self, request: Request, route: Route, path: str, variables: dict[str, str]) -> dict[str, Any]:
        headers = _merged(request.headers)
        cookies = headers.pop("cookie", None)
        host = headers.get("host", "")
        headers |= {"x-forwarded-for": request.client, "x-forwarded-proto": "http"}
        headers["x-forwarded-port"] = host.rpartition(":")[2] if ":" in host else "80"
        now = datetime.now(UTC)
        event: dict[str, Any] = {
            "version": "2.0",
            "routeKey": route.key,
            "rawPath": path,
            "rawQueryString": request.query,
            "headers": headers,
            "requestContext": {
                "accountId": ACCOUNT,
                "apiId": self._api.name,
                "domainName": host,
                "domainPrefix": host.partition(".")[0],
                "http": {
                    "method": request.method,
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": request.client,
                    "userAgent": headers.get("user-agent", ""),
                },
                "requestId": secrets.token_urlsafe(11),
                "routeKey": route.key,
                "stage": "$default",
                "time": f"{now:%d/%b/%Y:%H:%M:%S +0000}",
                "timeEpoch": int(now.timestamp() * 1000),
            },
            "isBase64Encoded": False,
        }
        if cookies is not None:
            event["cookies"] = [cookie.strip() for cookie in cookies.split(";")]
        if request.query:
            event["queryStringParameters"] = _merged(parse_qsl(request.query, keep_blank_values=True), lower=False)
        if variables:
            event["pathParameters"] = variables
        if request.body:
            text = TEXT.match(headers.get("content-type", "").lower()) is not None
            event["isBase64Encoded"] = not text
            body = request.body.decode(errors="replace") if text else base64.b64encode(request.body).decode()
            event["body"] = body
        return event


def _merged(pairs: Iterable[tuple[str, str]], *, lower: bool = True) -> dict[str, str]:
    merged: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower() if lower else name
        merged[key] = f"{merged[key]},{value}" if key in merged else value
    return merged


def _routes(body: dict[str, Any], function_of: Callable[[str], str]) -> Iterator[Route]:
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            if method not in ("get", "head", "post", "put", "delete", "patch", "options", ANY):
                raise TemplateError(f"{path} has the unknown method {method}")
            integration = operation["x-amazon-apigateway-integration"]
            if integration.get("payloadFormatVersion") != "2.0" or integration.get("type", "").lower() != "aws_proxy":
                raise TemplateError(f"{path} is not a Lambda proxy with payload 2.0")
            function = FUNCTION_IN_URI.search(integration["uri"])
            if function is None or operation.get("security"):
                raise TemplateError(f"{path} has no function, or an authorizer")
            name = "ANY" if method == ANY else method.upper()
            yield Route(name, path, _pattern(path), function_of(function[1]))


def _pattern(path: str) -> re.Pattern[str]:
    if path == "$default":
        return re.compile(".*", re.DOTALL)
    parts = re.split(r"(\{[^}]+\})", path)
    regex = ""
    for part in parts:
        if part.startswith("{"):
            name = part.strip("{}")
            regex += f"(?P<{name.rstrip('+')}>{'.+' if name.endswith('+') else '[^/]+'})"
        else:
            regex += re.escape(part)
    return re.compile(regex, re.DOTALL)


def _matches(routes: Iterable[Route], method: str, path: str) -> Iterator[tuple[Route, dict[str, str]]]:
    for route in routes:
        match = route.pattern.fullmatch(path)
        if match is not None and route.method in (method, "ANY"):
            yield route, match.groupdict()


def _cors(settings: dict[str, Any] | None) -> cors.CorsRule | None:
    if settings is None:
        return None
    return cors.CorsRule(
        tuple(settings.get("allowOrigins", ())),
        tuple(settings.get("allowMethods", ())),
        tuple(settings.get("allowHeaders", ())),
        tuple(settings.get("exposeHeaders", ())),
        int(settings["maxAge"]) if "maxAge" in settings else None,
        bool(settings.get("allowCredentials", False)),
    )


def _message(status: int, text: str) -> Answer:
    return Answer(status, [("content-type", "application/json")], f'{{"message":"{text}"}}'.encode())


def _from_lambda(payload: bytes) -> Answer:
    """A function's answer as HTTP; one that has no statusCode is the body itself."""
    answer = json.loads(payload)
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return Answer(200, [("content-type", "application/json")], payload)
    body = answer.get("body")
    body = "" if body is None else body
    if not isinstance(body, str):
        return _message(500, "Internal Server Error")
    try:
        content = base64.b64decode(body, validate=True) if answer.get("isBase64Encoded") else body.encode()
        status = int(answer["statusCode"])
    except (binascii.Error, TypeError, ValueError):
        return _message(500, "Internal Server Error")
    headers: Headers = [
        (_one_line(name).lower(), _one_line(value)) for name, value in (answer.get("headers") or {}).items()
    ]
    if not any(name == "content-type" for name, _ in headers):
        headers = [*headers, ("content-type", "text/plain; charset=utf-8")]
    cookies = [("set-cookie", _one_line(cookie)) for cookie in answer.get("cookies") or []]
    return Answer(status, [*headers, *cookies], content)


def _one_line(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return re.sub(r"[\r\n]+", " ", text).encode("latin-1", "replace").decode("latin-1")
