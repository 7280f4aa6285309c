"""One attempt: the body as it is now, signed, sent to the address that the caller has named."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import httpx
from tessera import outbound, signatures, tasks, webhooks
from tessera.services import Services
from tessera.settings import SECONDS
from tessera.webhooks import Attempt, Delivery

from deliver_webhook import bodies

TIMEOUT = httpx.Timeout(10.0, connect=5.0)
TOTAL = 15.0  # seconds, below the function's time-out
MAX_ANSWER = 64 * 1024  # bytes that are read of an answer, of which only the status counts
USER_AGENT = "Tessera-Webhook/1"

WHY: tuple[tuple[type[Exception], str], ...] = (
    # the first that fits; said to the owner of the task, who may not learn anything of the network behind
    (outbound.Forbidden, "the address is not allowed"),
    (outbound.UnknownHost, "the host is unknown"),
    (httpx.TimeoutException, "no answer in time"),
    (httpx.ConnectError, "no connection"),
    (httpx.HTTPError, "the connection broke"),
    (httpx.InvalidURL, "the address is not allowed"),
)


def post(services: Services, delivery: Delivery) -> Attempt:
    """Raises NotFound where the task is gone."""
    view = tasks.get(services, delivery.account, delivery.task)
    body = json.dumps(bodies.render(services, view), ensure_ascii=False, separators=(",", ":"))
    valid = signatures.valid(services, delivery.account)
    now_ms, began = services.now_ms(), time.monotonic()
    headers = signatures.headers(valid, delivery.id, now_ms, body)
    status, error = None, ""
    try:
        status = _send(services, delivery.url, headers, body.encode())
    except (httpx.HTTPError, httpx.InvalidURL) as failed:
        error = next(words for kind, words in WHY if isinstance(failed, kind))
    return Attempt(at=now_ms, status=status, error=error, ms=int((time.monotonic() - began) * SECONDS))


def _send(services: Services, url: str, signed: dict[str, str], body: bytes) -> int:
    """The status of the answer. Raises httpx's errors."""
    address, credentials = webhooks.parted(url)
    headers = {"content-type": "application/json", "user-agent": USER_AGENT, "accept-encoding": "identity", **signed}
    auth = httpx.BasicAuth(*credentials) if credentials else None
    with (
        outbound.client(services.settings, TIMEOUT, TOTAL) as client,
        client.stream("POST", address, headers=headers, content=body, auth=auth) as answer,
    ):
        with suppress(httpx.HTTPError):  # it has been answered: what becomes of the rest is all the same
            _read(answer)
        return answer.status_code


def _read(answer: httpx.Response) -> None:
    """So that a receiver which writes a little is not cut off; never more than MAX_ANSWER."""
    read = 0
    for piece in answer.iter_raw():
        read += len(piece)
        if read >= MAX_ANSWER:
            return
