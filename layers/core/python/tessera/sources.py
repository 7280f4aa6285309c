"""Pictures that callers name by a URL: fetching them into `uploads/`, from where they go on as any upload does.

    state      from  to         trigger                              condition
    fetching   tries tries + 1  claim: a fetch message               nobody has it, tries left
    fetching         rejected   what no further try changes          the same try
    fetching         rejected   TRIES are spent                      nobody has it
    fetching         fetching   release: it may go better next time  the same try

The object's event ends it (`uploads.arrived`); where that is lost, the next message finds the object. Messages come
from `dispatch`, each minute anew as long as a file waits, so a lost one and a dead fetcher are made good. A lease is
longer than a fetcher can run, so no two of them write.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import httpx
from boto3.dynamodb.conditions import Attr

from tessera import lifecycle, outbound, uploads
from tessera.addresses import shown
from tessera.dispatch import FileRef
from tessera.observability import logger
from tessera.settings import SECONDS
from tessera.storage import upload_key
from tessera.table import ConditionFailed, Item, Update
from tessera.tasks import File, file_key
from tessera.uploads import MAX_BYTES, Upload

if TYPE_CHECKING:
    from tessera.services import Services

TRIES = 3
LEASE = 150 * SECONDS  # longer than the function's time-out
TOTAL_SECONDS = 60.0  # of all of a source's answers together
REDIRECTS = 3
CHUNK = 64 * 1024
PASSING = (408, 425, 429)  # of the answers that blame the request, those that pass with time
# Asked for as it is: the bytes are stored as they come, and nothing is unpacked here.
HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "Tessera"}

TOO_LARGE = f"The picture is larger than {MAX_BYTES // 1024 // 1024} MB"
FORBIDDEN = "The picture's address is not allowed"
UNKNOWN_HOST = "The host of the picture's address is unknown"
TOO_MANY = "The picture's address redirects too often"
TOO_SLOW = "The picture's server did not answer in time"
BROKEN = "The connection to the picture's server failed"
GIVEN_UP = "The picture could not be fetched"


class NotFetched(Exception):
    """`reason` is for the picture's owner and names no address that was found out here. `lasting`: another try would
    end the same."""

    def __init__(self, reason: str, *, lasting: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lasting = lasting


def fetch(services: Services, ref: FileRef) -> None:
    """A fetch message: the picture is in storage afterwards, or the upload refused, or free for another try. A
    duplicate does nothing, and nothing is fetched for a file that has ended."""
    row = services.table.get(file_key(ref.task, ref.nn))
    if row is None:
        return
    file = File.model_validate(row)
    file.is_the_subject()
    now_ms = services.now_ms()
    upload = uploads.find(services, file.account, file.upload)
    if upload is None or upload.state != "fetching" or upload.lease > now_ms or upload.expires <= now_ms:
        return
    if _arrived(services, file):
        return
    if not file.open or file.deadline <= now_ms:
        return
    if upload.tries >= TRIES:
        _reject(services, file, upload, GIVEN_UP)
        return
    claimed = _claim(services, file, upload, now_ms)
    if claimed is not None:
        _fetch(services, file, claimed)


def _fetch(services: Services, file: File, upload: Upload) -> None:
    key = upload_key(file.account, file.upload)
    try:
        with closing(Body(services, upload.url)) as body:
            services.storage.write_stream(key, body)
    except NotFetched as failed:
        logger.warning("not fetched", why=failed.reason, source=shown(upload.url), tries=upload.tries)
        if failed.lasting or upload.tries >= TRIES:
            _reject(services, file, upload, failed.reason)
        else:
            _free(services, file, upload, upload.tries)
        return
    except Exception:
        _free(services, file, upload, upload.tries - 1)  # storage failed, not the source
        raise
    logger.info("fetched", bytes=body.size, source=shown(upload.url))
    if uploads.find(services, file.account, file.upload) is None:
        services.storage.delete_many([key])  # its owner has deleted it meanwhile


def _arrived(services: Services, file: File) -> bool:
    """Whether an earlier try got as far as storing it: then its event was lost, or is late."""
    upload = uploads.arrived(services, file.account, file.upload)
    if upload is None:
        return False
    lifecycle.upload_known(services, upload)
    return True


def _claim(services: Services, file: File, upload: Upload, now_ms: int) -> Upload | None:
    """The upload as claimed, None where another message was faster."""
    return _change(services, file, upload, {"lease": now_ms + LEASE, "tries": upload.tries + 1})


def _free(services: Services, file: File, upload: Upload, tries: int) -> None:
    _change(services, file, upload, {"lease": 0, "tries": tries})


def _reject(services: Services, file: File, upload: Upload, reason: str) -> None:
    rejected = _change(services, file, upload, {"state": "rejected", "reason": reason, "lease": 0})
    if rejected is not None:
        lifecycle.upload_known(services, rejected)


def _change(services: Services, file: File, upload: Upload, values: Item) -> Upload | None:
    """The row after the write; None where it is no longer as it was read."""
    same = Attr("state").eq("fetching") & Attr("tries").eq(upload.tries) & Attr("lease").eq(upload.lease)
    try:
        row = services.table.update(Update(uploads.row_key(file.account, file.upload), same, set=values))
    except ConditionFailed:
        return None
    return Upload.model_validate(row)


# ---------------------------------------------------------------- the network


class Body:
    """What a URL's server answers, as a file that is read once. Whatever goes wrong raises NotFetched."""

    def __init__(self, services: Services, url: str) -> None:
        self.size = 0
        self._pieces = _pieces(services, url)
        self._rest = bytearray()

    def close(self) -> None:
        """Ends the connection, wherever it was."""
        self._pieces.close()

    def read(self, amount: int) -> bytes:
        while len(self._rest) < amount:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self.size += len(piece)
            if self.size > MAX_BYTES:
                raise NotFetched(TOO_LARGE, lasting=True)
            self._rest += piece
        taken = bytes(self._rest[:amount])
        del self._rest[: len(taken)]
        return taken


def _pieces(services: Services, url: str) -> Generator[bytes, None, None]:
    try:
        yield from _answered(services, url)
    except (outbound.Forbidden, httpx.InvalidURL) as error:
        raise NotFetched(FORBIDDEN, lasting=True) from error
    except outbound.UnknownHost as error:
        raise NotFetched(UNKNOWN_HOST, lasting=True) from error
    except httpx.TimeoutException as error:
        raise NotFetched(TOO_SLOW, lasting=False) from error
    except httpx.TransportError as error:
        raise NotFetched(BROKEN, lasting=False) from error


def _answered(services: Services, url: str) -> Iterator[bytes]:
    """The bytes behind a URL. Redirects are followed here: httpx would read what they have to say to its end."""
    ends = time.monotonic() + TOTAL_SECONDS
    for _ in range(REDIRECTS + 1):
        left = ends - time.monotonic()
        if left <= 0:
            raise NotFetched(TOO_SLOW, lasting=False)
        with (
            outbound.client(services.settings, total=left) as web,
            web.stream("GET", url, headers=HEADERS) as answer,
        ):
            if answer.next_request is None:
                _check(answer)
                yield from answer.iter_raw(CHUNK)
                return
            url = str(answer.next_request.url)
    raise NotFetched(TOO_MANY, lasting=True)


def _check(answer: httpx.Response) -> None:
    if answer.status_code != httpx.codes.OK:
        reason = f"The picture's server answered {answer.status_code}"
        raise NotFetched(reason, lasting=answer.status_code < 500 and answer.status_code not in PASSING)
    length = answer.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MAX_BYTES:
        raise NotFetched(TOO_LARGE, lasting=True)
