"""Fetch the catalogue's public files into the cache directory, each under its name only once its bytes are right."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import urllib3

from tessera_engine.catalogue import File

GITHUB = "https://github.com/"
TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)  # seconds; read: without a byte
RETRIES = urllib3.Retry(
    total=5, connect=3, read=0, redirect=3, status=2, status_forcelist=(429, 502, 503), backoff_factor=0.5
)
CHUNK = 1024 * 1024  # bytes

State = Literal["right", "wrong", "missing"]


class PullFailed(Exception):
    """The file could not be fetched, or is not the one that the catalogue lists. Nothing lies under its name."""


def pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(timeout=TIMEOUT, retries=RETRIES)


@dataclass(frozen=True)
class Puller:
    """`base_url` ends with a slash; a file's path is appended to it."""

    directory: Path
    base_url: str = GITHUB
    pool: urllib3.PoolManager = field(default_factory=pool)

    def pull(self, file: File) -> bool:
        """Whether the file had to be fetched; PullFailed if that did not succeed. A file that is right is kept."""
        if state(self.directory, file) == "right":
            return False
        self.directory.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=self.directory)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as target:
                seen = hashlib.sha256()
                for chunk in self._chunks(file):
                    seen.update(chunk)
                    target.write(chunk)
                if target.tell() != file.size or seen.hexdigest() != file.sha256:
                    raise PullFailed(f"{file.name}: the bytes that came are not those that the catalogue lists")
                target.flush()
                os.fsync(target.fileno())
            temporary.chmod(0o644)
            temporary.replace(self.directory / file.name)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _chunks(self, file: File) -> Iterator[bytes]:
        """The answer's body, no more of it than one chunk above the file's size."""
        try:
            with self.pool.request("GET", self.base_url + file.path, preload_content=False) as response:
                if response.status != 200:
                    raise PullFailed(f"{file.name}: the server answered with status {response.status}")
                left = file.size
                while left >= 0 and (chunk := response.read(CHUNK)):
                    left -= len(chunk)
                    yield chunk
        except urllib3.exceptions.HTTPError as error:
            raise PullFailed(f"{file.name}: {error}") from error


def state(directory: Path, file: File) -> State:
    """Whether the file in the directory is the one that the catalogue lists."""
    path = directory / file.name
    if not path.is_file():
        return "missing"
    if path.stat().st_size != file.size:
        return "wrong"
    with path.open("rb") as opened:
        return "right" if hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256 else "wrong"
