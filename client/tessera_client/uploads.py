"""One file to storage: in one PUT, or in parts that survive an interrupted run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed

from tessera_client.errors import BadRequest, NotFound, ServerError, TesseraError, TransferError
from tessera_client.models import UploadedFile, UploadTicket
from tessera_client.own_routes import OwnRoutes
from tessera_client.pace import Pace
from tessera_client.photo import Photo
from tessera_client.progress import Meter, OnProgress
from tessera_client.routes import Routes
from tessera_client.sessions import Session, Sessions
from tessera_client.storage import Storage

MULTIPART_FROM = 16 * 1024 * 1024  # bytes; below, one PUT is soon sent again
PART_THREADS = 4
MOST_SIGNED = 100  # part links of one request


class Uploads:
    def __init__(
        self,
        routes: Routes,
        own: OwnRoutes,
        storage: Storage,
        sessions: Sessions,
        pace: Pace,
        *,
        now: Callable[[], float],
        multipart_from: int = MULTIPART_FROM,
        threads: int = PART_THREADS,
    ) -> None:
        self._routes = routes
        self._own = own
        self._storage = storage
        self._sessions = sessions
        self._pace = pace
        self._now = now
        self._multipart_from = multipart_from
        self._threads = threads

    def send(self, photo: Photo, on_progress: OnProgress | None) -> UploadedFile:
        """Upload the picture; only parts that no earlier run finished are sent. A session that the server or
        storage no longer knows is dropped and the upload starts anew, once."""
        session = self._sessions.load(photo, int(self._now() * 1000))
        if session is not None:
            try:
                return self._send_parts(photo, self._as_stored(session, photo.size), on_progress)
            except TesseraError as error:
                if not is_lost(error):
                    raise
                self._sessions.remove(photo)
        return self._send_new(photo, on_progress)

    def _as_stored(self, session: Session, size: int) -> Session:
        """The session with the parts that storage has, and fresh links for the others. A server that cannot tell
        (another than Tessera), or no longer knows the upload, leaves it as it was remembered."""
        ticket = session.ticket
        if ticket.upload_id is None or ticket.key is None:
            return session
        ranges = session.part_ranges(size)
        try:
            stored = self._own.list_parts(ticket.upload_id, ticket.key).parts
            etags = {
                part.part_number: part.etag
                for part in stored
                if part.part_number in ranges and part.size == ranges[part.part_number][1]
            }
            missing = [number for number in ranges if number not in etags]
            fresh = [
                link
                for first in range(0, len(missing), MOST_SIGNED)
                for link in self._own.sign_parts(
                    ticket.upload_id, ticket.key, missing[first : first + MOST_SIGNED]
                ).parts
            ]
        except (BadRequest, NotFound):
            return session
        links = {part.part_number: part for part in (*(ticket.parts or ()), *fresh)}
        return Session(ticket=ticket.model_copy(update={"parts": tuple(links.values())}), etags=etags)

    def _send_new(self, photo: Photo, on_progress: OnProgress | None) -> UploadedFile:
        multipart = photo.size >= self._multipart_from
        ticket = self._routes.get_upload_url(photo.name, photo.type, photo.size, multipart=multipart)
        if not ticket.parts:
            meter = Meter("upload", photo.size, self._pace, on_progress)
            self._storage.put(ticket.upload_url, photo, 0, photo.size, meter, kind=photo.type)
            return uploaded(photo, ticket)
        self._sessions.forget_old()
        session = Session(ticket=ticket)
        self._sessions.save(photo, session)
        return self._send_parts(photo, session, on_progress)

    def _send_parts(self, photo: Photo, session: Session, on_progress: OnProgress | None) -> UploadedFile:
        ticket = session.ticket
        ranges = session.part_ranges(photo.size)
        if not ranges or ticket.upload_id is None or ticket.key is None:
            raise ServerError(200, "UNREADABLE_ANSWER", "the parts of the upload do not add up to the file")
        links = {part.part_number: part.url for part in ticket.parts or ()}
        stored = sum(ranges[number][1] for number in session.etags)
        meter = Meter("upload", photo.size, self._pace, on_progress, done=stored)
        lock = threading.Lock()

        def send_part(number: int) -> None:
            start, length = ranges[number]
            etag = self._storage.put(links[number], photo, start, length, meter)
            if not etag:
                raise TransferError(f"storage gave no ETag for part {number}", status=200)
            with lock:
                session.etags[number] = etag
                self._sessions.save(photo, session)

        with ThreadPoolExecutor(self._threads) as pool:
            futures = [pool.submit(send_part, number) for number in ranges if number not in session.etags]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException as error:
                # Parts under way may end and be remembered, but whoever pressed Ctrl-C is not kept waiting for them.
                if not isinstance(error, Exception):
                    meter.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if not photo.unchanged():
            self._sessions.remove(photo)
            raise TransferError("the file changed while it was being uploaded", status=400)
        self._routes.complete_multipart_upload(ticket.upload_id, ticket.key, session.etags)
        self._sessions.remove(photo)
        return uploaded(photo, ticket)


def is_lost(error: TesseraError) -> bool:
    """Whether the error says that a remembered session is of no use any more."""
    if isinstance(error, TransferError):
        return error.status in (403, 404)
    return isinstance(error, (BadRequest, NotFound))


def uploaded(photo: Photo, ticket: UploadTicket) -> UploadedFile:
    return UploadedFile(
        file_name=ticket.file_name,
        file_type=photo.type,
        file_size=photo.size,
        original_file_name=photo.name,
        created_at=ticket.created_at,
        expires_at=ticket.expires_at,
    )
