"""Our own routes, for the reference."""

from __future__ import annotations

from jsonapi.routes import Route, Table
from jsonapi.schemas import Success
from tessera.errors import IdempotencyConflict, InsufficientCredits, Invalid, NotFound, UnknownUpload

from native import schemas

UPLOAD = {"uploadId": "2~kX3", "key": "uploads/1a2b3c4d5e6f7a8b/0123456789abcdef0123456789abcdef"}
TASK = {"taskId": schemas.TASK_ID}
ENLARGEMENT = {"model": "tessera-photo", "scale": 4, "saveImageAs": "webp"}

TABLE = Table(
    tag="Tessera",
    description="Our own routes. A task that was started here is read by /get-task-status and the history.",
    routes=(
        Route(
            "GET", "/v1/account", "getAccount", "Credits and limits",
            "What this key's account has left, and what the deployment takes.",
            Success[schemas.Account],
        ),
        Route(
            "GET", "/v1/models", "listModels", "Models, formats and operations",
            "What can be asked for, and what of it is installed here; for what is not, why, and what stands in.",
            Success[schemas.Models],
        ),
        Route(
            "POST", "/v1/estimate", "estimate", "What a task would give, cost and take",
            "From the pictures' sizes alone; nothing is started and nothing is charged.",
            Success[schemas.Estimated], schemas.Estimate, {"files": [{"width": 1024, "height": 768}], **ENLARGEMENT},
            (Invalid("files: Field required"),),
        ),
        Route(
            "POST", "/v1/tasks", "startTask", "Enlarge uploaded files",
            "One credit for each file; what fails or is cancelled is paid back. Files are uploaded by /get-upload-url.",
            Success[schemas.TaskSaid], schemas.NewTask,
            {"files": [{"fileName": "f7d9a2b4-photo.jpg"}], **ENLARGEMENT, "quality": 85, "denoise": 30,
             "webhook": {"url": "https://example.com/hooks/tessera"}},
            (Invalid("scale and width or height exclude each other"), UnknownUpload("f7d9a2b4-photo.jpg"),
             InsufficientCredits(1, 0), IdempotencyConflict()),
            repeatable=True,
        ),
        Route(
            "POST", "/v1/tasks/cancel", "cancelTask", "End what is open of a task",
            "Files that wait or are at work are ended and paid back; finished ones stay. A task that has ended is "
            "answered as it is.",
            Success[schemas.Cancelled], schemas.TaskOf, TASK, (Invalid(), NotFound()),
        ),
        Route(
            "POST", "/v1/tasks/delete", "deleteTask", "Delete what belongs to a task",
            "Results, previews and reports are gone, and uploads that no other task uses. The task stays in the "
            "history; an open one is cancelled before. May be repeated.",
            Success[schemas.Deleted], schemas.TaskOf, TASK, (Invalid(), NotFound()),
        ),
        Route(
            "POST", "/v1/tasks/webhook", "getTaskWebhook", "What became of a task's webhook",
            "Each attempt with its answer, and when the next is made. A task without a webhook is answered 404.",
            Success[schemas.WebhookSaid], schemas.TaskOf, TASK, (Invalid(), NotFound()),
        ),
        Route(
            "POST", "/v1/webhook-secret", "getWebhookSecret", "The secret by which webhooks are verified",
            "The account's own; made by the first call. docs/webhooks.md says how to verify by it.",
            Success[schemas.WebhookSecret], schemas.NoWish, {}, (Invalid(),),
        ),
        Route(
            "POST", "/v1/webhook-secret/rotate", "rotateWebhookSecret", "A new secret",
            "The one before is valid for 24 hours more: until then a webhook carries a signature by each.",
            Success[schemas.WebhookSecret], schemas.NoWish, {}, (Invalid(),),
        ),
        Route(
            "POST", "/v1/uploads/parts", "signParts", "Fresh links for parts of an upload",
            "Each is signed for the part's own length: `partSize` of /get-upload-url, the last one for what is left.",
            Success[schemas.SignedParts], schemas.SignParts, {**UPLOAD, "partNumbers": [2, 3]}, (Invalid(), NotFound()),
        ),
        Route(
            "POST", "/v1/uploads/parts/list", "listParts", "Which parts of an upload are stored",
            "To go on where an upload stopped: what is not listed has to be sent.",
            Success[schemas.StoredParts], schemas.UploadOf, UPLOAD, (Invalid(), NotFound()),
        ),
        Route(
            "POST", "/v1/uploads/abort", "abortUpload", "Give an upload in parts up",
            "Its parts are gone. One that is complete stays as it is. May be repeated.",
            Success[schemas.Nothing], schemas.UploadOf, UPLOAD, (Invalid(), NotFound()),
        ),
    ),
)  # fmt: skip
