"""Which status and reason a caller gets for each error: a REJECTED request, as the document has it.

The document gives words for the rate limit only, and no HTTP codes: the others are our reading.
"""

from __future__ import annotations

import json

from aws_lambda_powertools.event_handler import Response
from jsonapi.words import Said, always, nearest
from tessera import errors
from tessera.errors import RateLimited

TOO_MANY = "Too Many Requests. Rate limit exceeded."


INTERNAL = Said(500, always("An unexpected error occurred."))
ANSWERS: dict[type[Exception], Said] = {
    errors.Unauthorized: Said(401, always("Invalid or missing API key.")),
    errors.PlainHttp: Said(403, always("HTTPS is required.")),
    errors.RateLimited: Said(429, always(TOO_MANY)),
    errors.InsufficientCredits: Said(402, always("Not enough credits.")),
    errors.QuotaReached: Said(402, always("The monthly quota is reached.")),
    errors.NotFound: Said(404, always("Not found.")),
    errors.IdempotencyConflict: Said(409, always("This Idempotency-Key was used for another request.")),
    errors.Refused: Said(400, always("Invalid request.")),
    errors.Invalid: Said(400, lambda error: f"Invalid request: {error.reason}" if error.reason else "Invalid request."),
    errors.MissingFields: Said(400, lambda error: f"Invalid request: {', '.join(error.names)} missing"),
    errors.BodyTooLarge: Said(413, lambda error: f"A request may have {error.limit:,} bytes at most."),
}


def refusal(error: Exception) -> Response[str]:
    said = nearest(ANSWERS, error, INTERNAL)
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, RateLimited) else {}
    return Response(
        status_code=said.status,
        content_type="application/json",
        body=json.dumps({"status": "REJECTED", "reason": said.message(error)}),
        headers=headers,
    )
