"""Unfinished multipart uploads, remembered between runs: one small JSON file each.

A file holds the server's answer, links included, so only its owner may read it. It is found again by the picture's
path, size and time of change, the server's URL and the key; change one and it is another upload. Writing is atomic:
a killed run leaves the state after its last finished part.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ValidationError

from tessera_client.models import UploadTicket
from tessera_client.photo import Photo

FORGOTTEN_AFTER = 7 * 24 * 3600  # seconds; storage drops unfinished uploads long before
MARGIN_MS = 60_000  # a session about to expire would not live to its end


class Session(BaseModel):
    ticket: UploadTicket
    etags: dict[int, str] = {}

    def part_ranges(self, size: int) -> dict[int, tuple[int, int]]:
        """Part number -> (start, length). Empty where the ticket is not a whole multipart upload of that size."""
        ticket = self.ticket
        if not (ticket.upload_id and ticket.key and ticket.part_size and ticket.part_size > 0 and ticket.parts):
            return {}
        ranges = {
            number: (start, min(ticket.part_size, size - start))
            for number, start in enumerate(range(0, size, ticket.part_size), start=1)
        }
        return ranges if ranges.keys() == {part.part_number for part in ticket.parts} else {}


class Sessions:
    """The folder of sessions of one server and key. Resuming is a comfort: a folder that cannot be written is fine."""

    def __init__(self, folder: Path, server: str, key: str) -> None:
        self._folder = folder
        self._owner = f"{server}\n{hashlib.sha256(key.encode()).hexdigest()}"

    def load(self, photo: Photo, now_ms: int) -> Session | None:
        """What is left of an earlier run, or None; what has expired or cannot be read is removed."""
        try:
            session = Session.model_validate_json(self._place(photo).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            self.remove(photo)
            return None
        if session.ticket.expires_at - MARGIN_MS <= now_ms or not session.part_ranges(photo.size):
            self.remove(photo)
            return None
        return session

    def save(self, photo: Photo, session: Session) -> None:
        place = self._place(photo)
        draft = place.with_suffix(f".{os.getpid()}.tmp")
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(draft, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(session.model_dump_json(by_alias=True))
            draft.replace(place)

    def remove(self, photo: Photo) -> None:
        with suppress(OSError):
            self._place(photo).unlink()

    def forget_old(self) -> None:
        """Remove what earlier runs left and nobody came back for."""
        with suppress(OSError):
            for place in self._folder.iterdir():
                if place.suffix in (".json", ".tmp") and time.time() - place.stat().st_mtime > FORGOTTEN_AFTER:
                    place.unlink()

    def _place(self, photo: Photo) -> Path:
        name = f"{self._owner}\n{photo.path}\n{photo.size}\n{photo.mtime_ns}"
        return self._folder / f"{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()}.json"


def default_folder(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """TESSERA_CACHE, else where the platform keeps caches."""
    if chosen := environ.get("TESSERA_CACHE"):
        return Path(chosen)
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "Tessera" / "Cache"
    if platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tessera"
    xdg = Path(environ.get("XDG_CACHE_HOME", ""))
    return (xdg if xdg.is_absolute() else Path.home() / ".cache") / "tessera"
