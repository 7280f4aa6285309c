"""Tasks, files and errors in words and in JSON, the same for every command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tessera_client.errors import ApiError
from tessera_client.models import ProcessedFile, Task
from tessera_client.redact import without_secrets


def size_words(file: ProcessedFile) -> str:
    """ ", 2048 x 1536" where the server says it."""
    size = file.dimensions
    return f", {size.width} x {size.height}" if size and size.width and size.height else ""


def stand_in_lines(file: ProcessedFile, task: Task) -> list[str]:
    """What the owner of the picture should know about how it was made."""
    lines = [f"note: {note}" for note in file.notes]
    if file.stand_in:
        ran, asked = file.engine_model or "another model", task.model or "the model asked for"
        ran, asked = file.engine_model or "another model", task.model or "the model asked for"
        lines.insert(0, f"note: {ran} stood in for {asked}")
    return lines


def error_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return without_secrets(str(error)) or type(error).__name__


def error_json(error: Exception) -> dict[str, Any]:
    kind = type(error).__name__
    if isinstance(error, ApiError):
        return {"type": kind, "message": error.message, "code": error.code, "status": error.status}
    return {"type": kind, "message": error_words(error)}


def result_json(path: Path, task_id: str, file: ProcessedFile, task: Task) -> dict[str, Any]:
    """A file that lies here now; links are left out, they are of no more use."""
    return {
        "result": str(path),
        "taskId": task_id,
        "model": task.model,
        "scale": task.scale,
        "format": task.save_image_as,
        "width": file.dimensions.width if file.dimensions else None,
        "height": file.dimensions.height if file.dimensions else None,
        "bytes": file.final_file_size,
        "engineModel": file.engine_model,
        "standIn": file.stand_in,
        "cache": file.cache,
        "notes": list(file.notes),
        "fidelity": file.fidelity,
        "seam": file.seam,
    }
