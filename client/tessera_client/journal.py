"""How far a run over many pictures has come: one file in each folder of results, from which the same command goes on.

A line is written after each step (JSON, the last one of a picture counts, a line that was cut off does not), so that a
run may be killed at any moment. There is no link and no key in it. A picture is known by its path, size and time of
change, by what was asked for, and by server and key: change one and it starts afresh. The file goes when a run has
ended with nothing left to do.
"""

from __future__ import annotations

import os
import secrets
import threading
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ValidationError

from tessera_client.models import UploadedFile
from tessera_client.photo import Photo

NAME = ".tessera-journal"


class Entry(BaseModel):
    """`start_key` is the Idempotency-Key of the start: with it a start whose answer was lost is not paid twice."""

    photo: str
    size: int
    mtime_ns: int
    wish: str
    start_key: str
    uploaded: UploadedFile | None = None
    task_id: str | None = None
    result: str | None = None
    result_size: int | None = None


class Record:
    """One picture's place in the journal. Used by one thread at a time."""

    def __init__(self, journal: Journal, entry: Entry) -> None:
        self._journal = journal
        self.entry = entry

    def keep(self, **known: object) -> None:
        self.entry = self.entry.model_copy(update=known)
        self._journal.write(self.entry)

    def forget(self) -> None:
        """Start afresh: what was remembered is of no use any more."""
        self.keep(uploaded=None, task_id=None, result=None, result_size=None, start_key=secrets.token_hex(16))

    def finished(self) -> Path | None:
        """The result of an earlier run, where it still lies there as it was written."""
        if self.entry.result is None:
            return None
        place = Path(self.entry.result)
        try:
            return place if place.stat().st_size == self.entry.result_size else None
        except OSError:
            return None


class Journal:
    """Of one folder of results, one server and one key. A comfort: a folder that cannot be written is fine."""

    def __init__(self, folder: Path, owner: str) -> None:
        self._place = folder / f"{NAME}-{owner}"
        self._lock = threading.Lock()
        self._entries = self._read()

    def record(self, photo: Photo, wish: str) -> Record:
        """What is known of a picture, or a new one."""
        new = Entry(
            photo=os.fspath(photo.path).encode(errors="replace").decode(),
            size=photo.size,
            mtime_ns=photo.mtime_ns,
            wish=wish,
            start_key=secrets.token_hex(16),
        )
        same = {"photo", "size", "mtime_ns", "wish"}
        known = self._entries.get((new.photo, wish))
        return Record(self, known if known and known.model_dump(include=same) == new.model_dump(include=same) else new)

    def write(self, entry: Entry) -> None:
        line = entry.model_dump_json(by_alias=True, exclude_none=True) + "\n"
        with self._lock, suppress(OSError):
            self._place.parent.mkdir(parents=True, exist_ok=True)
            with open(self._place, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(line.encode())

    def remove(self) -> None:
        with suppress(OSError):
            self._place.unlink()

    def _read(self) -> dict[tuple[str, str], Entry]:
        try:
            lines = self._place.read_bytes().splitlines()
        except OSError:
            return {}
        entries: dict[tuple[str, str], Entry] = {}
        for line in lines:
            with suppress(ValidationError):  # cut off, or of another version
                entry = Entry.model_validate_json(line)
                entries[entry.photo, entry.wish] = entry
        return entries
