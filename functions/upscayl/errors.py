"""Which status, code and words a caller gets for each error. Looked up along the class's ancestors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tessera import errors

GENERAL = "Invalid request parameters provided"


class Answer(NamedTuple):
    status: int
    code: str
    message: Callable[[Any], str]


def _always(message: str) -> Callable[[Any], str]:
    return lambda _: message


def _because(error: errors.Invalid | errors.UploadIncomplete) -> str:
    return f"{GENERAL}: {error.reason}" if error.reason else GENERAL


INTERNAL = Answer(500, "INTERNAL_SERVER_ERROR", _always("An unexpected error occurred"))

ANSWERS: dict[type[Exception], Answer] = {
    errors.Unauthorized: Answer(401, "UNAUTHORIZED", _always("Invalid or missing API key")),
    errors.RateLimited: Answer(429, "RATE_LIMIT_EXCEEDED", _always("Too many requests. Try again in 1 hour")),
    errors.InsufficientCredits: Answer(402, "INSUFFICIENT_CREDITS", _always("Not enough credits to process request")),
    errors.NotFound: Answer(404, "NOT_FOUND", _always("Requested resource could not be found")),
    errors.IdempotencyConflict: Answer(
        409, "IDEMPOTENCY_CONFLICT", _always("This Idempotency-Key was used for another request")
    ),
    errors.Refused: Answer(400, "BAD_REQUEST", _always(GENERAL)),
    errors.Invalid: Answer(400, "BAD_REQUEST", _because),
    errors.MissingFields: Answer(
        400, "MISSING_REQUIRED_FIELDS", lambda error: f"Required fields missing: {', '.join(error.names)}"
    ),
    errors.UnsupportedType: Answer(
        400, "INVALID_FILE_TYPE", _always("Unsupported file type. Allowed: JPEG, PNG, WEBP")
    ),
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

# complete-multipart-upload has words of its own in the document.
COMPLETE: dict[type[Exception], Answer] = {
    errors.MissingFields: Answer(400, "BAD_REQUEST", _always("Bad Request: Missing required parameters")),
    errors.Invalid: Answer(400, "BAD_REQUEST", _always("Bad Request: Missing required parameters")),
}
COMPLETE_INTERNAL = Answer(500, "INTERNAL_SERVER_ERROR", _always("Error completing multipart upload"))

# Elsewhere a missing field is a bad request like any other: the code belongs to get-upload-url.
MISSING = Answer(400, "BAD_REQUEST", lambda error: f"{GENERAL}: required fields missing: {', '.join(error.names)}")


def answer_to(error: Exception, path: str) -> Answer:
    own: dict[type[Exception], Answer] = {}
    if path.endswith("/complete-multipart-upload"):
        own = COMPLETE | {Exception: COMPLETE_INTERNAL}
    elif not path.endswith("/get-upload-url"):
        own = {errors.MissingFields: MISSING}
    for ancestor in type(error).__mro__:
        if found := own.get(ancestor) or ANSWERS.get(ancestor):
            return found
    return INTERNAL
