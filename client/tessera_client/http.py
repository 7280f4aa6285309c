"""One request to the API: the key goes out, a checked model or one of our errors comes back."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from tessera_client.errors import ApiError, RateLimited, ServerError, TesseraError, Unreachable, class_of
from tessera_client.pace import Pace, parse_retry_after
from tessera_client.redact import without_secrets
from tessera_client.version import VERSION

M = TypeVar("M", bound=BaseModel)

USER_AGENT = f"tessera-client/{VERSION}"
LONGEST_MESSAGE = 500  # characters of a server's words that are worth repeating
PATIENCE = 120.0  # seconds; a longer Retry-After is the caller's decision
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


class Http:
    """Safe to share between threads. Redirects are not followed: they would carry the key to another host."""

    def __init__(
        self, url: str, key: str, pace: Pace, transport: httpx.BaseTransport | None, timeout: httpx.Timeout
    ) -> None:
        self.pace = pace
        self._key = key
        self._client = httpx.Client(
            base_url=url,
            headers={"X-API-Key": key, "User-Agent": USER_AGENT},
            transport=transport,
            timeout=timeout,
        )

    def close(self) -> None:
        self._client.close()

    def call(self, route: str, model: type[M], *, repeatable: bool, method: str = "POST", **content: Any) -> M:
        """One request to a route. Retried after a short Retry-After, when nothing was sent, and, where the route is
        `repeatable`, after a lost or broken answer: a task is never started twice."""

        def wait_after(error: TesseraError, delay: float) -> float | None:
            if isinstance(error, RateLimited):
                return error.retry_after if error.retry_after is not None and error.retry_after <= PATIENCE else None
            if isinstance(error, Unreachable):
                return delay if repeatable or not error.sent else None
            if isinstance(error, ServerError):
                return max(delay, min(error.retry_after or 0.0, PATIENCE)) if repeatable else None
            return None

        return self.pace.retry(lambda: self.once(route, model, method=method, **content), wait_after)

    def once(self, route: str, model: type[M], *, method: str = "POST", **content: Any) -> M:
        self.pace.check()
        try:
            response = self._client.request(method, route, **content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            sent = not isinstance(error, NEVER_SENT)
            reason = without_secrets(str(error), self._key) or type(error).__name__
            raise Unreachable(f"no answer from {self._client.base_url.host}: {reason}", sent=sent) from None
        if not response.is_success:
            raise self._error(response)
        try:
            return model.model_validate_json(response.content)
        except ValidationError as error:
            # Not chained, and told without the input: the answer may hold pre-signed links.
            where = ", ".join(".".join(map(str, fault["loc"])) or "the body" for fault in error.errors()[:3])
            message = f"the answer of {route} is not the API's ({where}); is the URL right?"
            raise ServerError(response.status_code, "UNREADABLE_ANSWER", message) from None

    def _error(self, response: httpx.Response) -> ApiError:
        status = response.status_code
        try:
            body = json.loads(response.content)
        except ValueError:
            body = None
        body = body if isinstance(body, dict) else {}
        code = str(body.get("error") or f"HTTP_{status}")
        message = str(body.get("message") or f"{response.reason_phrase or 'error'}, without the API's words for it")
        return class_of(status)(
            status,
            without_secrets(code, self._key)[:LONGEST_MESSAGE],
            without_secrets(message, self._key)[:LONGEST_MESSAGE],
            parse_retry_after(response.headers.get("Retry-After")),
        )
