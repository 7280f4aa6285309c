"""`as_aws`: while it is open, moto sends S3's events in the shape and number in which S3 sends them.

moto alone quotes the "/" of a key, leaves out the sequencer, and sends two events when a multipart upload completes.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

from moto.s3 import notifications
from moto.sqs.models import sqs_backends

from .server import LOOPBACK

Name = notifications.S3NotificationEvent


class _Sequencer:
    """Grows with every event of this process; S3 promises it to grow per key."""

    last = 0

    def next(self) -> str:
        self.last = max(self.last + 1, time.time_ns())
        return f"{self.last:018X}"


_sequencer = _Sequencer()


@contextmanager
def as_aws() -> Iterator[None]:
    original = notifications.send_event
    notifications.send_event = _send
    try:
        yield
    finally:
        notifications.send_event = original


def _send(account_id: str, event_name: Name, bucket: Any, key: Any) -> None:
    if event_name == Name.OBJECT_CREATED_PUT_EVENT and key.multipart is not None:
        return  # moto puts the object while it completes the upload; the completion has its own event
    if bucket.notification_configuration is None:
        return
    for notification in bucket.notification_configuration.queue:
        if notification.matches(event_name, key.name):
            body = json.dumps({"Records": [_record(account_id, event_name, bucket, key, notification.id)]})
            _, _, _, region, _, queue = notification.arn.split(":")
            sqs_backends[account_id][region].send_message(queue_name=queue, message_body=body)


def _record(account_id: str, event_name: Name, bucket: Any, key: Any, configuration: str) -> dict[str, Any]:
    thing = {"key": quote_plus(key.name, safe="/"), "sequencer": _sequencer.next()}
    if event_name.startswith("s3:ObjectCreated:"):
        thing |= {"size": key.size, "eTag": key.etag.strip('"')}
    if bucket.is_versioned:
        thing["versionId"] = key.version_id
    now = datetime.now(UTC)
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": bucket.region_name,
        "eventTime": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z",
        "eventName": event_name.value.removeprefix("s3:"),
        "userIdentity": {"principalId": f"AWS:{account_id}"},
        "requestParameters": {"sourceIPAddress": LOOPBACK},
        "responseElements": {"x-amz-request-id": secrets.token_hex(8).upper(), "x-amz-id-2": secrets.token_urlsafe(48)},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration,
            "bucket": {"name": bucket.name, "ownerIdentity": {"principalId": account_id}, "arn": bucket.arn},
            "object": thing,
        },
    }
