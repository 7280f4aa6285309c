"""CloudFront's signed URLs, judged as CloudFront does: by the public key and the policy that the URL stands for."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tessera.links import CloudFrontLinks

NOW = 1_795_000_000_000  # ms
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def signed(name: str = "ферма 1.jpg") -> str:
    links = CloudFrontLinks("d1.cloudfront.net", "K1", lambda: PEM, lambda: NOW)
    return links.presign_get("results/a/1/00/1", 3600, "image/jpeg", name)


def verify(link: str) -> None:
    """As CloudFront: the policy is made of the URL without its three own parameters. Raises InvalidSignature."""
    resource, _, own = link.partition("&Expires=")
    expires, signature, key_id = own.replace("&Signature=", "&Key-Pair-Id=").split("&Key-Pair-Id=")
    assert key_id == "K1"
    condition = {"DateLessThan": {"AWS:EpochTime": int(expires)}}
    policy = json.dumps({"Statement": [{"Resource": resource, "Condition": condition}]}, separators=(",", ":"))
    raw = base64.b64decode(signature.translate(str.maketrans("-_~", "+=/")))
    KEY.public_key().verify(raw, policy.encode(), PKCS1v15(), SHA1())


def test_a_link_is_signed_for_one_object_until_one_moment() -> None:
    link = signed()
    verify(link)
    parts = urlsplit(link)
    query = parse_qs(parts.query)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "d1.cloudfront.net", "/results/a/1/00/1")
    assert query["Expires"] == [str(NOW // 1000 + 3600)]
    assert query["response-content-type"] == ["image/jpeg"]
    assert "filename*=UTF-8''%D1%84" in query["response-content-disposition"][0]


@pytest.mark.parametrize("change", [("/00/1?", "/01/1?"), ("image%2Fjpeg", "text%2Fhtml"), ("Expires=1", "Expires=2")])
def test_a_changed_link_is_not(change: tuple[str, str]) -> None:
    link = signed()
    assert change[0] in link
    with pytest.raises(InvalidSignature):
        verify(link.replace(*change))


def test_a_key_of_another_kind_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    links = CloudFrontLinks("d1.cloudfront.net", "K1", other.decode, lambda: NOW)
    with pytest.raises(TypeError, match="RSA"):
        links.presign_get("results/a/1/00/1", 60)
