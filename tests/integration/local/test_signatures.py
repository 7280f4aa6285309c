"""Every way to sign a request, rightly and wrongly: the guard answers as S3 does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from infra.local.sigv4 import Keys
from tests.integration.local.support import KEYS, Storage

STRANGER = Keys("AKIASTRANGERSTRANGER", "a-secret", "us-east-1")
FORGER = Keys(KEYS.access, "another-secret", "us-east-1")


@pytest.fixture
def late(storage: Storage):
    """Moves the clock; puts it back."""

    def forward(seconds: float) -> None:
        storage.ahead = timedelta(seconds=seconds)

    yield forward
    storage.ahead = timedelta(0)


def test_a_signed_put_and_get_pass(storage: Storage) -> None:
    assert storage.send("PUT", storage.presign("put_object"), b"picture").status == 200
    reply = storage.send("GET", storage.presign("get_object"))
    assert (reply.status, reply.body) == (200, b"picture")
    assert storage.send("HEAD", storage.presign("head_object")).headers["content-length"] == "7"


def test_an_unsigned_content_type_may_be_anything(storage: Storage) -> None:
    target = storage.presign("put_object", ContentLength=3)
    assert storage.send("PUT", target, b"abc", Content_Type="image/png").status == 200
    assert storage.send("PUT", target, b"abc").status == 200


def test_a_body_is_never_read_as_a_form(storage: Storage) -> None:
    """moto alone takes this one for a call of another service, and loses any other of the type that curl sends."""
    body = b"Action=AssumeRoleWithSAML&Version=2009-04-15"
    target = storage.presign("put_object", Key="up/form-body")
    assert storage.send("PUT", target, body, Content_Type="application/x-www-form-urlencoded").body == b""
    reply = storage.send("GET", storage.presign("get_object", Key="up/form-body"))
    assert (reply.body, reply.headers["content-type"]) == (body, "application/x-www-form-urlencoded")


@pytest.mark.parametrize("body", [b"", b"ab", b"abcd", b"abc" * 1000])
def test_another_size_than_the_signed_one_is_refused(storage: Storage, body: bytes) -> None:
    target = storage.presign("put_object", Key="up/sized", ContentLength=3)
    reply = storage.send("PUT", target, body)
    assert (reply.status, reply.code) == (403, "SignatureDoesNotMatch")
    assert storage.send("GET", storage.presign("get_object", Key="up/sized")).status == 404


def test_a_chunked_body_cannot_go_around_the_signed_size(storage: Storage) -> None:
    target = storage.presign("put_object", ContentLength=3)
    reply = storage.send("PUT", target, b"4\r\nabcd\r\n0\r\n\r\n", Transfer_Encoding="chunked")
    assert (reply.status, reply.code) == (501, "NotImplemented")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
        ("a%20b%2Bc.jpg", "another.jpg"),
        ("a%20b%2Bc.jpg", "a%20b%2Bc.jpg/"),
        ("/pictures/", "/others/"),
        ("X-Amz-Expires=60", "X-Amz-Expires=61"),
        ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=host&x-id=PutObject"),
        ("us-east-1", "eu-central-1"),
    ],
)
def test_a_tampered_link_is_refused(storage: Storage, old: str, new: str) -> None:
    target = storage.presign("get_object")
    assert old in target
    reply = storage.send("GET", target.replace(old, new, 1))
    assert reply.status in (400, 403)
    assert reply.code in ("SignatureDoesNotMatch", "AuthorizationHeaderMalformed")


def test_a_link_is_for_one_method_and_one_host(storage: Storage) -> None:
    target = storage.presign("get_object")
    for method in ("PUT", "DELETE", "HEAD", "POST"):
        assert storage.send(method, target, b"").status == 403
    assert storage.send("GET", target, Host="localhost:1").code == "SignatureDoesNotMatch"


def test_a_link_ends_and_does_not_begin_early(storage: Storage, late) -> None:
    target = storage.presign("get_object", expires=60)
    late(59)
    assert storage.send("GET", target).status == 200
    late(61)
    reply = storage.send("GET", target)
    assert (reply.status, reply.code) == (403, "AccessDenied")
    assert b"<Message>Request has expired</Message>" in reply.body
    late(-16 * 60)
    assert b"not yet valid" in storage.send("GET", target).body


@pytest.mark.parametrize("expires", ["0", "-1", "604801", "x", ""])
def test_a_lifetime_outside_s3s_bounds_is_refused(storage: Storage, expires: str) -> None:
    target = storage.presign("get_object").replace("X-Amz-Expires=60", f"X-Amz-Expires={expires}")
    assert storage.send("GET", target).code == "AuthorizationQueryParametersError"


@pytest.mark.parametrize("missing", ["X-Amz-Signature", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders"])
def test_a_link_without_one_of_its_fields_is_refused(storage: Storage, missing: str) -> None:
    path, _, query = storage.presign("get_object").partition("?")
    kept = "&".join(part for part in query.split("&") if not part.startswith(missing))
    assert storage.send("GET", f"{path}?{kept}").code == "AuthorizationQueryParametersError"


def test_an_unknown_key_and_a_wrong_secret_are_told_apart(storage: Storage) -> None:
    reply = storage.send("GET", storage.presign("get_object", STRANGER))
    assert (reply.status, reply.code) == (403, "InvalidAccessKeyId")
    assert b"<AWSAccessKeyId>AKIASTRANGERSTRANGER</AWSAccessKeyId>" in reply.body
    assert storage.send("GET", storage.presign("get_object", FORGER)).code == "SignatureDoesNotMatch"


def test_signature_version_2_is_refused(storage: Storage) -> None:
    client = storage.client("s3", signature_version="s3")
    url = client.generate_presigned_url("get_object", Params={"Bucket": "pictures", "Key": "up/a"})
    assert "AWSAccessKeyId=" in url
    reply = storage.send("GET", url.removeprefix(storage.url))
    assert (reply.status, reply.code) == (400, "InvalidRequest")
    with pytest.raises(ClientError, match="authorization mechanism"):
        client.list_objects_v2(Bucket="pictures")


def test_nothing_unsigned_and_nothing_signed_twice(storage: Storage) -> None:
    for method, path in (("GET", "/"), ("GET", "/pictures"), ("GET", "/pictures/up/a"), ("PUT", "/pictures/up/new")):
        assert storage.send(method, path, b"").status == 403
    reply = storage.send("GET", storage.presign("get_object"), Authorization="AWS4-HMAC-SHA256 Credential=x")
    assert (reply.status, reply.code) == (400, "InvalidArgument")


def test_headers_of_amazon_have_to_be_signed(storage: Storage) -> None:
    reply = storage.send("PUT", storage.presign("put_object"), b"x", x_amz_acl="public-read")
    assert (reply.status, reply.code) == (403, "AccessDenied")
    assert b"<HeadersNotSigned>x-amz-acl</HeadersNotSigned>" in reply.body
    target = storage.presign("put_object", Metadata={"width": "4"})
    assert storage.send("PUT", target, b"x", x_amz_meta_width="5").code == "SignatureDoesNotMatch"
    assert storage.send("PUT", target, b"x", x_amz_meta_width="4").status == 200


def test_a_session_token_is_none_of_ours(storage: Storage) -> None:
    reply = storage.send("GET", storage.presign("get_object") + "&X-Amz-Security-Token=t")
    assert (reply.status, reply.code) == (400, "InvalidToken")


@pytest.mark.parametrize(("keys", "code"), [(STRANGER, "InvalidAccessKeyId"), (FORGER, "SignatureDoesNotMatch")])
def test_a_header_signature_is_checked_for_storage(storage: Storage, keys: Keys, code: str) -> None:
    with pytest.raises(ClientError) as raised:
        storage.client("s3", keys).list_objects_v2(Bucket="pictures")
    assert raised.value.response["Error"]["Code"] == code


@pytest.mark.parametrize(
    ("keys", "code"), [(STRANGER, "UnrecognizedClientException"), (FORGER, "InvalidSignatureException")]
)
def test_a_header_signature_is_checked_for_table_and_queues(storage: Storage, keys: Keys, code: str) -> None:
    for call in (storage.client("dynamodb", keys).list_tables, storage.client("sqs", keys).list_queues):
        with pytest.raises(ClientError) as raised:
            call()
        assert raised.value.response["Error"]["Code"] == code


def test_a_header_signature_ages(storage: Storage, late) -> None:
    late(16 * 60)
    with pytest.raises(ClientError, match="RequestTimeTooSkewed"):
        storage.client("s3").list_objects_v2(Bucket="pictures")


def test_a_changed_body_is_found(storage: Storage) -> None:
    client = storage.client("s3")

    def swap(request, **_: object) -> None:
        request.body = b"other"

    client.meta.events.register("before-send.s3.PutObject", swap)
    with pytest.raises(ClientError, match="XAmzContentSHA256Mismatch"):
        client.put_object(Bucket="pictures", Key="up/swap", Body=b"bytes")


# ---------------------------------------------------------------------- POST forms


def form(storage: Storage, fields: dict[str, str], content: bytes = b"picture"):
    parts = "".join(
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    )
    file = '--edge\r\nContent-Disposition: form-data; name="file"; filename="my photo.jpg"\r\n'
    body = (parts + file + "Content-Type: image/jpeg\r\n\r\n").encode() + content + b"\r\n--edge--\r\n"
    return storage.send("POST", "/pictures", body, Content_Type="multipart/form-data; boundary=edge")


def post_fields(storage: Storage, conditions: list[object], fields: dict[str, str], key: str = "up/form") -> dict:
    made = storage.client("s3").generate_presigned_post("pictures", key, fields, conditions, 60)
    return made["fields"]


def test_a_form_is_stored_with_its_type(storage: Storage) -> None:
    fields = post_fields(
        storage,
        [{"Content-Type": "image/jpeg"}, ["content-length-range", 1, 10], {"success_action_status": "201"}],
        {"Content-Type": "image/jpeg", "success_action_status": "201"},
        key="up/${filename}",
    )
    reply = form(storage, fields)
    assert reply.status == 201
    assert b"<Key>up/my photo.jpg</Key>" in reply.body
    stored = storage.client("s3").get_object(Bucket="pictures", Key="up/my photo.jpg")
    assert (stored["ContentType"], stored["Body"].read()) == ("image/jpeg", b"picture")


def test_a_form_answers_204_without_a_wish(storage: Storage) -> None:
    assert form(storage, post_fields(storage, [], {})).status == 204


@pytest.mark.parametrize(("size", "code"), [(0, "EntityTooSmall"), (11, "EntityTooLarge")])
def test_a_form_keeps_to_its_size(storage: Storage, size: int, code: str) -> None:
    fields = post_fields(storage, [["content-length-range", 1, 10]], {})
    reply = form(storage, fields, b"x" * size)
    assert (reply.status, reply.code) == (400, code)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"key": "up/other"}, "AccessDenied"),
        ({"acl": "public-read"}, "AccessDenied"),
        ({"x-amz-signature": "0" * 64}, "SignatureDoesNotMatch"),
        ({"policy": base64.b64encode(b"{}").decode()}, "SignatureDoesNotMatch"),
        ({"policy": ""}, "SignatureDoesNotMatch"),
    ],
)
def test_a_form_that_breaks_its_policy_is_refused(storage: Storage, change: dict[str, str], code: str) -> None:
    reply = form(storage, {**post_fields(storage, [], {}), **change})
    assert (reply.status, reply.code) == (403, code)


def test_a_form_prefix_condition(storage: Storage) -> None:
    fields = post_fields(storage, [["starts-with", "$Content-Type", "image/"]], {"Content-Type": "image/png"})
    assert form(storage, fields).status == 204
    assert form(storage, {**fields, "Content-Type": "text/html"}).code == "AccessDenied"


def test_a_form_expires_and_needs_a_policy(storage: Storage, late) -> None:
    fields = post_fields(storage, [], {})
    late(61)
    assert b"Policy expired" in form(storage, fields).body
    assert form(storage, {"key": "up/x"}).code == "AccessDenied"


def test_a_form_policy_that_is_no_policy(storage: Storage) -> None:
    """Signed rightly, so only its content can be at fault."""
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    policy = base64.b64encode(json.dumps({"expiration": "never"}).encode()).decode()
    scope = f"{now[:8]}/us-east-1/s3/aws4_request"
    key = b"AWS4" + KEYS.secret.encode()
    for part in (*scope.split("/"), policy):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    fields = {
        "key": "up/x",
        "policy": policy,
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{KEYS.access}/{scope}",
        "x-amz-date": now,
        "x-amz-signature": key.hex(),
    }
    assert form(storage, fields).code == "InvalidPolicyDocument"
