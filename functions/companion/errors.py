"""Which status, code and words a page gets for each error. Looked up along the class's ancestors.

Uppy shows the status's own phrase ("Companion request failed: Payload Too Large") and does not read the body, so each
status is the one whose phrase says the most; code and message are for a page that looks itself.
"""

from __future__ import annotations

from jsonapi.errors import INTERNAL, Answer
from jsonapi.words import always, nearest
from tessera import errors

ANSWERS: dict[type[Exception], Answer] = {
    errors.Unauthorized: Answer(401, "UNAUTHORIZED", always("Invalid or missing API key")),
    errors.RateLimited: Answer(
        429, "RATE_LIMIT_EXCEEDED", lambda error: f"Too many requests. Try again in {error.retry_after} s"
    ),
    errors.InsufficientCredits: Answer(402, "INSUFFICIENT_CREDITS", always("Not enough credits to process request")),
    errors.NotFound: Answer(404, "NOT_FOUND", always("Requested resource could not be found")),
    errors.IdempotencyConflict: Answer(
        409, "IDEMPOTENCY_CONFLICT", always("This Idempotency-Key was used for another request")
    ),
    errors.Refused: Answer(400, "BAD_REQUEST", always("Invalid request")),
    errors.Invalid: Answer(400, "BAD_REQUEST", lambda error: error.reason or "Invalid request"),
    errors.MissingFields: Answer(
        400, "MISSING_REQUIRED_FIELDS", lambda error: f"Required fields missing: {', '.join(error.names)}"
    ),
    errors.UnsupportedType: Answer(415, "INVALID_FILE_TYPE", always("This type of file cannot be sent here")),
    errors.FileTooLarge: Answer(
        413, "FILE_SIZE_EXCEEDED", lambda error: f"A file may have {error.limit:,} bytes at most"
    ),
    errors.BodyTooLarge: Answer(
        413, "FILE_SIZE_EXCEEDED", lambda error: f"A request may have {error.limit:,} bytes at most"
    ),
    errors.UploadIncomplete: Answer(409, "UPLOAD_INCOMPLETE", lambda error: error.reason),
    errors.TokenSpent: Answer(403, "UPLOADS_SPENT", lambda error: f"All {error.count} uploads of this token are begun"),
}


def answer_to(error: Exception) -> Answer:
    return nearest(ANSWERS, error, INTERNAL)
