"""A caller's own bucket for a result: signed for at once, for one object, so that no secret of theirs is kept.

The worker writes the result there before it writes it here. Only AWS is known by name; another S3 needs an address that
the operator has allowed, since a worker does not check where it writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from pydantic import BaseModel, ConfigDict

from tessera import addresses
from tessera.errors import Invalid
from tessera.settings import SECONDS

if TYPE_CHECKING:
    from tessera.services import Services

# S3's rules for names; one with dots has no certificate of its own and goes into the path
BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
ENDPOINT = re.compile(r"https?://(?P<address>[0-9.]+):(?P<port>[0-9]{1,5})", re.ASCII)
SECRET = re.compile(r"[\x21-\x7e]{1,256}")
ACLS = ("private", "public-read", "authenticated-read", "bucket-owner-read", "bucket-owner-full-control")
MAX_KEY = 1024  # bytes, S3


class Store(BaseModel):
    """`url`: PUT the result there, with `headers`, until the task's deadline. `location`: where it is from then on."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    headers: dict[str, str] = {}
    location: str


def in_s3(services: Services, wish: Mapping[str, Any], name: str) -> Store:
    """`wish`: key, secret, bucket, region, path, acl, endpoint. A path that ends in "/", or none, gets `name`.

    Raises Invalid, in words without any of the secrets.
    """
    unknown = wish.keys() - {"provider", "key", "secret", "bucket", "region", "path", "acl", "endpoint"}
    if unknown:
        raise Invalid(f"Store has no parameter '{min(unknown)}'")
    access_key, secret = (_text(wish, field, SECRET) for field in ("key", "secret"))
    bucket, region = _text(wish, "bucket", BUCKET), _text(wish, "region", REGION)
    path = wish.get("path") or ""
    if not isinstance(path, str) or len(path.encode(errors="surrogatepass")) > MAX_KEY - len(name):
        raise Invalid("Store 'path' parameter must be the key of an object")
    key = quote(f"{path.lstrip('/')}{name}" if not path or path.endswith("/") else path.lstrip("/"), safe="/-_.~")
    acl = wish.get("acl")
    if acl is not None and acl not in ACLS:
        raise Invalid(f"Store 'acl' parameter must be one of {', '.join(ACLS)}")
    headers = {"x-amz-acl": acl} if acl else {}
    location = f"{_base(services, wish.get('endpoint'), bucket, region)}/{key}"
    request = AWSRequest(method="PUT", url=location, headers=headers)
    seconds = services.settings.task_deadline_ms // SECONDS
    S3SigV4QueryAuth(Credentials(access_key, secret), "s3", region, expires=seconds).add_auth(request)
    return Store(url=str(request.url), headers=headers, location=location)


def _base(services: Services, endpoint: Any, bucket: str, region: str) -> str:
    if endpoint is None:
        host = f"s3.{region}.amazonaws.com"
        return f"https://{host}/{bucket}" if "." in bucket else f"https://{bucket}.{host}"
    match = ENDPOINT.fullmatch(endpoint) if isinstance(endpoint, str) else None
    if match is None or not _is_allowed(services, match["address"], int(match["port"])):
        raise Invalid("Store 'endpoint' parameter must be an address that this server's operator has allowed")
    return f"{match[0]}/{bucket}"


def _is_allowed(services: Services, text: str, port: int) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return any(entry.holds(address, port) for entry in addresses.allowed(services.settings.allowed_addresses))


def _text(wish: Mapping[str, Any], field: str, form: re.Pattern[str]) -> str:
    value = wish.get(field)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise Invalid(f"Store '{field}' parameter is missing or cannot be one")
    return value
