"""Who calls, how much is left to them, and how errors read: alike in the two APIs of this vendor."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from jsonapi import edge
from jsonapi.words import Said, always, nearest
from tessera import accounts, errors, http
from tessera.accounts import Caller
from tessera.errors import RateLimited, Unauthorized
from tessera.observability import logger
from tessera.ratelimit import Allowance, Window
from tessera.services import Services

CALLS = "quarter"  # the kind that every call counts as


UNREADABLE = "The request body must be one valid JSON object, for Image Upload a form with 'data' and 'file'"
INTERNAL = Said(500, always("Internal server error"))
ANSWERS: dict[type[Exception], Said] = {
    errors.Unauthorized: Said(401, always("Invalid or missing API Key")),
    errors.PlainHttp: Said(403, always("Requests must be made over HTTPS")),
    errors.RateLimited: Said(429, lambda error: f"Rate limit exceeded. Retry in {error.retry_after} seconds."),
    errors.InsufficientCredits: Said(402, always("Quota exceeded: no images are left")),
    errors.NotFound: Said(404, always("Not found")),
    errors.IdempotencyConflict: Said(409, always("This Idempotency-Key was used for another request")),
    errors.Refused: Said(422, always("The request cannot be processed")),
    errors.Invalid: Said(422, lambda error: error.reason or UNREADABLE),
    errors.UnsupportedType: Said(422, always("Files of this type are not processed")),
    errors.FileTooLarge: Said(413, lambda error: f"A file may have {error.limit:,} bytes at most"),
    errors.UnknownUpload: Said(422, always("The image is not there any more: send it again")),
    errors.UploadIncomplete: Said(422, lambda error: f"The image is not complete: {error.reason}"),
    errors.TokenSpent: Said(422, lambda error: f"All {error.count} images of this token are sent"),
    errors.MissingFields: Said(422, lambda error: f"Required parameters missing: {', '.join(error.names)}"),
    errors.BodyTooLarge: Said(
        413, lambda error: f"A request may have {error.limit:,} bytes at most: send a larger image's URL to Image Fetch"
    ),
}


@dataclass
class Turn:
    """One request: what is left to its key, once that is known."""

    allowance: Allowance | None = None


def caller(services: Services, event: Mapping[str, Any], turn: Turn) -> Caller:
    """Checks the key and counts the call. Raises PlainHttp, Unauthorized or RateLimited."""
    http.require_tls(event, services.settings)
    found = accounts.authenticate(services, accounts.credential(services, key_of(event)), CALLS)
    turn.allowance = found.allowance
    return found


def key_of(event: Mapping[str, Any]) -> str:
    """Of `Basic`, as the user's name, or of `Bearer`. Raises Unauthorized."""
    scheme, _, given = http.header(event, "authorization").strip().partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() != "basic":
        raise Unauthorized
    try:
        return base64.b64decode(given.strip(), validate=True).decode("ascii").partition(":")[0]
    except (binascii.Error, ValueError) as error:
        raise Unauthorized from error


def refusing(app: APIGatewayHttpResolver, dialect: str) -> None:
    def refusal(error: Exception) -> Response[str]:
        if isinstance(error, RateLimited):
            app.context["turn"].allowance = Allowance(0, 0, error.retry_after)
        answer = nearest(ANSWERS, error, INTERNAL)
        return failure(answer.status, answer.message(error))

    edge.refusing(app, dialect, refusal)


def failure(status: int, message: str, number: str = "") -> Response[str]:
    """The envelope. `number` names the request, and stands in the log; without one it gets a new one."""
    number = number or str(uuid.uuid4())
    logger.info("refused", request=number, status=status)
    body = {"success": False, "code": status, "id": number, "message": message}
    return Response(status_code=status, content_type="application/json", body=json.dumps(body))


def resolve(app: APIGatewayHttpResolver, services: Services, event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's answer, with the rate limit in its headers whatever it says."""
    turn = Turn()
    app.append_context(turn=turn)  # type: ignore[no-untyped-call]
    answer = edge.resolve(app, event, context)
    limit = services.settings.limit(CALLS)
    if limit is None:
        return answer
    window = Window.of(CALLS, "", limit, services.now_ms())
    left = turn.allowance or window.allowance({}, services.now_ms())
    told = {
        "X-RateLimit-Limit": str(limit.calls),
        "X-RateLimit-Remaining": str(left.remaining),
        "X-RateLimit-Reset": str(left.reset),
    }
    retry = {"Retry-After": str(left.reset)} if answer["statusCode"] == 429 else {}
    return answer | {"headers": {**answer["headers"], **told, **retry}}
