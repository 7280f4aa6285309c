"""`as_aws`: while it is open, moto lists multipart uploads with the time at which each was begun.

moto alone dates all of them to 2010, with which a sweeper of abandoned parts would end uploads that are under way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from moto.s3.models import FakeMultipart
from moto.s3.responses import S3Response

UPLOAD = re.compile(r"<Upload>.*?</Upload>", re.DOTALL)
UPLOAD_ID = re.compile(r"<UploadId>(.*?)</UploadId>")
INITIATED = re.compile(r"<Initiated>.*?</Initiated>")


@contextmanager
def as_aws() -> Iterator[None]:
    begin: Any = FakeMultipart.__init__
    listed: Any = S3Response.list_multipart_uploads

    def begun(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self.begun = datetime.now(UTC)

    def dated(self: Any) -> Any:
        status, headers, body = listed(self)
        times = {upload.id: upload.begun for upload in self.backend.list_multipart_uploads(self.bucket_name).values()}
        return status, headers, UPLOAD.sub(_dater(times), body)

    FakeMultipart.__init__ = begun  # type: ignore[method-assign]
    S3Response.list_multipart_uploads = dated  # type: ignore[method-assign]
    try:
        yield
    finally:
        FakeMultipart.__init__ = begin  # type: ignore[method-assign]
        S3Response.list_multipart_uploads = listed  # type: ignore[method-assign]


def _dater(times: dict[str, datetime]) -> Callable[[re.Match[str]], str]:
    def date(upload: re.Match[str]) -> str:
        found = UPLOAD_ID.search(upload[0])
        if found is None:
            return upload[0]
        return INITIATED.sub(f"<Initiated>{times[found[1]]:%Y-%m-%dT%H:%M:%S}.000Z</Initiated>", upload[0])

    return date
