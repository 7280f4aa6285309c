"""Links to results: `LinkSigner`, which S3's own pre-signing and CloudFront's signed URLs both are.

A link that a function's role has signed dies with the role's session, after hours at most; one that CloudFront's key
has signed lives as long as it says, and its bytes come from the edge nearest to the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlencode

from botocore.signers import CloudFrontSigner

from tessera.storage import content_disposition

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


class LinkSigner(Protocol):
    def presign_get(self, key: str, seconds: int, content_type: str = "", file_name: str = "") -> str:
        """A GET of an object without credentials. `file_name` is what a browser saves it as."""


class CloudFrontLinks:
    """Signed by a key of the distribution's key group, with the canned policy: one URL, until one moment."""

    def __init__(self, domain: str, key_id: str, private_key: Callable[[], str], now_ms: Callable[[], int]) -> None:
        """`private_key` gives an RSA key as PEM; it is asked at the first link."""
        self._domain = domain
        self._pem = private_key
        self._now_ms = now_ms
        self._signer = CloudFrontSigner(key_id, self._sign)

    def presign_get(self, key: str, seconds: int, content_type: str = "", file_name: str = "") -> str:
        query = {"response-content-type": content_type} if content_type else {}
        if file_name:
            query["response-content-disposition"] = content_disposition(file_name)
        url = f"https://{self._domain}/{quote(key)}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        until = datetime.fromtimestamp(self._now_ms() // 1000, UTC) + timedelta(seconds=max(1, seconds))
        signed: str = self._signer.generate_presigned_url(url, date_less_than=until)
        return signed

    @cached_property
    def _key(self) -> RSAPrivateKey:
        # Here, because no function but the one that hands out links needs it, nor any without CloudFront.
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key = load_pem_private_key(self._pem().encode(), None)
        if not isinstance(key, RSAPrivateKey):
            raise TypeError("the key that signs links is not an RSA key")
        return key

    def _sign(self, message: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA1

        return self._key.sign(message, PKCS1v15(), SHA1())  # what CloudFront asks for
