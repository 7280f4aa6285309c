"""What S3 does besides checking signatures: events, ranges, conditions, CORS, large bodies."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from urllib.parse import unquote_plus

import pytest
from botocore.exceptions import ClientError

from infra.local.guard import Guard
from tests.integration.local.support import KEYS, Storage

PAGE = "http://page.example"


@pytest.fixture(scope="module")
def events(storage: Storage):
    """Takes what has arrived in the bucket's queue since the last time."""
    sqs, s3 = storage.client("sqs"), storage.client("s3")
    url = sqs.create_queue(QueueName="events")["QueueUrl"]
    s3.put_bucket_notification_configuration(
        Bucket="pictures",
        NotificationConfiguration={
            "QueueConfigurations": [
                {
                    "QueueArn": "arn:aws:sqs:us-east-1:123456789012:events",
                    "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
                    "Filter": {
                        "Key": {
                            "FilterRules": [{"Name": "prefix", "Value": "up/"}, {"Name": "suffix", "Value": ".jpg"}]
                        }
                    },
                }
            ]
        },
    )

    def take() -> list[dict]:
        taken = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                taken.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return taken

    assert take()[0]["Event"] == "s3:TestEvent"
    return take


def test_an_event_has_aws_shape(storage: Storage, events) -> None:
    storage.client("s3").put_object(Bucket="pictures", Key="up/ä b+c/x.jpg", Body=b"12345")
    ((record,),) = [body["Records"] for body in events()]
    assert (record["eventVersion"], record["eventSource"], record["awsRegion"]) == ("2.1", "aws:s3", "us-east-1")
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["eventTime"][-5] == "." and record["eventTime"].endswith("Z")
    thing = record["s3"]["object"]
    assert thing["key"] == "up/%C3%A4+b%2Bc/x.jpg"
    assert unquote_plus(thing["key"]) == "up/ä b+c/x.jpg"
    assert (thing["size"], thing["eTag"]) == (5, "827ccb0eea8a706c4c34a16891f84e7b")
    assert record["s3"]["bucket"]["arn"] == "arn:aws:s3:::pictures"
    assert {"principalId"} == record["userIdentity"].keys()


def test_events_are_filtered_ordered_and_sent_for_what_happened(storage: Storage, events) -> None:
    s3 = storage.client("s3")
    s3.put_object(Bucket="pictures", Key="down/x.jpg", Body=b"")
    s3.put_object(Bucket="pictures", Key="up/x.png", Body=b"")
    s3.copy_object(Bucket="pictures", Key="up/copy.jpg", CopySource={"Bucket": "pictures", "Key": "up/x.png"})
    s3.delete_object(Bucket="pictures", Key="up/copy.jpg")
    records = [record for body in events() for record in body["Records"]]
    assert [record["eventName"] for record in records] == ["ObjectCreated:Copy", "ObjectRemoved:Delete"]
    assert records[0]["s3"]["object"]["sequencer"] < records[1]["s3"]["object"]["sequencer"]
    assert "size" not in records[1]["s3"]["object"]


def test_a_multipart_upload_is_one_event(storage: Storage, events) -> None:
    s3 = storage.client("s3")
    where = {"Bucket": "pictures", "Key": "up/large.jpg"}
    upload = s3.create_multipart_upload(**where)["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**where, UploadId=upload, PartNumber=n, Body=body)["ETag"]}
        for n, body in ((1, b"a" * (5 << 20)), (2, b"b"))
    ]
    assert events() == []
    s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
    ((record,),) = [body["Records"] for body in events()]
    assert record["eventName"] == "ObjectCreated:CompleteMultipartUpload"
    assert record["s3"]["object"]["eTag"].endswith("-2")
    with pytest.raises(ClientError) as raised:
        s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"")
    assert raised.value.response["Error"]["Code"] == "NoSuchUpload"
    storage.client("s3").delete_object(**where)
    events()


def test_a_refused_put_is_no_event(storage: Storage, events) -> None:
    storage.send("PUT", storage.presign("put_object", ContentLength=3), b"too long")
    assert events() == []


