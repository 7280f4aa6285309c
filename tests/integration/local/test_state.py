"""What outlives the stack, to the byte."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.stack import Stack
from infra.local.state import StateError
from tests.integration.local.support import TINY, send, tiny_stack


def test_a_restart_keeps_objects_items_messages_and_keys(tmp_path: Path) -> None:
    item = {
        "pk": {"S": "i"}, "n": {"N": "12.5"}, "flag": {"BOOL": True}, "none": {"NULL": True}, "text": {"S": "ä\n\"x\""},
        "list": {"L": [{"S": "a"}, {"M": {"deep": {"N": "1"}}}]}, "map": {"M": {"k": {"L": []}}},
        "set": {"SS": ["x", "y"]},
        "bytes": {"B": b"\x00\xff"},
    }  # fmt: skip
    with tiny_stack(state_dir=tmp_path) as stack:
        s3, sqs, dynamodb = (stack.client(name) for name in ("s3", "sqs", "dynamodb"))
        stack.pause("Work")
        where = {"Bucket": stack.bucket, "Key": "out/ä b+c"}
        s3.put_object(
            **where,
            Body=b"\x00picture",
            ContentType="image/png",
            Metadata={"width": "4", "a_b": "c"},
            CacheControl="no-store",
            ContentDisposition="attachment",
        )
        large = {"Bucket": stack.bucket, "Key": "out/large"}
        upload = s3.create_multipart_upload(**large)["UploadId"]
        parts = [
            {"PartNumber": n, "ETag": s3.upload_part(**large, UploadId=upload, PartNumber=n, Body=body)["ETag"]}
            for n, body in ((1, b"a" * (5 << 20)), (2, b"b"))
        ]
        s3.complete_multipart_upload(**large, UploadId=upload, MultipartUpload={"Parts": parts})
        before = [s3.head_object(**thing) for thing in (where, large)]
        link = s3.generate_presigned_url("get_object", Params=where)
        dynamodb.put_item(TableName=stack.table, Item=item)
        attributes = {"kind": {"DataType": "String", "StringValue": "v"}}
        sqs.send_message(QueueUrl=stack.outputs["Dead"], MessageBody="dead", MessageAttributes=attributes)
        first = (stack.api_key, stack.storage_url)
        for client in (s3, sqs, dynamodb):
            client.close()
    with tiny_stack(state_dir=tmp_path) as stack:
        s3, sqs, dynamodb = (stack.client(name) for name in ("s3", "sqs", "dynamodb"))
        stack.pause("Work")
        assert (stack.api_key, stack.storage_url) == first
        for thing, old in zip((where, large), before, strict=True):
            new = s3.head_object(**thing)
            for name in ("ETag", "ContentType", "Metadata", "ContentLength", "LastModified"):
                assert new[name] == old[name]
            assert (new.get("CacheControl"), new.get("ContentDisposition")) == (
                old.get("CacheControl"),
                old.get("ContentDisposition"),
            )
        assert s3.get_object(**where)["Body"].read() == b"\x00picture"
        reply = send(stack.storage_url, "GET", link.removeprefix(stack.storage_url))
        assert (reply.status, reply.body) == (200, b"\x00picture")
        assert dynamodb.get_item(TableName=stack.table, Key={"pk": {"S": "i"}})["Item"] == item
        (message,) = sqs.receive_message(QueueUrl=stack.outputs["Dead"], MessageAttributeNames=["All"])["Messages"]
        assert (message["Body"], message["MessageAttributes"]) == ("dead", attributes)
        for client in (s3, sqs, dynamodb):
            client.close()


def test_work_under_way_is_done_after_a_restart(tmp_path: Path) -> None:
    with tiny_stack(state_dir=tmp_path) as stack:
        sqs = stack.client("sqs")
        told = {"name": "long", "sleep": 8}
        sqs.send_message(QueueUrl=stack.outputs["Queue"], MessageBody=json.dumps(told))
        sqs.close()
        wait_for(stack, "long#1")
    with tiny_stack(state_dir=tmp_path) as stack:
        dynamodb = stack.client("dynamodb")
        dynamodb.delete_item(TableName=stack.table, Key={"pk": {"S": "long#1"}})
        dynamodb.close()
        wait_for(stack, "long#1")  # the delivery that the restart cut off does not count


def wait_for(stack: Stack, note: str) -> None:
    dynamodb = stack.client("dynamodb")
    end = time.monotonic() + 10
    while "Item" not in dynamodb.get_item(TableName=stack.table, Key={"pk": {"S": note}}):
        assert time.monotonic() < end
        time.sleep(0.02)
    dynamodb.close()


def test_an_item_whose_time_is_over_does_not_come_back(tmp_path: Path) -> None:
    with tiny_stack(state_dir=tmp_path) as stack:
        dynamodb = stack.client("dynamodb")
        for name, ttl in (("past", time.time() - 1), ("future", time.time() + 60)):
            dynamodb.put_item(TableName=stack.table, Item={"pk": {"S": name}, "ttl": {"N": str(int(ttl))}})
        dynamodb.close()
    with tiny_stack(state_dir=tmp_path) as stack:
        dynamodb = stack.client("dynamodb")
        names = {item["pk"]["S"] for item in dynamodb.scan(TableName=stack.table)["Items"]}
        dynamodb.close()
        assert "future" in names
        assert "past" not in names


def test_changes_are_saved_while_it_runs_and_dropped_objects_leave_no_file(tmp_path: Path) -> None:
    with tiny_stack(state_dir=tmp_path) as stack:
        s3 = stack.client("s3")
        for body in (b"1", b"2"):
            s3.put_object(Bucket=stack.bucket, Key="out/x", Body=body)
        end = time.monotonic() + 30
        while len(list((tmp_path / "objects").iterdir())) != 1:
            assert time.monotonic() < end
            time.sleep(0.05)
        s3.delete_object(Bucket=stack.bucket, Key="out/x")
        stack.save()
        assert not list((tmp_path / "objects").iterdir())
        s3.close()


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    with tiny_stack(state_dir=folder):
        pass
    assert folder.stat().st_mode & 0o777 == 0o700
    for name in ("identity.json", "state.jsonl"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600


def test_a_folder_serves_one_stack(tmp_path: Path) -> None:
    with (
        tiny_stack(state_dir=tmp_path),
        pytest.raises(StateError, match="another stack"),
        tiny_stack(state_dir=tmp_path),
    ):
        pass


def test_a_failed_start_empties_nothing(tmp_path: Path) -> None:
    with tiny_stack(state_dir=tmp_path) as stack:
        s3 = stack.client("s3")
        s3.put_object(Bucket=stack.bucket, Key="out/x", Body=b"1")
        s3.close()
    before = (tmp_path / "state.jsonl").read_bytes()
    with pytest.raises(StateError, match="which the template does not make"):
        tiny_stack(state_dir=tmp_path, parameters={"BucketName": "another"}).__enter__()
    assert (tmp_path / "state.jsonl").read_bytes() == before


def test_an_open_multipart_upload_is_not_kept(tmp_path: Path) -> None:
    where: dict[str, Any] = {}
    with tiny_stack(state_dir=tmp_path) as stack:
        s3 = stack.client("s3")
        where = {"Bucket": stack.bucket, "Key": "out/x"}
        upload = s3.create_multipart_upload(**where)["UploadId"]
        s3.close()
    with tiny_stack(state_dir=tmp_path) as stack:
        s3 = stack.client("s3")
        with pytest.raises(ClientError, match="NoSuchUpload"):
            s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"x")
        s3.close()


def test_a_wished_key_is_kept(tmp_path: Path) -> None:
    with Stack(TINY, tmp_path, account=lambda _, wished: wished or "random", api_key="mine") as stack:
        assert stack.api_key == "mine"
    with Stack(TINY, tmp_path, account=lambda _, wished: wished or "random") as stack:
        assert stack.api_key == "mine"
