"""get-upload-url and complete-multipart-upload."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests.contract.upscayl import (
    COMPLETE,
    COMPLETE_BAD_REQUEST,
    COMPLETE_BROKEN,
    UPLOAD,
    Api,
    Body,
    signed,
)
from tests.world import encoded, key_of, png

MIB = 1024 * 1024
WISH = {"originalFileName": "vacation-photo.jpeg", "fileType": "image/jpeg", "fileSize": 1_048_576}
GIF = b"GIF89a" + bytes(40)
HOSTILE = ("\ud800", "\x00", "\x1b[0m", "<a>&amp;", "\xfc", "a b\r\nc")


# ---------------------------------------------------------------- get-upload-url


BOUNDS: list[tuple[str, Any, int]] = [
    ("fileSize", 0, 400),
    ("fileSize", 1, 200),
    ("fileSize", 104_857_600, 200),
    ("fileSize", 104_857_601, 400),
    ("originalFileName", "", 400),
    ("originalFileName", "a", 200),
    ("originalFileName", "a" * 255, 200),
    ("originalFileName", "a" * 256, 400),
    ("originalFileName", "ä" * 255, 200),
    ("fileType", "image/jpeg", 200),
    ("fileType", "image/png", 200),
    ("fileType", "image/webp", 200),
    ("fileType", "image/gif", 400),
    ("fileType", "IMAGE/PNG", 400),
]


def test_ups_10_upload_request_bounds(api: Api) -> None:
    statuses = [(field, value, api.ask(UPLOAD, WISH | {field: value}).status) for field, value, _ in BOUNDS]
    assert statuses == BOUNDS


def test_ups_10_file_size_is_an_integer(api: Api) -> None:
    values = (True, "1048576", 1.5, 1.0, [1], -1)
    assert [api.ask(UPLOAD, WISH | {"fileSize": value}).body["error"] for value in values] == ["BAD_REQUEST"] * 6


def test_ups_10_original_file_name_is_a_string(api: Api) -> None:
    values = (None, 1, True, ["a.png"], {})
    assert [api.ask(UPLOAD, WISH | {"originalFileName": value}).status for value in values] == [400] * 5


def test_ups_10_a_name_that_is_no_unicode_is_a_bad_request(api: Api) -> None:
    assert api.ask(UPLOAD, WISH | {"originalFileName": "\ud800.png"}).status == 400


@pytest.mark.parametrize("field", ["originalFileName", "fileType", "fileSize"])
def test_ups_10_each_field_is_required(api: Api, field: str) -> None:
    wish = {name: value for name, value in WISH.items() if name != field}
    body = {"error": "MISSING_REQUIRED_FIELDS", "message": f"Required fields missing: {field}"}
    assert api.post(UPLOAD, wish, status=400) == body


def test_ups_11_upload_response_has_every_documented_field(api: Api) -> None:
    answer = api.post(UPLOAD, WISH)
    documented = {"uploadURL", "fileName", "fileType", "fileSize", "originalFileName", "createdAt", "expiresAt"}
    assert answer["status"] == "success"
    assert set(answer["data"]) == documented
    assert {name: answer["data"][name] for name in WISH} == WISH


@pytest.mark.parametrize("wrap", [lambda body: body, lambda body: {"data": body}], ids=["flat", "envelope"])
def test_c_03_upload_takes_both_body_shapes(api: Api, wrap: Any) -> None:
    assert api.post(UPLOAD, wrap(WISH))["data"]["originalFileName"] == WISH["originalFileName"]


def test_ups_12_file_name_is_eight_hex_digits_and_the_original_name(api: Api) -> None:
    assert re.fullmatch(r"[0-9a-f]{8}-vacation-photo\.jpeg", api.ticket(**WISH)["fileName"])


def test_ups_12_file_names_are_unique(api: Api) -> None:
    assert len({api.ticket(**WISH)["fileName"] for _ in range(20)}) == 20


def test_ups_12_no_path_gets_into_a_file_name(api: Api) -> None:
    assert not set("/\\\x00\n") & set(api.ticket(originalFileName="../..\\etc\x00\n/passwd")["fileName"])


def test_ups_13_times_are_unix_milliseconds_one_hour_apart(api: Api) -> None:
    ticket = api.ticket()
    assert ticket["createdAt"] == api.world.clock.ms
    assert ticket["expiresAt"] - ticket["createdAt"] == 3_600_000


@pytest.mark.parametrize("settings", [{"upload_ttl_seconds": 600}])
def test_ups_13_life_of_the_link_is_as_configured(api: Api) -> None:
    """G13."""
    ticket = api.ticket()
    assert ticket["expiresAt"] - ticket["createdAt"] == 600_000
    assert signed(ticket["uploadURL"])["x-amz-expires"] == "600"


def test_ups_14_bytes_put_to_the_link_are_the_file_of_that_name(api: Api) -> None:
    file = api.upload(png(5, 3))
    task = api.start(file, saveImageAs="png")
    api.run()
    assert api.status(task)["files"][0]["dimensions"] == {"width": 20, "height": 12}


def test_c_12_link_signs_the_length_and_never_the_type(api: Api) -> None:
    """G13."""
    query = signed(api.ticket()["uploadURL"])
    assert query["x-amz-algorithm"] == "AWS4-HMAC-SHA256"
    assert query["x-amz-signedheaders"].split(";") == ["content-length", "host"]


def test_ups_14_link_goes_to_storage_directly(api: Api) -> None:
    bucket = api.world.services.settings.bucket
    assert str(urlsplit(api.ticket()["uploadURL"]).hostname).startswith(f"{bucket}.s3.")


@pytest.mark.parametrize(
    ("picture", "declared"),
    [("png", "image/jpeg"), ("jpeg", "image/webp"), ("webp", "image/png")],
)
def test_ups_38_pictures_are_taken_for_what_their_bytes_say(api: Api, picture: str, declared: str) -> None:
    file = api.upload(_picture(picture), fileType=declared, originalFileName="a.gif")
    task = api.start(file)
    api.run()
    status = api.status(task)
    assert (status["status"], status["files"][0]["fileType"]) == ("completed", f"image/{picture}")


@pytest.mark.parametrize("body", [GIF, b"BM" + bytes(60), b"<svg/>" * 9, bytes(64)], ids=["gif", "bmp", "svg", "zeros"])
def test_ups_38_other_formats_fail_whatever_they_are_declared_as(api: Api, body: bytes) -> None:
    task = api.start(api.upload(body, fileType="image/png"))
    status = api.status(task)
    assert (status["status"], status["deductedCredits"]) == ("failed", 0)
    assert "Allowed: JPEG, PNG, WEBP" in status["error"]


# ---------------------------------------------------------------- complete-multipart-upload


def test_c_07_small_files_get_a_single_link(api: Api) -> None:
    assert "uploadId" not in api.ticket(fileSize=31 * MIB)


@pytest.mark.parametrize("fields", [{"fileSize": 33 * MIB}, {"fileSize": 20 * MIB, "multipart": True}])
def test_c_07_large_files_get_part_links_besides(api: Api, fields: Body) -> None:
    ticket = api.ticket(**fields)
    count = -(-fields["fileSize"] // ticket["partSize"])
    assert ticket["uploadURL"].startswith("https://")
    assert [part["PartNumber"] for part in ticket["parts"]] == list(range(1, count + 1))
    assert all(signed(part["url"])["uploadid"] == ticket["uploadId"] for part in ticket["parts"])
    assert all(key_of(part["url"]) == ticket["key"] for part in ticket["parts"])
    assert all("content-length" in signed(part["url"])["x-amz-signedheaders"] for part in ticket["parts"])


def test_c_07_multipart_can_be_declined(api: Api) -> None:
    assert "uploadId" not in api.ticket(fileSize=100 * MIB, multipart=False)


@pytest.mark.parametrize("quoted", [True, False])
def test_ups_35_quoted_and_unquoted_etags_complete(api: Api, quoted: bool) -> None:
    ticket = api.ticket(fileSize=10 * MIB, multipart=True)
    parts = sent_parts(api, ticket, png().ljust(10 * MIB, b"\0"))
    shown = [part | {"ETag": part["ETag"] if quoted else part["ETag"].strip('"')} for part in parts]
    api.post(COMPLETE, wish(ticket, shown))
    api.world.upload_event(ticket["key"])
    task = api.start({name: ticket[name] for name in ("fileName", "fileType", "fileSize")})
    api.world.run()
    assert api.status(task)["files"][0]["fileSize"] == 10 * MIB


def test_ups_35_parts_may_be_listed_in_any_order(api: Api) -> None:
    ticket = api.ticket(fileSize=10 * MIB, multipart=True)
    parts = sent_parts(api, ticket, bytes(10 * MIB))
    api.post(COMPLETE, wish(ticket, list(reversed(parts))))


def test_ups_36_complete_response_is_exact(api: Api) -> None:
    ticket, parts = one_part(api)
    assert api.post(COMPLETE, wish(ticket, parts)) == {"status": "success", "data": {"status": "success"}}


def test_c_03_complete_takes_the_flat_body_too(api: Api) -> None:
    ticket, parts = one_part(api)
    assert api.ask(COMPLETE, wish(ticket, parts)["data"]).status == 200


@pytest.mark.parametrize("field", ["uploadId", "key", "parts"])
def test_ups_37_missing_parameters(api: Api, field: str) -> None:
    ticket, parts = one_part(api)
    data = {name: value for name, value in wish(ticket, parts)["data"].items() if name != field}
    assert api.post(COMPLETE, {"data": data}, status=400) == COMPLETE_BAD_REQUEST


def test_ups_37_parts_of_another_form(api: Api) -> None:
    ticket, _ = one_part(api)
    numbers = [[{"PartNumber": number, "ETag": "a"}] for number in (0, 10_001, "1", True, None)]
    etags = [[{"PartNumber": 1, "ETag": etag}] for etag in ("", 5, None)]
    parts = [[], None, {}, "1", [None], [{}], [{"PartNumber": 1}], [{"ETag": "a"}], *numbers, *etags]
    assert [api.ask(COMPLETE, wish(ticket, value)).body for value in parts] == [COMPLETE_BAD_REQUEST] * len(parts)


def test_ups_37_data_is_required(api: Api) -> None:
    assert api.post(COMPLETE, {}, status=400) == COMPLETE_BAD_REQUEST


def test_ups_37_a_part_number_listed_twice(api: Api) -> None:
    ticket, parts = one_part(api)
    assert "twice" in api.post(COMPLETE, wish(ticket, parts * 2), status=400)["message"]


def test_ups_37_an_etag_that_storage_did_not_give(api: Api) -> None:
    ticket, _ = one_part(api)
    assert api.ask(COMPLETE, wish(ticket, [{"PartNumber": 1, "ETag": "f" * 32}])).status == 400


def test_ups_37_a_part_that_was_not_sent(api: Api) -> None:
    ticket, parts = one_part(api)
    assert api.ask(COMPLETE, wish(ticket, [*parts, {"PartNumber": 2, "ETag": "f" * 32}])).status == 400


def test_ups_37_hostile_etags_are_never_our_fault(api: Api) -> None:
    ticket, _ = one_part(api)
    bodies = [wish(ticket, [{"PartNumber": 1, "ETag": text}]) for text in HOSTILE]
    assert [api.ask(COMPLETE, body).status for body in bodies] == [400] * len(HOSTILE)


def test_ups_37_hostile_upload_ids_are_never_our_fault(api: Api) -> None:
    ticket, parts = one_part(api)
    api.world.fault = _storage_says("NoSuchUpload")
    bodies = [wish(ticket | {"uploadId": text}, parts) for text in HOSTILE]
    assert [api.ask(COMPLETE, body).status for body in bodies] == [400] * len(HOSTILE)


def test_ups_37_unknown_upload_id(api: Api) -> None:
    ticket, parts = one_part(api)
    # as S3 does; moto, unguarded, breaks on an id that it does not know
    api.world.fault = _storage_says("NoSuchUpload")
    assert api.post(COMPLETE, wish(ticket | {"uploadId": "unknown"}, parts), status=400)["error"] == "BAD_REQUEST"


def test_ups_37_a_foreign_key_is_answered_as_an_unknown_one(api: Api, other: Api) -> None:
    ticket, parts = one_part(other)
    foreign = api.ask(COMPLETE, wish(ticket, parts))
    unknown = api.ask(COMPLETE, wish(ticket | {"key": "uploads/0/0123456789abcdef/" + "0" * 32}, parts))
    nonsense = api.ask(COMPLETE, wish(ticket | {"key": "uploads/image.jpg"}, parts))
    assert foreign.status == 400
    assert foreign.raw == unknown.raw == nonsense.raw


def test_ups_37_a_foreign_key_completes_nothing(api: Api, other: Api) -> None:
    """G10, G12."""
    ticket, parts = one_part(other)
    api.post(COMPLETE, wish(ticket, parts), status=400)
    assert api.world.services.storage.head(ticket["key"]) is None


@pytest.mark.parametrize("code", ["InternalError", "SlowDown", "AccessDenied"])
def test_ups_37_a_failure_of_storage_is_a_500_in_the_documents_words(api: Api, code: str) -> None:
    ticket, parts = one_part(api)
    api.world.fault = _storage_says(code)
    assert api.post(COMPLETE, wish(ticket, parts), status=500) == COMPLETE_BROKEN


def wish(ticket: Body, parts: Any) -> Body:
    return {"data": {"uploadId": ticket["uploadId"], "key": ticket["key"], "parts": parts}}


def one_part(api: Api) -> tuple[Body, list[Body]]:
    """A small file sent as a single part, not completed yet."""
    ticket = api.ticket(fileSize=64, multipart=True)
    return ticket, sent_parts(api, ticket, bytes(64))


def sent_parts(api: Api, ticket: Body, body: bytes) -> list[Body]:
    """What a browser does with the part links; the list for complete-multipart-upload."""
    storage, size = api.world.services.storage, ticket["partSize"]
    names = {"Bucket": storage.bucket, "Key": ticket["key"], "UploadId": ticket["uploadId"]}
    return [
        {"PartNumber": n + 1, "ETag": storage.client.upload_part(**names, PartNumber=n + 1, Body=piece)["ETag"]}
        for n, piece in enumerate(body[first : first + size] for first in range(0, len(body), size))
    ]


def _storage_says(code: str) -> Any:
    def fault(_: int, operation: str, when: str) -> None:
        if (operation, when) == ("CompleteMultipartUpload", "before"):
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    return fault


def _picture(kind: str) -> bytes:
    from PIL import Image

    return encoded(Image.new("RGB", (6, 4), (10, 200, 90)), kind)
