"""What can be wrong with a request, without HTTP: an edge chooses status and words by class, along `__mro__`.

    TesseraError
    |- Unauthorized            no key, an unknown one or a revoked one
    |- RateLimited             retry_after (s)
    |- InsufficientCredits     needed, balance
    |  `- QuotaReached         the same, of the month's quota
    |- NotFound                unknown, expired and foreign alike: the answer never tells which
    |- IdempotencyConflict     the Idempotency-Key belongs to another request
    `- Refused                 the caller has to change the request
       |- PlainHttp            the call did not come by TLS
       |- Invalid              reason
       |- MissingFields        names
       |- UnsupportedType
       |- FileTooLarge         limit (bytes)
       |- BodyTooLarge         limit (bytes)
       |- UnknownUpload        name: no such upload, or it has expired
       |- UploadIncomplete     reason: parts and upload id do not make a file
       `- TokenSpent           count: uploads that the token was made for

A failure of AWS is no TesseraError: botocore's exceptions fly to the edge.
"""

from __future__ import annotations


class TesseraError(Exception):
    pass


class Unauthorized(TesseraError):
    pass


class RateLimited(TesseraError):
    def __init__(self, retry_after: int) -> None:
        super().__init__(f"retry in {retry_after} s")
        self.retry_after = retry_after


class InsufficientCredits(TesseraError):
    def __init__(self, needed: int, balance: int) -> None:
        super().__init__(f"{needed} needed, {balance} left")
        self.needed = needed
        self.balance = balance


class QuotaReached(InsufficientCredits):
    pass


class NotFound(TesseraError):
    pass


class IdempotencyConflict(TesseraError):
    pass


class Refused(TesseraError):
    pass


class PlainHttp(Refused):
    pass


class Invalid(Refused):
    """`reason` is one sentence for the caller, or empty where the body could not even be read."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class MissingFields(Refused):
    def __init__(self, *names: str) -> None:
        super().__init__(", ".join(names))
        self.names = names


class UnsupportedType(Refused):
    pass


class FileTooLarge(Refused):
    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes")
        self.limit = limit


class BodyTooLarge(Refused):
    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes")
        self.limit = limit


class UnknownUpload(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class UploadIncomplete(Refused):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TokenSpent(Refused):
    def __init__(self, count: int) -> None:
        super().__init__(f"all {count} are begun")
        self.count = count