def test_ranges_and_conditions(storage: Storage) -> None:
    s3 = storage.client("s3")
    etag = s3.put_object(Bucket="pictures", Key="r", Body=b"0123456789")["ETag"]
    target = storage.presign("get_object", Key="r")
    reply = storage.send("GET", target, Range="bytes=2-4")
    assert (reply.status, reply.body, reply.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert storage.send("GET", target, Range="bytes=-3").body == b"789"
    assert storage.send("GET", target, Range="bytes=8-").body == b"89"
    assert storage.send("GET", target, Range="bytes=10-").status == 416
    assert storage.send("GET", target, Range="nonsense").status == 200
    assert storage.send("GET", target, If_Match=etag).status == 200
    reply = storage.send("GET", target, If_Match='"0"')
    assert (reply.status, reply.code) == (412, "PreconditionFailed")
    assert storage.send("GET", target, If_Match=etag, Range="bytes=0-0").status == 206
    assert storage.send("GET", target, If_Match='"0"', Range="bytes=0-0").status == 412
    assert storage.send("GET", target, If_None_Match=etag).status == 304


def test_a_link_may_set_the_answers_headers_but_only_if_signed(storage: Storage) -> None:
    storage.client("s3").put_object(Bucket="pictures", Key="o", Body=b"x", ContentType="image/png")
    wish = "attachment; filename=\"a.png\"; filename*=UTF-8''%C3%A4.png"
    target = storage.presign("get_object", Key="o", ResponseContentDisposition=wish, ResponseContentType="image/webp")
    reply = storage.send("GET", target)
    assert (reply.headers["content-disposition"], reply.headers["content-type"]) == (wish, "image/webp")
    plain = storage.presign("get_object", Key="o")
    assert storage.send("GET", plain + "&response-content-type=text%2Fhtml").code == "SignatureDoesNotMatch"
    assert storage.send("GET", "/pictures/o?response-content-type=text%2Fhtml").status == 403
    odd = storage.presign("get_object", Key="o", ResponseContentDisposition="attachment; filename=ä漢")
    assert storage.send("GET", odd).code == "InvalidArgument"


def test_cors_holds_on_answers_and_on_errors(storage: Storage) -> None:
    rule = {
        "AllowedOrigins": [PAGE],
        "AllowedMethods": ["PUT", "GET"],
        "AllowedHeaders": ["content-*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 60,
    }
    storage.client("s3").put_bucket_cors(Bucket="pictures", CORSConfiguration={"CORSRules": [rule]})
    ask = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "content-type"}
    target = storage.presign("put_object")
    reply = storage.send("OPTIONS", target, Origin=PAGE, **ask)
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == PAGE
    assert reply.headers["access-control-allow-methods"] == "PUT, GET"
    assert reply.headers["access-control-max-age"] == "60"
    for wrong in ({"Origin": "http://evil.example"}, {"Access_Control_Request_Method": "DELETE"}):
        assert storage.send("OPTIONS", target, **{"Origin": PAGE, **ask, **wrong}).status == 403
    refused = {**ask, "Access_Control_Request_Headers": "x-other"}
    assert storage.send("OPTIONS", target, Origin=PAGE, **refused).code == "AccessForbidden"
    good = storage.send("PUT", target, b"x", Origin=PAGE)
    bad = storage.send("PUT", target + "0", b"x", Origin=PAGE)
    assert (good.status, bad.status) == (200, 403)
    for reply in (good, bad):
        assert reply.headers["access-control-allow-origin"] == PAGE
        assert reply.headers["access-control-expose-headers"] == "ETag"
    assert "access-control-allow-origin" not in storage.send("PUT", target, b"x", Origin="http://evil.example").headers
    assert "access-control-allow-origin" not in storage.send("PUT", target, b"x").headers


def test_a_100_mib_put(storage: Storage) -> None:
    body = b"0123456789abcdef" * (100 << 16)
    target = storage.presign("put_object", Key="large", ContentLength=len(body))
    assert storage.send("PUT", target, body).status == 200
    reply = storage.send("GET", storage.presign("get_object", Key="large"), Range=f"bytes={len(body) - 3}-")
    assert reply.body == b"def"
    storage.client("s3").delete_object(Bucket="pictures", Key="large")


def test_a_long_poll_blocks_nobody(storage: Storage) -> None:
    sqs = storage.client("sqs")
    url = sqs.create_queue(QueueName="quiet")["QueueUrl"]
    got: list[dict] = []
    waiter = threading.Thread(target=lambda: got.append(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)))
    waiter.start()
    time.sleep(0.1)
    started = time.monotonic()
    storage.client("sqs").send_message(QueueUrl=url, MessageBody="here")
    waiter.join()
    assert got[0]["Messages"][0]["Body"] == "here"
    assert time.monotonic() - started < 2


def test_motos_own_api_is_out_of_reach(storage: Storage) -> None:
    for path in ("/moto-api/reset", "/moto-api/", "/moto-api/data.json"):
        assert storage.send("POST", path, b"").status == 403
        assert storage.send("GET", path).status == 403


def test_it_listens_on_the_loopback_only(storage: Storage) -> None:
    """G29."""
    port = int(storage.url.rpartition(":")[2])
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row[1] for row in table if row[3] == "0A" and int(row[1].partition(":")[2], 16) == port]
    assert [address.partition(":")[0] for address in listening] == ["0100007F"]
    with socket.create_connection(("127.0.0.1", port)):
        pass


def test_one_stack_in_a_process(storage: Storage) -> None:
    with pytest.raises(RuntimeError, match="already runs a stack"):
        Guard(KEYS)
