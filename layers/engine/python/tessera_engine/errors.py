"""What can be wrong with a job. The words are for the owner of the picture.

EngineError
|- PictureError        the picture cannot be worked on, now or later
|  |- UnsupportedFormat
|  |- CorruptImage
|  |- TooManyPixels
|  `- Misfit            an operation asks for what a picture of this size does not have
|- SourceChanged       another object lies where the accepted one lay
|- SourceUnavailable   the object cannot be read
|- NotStored           the owner's own bucket does not take the result
|- LinkExpired         storage refuses a link of the job; fresh links may work
|- TooLate             the job's time is over
|- NetworkFault        the network gave nonsense for a part of the picture, twice
|  `- NotFinite        numbers that are not finite
`- ModelUnavailable    the model is not installed and nothing may stand in for it

Storage that cannot be reached at all while an answer is written is no EngineError: see `transfer.StorageUnreachable`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:  # the decoder's process does without pydantic
    from tessera.job import ErrorCode, JobError

NOT_FINITE = "The network gave numbers that are not finite for a part of this picture."


class EngineError(Exception):
    """Carries its message for the owner as its only argument."""

    code: ClassVar[ErrorCode] = "internal"
    retryable = False

    def to_job_error(self) -> JobError:
        from tessera.job import JobError

        return JobError(code=self.code, message=str(self), retryable=self.retryable)


class PictureError(EngineError):
    pass


class UnsupportedFormat(PictureError):
    code = "unsupported_format"


class CorruptImage(PictureError):
    code = "corrupt_image"


class TooManyPixels(PictureError):
    code = "too_many_pixels"


class Misfit(PictureError):
    code = "does_not_fit"


class SourceChanged(EngineError):
    code = "source_changed"


class SourceUnavailable(EngineError):
    code = "source_unavailable"

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class NotStored(EngineError):
    code = "not_stored"

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class LinkExpired(EngineError):
    code = "link_expired"
    retryable = True


class TooLate(EngineError):
    code = "too_late"
    retryable = True


class NetworkFault(EngineError):
    retryable = True  # on another machine, perhaps


class NotFinite(NetworkFault):
    pass


class ModelUnavailable(EngineError):
    code = "model_unavailable"
