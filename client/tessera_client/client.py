"""The client: the routes, and on top of them upload, wait, download and upscale."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tessera_client import polling
from tessera_client.errors import BadRequest, NotFound, TaskFailed, TransferError
from tessera_client.http import Http
from tessera_client.journal import Record
from tessera_client.models import (
    DEFAULT_MODEL,
    Envelope,
    ImageFormat,
    PastTask,
    ProcessedFile,
    Scale,
    TaskState,
    TaskStatus,
    UploadedFile,
)
from tessera_client.names import check_folder, draft, result_path
from tessera_client.own_routes import OwnRoutes
from tessera_client.pace import Pace
from tessera_client.photo import Photo
from tessera_client.progress import Meter, OnProgress, Progress
from tessera_client.redact import guard_httpx_log
from tessera_client.routes import Routes
from tessera_client.sessions import Sessions, default_folder
from tessera_client.storage import Storage
from tessera_client.uploads import MULTIPART_FROM, PART_THREADS, Uploads

API_TIMEOUT = httpx.Timeout(30, connect=10)
STORAGE_TIMEOUT = httpx.Timeout(60, connect=10)
HISTORY_PAGE = 100  # the API's largest


@dataclass(frozen=True)
class Upscaled:
    """A finished picture: where it lies here, and what the server says about it."""

    path: Path
    task_id: str
    file: ProcessedFile
    task: TaskStatus


class Client(Routes, OwnRoutes):
    """Talks to one server with one key. Safe to share between threads; a context manager.

    Settings beyond url and key: `transport` (httpx), `cache_dir` for the state of unfinished uploads, `multipart_from`
    (bytes), `part_threads` for the parts of one upload, and for tests `sleep`, `clock` (monotonic seconds) and `now`
    (Unix seconds).
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        transport: httpx.BaseTransport | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        multipart_from: int = MULTIPART_FROM,
        part_threads: int = PART_THREADS,
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        url, key = checked_url(url), checked_key(key)
        guard_httpx_log()
        self._pace = Pace(sleep)
        self._clock = clock
        self.identity = hashlib.sha256(f"{url}\n{key}".encode()).hexdigest()[:16]
        """Names server and key in files on this machine."""
        super().__init__(Http(url, key, self._pace, transport, API_TIMEOUT))
        self._storage = Storage(self._pace, transport, STORAGE_TIMEOUT)
        sessions = Sessions(Path(cache_dir) if cache_dir else default_folder(), url, key)
        self._uploads = Uploads(
            self,
            self,
            self._storage,
            sessions,
            self._pace,
            now=now,
            multipart_from=multipart_from,
            threads=part_threads,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()
        self._storage.close()

    def cancel(self) -> None:
        """Let everything under way in any thread end with `Cancelled`, for good; unfinished uploads are kept."""
        self._pace.cancel()

    def history(
        self,
        *,
        status: TaskState | None = None,
        batch: bool | None = None,
        failed: bool | None = None,
        timestamp_offset: int | None = None,
        page_size: int = HISTORY_PAGE,
    ) -> Iterator[PastTask]:
        """The tasks of all pages, newest first."""
        for page in self.get_upscayl_history(
            status=status, batch=batch, failed=failed, timestamp_offset=timestamp_offset, page_size=page_size
        ):
            yield from page.data

    def upload(self, path: str | os.PathLike[str], *, on_progress: OnProgress | None = None) -> UploadedFile:
        """Put a picture into the server's storage; what an interrupted run already sent is not sent again."""
        return self._uploads.send(Photo.read(path), on_progress)

    def wait(self, task_id: str, *, on_progress: OnProgress | None = None, timeout: float | None = None) -> TaskStatus:
        """Poll until the task is completed; see `polling.wait`. Raises TaskFailed or WaitTimeout."""

        def ask() -> TaskStatus:
            return self._http.once("get-task-status", Envelope[TaskStatus], json={"taskId": task_id}).data

        return polling.wait(task_id, ask, self._pace, self._clock, on_progress, timeout)

    def download(
        self,
        file: ProcessedFile,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Fetch a result; where it lies comes back: `path`, or the first free name after it. Nothing stands under that
        name before all bytes have come."""
        wanted = Path(path)
        if file.download_link is None:
            raise TransferError(f"there is no result to fetch: {file.error or 'the server gave no link'}", status=404)
        with draft(wanted) as result:
            meter = Meter("download", file.final_file_size or 0, self._pace, on_progress)
            size = self._storage.get(file.download_link, result.file, meter)
            if file.final_file_size is not None and size != file.final_file_size:
                raise TransferError(f"the result has {size} bytes in place of {file.final_file_size}", status=200)
            return result.publish(wanted, overwrite=overwrite)

    def upscale(
        self,
        path: str | os.PathLike[str],
        *,
        model: str = DEFAULT_MODEL,
        scale: Scale = 4,
        save_as: ImageFormat = "png",
        enhance_face: bool = False,
        out: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        on_progress: OnProgress | None = None,
        record: Record | None = None,
    ) -> Upscaled:
        """Upload, start, wait and download, as one task; the result is NAME-4x.png in `out`, by default beside the
        picture. Errors after the start are those of a task that runs on: its id was in the last progress. A `record`
        of a journal remembers each step, and what it remembers is not done again."""
        photo = Photo.read(path)
        wanted = result_path(Path(path), Path(out) if out else None, scale, save_as)
        check_folder(wanted.parent)

        def start(uploaded: UploadedFile) -> str:
            key = record.entry.start_key if record else None
            options = {"model": model, "scale": scale, "save_as": save_as, "enhance_face": enhance_face}
            return self.start_task([uploaded], idempotency_key=key, **options).task_id  # type: ignore[arg-type]

        task = self._picked_up(record, on_progress) if record else None
        if task is None:
            task_id = self._started(photo, start, record, on_progress)
            if on_progress:
                on_progress(Progress("queued", 0, 100, task_id))
            task = self._ended(task_id, record, on_progress)
        else:
            task_id = record.entry.task_id if record and record.entry.task_id else ""
        if not task.files:
            raise TaskFailed(task_id, "the task is completed but has no file")
        place = self.download(task.files[0], wanted, overwrite=overwrite, on_progress=on_progress)
        if record:
            record.keep(result=os.fspath(place.resolve()), result_size=place.stat().st_size)
        return Upscaled(place, task_id, task.files[0], task)

    def _picked_up(self, record: Record, on_progress: OnProgress | None) -> TaskStatus | None:
        """The task of an earlier run, once it has ended. None where there is none, or nothing of it to fetch."""
        task_id = record.entry.task_id
        if task_id is None:
            return None
        try:
            task = self._ended(task_id, record, on_progress)
        except NotFound:
            task = None
        if task is None or not task.files or task.files[0].download_link is None:
            record.forget()  # forgotten by the server, deleted or expired
            return None
        return task

    def _started(
        self, photo: Photo, start: Callable[[UploadedFile], str], record: Record | None, on_progress: OnProgress | None
    ) -> str:
        """The id of a new task, or of the one whose start was sent by a run that did not live to read the answer."""
        if record is None:
            return start(self._uploads.send(photo, on_progress))
        if record.entry.uploaded is not None:
            try:
                record.keep(task_id=start(record.entry.uploaded))
            except (BadRequest, NotFound):  # the upload has expired
                record.forget()
        if record.entry.task_id is None:
            uploaded = self._uploads.send(photo, on_progress)
            record.keep(uploaded=uploaded)
            record.keep(task_id=start(uploaded))
        assert record.entry.task_id is not None
        return record.entry.task_id

    def _ended(self, task_id: str, record: Record | None, on_progress: OnProgress | None) -> TaskStatus:
        try:
            return self.wait(task_id, on_progress=on_progress)
        except TaskFailed:
            if record:
                record.forget()  # it was paid back: the next run tries again
            raise


def checked_url(url: str) -> str:
    """The server's base URL, which may have a path. Raises ValueError, with nothing of the URL in its words."""
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL:
        raise ValueError("the server's URL cannot be read") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("the server's URL must begin with http:// or https:// and name a host")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise ValueError("the server's URL must have no user, query or fragment")
    return str(parsed).rstrip("/") + "/"


def checked_key(key: str) -> str:
    """The key without spaces around it. Raises ValueError where it cannot be a header's value."""
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError("the key must be printable ASCII and not empty")
    return key
