"""A web page's calls, as `@uppy/aws-s3` 6 makes them: no key, a token in the path, `key` in the query."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from tests.contract import reference
from tests.world import CONTEXT, World

NOT_FOUND = '{"error": "NOT_FOUND", "message": "Requested resource could not be found"}'
MIB = 1024 * 1024


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    raw: str

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


def call(
    world: World,
    method: str,
    path: str,
    query: dict[str, Any] | None = None,
    body: Any = None,
    key: str | None = None,
) -> Answer:
    """`body`: a JSON value, or bytes as they are."""
    from companion.app import lambda_handler

    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    event: dict[str, Any] = {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": urlencode(query or {}),
        "headers": {"content-type": "application/json", "x-forwarded-proto": "https"}
        | ({} if key is None else {"x-api-key": key}),
        "requestContext": {
            "http": {"method": method, "path": path, "sourceIp": "127.0.0.1"},
            "stage": "$default",
            "requestId": "test",
            "domainName": "api.example.com",
        },
        "isBase64Encoded": False,
    }
    if query:
        event["queryStringParameters"] = {name: str(value) for name, value in query.items()}
    if raw:
        event["body"] = raw.decode("utf-8", "surrogateescape")
    answer = lambda_handler(event, CONTEXT)
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    assert headers["content-type"] == "application/json"
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    place = reference.place(path)
    if place and method.lower() in reference.DOCUMENT["paths"][place]:
        reference.check(place, method, answer["statusCode"], json.loads(answer["body"]))
    return Answer(answer["statusCode"], headers, answer["body"])


def new_token(world: World, key: str, **limits: Any) -> dict[str, Any]:
    answer = call(world, "POST", "/v1/upload-tokens", body=limits, key=key)
    assert answer.status == 200, answer.raw
    data: dict[str, Any] = answer.body["data"]
    return data


@dataclass(frozen=True)
class Page:
    """What a page with a token does. A method that has no `status` expects 200."""

    world: World
    token: str

    def get(self, path: str, **query: Any) -> Answer:
        return call(self.world, "GET", f"/u/{self.token}/s3{path}", query)

    def post(self, path: str, body: Any, **query: Any) -> Answer:
        return call(self.world, "POST", f"/u/{self.token}/s3{path}", query, body)

    def params(self, filename: str = "photo.png", type: str = "image/png", **metadata: Any) -> Answer:
        named = {f"metadata[{name}]": value for name, value in metadata.items()}
        return self.get("/params", filename=filename, type=type, **named)

    def begin(self, filename: str = "photo.png", type: str = "image/png", **metadata: Any) -> Answer:
        return self.post("/multipart", {"filename": filename, "type": type, "metadata": metadata})

    def sign(self, upload: dict[str, str], number: Any) -> Answer:
        return self.get(f"/multipart/{quote(upload['uploadId'])}/{number}", key=upload["key"])

    def batch(self, upload: dict[str, str], numbers: str) -> Answer:
        return self.get(f"/multipart/{quote(upload['uploadId'])}/batch", key=upload["key"], partNumbers=numbers)

    def listed(self, upload: dict[str, str]) -> Answer:
        return self.get(f"/multipart/{quote(upload['uploadId'])}", key=upload["key"])

    def complete(self, upload: dict[str, str], parts: Any) -> Answer:
        return self.post(f"/multipart/{quote(upload['uploadId'])}/complete", {"parts": parts}, key=upload["key"])

    def abort(self, upload: dict[str, str]) -> Answer:
        path = f"/u/{self.token}/s3/multipart/{quote(upload['uploadId'])}"
        return call(self.world, "DELETE", path, {"key": upload["key"]})

    def send_part(self, upload: dict[str, str], number: int, content: bytes) -> dict[str, Any]:
        """Past the link, which moto does not check; returns what Uppy keeps: the ETag without its quotes."""
        storage = self.world.services.storage
        sent = storage.client.upload_part(
            Bucket=storage.bucket, Key=upload["key"], UploadId=upload["uploadId"], PartNumber=number, Body=content
        )
        return {"PartNumber": number, "ETag": sent["ETag"].strip('"')}
