"""Where a result goes: photo.jpg -> photo-4x.png, photo-4x-1.png, ... and which files of a folder are pictures."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import BinaryIO

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
RESULT = re.compile(r"(.+)-[248]x(-\d+)?")


def result_path(photo: Path, out: Path | None, scale: int | str, suffix: str) -> Path:
    """The wanted name, beside the photo unless a folder is given."""
    return (out or photo.parent) / f"{photo.stem}-{scale}x.{suffix}"


def check_folder(folder: Path) -> None:
    """Make the folder where it is missing. Raises OSError where it cannot be written: asked before a task is paid."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def pictures_in(folder: Path) -> list[Path]:
    """The pictures directly inside, by name; results of an earlier run beside their source are left out."""
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    stems = {path.stem for path in found}
    return [path for path in found if not ((match := RESULT.fullmatch(path.stem)) and match[1] in stems)]


class Draft:
    """A file being written under a temporary name; `publish` gives it its real one."""

    def __init__(self, place: Path, file: BinaryIO) -> None:
        self._place = place
        self.file = file

    def publish(self, wanted: Path, *, overwrite: bool) -> Path:
        """Rename to the wanted name, or to the first free one after it. Never replaces a file unless told to, also
        where several threads or processes want the same name at once."""
        self.file.close()
        final = wanted if overwrite else reserve(wanted)
        os.replace(self._place, final)
        return final


@contextmanager
def draft(wanted: Path) -> Iterator[Draft]:
    """A draft in the folder of the wanted name; gone afterwards unless it was published."""
    check_folder(wanted.parent)
    place = wanted.with_name(f".{wanted.name}.{secrets.token_hex(4)}.part")
    with place.open("xb") as file:
        try:
            yield Draft(place, file)
        finally:
            file.close()
            place.unlink(missing_ok=True)


def reserve(wanted: Path) -> Path:
    """Take a free name by creating an empty file under it: asking first and creating later would race."""
    for number in count():
        candidate = wanted if number == 0 else wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        try:
            candidate.open("xb").close()
        except FileExistsError:
            continue
        return candidate
    raise AssertionError("count() has no end")
