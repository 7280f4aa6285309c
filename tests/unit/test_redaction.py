"""G25: no key, signature, token or secret in logs, whatever an exception says."""

from __future__ import annotations

import io
import json
import logging

import pytest
from tessera.observability import RedactingFormatter
from tessera.redaction import GONE, redacted

KEY = "tsr_0123456789abcdef_" + "A1b2-_" * 6
SIGNATURE = "0f" * 32
LINK = (
    "https://b.s3.eu-central-1.amazonaws.com/uploads/a/b?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    f"&X-Amz-Credential=AKIAEXAMPLE%2F20261121%2Feu-central-1%2Fs3%2Faws4_request&X-Amz-Date=20261121T000000Z"
    f"&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Security-Token=IQoJ%2Fb3Jp&X-Amz-Signature={SIGNATURE}"
)


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        (f"GET {LINK} failed", [SIGNATURE, "AKIAEXAMPLE", "IQoJ"]),
        (
            "Max retries exceeded with url: /b/k?Signature=abc%3D&Key-Pair-Id=K123&Policy=eyJ (Caused by x)",
            ["abc%3D", "K123", "eyJ"],
        ),
        (f"no account has {KEY}", [KEY[21:]]),
        (f"{{'x-api-key': '{KEY}', 'host': 'a'}}", [KEY[21:]]),
        ('{"X-API-Key": "an-operators-own-key"}', ["an-operators-own-key"]),
        ("x-api-key: an-operators-own-key\r\n", ["an-operators-own-key"]),
        ("{'Authorization': 'Basic dXNlcjpwYXNz'}", ["dXNlcjpwYXNz"]),
        ("Authorization: Bearer eyJhbGciOi.eyJ.sig", ["eyJhbGciOi"]),
        ("GET /u/tsu_Ab3dEf6hIj9lMn2pQr5tUv_x-Zb3dEf6hIj9lMn2pQr5/s3/params", ["Ab3dEf6h", "Mn2pQr5/"]),
        ("secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", ["MfKQ9r8G"]),
        ("token ak-Ab3dEf6hIj9lMn2pQr5tUv with as-Zb3dEf6hIj9lMn2pQr5tUv", ["Ab3dEf6h", "Zb3dEf6h"]),
        ("{'aws_secret_access_key': 'wJalrXUtnFEMI/K7MDENG'}", ["wJalrXUtnFEMI"]),
    ],
)
def test_g25_secrets_are_taken_out(text: str, secrets: list[str]) -> None:
    clean = redacted(text)
    assert GONE in clean
    assert not [secret for secret in secrets if secret in clean], clean


def test_g25_what_is_no_secret_stays() -> None:
    text = "task 123 of account 0123456789abcdef, key results/0123456789abcdef/1/00/1, 404 NoSuchKey, task-force, as-is"
    assert redacted(text) == text
    assert "uploads/a/b?X-Amz-Algorithm=AWS4-HMAC-SHA256" in redacted(LINK)


def test_g25_the_logger_redacts_messages_fields_and_stacks() -> None:
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(RedactingFormatter())
    log = logging.Logger("test")
    log.addHandler(handler)
    try:
        try:
            raise OSError(f"cannot reach {LINK}")
        except OSError as error:
            raise RuntimeError(KEY) from error
    except RuntimeError:
        log.exception("with %s", KEY, extra={"headers": {"x-api-key": "an-operators-own-key"}})
    line = output.getvalue()
    assert json.loads(line)["level"] == "ERROR"
    assert "RuntimeError" in line
    for secret in (KEY[21:], SIGNATURE, "AKIAEXAMPLE", "an-operators-own-key"):
        assert secret not in line
