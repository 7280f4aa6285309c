"""Which status and reason a caller gets for each error: a REJECTED request, as the document has it.

The document gives words for the rate limit only, and no HTTP codes: the others are our reading.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from aws_lambda_powertools.event_handler import Response
from tessera import errors
from tessera.errors import RateLimited

TOO_MANY = "Too Many Requests. Rate limit exceeded."


class Answer(NamedTuple):
    status: int
    reason: Callable[[Any], str]


def always(reason: str) -> Callable[[Any], str]:
    return lambda _: reason


INTERNAL = Answer(500, always("An unexpected error occurred."))
ANSWERS: dict[type[Exception], Answer] = {
    errors.Unauthorized: Answer(401, always("Invalid or missing API key.")),
    errors.PlainHttp: Answer(403, always("HTTPS is required.")),
    errors.RateLimited: Answer(429, always(TOO_MANY)),
    errors.InsufficientCredits: Answer(402, always("Not enough credits.")),
    errors.QuotaReached: Answer(402, always("The monthly quota is reached.")),
    errors.NotFound: Answer(404, always("Not found.")),
    errors.IdempotencyConflict: Answer(409, always("This Idempotency-Key was used for another request.")),
    errors.Refused: Answer(400, always("Invalid request.")),
    errors.Invalid: Answer(
        400, lambda error: f"Invalid request: {error.reason}" if error.reason else "Invalid request."
    ),
    errors.MissingFields: Answer(400, lambda error: f"Invalid request: {', '.join(error.names)} missing"),
    errors.BodyTooLarge: Answer(413, lambda error: f"A request may have {error.limit:,} bytes at most."),
}


def answer_to(error: Exception) -> Answer:
    return next((ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS), INTERNAL)


def refusal(error: Exception) -> Response[str]:
    answer = answer_to(error)
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, RateLimited) else {}
    return Response(
        status_code=answer.status,
        content_type="application/json",
        body=json.dumps({"status": "REJECTED", "reason": answer.reason(error)}),
        headers=headers,
    )
