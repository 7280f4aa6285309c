"""Upscayl's routes, for the reference."""

from __future__ import annotations

from jsonapi.routes import Route, Table
from jsonapi.schemas import Success
from tessera.errors import (
    FileTooLarge,
    IdempotencyConflict,
    InsufficientCredits,
    Invalid,
    MissingFields,
    NotFound,
    UnknownUpload,
    UnsupportedType,
    UploadIncomplete,
)

from upscayl import answers, errors, schemas

FILE = {"fileName": "f7d9a2b4-photo.jpg", "fileType": "image/jpeg", "fileSize": 1048576}
TASK = {"taskId": "30a89e69-c702-4247-9905-f0a53dfa45ab"}

TABLE = Table(
    tag="Upscayl",
    description="Upscayl Cloud's routes: at the root, and under /upscayl.",
    own=errors.OWN,
    routes=(
        Route(
            "POST", "/get-upload-url", "getUploadUrl", "A link to upload one file",
            "Answers a pre-signed PUT. With `multipart`, or for a large file, links for its parts as well.",
            Success[answers.Ticket], schemas.GetUploadUrl,
            {"originalFileName": "photo.jpg", "fileType": "image/jpeg", "fileSize": 1048576},
            (Invalid(), MissingFields("fileSize"), UnsupportedType(), FileTooLarge(104_857_600), IdempotencyConflict()),
            enveloped=True, repeatable=True,
        ),
        Route(
            "POST", "/complete-multipart-upload", "completeMultipartUpload", "One file of its parts",
            "Each part's ETag is what storage has answered to its PUT.",
            Success[answers.Completed], schemas.CompleteMultipart,
            {"uploadId": "2~kX3", "key": "uploads/1a2b/3c4d", "parts": [{"PartNumber": 1, "ETag": "9b2c"}]},
            (Invalid(), UploadIncomplete("unknown key or uploadId")),
            enveloped=True,
        ),
        Route(
            "POST", "/start-task", "startTask", "Enlarge uploaded files",
            "One credit for each file; what fails is paid back. A form may hold the files themselves, as `file`.",
            Success[answers.Started], schemas.StartTask,
            {"files": [FILE], "model": "upscayl-standard-4x", "scale": "4", "saveImageAs": "png"},
            (Invalid("no file is given"), UnknownUpload("f7d9a2b4-photo.jpg"), InsufficientCredits(1, 0),
             IdempotencyConflict()),
            enveloped=True, form=True, repeatable=True,
        ),
        Route(
            "POST", "/get-task-status", "getTaskStatus", "How far a task is, and its results",
            "Links are signed at each call and answer 200 without a key, until `expiresAt`.",
            Success[answers.Status], schemas.GetTaskStatus, TASK, (Invalid(), NotFound()),
            enveloped=True,
        ),
        Route(
            "POST", "/get-upscayl-history", "getUpscaylHistory", "Earlier tasks, newest first",
            "Filters are ANDed. `total` counts all tasks of the account.",
            answers.History, schemas.GetHistory, {"limit": 20, "processed": "completed"}, (Invalid(),),
            enveloped=True,
        ),
    ),
)  # fmt: skip
