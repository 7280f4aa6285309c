"""The page's files over HTTP, and on their way to S3."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from infra import deploy_page
from infra.local.page import FOLDER, Page, files
from infra.local.server import Answer, Request

POLICY = ("content-security-policy", "default-src 'none'")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "config.json").write_text('{"api": ""}')
    (tmp_path / "assets" / "app.js").write_text("export {};" * 100)
    (tmp_path / "assets" / "photo.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "other.html").write_text("not of the page")
    return tmp_path


def get(folder: Path, target: str, method: str = "GET", **headers: str) -> Answer | None:
    sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Page(folder, [POLICY])(Request(method, target, sent))


def headers_of(answer: Answer | None) -> dict[str, str]:
    assert answer is not None
    return dict(answer.headers)


def test_a_file_has_its_type_and_every_answer_the_policy(folder: Path) -> None:
    for target, kind in (("/", "text/html; charset=utf-8"), ("/assets/app.js?v=1", "text/javascript; charset=utf-8")):
        headers = headers_of(get(folder, target))
        assert headers["content-type"] == kind
        assert headers["cache-control"] == "no-cache"
        assert headers[POLICY[0]] == POLICY[1]


def test_text_is_compressed_for_those_who_can_read_it(folder: Path) -> None:
    plain, packed = get(folder, "/assets/app.js"), get(folder, "/assets/app.js", accept_encoding="gzip, br")
    assert plain is not None and packed is not None
    assert headers_of(packed)["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert "content-encoding" not in headers_of(get(folder, "/assets/photo.jpg", accept_encoding="gzip"))


def test_what_is_known_is_not_sent_again_until_it_changes(folder: Path) -> None:
    etag = headers_of(get(folder, "/assets/app.js"))["etag"]
    known = get(folder, "/assets/app.js", if_none_match=etag)
    assert known is not None and (known.status, known.body) == (304, b"")
    (folder / "assets" / "app.js").write_text("export const changed = 1;")
    fresh = get(folder, "/assets/app.js", if_none_match=etag)
    assert fresh is not None and fresh.status == 200


@pytest.mark.parametrize("target", ["/assets/../template.yaml", "/../template.yaml", "/assets", "/examples/other.html"])
def test_nothing_else_is_served(folder: Path, target: str) -> None:
    (folder.parent / "template.yaml").write_text("not of the page")
    assert get(folder, target) is None


def test_nothing_but_reading_is_served(folder: Path) -> None:
    assert get(folder, "/", "POST") is None


def test_index_html_names_every_module_that_the_page_begins_with() -> None:
    """Each is asked for at once, not one after the other as they import each other."""
    index = (FOLDER / "index.html").read_text()
    later = {"assets/zip.js"}
    modules = {name for name in files(FOLDER) if name.endswith(".js") and "vendor" not in name} - later
    assert {name for name in modules if f'"{name}"' in index} == modules


def test_the_page_is_uploaded_with_the_address_of_its_api(folder: Path) -> None:
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="pictures")
        for key in ("page/assets/old.js", "results/a/1/00/1"):
            s3.put_object(Bucket="pictures", Key=key, Body=b"x")
        deploy_page.upload(s3, "pictures", folder, "https://api.example")
        keys = {entry["Key"] for entry in s3.list_objects_v2(Bucket="pictures")["Contents"]}
        assert keys == {f"page/{name}" for name in files(folder)} | {"results/a/1/00/1"}
        config = s3.get_object(Bucket="pictures", Key="page/config.json")["Body"].read()
        assert json.loads(config) == {"api": "https://api.example"}
        script = s3.head_object(Bucket="pictures", Key="page/assets/app.js")
        assert (script["ContentType"], script["CacheControl"]) == ("text/javascript; charset=utf-8", "no-cache")
        s3.close()
