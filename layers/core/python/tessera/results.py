"""What a caller sees of a result: links that expire, and progress."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from tessera.recipe import CONTENT_TYPES, ImageFormat
from tessera.reports import read_report
from tessera.settings import SECONDS
from tessera.storage import AttemptKey
from tessera.tasks import File, View

if TYPE_CHECKING:
    from tessera.services import Services

SUFFIXES: dict[ImageFormat, str] = {"jpeg": "jpg", "png": "png", "webp": "webp", "avif": "avif", "tiff": "tif"}
MAX_STEM = 120  # bytes: a name stands twice in a link, three times as long where it is quoted; S3 takes 8 KB in all
MAX_RUNNING = 8  # files whose reports one status reads
ALMOST = 99  # percent: 100 is said only when all files have ended


@dataclass(frozen=True)
class Links:
    """Each answers 200 directly, without redirect and without credentials, until the result expires."""

    download: str
    thumbnail: str


def file_name(file: File) -> str:
    """The name of the result: holiday.png upscaled by 4 to WebP is holiday-4x.webp, to a size holiday-900x600.webp."""
    kind = file.format or file.recipe.encode().format
    stem = PurePath(file.original).stem.encode()[:MAX_STEM].decode(errors="ignore")
    scale = file.recipe.scale() or 1
    what = f"{scale}x" if scale > 1 else f"{file.width}x{file.height}"
    return f"{stem or 'picture'}-{what}.{SUFFIXES[kind]}"


def links(services: Services, file: File, name: str = "") -> Links | None:
    """Signed afresh at each call; None for a file that has no result, or whose result has expired.

    `name`: to save it by, where that is not `file_name`.
    """
    now_ms = services.now_ms()
    if file.state != "done" or file.format is None or file.expires is None or file.expires <= now_ms:
        return None
    seconds = (file.expires - now_ms) // SECONDS
    return Links(
        services.links.presign_get(file.result_key, seconds, CONTENT_TYPES[file.format], name or file_name(file)),
        services.links.presign_get(file.thumbnail_key, seconds, "image/webp"),
    )


def progress(services: Services, view: View) -> int:
    """Percent of the whole task, 100 only at its end; reads the reports of files that are being processed."""
    if not view.task.left:
        return 100
    ended = sum(1 for file in view.files if not file.open)
    under_way = [file for file in view.files if file.state == "running"][:MAX_RUNNING]
    running = sum(_progress_of(services, file) for file in under_way)
    return min(ALMOST, int(100 * (ended + running) / view.task.total))


def _progress_of(services: Services, file: File) -> float:
    """The furthest that any attempt has come: a retry does not turn the clock back."""
    best = 0.0
    for attempt in range(1, file.attempt + 1):
        report = read_report(services.storage, AttemptKey(file.account, file.task, file.nn, attempt))
        if report is not None:
            best = max(best, report.progress)
    return best
