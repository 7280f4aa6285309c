"""What can go wrong, drawn once:

TesseraError
├── UnsupportedFile        not a JPEG, PNG or WebP by its bytes; raised before anything is sent
├── Unreachable            the server gave no answer
├── ApiError               the server answered with an error (status, code, message)
│   ├── BadRequest         400, and every 4xx not named below
│   ├── Unauthorized       401, 403
│   ├── InsufficientCredits 402
│   ├── NotFound           404
│   ├── RateLimited        429 (retry_after, where the server said it)
│   └── ServerError        5xx, or an answer that is not the API's
├── TransferError          storage refused an upload or a download, or could not be reached
├── TaskFailed             the server tried and could not upscale the picture
├── WaitTimeout            the task was still running when the caller's patience ended
└── Cancelled              `Client.cancel()` was called

No message holds a key or the query of a URL. Errors about files on this machine stay plain `OSError`s.
"""

from __future__ import annotations


class TesseraError(Exception):
    """Everything that this package raises of its own."""


class UnsupportedFile(TesseraError):
    """The bytes of the file are not those of a picture that the service takes."""


class Unreachable(TesseraError):
    """No answer came. `sent` is False where the request certainly never reached the server."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class ApiError(TesseraError):
    """An error answer of the API: HTTP status, the API's code, the API's words."""

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{message} ({code}, HTTP {status})")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


class BadRequest(ApiError):
    pass


class Unauthorized(ApiError):
    pass


class InsufficientCredits(ApiError):
    pass


class NotFound(ApiError):
    pass


class RateLimited(ApiError):
    pass


class ServerError(ApiError):
    pass


CLASS_OF_STATUS: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Unauthorized,
    402: InsufficientCredits,
    404: NotFound,
    429: RateLimited,
}


def class_of(status: int) -> type[ApiError]:
    """The class for an answer that is no success; a redirect is no answer of the API either."""
    if status in CLASS_OF_STATUS:
        return CLASS_OF_STATUS[status]
    return BadRequest if 400 <= status < 500 else ServerError


class TransferError(TesseraError):
    """Storage said no (`status`), or was not reached or broke off (`status` is None)."""

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after

    @property
    def passing(self) -> bool:
        """Whether trying the same transfer again may help."""
        return self.status is None or self.status in (408, 429) or self.status >= 500


class TaskFailed(TesseraError):
    def __init__(self, task_id: str, message: str) -> None:
        super().__init__(message)
        self.task_id = task_id


class WaitTimeout(TesseraError):
    def __init__(self, task_id: str, seconds: float) -> None:
        super().__init__(f"the task was still running after {seconds:g} s")
        self.task_id = task_id


class Cancelled(TesseraError):
    pass
