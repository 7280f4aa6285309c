"""What the API answers, as frozen values. Fields that a server adds later are ignored, never an error.

Links are capabilities, so they are left out of every repr.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

ImageFormat = Literal["png", "jpg", "webp"]
Scale = Literal[2, 4, 8]
TaskState = Literal["pending", "processing", "completed", "failed"]

DEFAULT_MODEL = "upscayl-standard-4x"
MODELS = (
    DEFAULT_MODEL,
    "upscayl-lite-4x",
    "clear-boost-4x",
    "crystal-plus-4x",
    "digital-art-4x",
    "digital-art-plus-4x",
    "natural-max-4x",
    "natural-plus-4x",
    "nature-boost-4x",
    "pure-boost-4x",
    "quick-clear-4x",
    "texture-boost-4x",
)

# A key can be set to answer in the words that older Upscayl clients wait for; both vocabularies mean the same.
FINISHED_WORDS = ("completed", "processed")
FAILED_WORDS = ("failed", "processing_failed")
WAITING_WORDS = ("pending", "queued")


def _as_texts(value: Any) -> Any:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_texts)]


class Answer(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
    )


Data = TypeVar("Data")


class Envelope(Answer, Generic[Data]):
    status: Literal["success"]
    data: Data


class PartLink(Answer):
    part_number: int = Field(alias="PartNumber", ge=1)
    url: str = Field(repr=False)


class UploadTicket(Answer):
    """Where to put one file's bytes: at `upload_url` in one piece or, where the server gave `parts`, in parts."""

    upload_url: str = Field(alias="uploadURL", repr=False)
    file_name: str
    file_type: str | None = None
    file_size: int | None = None
    original_file_name: str | None = None
    created_at: int | None = None
    expires_at: int
    upload_id: str | None = None
    key: str | None = None
    part_size: int | None = None
    parts: tuple[PartLink, ...] | None = None


class UploadedFile(Answer):
    """A file in the server's storage, in the shape that start-task takes."""

    file_name: str
    file_type: str
    file_size: int
    original_file_name: str | None = None
    created_at: int | None = None
    expires_at: int | None = None


class MultipartCompleted(Answer):
    status: Literal["success"]


class StartedTask(Answer):
    task_id: str
    message: str = ""


class Dimensions(Answer):
    width: int | None = None
    height: int | None = None


class ProcessedFile(Answer):
    """One picture of a task. From `status` on the fields are Tessera's own and absent elsewhere."""

    file_name: str | None = None
    file_type: str | None = None
    path: str | None = None
    created_at: int | None = None
    expires_at: int | None = None
    original_file_name: str | None = None
    file_size: int | None = None
    download_link: str | None = Field(default=None, repr=False)
    thumbnail_link: str | None = Field(default=None, repr=False)
    final_file_size: int | None = None
    processed_file_name: str | None = None
    dimensions: Dimensions | None = None
    status: str | None = None
    error: str | None = None
    engine_model: str | None = Field(default=None, description="the model that really ran")
    stand_in: Annotated[bool, BeforeValidator(bool)] = Field(
        default=False, description="whether engine_model ran in place of the model that was asked for"
    )
    cache: str | None = Field(default=None, description='"hit" where an earlier result was copied and no model ran')
    notes: Texts = ()
    fidelity: float | None = Field(
        default=None, description="dB, PSNR between the source and the result averaged down to its size"
    )
    seam: float | None = Field(default=None, description="1 where no border between tiles shows")


class Task(Answer):
    """What status and history both say. `state` is `status` in the documented words."""

    status: str
    progress: str | None = None
    model: str | None = None
    scale: str | None = None
    save_image_as: str | None = None
    enhance_face: bool | None = None
    batch_mode: bool | None = None
    error: str | None = None
    files: Annotated[tuple[ProcessedFile, ...], BeforeValidator(lambda value: value or ())] = ()
    credits_deducted: bool | None = None

    @property
    def state(self) -> TaskState:
        word = self.status.lower()
        if word in FINISHED_WORDS:
            return "completed"
        if word in FAILED_WORDS:
            return "failed"
        return "pending" if word in WAITING_WORDS else "processing"

    @property
    def percent(self) -> int:
        """`progress` as a number from 0 to 100; 0 where the server said nothing readable."""
        try:
            return min(100, max(0, int(float(self.progress or 0))))
        except (ValueError, OverflowError):
            return 0

    @property
    def reason(self) -> str:
        """Why the task or its first failed file failed, in the server's words."""
        return self.error or next((file.error for file in self.files if file.error), "the task failed")


class TaskStatus(Task):
    deducted_credits: float | None = None


class PastTask(Task):
    """A line of the history; Tessera adds the id and the time to the documented fields."""

    task_id: str | None = None
    created_at: int | None = None


class Pagination(Answer):
    total: int | None = None
    has_more: bool = False
    next_offset: int | None = None


class HistoryPage(Answer):
    status: Literal["success"]
    data: tuple[PastTask, ...]
    pagination: Pagination
