"""What Upscayl's routes answer, for the reference: fields beyond the vendor's document are Tessera's own."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Word = Literal["pending", "processing", "completed", "failed", "PENDING", "ENHANCING", "PROCESSED", "PROCESSING_FAILED"]
FileWord = Literal["pending", "processing", "completed", "failed"]
FormatWord = Literal["png", "jpg", "webp", "avif", "tiff"]


class Answer(BaseModel):
    """Optional fields are left out where there is nothing to tell."""

    model_config = ConfigDict(extra="forbid")


class PartLink(Answer):
    PartNumber: int
    url: str


class Ticket(Answer):
    uploadURL: str = Field(description="PUT the file here, with exactly `fileSize` bytes")
    fileName: str = Field(description="names the file for start-task")
    fileType: str
    fileSize: int
    originalFileName: str
    createdAt: int = Field(description="Unix milliseconds")
    expiresAt: int = Field(description="Unix milliseconds; of the links")
    uploadId: str = Field(default="", description="of an upload in parts, as are the next three")
    key: str = ""
    partSize: int = Field(default=0, description="bytes of every part but the last")
    parts: list[PartLink] = []


class Completed(Answer):
    status: Literal["success"]


class Started(Answer):
    taskId: str
    message: str


class Dimensions(Answer):
    width: int
    height: int


class File(Answer):
    fileName: str
    originalFileName: str
    createdAt: int
    status: FileWord
    fileType: str = ""
    fileSize: int = 0
    error: str = ""
    path: str = Field(default="", description="of a finished file, as are all below")
    expiresAt: int = Field(default=0, description="Unix milliseconds; then the links are gone")
    finalFileSize: int = 0
    processedFileName: str = ""
    dimensions: Dimensions | None = None
    engineModel: str = Field(default="", description="the network that ran")
    standIn: bool = Field(default=False, description="it ran in place of the one that was asked for")
    cache: Literal["hit", "miss"] = Field(default="miss", description="hit: an earlier result was copied")
    notes: list[str] = []
    fidelity: float = Field(default=0, description="dB, the result averaged down beside the source")
    seam: float = Field(default=0, description="1 where no border between tiles shows")
    downloadLink: str = ""
    downloadUrl: str = Field(default="", description="downloadLink again")
    url: str = Field(default="", description="downloadLink again")
    thumbnailLink: str = ""


class Task(Answer):
    batchMode: bool
    enhanceFace: bool
    error: str
    files: list[File]
    model: str
    progress: str = Field(description="per cent")
    status: Word
    saveImageAs: FormatWord
    creditsDeducted: bool
    scale: str = Field(default="", description="absent where width or height was asked for")
    width: int = 0
    height: int = 0
    deletedAt: int = Field(default=0, description="Unix milliseconds; its owner has had the results deleted")


class Status(Task):
    deductedCredits: int


class Past(Task):
    taskId: str
    createdAt: int


class Pagination(Answer):
    total: int
    hasMore: bool
    nextOffset: int = Field(description="the next page's timestampOffset; 0 where there is none")


class History(Answer):
    status: Literal["success"]
    pagination: Pagination
    data: list[Past]
