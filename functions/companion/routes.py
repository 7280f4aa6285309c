"""Companion's routes, for the reference."""

from __future__ import annotations

from jsonapi.routes import Route, Table
from jsonapi.schemas import Success
from tessera.errors import (
    FileTooLarge,
    Invalid,
    MissingFields,
    NotFound,
    RateLimited,
    TokenSpent,
    UnsupportedType,
    UploadIncomplete,
)

from companion import answers, errors, schemas

S3 = "/u/{token}/s3"
UPLOAD = f"{S3}/multipart/{{id}}"
FILE = {"filename": "photo.jpg", "type": "image/jpeg", "metadata": {"size": "1048576"}}
ALWAYS = (NotFound(), RateLimited(60))
NOT_BEGUN = (Invalid(), MissingFields("type"), UnsupportedType(), FileTooLarge(10_485_760), TokenSpent(20), *ALWAYS)
OF_PARTS = (Invalid(), MissingFields("key"), *ALWAYS)

ROUTES = (
    Route(
        "POST", "/v1/upload-tokens", "createUploadToken", "A token for a web page",
        "With it a page sends pictures to this account, and can do nothing else. All limits have defaults.",
        Success[answers.UploadToken], schemas.CreateToken, {"maxBytes": 10_485_760, "count": 20, "expiresIn": 3600},
        (Invalid("count: 1 to 10000"),), optional=True,
    ),
    Route(
        "GET", f"{S3}/params", "pageForm", "A form that stores one file",
        "`metadata[size]`, where it is sent, is the file's size: storage takes no more.",
        answers.PageForm, query=schemas.Begin, errors=NOT_BEGUN, key=False,
    ),
    Route(
        "POST", f"{S3}/multipart", "pageUpload", "Begin an upload in parts",
        "Where `metadata` has `size` and `partSize`, storage holds each part to its size.",
        answers.PageUpload, schemas.Begin, FILE, NOT_BEGUN, key=False,
    ),
    Route(
        "GET", f"{UPLOAD}/{{n}}", "pagePart", "A link for one part", "Part `n`, from 1.",
        answers.PagePart, query=schemas.OfUpload, errors=(FileTooLarge(10_485_760), *OF_PARTS), key=False,
    ),
    Route(
        "GET", f"{UPLOAD}/batch", "pageParts", "Links for up to 100 parts", "`partNumbers` with commas between.",
        answers.PageParts, query=schemas.OfBatch, errors=(FileTooLarge(10_485_760), *OF_PARTS), key=False,
    ),
    Route(
        "GET", UPLOAD, "pageArrived", "Which parts have arrived", "To go on where an upload stopped.",
        answers.ArrivedParts, query=schemas.OfUpload, errors=OF_PARTS, key=False,
    ),
    Route(
        "POST", f"{UPLOAD}/complete", "pageComplete", "Make one file of the parts",
        "Those of a file that is too large are thrown away. May be repeated.",
        answers.PageFile, schemas.Complete, {"parts": [{"PartNumber": 1, "ETag": "0123456789abcdef"}]},
        (UploadIncomplete("part 1 is not there with this ETag"), FileTooLarge(10_485_760), *OF_PARTS),
        query=schemas.OfUpload, key=False,
    ),
    Route(
        "DELETE", UPLOAD, "pageAbort", "Give an upload up", "Its parts are gone. May be repeated.",
        answers.Aborted, query=schemas.OfUpload, errors=OF_PARTS, key=False,
    ),
)  # fmt: skip

TABLE = Table(
    tag="Companion",
    description="What Uppy asks below a token's `companionUrl`, and the call that makes a token: docs/uppy.md.",
    routes=ROUTES,
    own={route.path: errors.ANSWERS for route in ROUTES},
)
