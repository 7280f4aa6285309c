"""Where Upscayl's document has words of its own; all others are those of `jsonapi.errors`."""

from __future__ import annotations

from jsonapi.errors import Answer
from jsonapi.errors import answer_to as common_answer
from jsonapi.words import always
from tessera import errors

# The code belongs to get-upload-url; elsewhere a missing field is a bad request like any other.
UPLOAD: dict[type[Exception], Answer] = {
    errors.MissingFields: Answer(
        400, "MISSING_REQUIRED_FIELDS", lambda error: f"Required fields missing: {', '.join(error.names)}"
    ),
}
BAD_PARTS = Answer(400, "BAD_REQUEST", always("Bad Request: Missing required parameters"))
COMPLETE: dict[type[Exception], Answer] = {
    errors.MissingFields: BAD_PARTS,
    errors.Invalid: BAD_PARTS,
    Exception: Answer(500, "INTERNAL_SERVER_ERROR", always("Error completing multipart upload")),
}
OWN = {"/get-upload-url": UPLOAD, "/complete-multipart-upload": COMPLETE}


def answer_to(error: Exception, path: str) -> Answer:
    own = next((table for route, table in OWN.items() if path.endswith(route)), {})
    return common_answer(error, own)
