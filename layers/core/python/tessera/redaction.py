"""Takes secrets out of text that is on its way to a log: keys, signatures, tokens. Standard library only.

Nobody hands secrets to a logger on purpose. They come in the words of an exception: a client library names the URL
that it could not reach, and a pre-signed URL is a key to one object.
"""

from __future__ import annotations

import re

GONE = "[redacted]"

SECRETS = (
    # what authenticates a pre-signed URL: SigV4 (query and header), SigV2, CloudFront
    re.compile(
        r"(?P<name>\b(?:X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|Signature|Key-Pair-Id|Policy|"
        r"AWSAccessKeyId)(?:=|%3D))(?P<secret>[^&\s\"'<>\\,]+)",
        re.IGNORECASE,
    ),
    # headers, as Python and JSON print them
    re.compile(
        r"(?P<name>\b(?:x-api-key|authorization|x-amz-security-token|aws_secret_access_key|aws_session_token|"
        r"modal-secret|token_secret)[\"']?\s*[:=]\s*(?:[bu]?[\"'])?)(?P<secret>(?:(?:Basic|Bearer) )?[^\s\"',;}\\]+)",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<name>://)(?P<secret>[^\s/?#@\"'<>]+)(?=@)"),  # credentials in a URL
    # our keys wherever they stand: the account's id may be told, the secret not
    re.compile(r"(?P<name>\btsr_[0-9a-f]{16}_)(?P<secret>[A-Za-z0-9_-]{32,})"),
    re.compile(r"(?P<name>\btsu_)(?P<secret>[A-Za-z0-9_-]{8,})"),  # tokens, which stand in paths
    re.compile(r"(?P<name>\bwhsec_)(?P<secret>[A-Za-z0-9+/=]{8,})"),
    re.compile(r"(?P<name>\ba[ks]-)(?P<secret>[A-Za-z0-9]{20,})\b"),  # Modal's token id and secret
)


def redacted(text: str) -> str:
    """The same text with the secret part of everything that looks like one replaced."""
    for pattern in SECRETS:
        text = pattern.sub(rf"\g<name>{GONE}", text)
    return text
