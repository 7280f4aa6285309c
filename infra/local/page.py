"""`Page`: the files of web/ over HTTP, as CloudFront gives them: same headers, compressed, asked for again by ETag."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

from .server import Answer, Headers, Request

FOLDER = Path(__file__).resolve().parents[2] / "web"
INDEX, CONFIG = "index.html", "config.json"
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webp": "image/webp",
}
PACKED = {".jpg", ".webp"}  # compressed already
CACHE_CONTROL = "no-cache"  # asked for again each time, by ETag: names stay the same from one version to the next


def files(folder: Path) -> dict[str, Path]:
    """What is served, by its path below the page's address: index.html, config.json and assets/. A file of a kind that
    is not in CONTENT_TYPES is a mistake, and KeyError."""
    paths = [folder / INDEX, folder / CONFIG, *sorted((folder / "assets").rglob("*"))]
    found = {path.relative_to(folder).as_posix(): path for path in paths if path.is_file()}
    for path in found.values():
        CONTENT_TYPES[path.suffix]
    return found


class Page:
    def __init__(self, folder: Path, headers: Headers) -> None:
        """`headers` are added to every answer."""
        self._folder = folder
        self._headers = headers

    def __call__(self, request: Request) -> Answer | None:
        """None for what is not of the page. Files are read afresh: whoever changes one sees it at the next reload."""
        if request.method not in ("GET", "HEAD"):
            return None
        path = files(self._folder).get(request.path.lstrip("/") or INDEX)
        if path is None:
            return None
        body = path.read_bytes()
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = [("cache-control", CACHE_CONTROL), ("etag", etag), ("vary", "Accept-Encoding"), *self._headers]
        if etag in (request.header("if-none-match") or ""):
            return Answer(304, headers)
        headers.append(("content-type", CONTENT_TYPES[path.suffix]))
        if path.suffix not in PACKED and "gzip" in (request.header("accept-encoding") or ""):
            return Answer(200, [*headers, ("content-encoding", "gzip")], gzip.compress(body, mtime=0))
        return Answer(200, headers, body)
