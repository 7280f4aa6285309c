"""A picture on this machine, as it was when it was first looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tessera_client.errors import UnsupportedFile

MimeType = Literal["image/jpeg", "image/png", "image/webp"]
HEAD = 12  # bytes; the longest of the three signatures, RIFF....WEBP


def file_type(head: bytes) -> MimeType | None:
    """The type by the first bytes; a file's name is never asked."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return None


@dataclass(frozen=True)
class Photo:
    path: Path
    name: str
    size: int
    mtime_ns: int
    type: MimeType

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Photo:
        """Look at the file's facts and first bytes. Raises UnsupportedFile, or OSError where it cannot be read."""
        place = Path(path).resolve()
        with place.open("rb") as file:
            facts = os.fstat(file.fileno())
            kind = file_type(file.read(HEAD))
        if kind is None:
            what = "it is empty" if facts.st_size == 0 else "its bytes are of another kind"
            raise UnsupportedFile(f"not a JPEG, PNG or WebP picture: {what}")
        # Names that are not UTF-8 exist on disk but not in JSON; a link is called by its own name, not its target's.
        name = Path(path).name.encode("utf-8", "replace").decode()
        return cls(place, name, facts.st_size, facts.st_mtime_ns, kind)

    def unchanged(self) -> bool:
        facts = self.path.stat()
        return (facts.st_size, facts.st_mtime_ns) == (self.size, self.mtime_ns)
