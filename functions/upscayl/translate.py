"""Upscayl's words to Tessera's and back. Pure: no I/O but signing links, which is arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from tessera import ids, results, storage, tasks, uploads
from tessera.errors import Invalid, NotFound
from tessera.recipe import CONTENT_TYPES, Encode, EnhanceFace, ImageFormat, Recipe, Thumbnail, Upscale
from tessera.services import Services
from tessera.starts import Wanted
from tessera.tasks import File, TaskState, View

from upscayl.schemas import CompleteMultipart, GetHistory, StartTask, UploadedFile

FORMATS: dict[str, ImageFormat] = {"png": "png", "jpg": "jpeg", "webp": "webp"}
# A task of another dialect may have what nobody can ask for here.
FORMAT_WORDS = {kind: word for word, kind in FORMATS.items()} | {"avif": "avif", "tiff": "tiff"}

# A task of which some files failed has ended with something to download, so its clients have to see it as completed.
DOCUMENTED: dict[TaskState, str] = {
    "pending": "pending",
    "processing": "processing",
    "completed": "completed",
    "partially_failed": "completed",
    "failed": "failed",
    "partially_cancelled": "completed",
    "cancelled": "failed",
}
# What clients that send the envelope wait for.
OBSERVED: dict[TaskState, str] = {
    "pending": "PENDING",
    "processing": "ENHANCING",
    "completed": "PROCESSED",
    "partially_failed": "PROCESSED",
    "failed": "PROCESSING_FAILED",
    "partially_cancelled": "PROCESSED",
    "cancelled": "PROCESSING_FAILED",
}
VOCABULARIES = {"documented": DOCUMENTED, "observed": OBSERVED}


# ---------------------------------------------------------------- requests


def from_start_task(request: StartTask) -> Recipe:
    faces = (EnhanceFace(),) if request.enhanceFace else ()
    upscale = Upscale(model=request.model, scale=int(request.scale))  # type: ignore[arg-type]
    return Recipe(operations=(upscale, *faces, Thumbnail(), Encode(format=FORMATS[request.saveImageAs])))


def from_uploaded_file(file: UploadedFile) -> Wanted:
    return Wanted.of(file.fileName, file.originalFileName or "")


def from_url(services: Services, account: str, url: str) -> Wanted:
    """A link that was handed out for an upload here. Raises Invalid for any other address."""
    try:
        path = unquote(urlsplit(url).path).strip("/")
    except ValueError:  # such as "http://["
        path = ""
    owner = storage.parse_upload_key(path.removeprefix(f"{services.settings.bucket}/"))
    if owner is None or owner[0] != account:
        raise Invalid("urls: only upload links of this service can be given; send files with /get-upload-url")
    return Wanted(upload=owner[1], name=owner[1], original="upload")


def from_task_id(text: str) -> int:
    """Raises NotFound for what cannot be the id of a task."""
    number = ids.from_uuid(text)
    if number is None:
        raise NotFound
    return number


def from_history(request: GetHistory) -> Callable[[View], bool]:
    """The filters, all of which a task has to pass."""
    words = {word for table in VOCABULARIES.values() for word in table.values()}
    if request.processed is not None and request.processed not in words:
        raise Invalid("processed: one of pending, processing, completed, failed")

    def keep(view: View) -> bool:
        words = {table[view.state] for table in VOCABULARIES.values()}
        return (
            (request.processed is None or request.processed in words)
            and (request.failed is None or request.failed == (view.task.failed + view.task.cancelled > 0))
            and (request.batch is None or request.batch == (view.task.total > 1))
        )

    return keep


def from_parts(request: CompleteMultipart) -> tuple[storage.Part, ...]:
    return tuple(storage.Part(part.PartNumber, f'"{part.ETag.strip(chr(34))}"') for part in request.parts)


# ---------------------------------------------------------------- answers


def to_ticket(ticket: uploads.Ticket) -> dict[str, Any]:
    data: dict[str, Any] = {
        "uploadURL": ticket.url,
        "fileName": ticket.name,
        "fileType": ticket.content_type,
        "fileSize": ticket.size,
        "originalFileName": ticket.original,
        "createdAt": ticket.created,
        "expiresAt": ticket.expires,
    }
    if parts := ticket.multipart:
        data |= {
            "uploadId": parts.upload_id,
            "key": parts.key,
            "partSize": parts.part_bytes,
            "parts": [{"PartNumber": part.number, "url": part.url} for part in parts.parts],
        }
    return success(data)


def to_started(task: int) -> dict[str, Any]:
    return success({"taskId": ids.to_uuid(task), "message": "Task request sent successfully"})


def to_status(services: Services, view: View, words: dict[TaskState, str]) -> dict[str, Any]:
    status = _task(services, view, words, results.progress(services, view))
    return success(status | {"deductedCredits": view.task.deducted})


def to_history(services: Services, page: tasks.HistoryPage, total: int, words: dict[TaskState, str]) -> dict[str, Any]:
    return {
        "status": "success",
        "pagination": {
            "total": total,
            "hasMore": page.next_before is not None,
            # an integer in the document even where there is no next page
            "nextOffset": page.next_before or 0,
        },
        "data": [
            _task(services, view, words, _counted(view))
            | {"taskId": ids.to_uuid(view.task.id), "createdAt": view.task.created}
            for view in page.views
        ],
    }


def success(data: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": data}


def _counted(view: View) -> int:
    """Percent by finished files: a list of tasks is not worth a read of every report."""
    return 100 * (view.task.total - view.task.left) // view.task.total


def _task(services: Services, view: View, words: dict[TaskState, str], percent: int) -> dict[str, Any]:
    recipe = view.task.recipe
    # A task of another dialect may have none.
    upscale = next((step for step in recipe.operations if isinstance(step, Upscale)), None)
    shown: dict[str, Any] = {
        "batchMode": view.task.total > 1,
        "enhanceFace": any(isinstance(step, EnhanceFace) for step in recipe.operations),
        "error": view.error,
        "files": [_file(services, file) for file in view.files],
        "model": upscale.model if upscale else "",
        "progress": str(percent),
        "status": words[view.state],
        "saveImageAs": FORMAT_WORDS[recipe.encode().format],
        "creditsDeducted": view.task.deducted > 0,
    }
    box = (upscale.width, upscale.height) if upscale else (None, None)
    wanted = {"width": box[0], "height": box[1], "deletedAt": view.task.deleted}
    shown |= {"scale": str(upscale.scale)} if upscale and upscale.scale else {}
    return shown | {name: value for name, value in wanted.items() if value is not None}


def _file(services: Services, file: File) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "fileName": file.name,
        "originalFileName": file.original,
        "createdAt": file.created,
        "status": DOCUMENTED[_STATES[file.state]],
    }
    if file.source_format:
        shown["fileType"] = CONTENT_TYPES[file.source_format]
    if file.source_bytes is not None:
        shown["fileSize"] = file.source_bytes
    if file.state in ("failed", "cancelled"):
        shown["error"] = file.error
    if file.state != "done":
        return shown
    shown |= {
        "path": file.result_key,
        "expiresAt": file.expires,
        "finalFileSize": file.bytes,
        "processedFileName": results.file_name(file),
        "dimensions": {"width": file.width, "height": file.height},
        "engineModel": file.model,
        "standIn": file.stand_in,
        "cache": "hit" if file.reused else "miss",
        "notes": list(file.notes),
    }
    shown |= {name: value for name, value in (("fidelity", file.fidelity), ("seam", file.seam)) if value is not None}
    if links := results.links(services, file):
        shown |= {
            "downloadLink": links.download,
            "downloadUrl": links.download,
            "url": links.download,
            "thumbnailLink": links.thumbnail,
        }
    return shown


_STATES: dict[tasks.FileState, TaskState] = {
    "queued": "pending",
    "running": "processing",
    "done": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}
