"""Bytes to and from storage over pre-signed URLs: no key is sent, and no URL is ever named in an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import httpx

from tessera_client.errors import TesseraError, TransferError
from tessera_client.http import USER_AGENT
from tessera_client.pace import Pace, parse_retry_after
from tessera_client.photo import Photo
from tessera_client.progress import Meter

CHUNK = 256 * 1024  # bytes between two looks at progress and cancel
REFUSED = {
    403: "the link has expired, or the bytes are not those it was made for",
    404: "there is nothing behind the link any more",
    412: "the stored file has changed",
    413: "the file is too large for it",
}


class Storage:
    """Safe to share between threads. Broken connections, 429 and 5xx are retried up to three times."""

    def __init__(self, pace: Pace, transport: httpx.BaseTransport | None, timeout: httpx.Timeout) -> None:
        self._pace = pace
        # identity: what is counted while downloading must be what the file's size says
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        self._client = httpx.Client(headers=headers, transport=transport, timeout=timeout)

    def close(self) -> None:
        self._client.close()

    def put(self, url: str, photo: Photo, start: int, size: int, meter: Meter, *, kind: str | None = None) -> str:
        """Send a range of the file; the ETag without its quotes comes back."""
        headers = {"Content-Length": str(size), **({"Content-Type": kind} if kind else {})}

        def send() -> str:
            body = Body(photo, start, size, meter)
            try:
                response = self._client.put(url, headers=headers, content=body.chunks())
                if not response.is_success:
                    raise refusal("the upload", response)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                body.take_back()
                raise TransferError(f"the upload broke off: {type(error).__name__}") from None
            except BaseException:
                body.take_back()
                raise
            return str(response.headers.get("ETag", "")).strip('"')

        return self._pace.retry(send, wait_after)

    def get(self, url: str, target: BinaryIO, meter: Meter) -> int:
        """Write what is behind the URL to an open file; the number of bytes comes back."""

        def receive() -> int:
            target.seek(0)
            target.truncate()
            size = 0
            try:
                # The link is a capability of its own and no key goes with it, so a redirect is harmless here.
                with self._client.stream("GET", url, follow_redirects=True) as response:
                    if not response.is_success:
                        raise refusal("the download", response)
                    for chunk in response.iter_bytes(CHUNK):
                        target.write(chunk)
                        size += len(chunk)
                        meter.add(len(chunk))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                meter.move(-size)
                raise TransferError(f"the download broke off: {type(error).__name__}") from None
            return size

        return self._pace.retry(receive, wait_after)


class Body:
    """The bytes of one PUT, counted as they leave and given back if the PUT fails."""

    def __init__(self, photo: Photo, start: int, length: int, meter: Meter) -> None:
        self._photo = photo
        self._start = start
        self._length = length
        self._meter = meter
        self._sent = 0

    def chunks(self) -> Iterator[bytes]:
        with self._photo.path.open("rb") as file:
            file.seek(self._start)
            while self._sent < self._length:
                chunk = file.read(min(CHUNK, self._length - self._sent))
                if not chunk:
                    raise TransferError("the file changed while it was being uploaded", status=400)
                self._meter.add(len(chunk))
                self._sent += len(chunk)
                yield chunk

    def take_back(self) -> None:
        self._meter.move(-self._sent)


def refusal(what: str, response: httpx.Response) -> TransferError:
    status = response.status_code
    reason = REFUSED.get(status, "storage is busy or out of order" if status >= 500 else "storage did not say why")
    retry_after = parse_retry_after(response.headers.get("Retry-After"))
    return TransferError(f"storage refused {what} with {status}: {reason}", status, retry_after)


def wait_after(error: TesseraError, delay: float) -> float | None:
    if isinstance(error, TransferError) and error.passing:
        return max(delay, min(error.retry_after or 0.0, 30.0))
    return None
