"""`verify`: checks AWS Signature Version 4 in a header, a query or a POST policy, and answers a fault as AWS does.

Guarantees: what passes was signed with the one key pair of this stack, for this method, path, query, host, every
`x-amz-*` header and every header named as signed, and has not expired. Signature Version 2 and unsigned requests are
refused. The path that is checked is the one on the request line, not a decoded form of it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote_plus, unquote_to_bytes

from .server import Request

SKEW = timedelta(minutes=15)
LONGEST_LINK = 604_800  # seconds; S3
UNSIGNED = "UNSIGNED-PAYLOAD"
QUERY_FIELDS = frozenset(
    f"X-Amz-{name}" for name in ("Algorithm", "Credential", "Signature", "Date", "SignedHeaders", "Expires")
)


@dataclass(frozen=True)
class Keys:
    access: str
    secret: str
    region: str


class Refused(Exception):
    """What AWS would answer: `facts` are further elements of the error body."""

    def __init__(self, status: int, code: str, message: str, **facts: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.facts = facts


@dataclass(frozen=True)
class _Claim:
    """What a request says about its own signature."""

    credential: str
    signed: tuple[str, ...]
    signature: str
    moment: str
    payload: str


def query_pairs(query: str) -> list[tuple[str, str]]:
    """Decoded as storage decodes it, so that what is checked is what is acted upon."""
    pairs = (piece.partition("=") for piece in query.split("&") if piece)
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs]


def is_post_form(request: Request) -> bool:
    return request.method == "POST" and (request.header("content-type") or "").startswith("multipart/form-data")


def verify(request: Request, keys: Keys, now: datetime) -> str:
    """The service that the request is signed for, or `Refused`."""
    pairs = query_pairs(request.query)
    names = {name for name, _ in pairs}
    authorization = request.header("authorization")
    in_query = bool(names & (QUERY_FIELDS - {"X-Amz-Date"}))
    if (authorization or "").startswith("AWS ") or {"AWSAccessKeyId", "Signature"} & names:
        message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        raise Refused(400, "InvalidRequest", message)
    if authorization and in_query:
        message = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string"
        raise Refused(400, "InvalidArgument", f"{message} parameter or the Authorization header should be specified")
    if authorization:
        return _verify_header(request, authorization, pairs, keys, now)
    if in_query:
        return _verify_query(request, pairs, keys, now)
    raise Refused(403, "AccessDenied", "Access Denied")


def _verify_header(
    request: Request, authorization: str, pairs: list[tuple[str, str]], keys: Keys, now: datetime
) -> str:
    fields = dict(re.findall(r"(Credential|SignedHeaders|Signature)=([^,\s]+)", authorization))
    if not authorization.startswith("AWS4-HMAC-SHA256 ") or len(fields) != 3:
        raise Refused(400, "AuthorizationHeaderMalformed", "The authorization header is malformed.")
    moment = request.header("x-amz-date") or ""
    signed_at = _time(moment)
    if abs(now - signed_at) > SKEW:
        message = "The difference between the request time and the current time is too large."
        raise Refused(403, "RequestTimeTooSkewed", message, RequestTime=moment, ServerTime=f"{now:%Y-%m-%dT%H:%M:%SZ}")
    service = _scope(fields["Credential"], moment, keys)
    body_hash = hashlib.sha256(request.body).hexdigest()
    declared = request.header("x-amz-content-sha256") or body_hash
    claim = _Claim(
        fields["Credential"], tuple(fields["SignedHeaders"].split(";")), fields["Signature"], moment, declared
    )
    _check(request, claim, pairs, keys)
    if service != "s3" and request.header("x-amz-content-sha256") is None:
        return service  # its hash is the body's own
    if declared not in (UNSIGNED, body_hash) and not declared.startswith("STREAMING-"):
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise Refused(400, "XAmzContentSHA256Mismatch", message)
    return service


def _verify_query(request: Request, pairs: list[tuple[str, str]], keys: Keys, now: datetime) -> str:
    fields = dict(pairs)
    if (
        not fields.keys() >= QUERY_FIELDS
        or len(fields) != len(pairs)
        or fields["X-Amz-Algorithm"] != "AWS4-HMAC-SHA256"
    ):
        message = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential,"
        message += " X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        raise Refused(400, "AuthorizationQueryParametersError", message)
    moment, expires = fields["X-Amz-Date"], fields["X-Amz-Expires"]
    if not expires.isdigit() or not 1 <= int(expires) <= LONGEST_LINK:
        message = "X-Amz-Expires must be between 1 and 604800 seconds"
        raise Refused(400, "AuthorizationQueryParametersError", message)
    signed_at = _time(moment)
    if signed_at > now + SKEW:
        raise Refused(403, "AccessDenied", "Request is not yet valid")
    end = signed_at + timedelta(seconds=int(expires))
    service = _scope(fields["X-Amz-Credential"], moment, keys)
    if service != "s3":
        raise Refused(400, "AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter")
    claim = _Claim(
        fields["X-Amz-Credential"],
        tuple(fields["X-Amz-SignedHeaders"].split(";")),
        fields["X-Amz-Signature"],
        moment,
        fields.get("X-Amz-Content-Sha256", UNSIGNED),
    )
    if now >= end:
        raise Refused(
            403,
            "AccessDenied",
            "Request has expired",
            **{"X-Amz-Expires": expires, "Expires": f"{end:%Y-%m-%dT%H:%M:%SZ}"},
            ServerTime=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        )
    _check(request, claim, [(name, value) for name, value in pairs if name != "X-Amz-Signature"], keys)
    if claim.payload not in (UNSIGNED, hashlib.sha256(request.body).hexdigest()):
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise Refused(400, "XAmzContentSHA256Mismatch", message)
    return service


def verify_post(fields: dict[str, str], size: int, bucket: str, keys: Keys, now: datetime) -> None:
    """A browser's POST form: `fields` without the file, names in lower case."""
    needed = ("key", "policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
    if missing := [name for name in needed if name not in fields]:
        if "policy" not in fields:
            raise Refused(403, "AccessDenied", "Access Denied")
        message = f"Bucket POST must contain a field named '{missing[0]}'."
        raise Refused(400, "InvalidArgument", message)
    _scope(fields["x-amz-credential"], fields["x-amz-date"], keys)
    expected = _sign(fields["x-amz-credential"], fields["policy"], keys)
    if not hmac.compare_digest(expected, fields["x-amz-signature"]):
        raise _mismatch(keys, fields["policy"], fields["x-amz-signature"])
    try:
        policy = json.loads(base64.b64decode(fields["policy"], validate=True))
        expiration = datetime.fromisoformat(policy["expiration"])
        conditions = policy["conditions"]
    except (ValueError, KeyError, TypeError):
        raise Refused(400, "InvalidPolicyDocument", "Invalid Policy: Invalid JSON.") from None
    if now >= expiration:
        raise Refused(403, "AccessDenied", "Invalid according to Policy: Policy expired.")
    named = {"x-amz-signature", "policy", "file", "bucket"}
    for condition in _conditions(conditions):
        named.add(_meets(condition, fields | {"bucket": bucket}, size))
    if extra := sorted(name for name in fields if name not in named and not name.startswith("x-ignore-")):
        message = f"Invalid according to Policy: Extra input fields: {', '.join(extra)}"
        raise Refused(403, "AccessDenied", message)


def _conditions(conditions: list[Any]) -> list[list[Any]]:
    lists: list[list[Any]] = []
    for condition in conditions:
        if isinstance(condition, dict):
            lists += [["eq", f"${name}", value] for name, value in condition.items()]
        else:
            lists.append(condition)
    return lists


def _meets(condition: list[Any], fields: dict[str, str], size: int) -> str:
    """The name of the field that the condition speaks of, or `Refused`."""
    kind, first, second = condition
    if kind == "content-length-range":
        if size > int(second):
            message = "Your proposed upload exceeds the maximum allowed size"
            raise Refused(400, "EntityTooLarge", message, ProposedSize=str(size), MaxSizeAllowed=str(second))
        if size < int(first):
            message = "Your proposed upload is smaller than the minimum allowed size"
            raise Refused(400, "EntityTooSmall", message, ProposedSize=str(size), MinSizeAllowed=str(first))
        return ""
    name = str(first).removeprefix("$").lower()
    value = fields.get(name)
    holds = value is not None and (value == second if kind == "eq" else value.startswith(str(second)))
    if kind not in ("eq", "starts-with") or not holds:
        message = f"Invalid according to Policy: Policy Condition failed: {json.dumps(condition)}"
        raise Refused(403, "AccessDenied", message)
    return name


def _time(moment: str) -> datetime:
    try:
        return datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        message = "AWS authentication requires a valid Date or x-amz-date header"
        raise Refused(403, "AccessDenied", message) from None


def _scope(credential: str, moment: str, keys: Keys) -> str:
    parts = credential.split("/")
    if len(parts) != 5 or parts[4] != "aws4_request" or parts[1] != moment[:8]:
        message = f"Error parsing the Credential; the credential is malformed: '{credential}'."
        raise Refused(400, "AuthorizationQueryParametersError", message)
    if not hmac.compare_digest(parts[0].encode(), keys.access.encode()):
        message = "The AWS Access Key Id you provided does not exist in our records."
        raise Refused(403, "InvalidAccessKeyId", message, AWSAccessKeyId=parts[0])
    if parts[2] != keys.region:
        message = f"The region '{parts[2]}' is wrong; expecting '{keys.region}'"
        raise Refused(400, "AuthorizationHeaderMalformed", message, Region=keys.region)
    return parts[3]


def _check(request: Request, claim: _Claim, pairs: list[tuple[str, str]], keys: Keys) -> None:
    present = {name.lower() for name, _ in request.headers}
    if "x-amz-security-token" in present or any(name == "X-Amz-Security-Token" for name, _ in pairs):
        raise Refused(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
    loose = {name for name in present - set(claim.signed) if name.startswith("x-amz-")} - {"x-amz-content-sha256"}
    if loose or "host" not in claim.signed:
        message = "There were headers present in the request which were not signed"
        raise Refused(403, "AccessDenied", message, HeadersNotSigned=", ".join(sorted(loose or {"host"})))
    canonical = "\n".join(
        (
            request.method,
            quote(unquote_to_bytes(request.path), safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in sorted((_encode(a), _encode(b)) for a, b in pairs)),
            *(f"{name}:{_canonical_value(request, name)}" for name in claim.signed),
            "",
            ";".join(claim.signed),
            claim.payload,
        )
    )
    scope = claim.credential.partition("/")[2]
    text = "\n".join(("AWS4-HMAC-SHA256", claim.moment, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    if not hmac.compare_digest(_sign(claim.credential, text, keys).encode(), claim.signature.encode()):
        raise _mismatch(keys, text, claim.signature)


def _canonical_value(request: Request, name: str) -> str:
    return " ".join((request.header(name) or "").split())


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")


def _sign(credential: str, text: str, keys: Keys) -> str:
    key = b"AWS4" + keys.secret.encode()
    for part in (*credential.split("/")[1:], text):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def _mismatch(keys: Keys, text: str, signature: str) -> Refused:
    message = "The request signature we calculated does not match the signature you provided."
    message += " Check your key and signing method."
    return Refused(
        403,
        "SignatureDoesNotMatch",
        message,
        AWSAccessKeyId=keys.access,
        StringToSign=text,
        SignatureProvided=signature,
    )
