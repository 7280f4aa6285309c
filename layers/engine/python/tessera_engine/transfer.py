"""Bytes from and to the capability URLs of a job: one GET, a few PUTs, no credential, no redirect."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import BinaryIO

import urllib3

from tessera_engine.errors import LinkExpired, NotStored, SourceChanged, SourceUnavailable

TIMEOUT = urllib3.Timeout(connect=5.0, read=60.0)  # seconds; read: without a byte
RETRY_AFTER = (0.3, 1.0)  # seconds before the second and the third try
MAX_SOURCE_BYTES = 100 * 1024 * 1024  # what the service accepts as an upload
CHUNK = 1024 * 1024  # bytes

GONE = "The uploaded picture is no longer there."
UNREACHABLE = "The uploaded picture could not be read just now."
NO_STORE = "The bucket that was named for the result could not be reached."
NOT_STORED = "The bucket that was named for the result did not take it"
EXPIRED = "The time to read or write the picture is over."
CHANGED = "The uploaded picture was replaced after it had been accepted."
TOO_LARGE = f"The file is larger than {MAX_SOURCE_BYTES // 1024 // 1024} MiB."


class StorageUnreachable(Exception):
    """Storage could not be reached, or failed, at every try. Not the job's fault: whoever gave the job tries again."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""


@dataclass(frozen=True)
class Storage:
    """`sleep` waits between two tries, in seconds."""

    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(timeout=TIMEOUT, retries=False))
    sleep: Callable[[float], None] = time.sleep

    def read(self, url: str, etag: str) -> bytes:
        """The object, if it is still the one of that ETag; SourceChanged, SourceUnavailable or LinkExpired if not."""
        try:
            answer = self._persist(lambda: self._get(url, etag))
        except StorageUnreachable as error:
            raise SourceUnavailable(UNREACHABLE, retryable=True) from error
        if answer.status == 200:
            return answer.body
        if answer.status == 412:
            raise SourceChanged(CHANGED)
        if answer.status == 404:
            raise SourceUnavailable(GONE)
        raise LinkExpired(EXPIRED)

    def write(self, url: str, body: bytes | BinaryIO, content_type: str) -> None:
        """Bytes, or a file from its start.

        LinkExpired when storage refuses, StorageUnreachable when it cannot be reached: the object is not there.
        """
        answer = self._persist(lambda: self._put(url, body, content_type))
        if not 200 <= answer.status < 300:
            raise LinkExpired(EXPIRED)

    def store(self, url: str, body: BinaryIO, content_type: str, headers: Mapping[str, str]) -> None:
        """A file into somebody else's bucket; NotStored, in words for its owner, where that does not take it."""
        try:
            answer = self._persist(lambda: self._put(url, body, content_type, headers))
        except StorageUnreachable as error:
            raise NotStored(NO_STORE, retryable=True) from error
        if not 200 <= answer.status < 300:
            raise NotStored(f"{NOT_STORED} ({answer.status}).")

    def try_write(self, url: str, body: bytes, content_type: str) -> None:
        """One try, for what may be lost: the next report replaces this one."""
        try:
            self._put(url, body, content_type)
        except urllib3.exceptions.HTTPError:
            return

    def _persist(self, request: Callable[[], Answer]) -> Answer:
        """The first answer that is not the server's failure."""
        for pause in (*RETRY_AFTER, None):
            cause: Exception | None = None
            try:
                answer = request()
                if answer.status < 500 and answer.status != 429:
                    return answer
            except urllib3.exceptions.HTTPError as error:
                cause = error
            if pause is not None:
                self.sleep(pause)
        raise StorageUnreachable("no answer from storage") from cause

    def _get(self, url: str, etag: str) -> Answer:
        with self.pool.request(
            "GET", url, headers={"If-Match": etag}, preload_content=False, decode_content=False, redirect=False
        ) as response:
            body = bytearray()
            while response.status == 200 and (chunk := response.read(CHUNK)):
                body += chunk
                if len(body) > MAX_SOURCE_BYTES:
                    raise SourceUnavailable(TOO_LARGE)
            return Answer(response.status, bytes(body))

    def _put(
        self, url: str, body: bytes | BinaryIO, content_type: str, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Answer:
        sent = {**headers, "Content-Type": content_type, "Content-Length": str(size_of(body))}
        response = self.pool.request("PUT", url, body=body, headers=sent, redirect=False)
        return Answer(response.status)


def size_of(body: bytes | BinaryIO) -> int:
    """In bytes; a file is left at its start."""
    if isinstance(body, bytes):
        return len(body)
    size = body.seek(0, os.SEEK_END)
    body.seek(0)
    return size
