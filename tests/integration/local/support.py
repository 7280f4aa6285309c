"""What the tests of the one-machine stack share."""

from __future__ import annotations

import http.client
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from infra.local.guard import Guard
from infra.local.sigv4 import Keys
from infra.local.stack import Stack

TINY = Path(__file__).with_name("tiny") / "template.yaml"
KEYS = Keys("AKIATESTTESTTESTTEST", "a-secret", "us-east-1")


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The <Code> of an S3 error."""
        return self.body.decode().partition("<Code>")[2].partition("</Code>")[0]


def send(
    base: str, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> Reply:
    """Exactly these headers (and Host): no library's own."""
    host = base.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        all_headers = {"Host": host, **(headers or {})}
        if body is not None and not {"Content-Length", "Transfer-Encoding"} & all_headers.keys():
            all_headers["Content-Length"] = str(len(body))
        for name, value in all_headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        content = response.read()
        merged: dict[str, str] = {}
        for name, value in response.getheaders():
            merged[name.lower()] = f"{merged[name.lower()]}, {value}" if name.lower() in merged else value
        return Reply(response.status, merged, content)
    finally:
        connection.close()


@dataclass
class Storage:
    """A guarded moto with one bucket, and a clock that can be moved."""

    url: str
    guard: Guard
    ahead: timedelta = timedelta(0)
    clients: list[Any] = field(default_factory=list)

    def client(self, service: str, keys: Keys = KEYS, **config: Any) -> Any:
        if service == "s3":
            config = {"signature_version": "s3v4", **config}
        client = boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.url,
            aws_access_key_id=keys.access,
            aws_secret_access_key=keys.secret,
            region_name=keys.region,
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=20, **config),
        )
        self.clients.append(client)
        return client

    def presign(self, operation: str, keys: Keys = KEYS, expires: int = 60, **parameters: Any) -> str:
        """The target: path and query."""
        parameters = {"Bucket": "pictures", "Key": "up/a b+c.jpg", **parameters}
        url: str = self.client("s3", keys).generate_presigned_url(operation, Params=parameters, ExpiresIn=expires)
        return url.removeprefix(self.url)

    def send(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return send(self.url, method, target, body, named)


def tiny_stack(**options: Any) -> Stack:
    return Stack(TINY, account=lambda environment, wished: wished or "a-key", **options)
