"""The five documented routes, one method each: documented flat bodies out, models back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from tessera_client.errors import ServerError
from tessera_client.http import Http
from tessera_client.models import (
    DEFAULT_MODEL,
    Envelope,
    HistoryPage,
    ImageFormat,
    MultipartCompleted,
    Scale,
    StartedTask,
    TaskState,
    TaskStatus,
    UploadedFile,
    UploadTicket,
)


class Routes:
    def __init__(self, http: Http) -> None:
        self._http = http

    def get_upload_url(
        self, original_file_name: str, file_type: str, file_size: int, *, multipart: bool = False
    ) -> UploadTicket:
        """Ask where to put a file. The answer may hold `parts` also when multipart was not asked for."""
        body: dict[str, object] = {
            "originalFileName": original_file_name,
            "fileType": file_type,
            "fileSize": file_size,
        }
        if multipart:
            body["multipart"] = True
        return self._http.call("get-upload-url", Envelope[UploadTicket], repeatable=True, json=body).data

    def complete_multipart_upload(self, upload_id: str, key: str, etags: Mapping[int, str]) -> None:
        """Join the uploaded parts; `etags` are what storage answered to each, by part number."""
        parts = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
        body = {"data": {"uploadId": upload_id, "key": key, "parts": parts}}
        self._http.call("complete-multipart-upload", Envelope[MultipartCompleted], repeatable=True, json=body)

    def start_task(
        self,
        files: Iterable[UploadedFile],
        *,
        model: str = DEFAULT_MODEL,
        scale: Scale = 4,
        save_as: ImageFormat = "png",
        enhance_face: bool = False,
        idempotency_key: str | None = None,
    ) -> StartedTask:
        """Start one task over uploaded files. Never sent a second time unless the first was surely not taken.

        With a key of your own making (up to 255 visible ASCII characters) a lost answer is asked for again: Tessera
        starts and charges once for a key, for a day. Other servers of this API may not know it.
        """
        listed = [file.model_dump(by_alias=True, exclude_none=True) for file in files]
        fields = {
            "model": model,
            "scale": str(scale),
            "saveImageAs": save_as,
            "enhanceFace": "true" if enhance_face else "false",
        }
        parts = {"files": (None, json.dumps(listed), "application/json")}
        return self._http.call(
            "start-task",
            Envelope[StartedTask],
            repeatable=idempotency_key is not None,
            data=fields,
            files=parts,
            headers={} if idempotency_key is None else {"Idempotency-Key": idempotency_key},
        ).data

    def get_task_status(self, task_id: str) -> TaskStatus:
        body = {"taskId": task_id}
        return self._http.call("get-task-status", Envelope[TaskStatus], repeatable=True, json=body).data

    def get_upscayl_history(
        self,
        *,
        status: TaskState | None = None,
        batch: bool | None = None,
        failed: bool | None = None,
        timestamp_offset: int | None = None,
        page_size: int = 20,
    ) -> Iterator[HistoryPage]:
        """The pages of the history, newest first, each asked for when it is wanted; filters are ANDed."""
        wanted = {"processed": status, "batch": batch, "failed": failed, "limit": page_size}
        body = {name: value for name, value in wanted.items() if value is not None}
        while True:
            if timestamp_offset is not None:
                body["timestampOffset"] = timestamp_offset
            page = self._http.call("get-upscayl-history", HistoryPage, repeatable=True, json=body)
            yield page
            following = page.pagination.next_offset
            if not page.pagination.has_more or following is None:
                return
            if following == timestamp_offset:
                raise ServerError(200, "UNREADABLE_ANSWER", "the history repeats its page")
            timestamp_offset = following
