"""A caller's own bucket for a result: signed for at once, for one object, so that no secret of theirs is kept.

The worker writes the result there before it writes it here. Only AWS is known by name; another S3 needs an address that
the operator has allowed, since a worker does not check where it writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from pydantic import BaseModel, ConfigDict

from tessera import addresses
from tessera.errors import Invalid
from tessera.settings import SECONDS, Settings

# S3's rules for names; one with dots has no certificate of its own and goes into the path
BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
REGION = re.compile(r"[a-z]{2}(-[a-z]{1,12}){1,3}-[0-9]{1,2}")
CHINA = "cn-"  # regions of a partition that has a domain of its own
ENDPOINT = re.compile(r"https?://(?P<address>[0-9.]+):(?P<port>[0-9]{1,5})", re.ASCII)
SECRET = re.compile(r"[\x21-\x7e]{1,256}")
ACLS = ("private", "public-read", "authenticated-read", "bucket-owner-read", "bucket-owner-full-control")
MAX_KEY = 1024  # bytes, S3
BAD_PATH = "Store 'path' parameter must be the key of an object"
FIELDS = frozenset({"provider", "key", "secret", "bucket", "region", "path", "acl", "endpoint"})


class Store(BaseModel):
    """Where one result goes: PUT it to `url` with `headers`, until the task's deadline. `location` is the object's own
    address, which ends never and opens nothing by itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    headers: dict[str, str] = {}
    location: str


def in_s3(settings: Settings, wish: Mapping[str, Any], name: str) -> Store:
    """`wish`: key, secret, bucket, region, path, acl, endpoint. A path that ends in "/", or none, gets `name`.

    Raises Invalid, in words without any of the secrets.
    """
    if unknown := next((field for field in wish if field not in FIELDS), None):
        raise Invalid(f"Store has no parameter '{unknown}'")
    access_key, secret = (_text(wish, field, SECRET) for field in ("key", "secret"))
    bucket, region = _text(wish, "bucket", BUCKET), _text(wish, "region", REGION)
    acl = wish.get("acl")
    if acl is not None and acl not in ACLS:
        raise Invalid(f"Store 'acl' parameter must be one of {', '.join(ACLS)}")
    headers = {"x-amz-acl": acl} if acl else {}
    location = f"{_base(settings, wish.get('endpoint'), bucket, region)}/{quote(_key(wish.get('path'), name))}"
    request = AWSRequest(method="PUT", url=location, headers=headers)
    seconds = settings.task_deadline_ms // SECONDS
    S3SigV4QueryAuth(Credentials(access_key, secret), "s3", region, expires=seconds).add_auth(request)
    return Store(url=str(request.url), headers=headers, location=location)


def _key(path: Any, name: str) -> str:
    """Of the object. Raises Invalid, also for "." and "..": whoever sends the request on its way would resolve them."""
    if path is not None and not isinstance(path, str):
        raise Invalid(BAD_PATH)
    key = (path or "").lstrip("/")
    if not key or key.endswith("/"):
        key += name
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:  # half of a pair of surrogates: JSON can write what UTF-8 cannot
        raise Invalid(BAD_PATH) from error
    if size > MAX_KEY or not {".", ".."}.isdisjoint(key.split("/")):
        raise Invalid(BAD_PATH)
    return key


def _base(settings: Settings, endpoint: Any, bucket: str, region: str) -> str:
    if endpoint is None:
        host = f"s3.{region}.amazonaws.com" + (".cn" if region.startswith(CHINA) else "")
        return f"https://{host}/{bucket}" if "." in bucket else f"https://{bucket}.{host}"
    match = ENDPOINT.fullmatch(endpoint) if isinstance(endpoint, str) else None
    if match is None or not _is_allowed(settings, match["address"], int(match["port"])):
        raise Invalid("Store 'endpoint' parameter must be an address that this server's operator has allowed")
    return f"{match[0]}/{bucket}"


def _is_allowed(settings: Settings, text: str, port: int) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return any(entry.holds(address, port) for entry in addresses.allowed(settings.allowed_addresses))


def _text(wish: Mapping[str, Any], field: str, form: re.Pattern[str]) -> str:
    value = wish.get(field)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise Invalid(f"Store '{field}' parameter is missing or cannot be one")
    return value
