"""Which status, code and words a caller gets for each error. Looked up along the class's ancestors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aws_lambda_powertools.event_handler import Response
from tessera import errors
from tessera.errors import RateLimited

from jsonapi.words import always, nearest

GENERAL = "Invalid request parameters provided"


class Answer(NamedTuple):
    status: int
    code: str
    message: Callable[[Any], str]


def _because(error: errors.Invalid | errors.UploadIncomplete) -> str:
    return f"{GENERAL}: {error.reason}" if error.reason else GENERAL


INTERNAL = Answer(500, "INTERNAL_SERVER_ERROR", always("An unexpected error occurred"))
MISSING = Answer(400, "BAD_REQUEST", lambda error: f"{GENERAL}: required fields missing: {', '.join(error.names)}")

ANSWERS: dict[type[Exception], Answer] = {
    errors.Unauthorized: Answer(401, "UNAUTHORIZED", always("Invalid or missing API key")),
    errors.RateLimited: Answer(429, "RATE_LIMIT_EXCEEDED", always("Too many requests. Try again in 1 hour")),
    errors.InsufficientCredits: Answer(402, "INSUFFICIENT_CREDITS", always("Not enough credits to process request")),
    errors.NotFound: Answer(404, "NOT_FOUND", always("Requested resource could not be found")),
    errors.IdempotencyConflict: Answer(
        409, "IDEMPOTENCY_CONFLICT", always("This Idempotency-Key was used for another request")
    ),
    errors.Refused: Answer(400, "BAD_REQUEST", always(GENERAL)),
    errors.Invalid: Answer(400, "BAD_REQUEST", _because),
    errors.MissingFields: MISSING,
    errors.UnsupportedType: Answer(400, "INVALID_FILE_TYPE", always("Unsupported file type. Allowed: JPEG, PNG, WEBP")),
    errors.FileTooLarge: Answer(
        400, "FILE_SIZE_EXCEEDED", lambda error: f"File size exceeds maximum limit of {error.limit // 1024**2}MB"
    ),
    errors.BodyTooLarge: Answer(
        413,
        "FILE_SIZE_EXCEEDED",
        lambda error: (
            f"A request may have {error.limit / 1e6:.1f} MB at most. "
            "Send larger files to the uploadURL of /get-upload-url and start the task with their fileName"
        ),
    ),
    errors.UnknownUpload: Answer(
        400, "BAD_REQUEST", lambda error: f"{GENERAL}: no file {error.name!r} was uploaded, or it has expired"
    ),
    errors.UploadIncomplete: Answer(400, "BAD_REQUEST", lambda error: f"Bad Request: {error.reason}"),
}


def answer_to(error: Exception, own: Mapping[type[Exception], Answer] | None = None) -> Answer:
    """`own` goes before ANSWERS: what an edge or a route says in words of its own."""
    return nearest({**ANSWERS, **(own or {})}, error, INTERNAL)


def refusal(error: Exception, answer: Answer) -> Response[str]:
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, RateLimited) else {}
    return Response(
        status_code=answer.status,
        content_type="application/json",
        body=json.dumps({"error": answer.code, "message": answer.message(error)}),
        headers=headers,
    )
