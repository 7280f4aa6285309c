"""`Guard`: moto as storage, queues and table, made to refuse and to answer as AWS does.

Guarantees: one call at a time reaches moto (it is not thread-safe: without the lock acknowledged writes were lost);
only requests signed with the stack's own keys reach it; a bucket's CORS rules hold on errors too; moto's own control
API is out of reach. `changes` grows with every call that altered something worth keeping.
"""

from __future__ import annotations

import io
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.core.request import PRESERVED_HEADER_NAMES_ENVIRON_KEY, environ_key_for_header
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import FakeBucket, s3_backends
from moto.sqs.models import Queue, sqs_backends
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from . import cors, events, multiparts, sigv4, transactions
from .server import Answer, Request

ACCOUNT = "123456789012"  # moto's own
READS = re.compile(r"\.(Get|BatchGet|TransactGet|Query|Scan|Describe|List|ReceiveMessage)")
RANGE = re.compile(r"bytes=\d*-\d*(,\s*\d*-\d*)*")
FORM = re.compile(r"application/x-www-form-urlencoded|multipart/form-data", re.IGNORECASE)
POLL_SECONDS = 0.05

_alive = threading.Lock()  # moto's state is one per process

Observer = Callable[[Request, Answer], None]


class Guard:
    def __init__(
        self,
        keys: sigv4.Keys,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        observe: Observer = lambda request, answer: None,
    ) -> None:
        self.keys = keys
        self.lock = threading.RLock()
        self.changes = 0
        self._activity = threading.Condition()
        self._clock = clock
        self._observe = observe
        self._patches = ExitStack()
        if not _alive.acquire(blocking=False):
            raise RuntimeError("this process already runs a stack, and moto keeps one state per process")
        BackendDict.reset()
        reset_model_data()
        self._patches.enter_context(events.as_aws())
        self._patches.enter_context(multiparts.as_aws())
        self._patches.enter_context(transactions.as_aws())
        # A link says nothing of the service in its headers, and moto would guess it from the body: S3 has its own door.
        self._storage = create_backend_app("s3")
        self._others = DomainDispatcherApplication(create_backend_app)

    def close(self) -> None:
        self._patches.close()
        with self.lock:
            BackendDict.reset()
            reset_model_data()
        _alive.release()

    def __call__(self, request: Request) -> Answer:
        try:
            answer = self._answer(request)
        except sigv4.Refused as refused:
            answer = _refusal(request, refused)
        bare = [(name, value) for name, value in answer.headers if not name.lower().startswith("access-control-")]
        if request.method == "OPTIONS":
            bare = list(answer.headers)
        answer = Answer(answer.status, [*bare, *cors.actual(self._cors_rules(request), request)], answer.body)
        self._observe(request, answer)
        return answer

    def bucket(self, name: str) -> FakeBucket | None:
        return s3_backends[ACCOUNT]["aws"].buckets.get(name)

    def queues(self) -> dict[str, Queue]:
        return sqs_backends[ACCOUNT][self.keys.region].queues

    def has_message(self, queue: str) -> bool:
        """Whether a receive could return something or move something to the dead letters."""
        with self.lock:
            return any(m.visible and not m.delayed for m in self.queues()[queue]._messages)

    def wait(self, seconds: float) -> None:
        """Returns after the next change, or after `seconds`."""
        with self._activity:
            self._activity.wait(seconds)

    def _answer(self, request: Request) -> Answer:
        path = request.path
        if path.startswith(("/moto-api", "/latest/", "/favicon.ico")):
            raise sigv4.Refused(403, "AccessDenied", "Access Denied")
        if request.method == "OPTIONS":
            return self._preflight(request)
        chunked = request.header("transfer-encoding") is not None
        if chunked and request.header("x-amz-decoded-content-length") is None:
            message = "A header you provided implies functionality that is not implemented"
            raise sigv4.Refused(501, "NotImplemented", message, Header="Transfer-Encoding")
        if sigv4.is_post_form(request) and not request.header("authorization"):
            return self._post_form(request)
        service = sigv4.verify(request, self.keys, self._clock())
        if service == "sqs":
            return self._queue_call(request)
        if service == "s3":
            return self._storage_call(self._prepare_storage(request))
        return self._forward(request, self._others)

    def _prepare_storage(self, request: Request) -> Request:
        query = dict(sigv4.query_pairs(request.query))
        for name, value in query.items():
            if name.startswith("response-") and not value.isascii():
                message = "Header value cannot be represented using ISO-8859-1."
                raise sigv4.Refused(400, "InvalidArgument", message, ArgumentName=name)
        bucket = self.bucket(_bucket_name(request))
        if "uploadId" in query and bucket is not None and query["uploadId"] not in bucket.multiparts:
            message = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been"
            raise sigv4.Refused(404, "NoSuchUpload", f"{message} aborted or completed.", UploadId=query["uploadId"])
        wanted = request.header("range")
        if wanted is not None and not RANGE.fullmatch(wanted):  # S3 ignores it, moto fails on it
            kept = [(name, value) for name, value in request.headers if name.lower() != "range"]
            return replace(request, headers=kept)
        return request

    def _storage_call(self, request: Request) -> Answer:
        """moto takes a PUT of a form's type, which is what curl sends unless told otherwise, apart and loses it."""
        kind = request.header("content-type") or ""
        if not FORM.match(kind):
            return self._forward(request, self._storage)
        plain = [(name, value) for name, value in request.headers if name.lower() != "content-type"]
        with self.lock:
            answer = self._forward(replace(request, headers=plain), self._storage)
            name, _, key = unquote(request.path.lstrip("/")).partition("/")
            bucket = self.bucket(name)
            if request.method == "PUT" and answer.status == 200 and bucket is not None and key in bucket.keys:
                bucket.keys[key].metadata["content-type"] = kind
        return answer

    def _queue_call(self, request: Request) -> Answer:
        """A long poll waits outside the lock: moto would sleep inside it and nothing could ever arrive."""
        if request.header("x-amz-target") != "AmazonSQS.ReceiveMessage":
            return self._forward(request, self._others)
        body = json.loads(request.body)
        queue: Any = self.queues().get(body["QueueUrl"].rpartition("/")[2])
        default = queue.receive_message_wait_time_seconds if queue is not None else 0
        until = time.monotonic() + int(body.get("WaitTimeSeconds", default or 0))
        raw = json.dumps(body | {"WaitTimeSeconds": 0}).encode()
        request = replace(request, body=raw)
        while True:
            answer = self._forward(request, self._others)
            if b'"Messages"' in answer.body or answer.status != 200 or time.monotonic() >= until:
                return answer
            self.wait(POLL_SECONDS)

    def _post_form(self, request: Request) -> Answer:
        mime, options = parse_options_header(request.header("content-type") or "")
        parser = FormDataParser(max_form_parts=100)
        try:
            _, form, files = parser.parse(io.BytesIO(request.body), mime, len(request.body), options)
        except ValueError:
            raise sigv4.Refused(400, "MalformedPOSTRequest", "The body is not well-formed form data.") from None
        fields = {name.lower(): value for name, value in form.items()}
        if len(files.getlist("file")) != 1:
            raise sigv4.Refused(400, "InvalidArgument", "POST requires exactly one file upload per request.")
        file = files["file"]
        with file.stream:
            content = file.stream.read()
        bucket = _bucket_name(request)
        sigv4.verify_post(fields, len(content), bucket, self.keys, self._clock())
        key = fields["key"].replace("${filename}", (file.filename or "").rpartition("/")[2])
        with self.lock:
            if self.bucket(bucket) is None:
                raise sigv4.Refused(404, "NoSuchBucket", "The specified bucket does not exist", BucketName=bucket)
            stored = s3_backends[ACCOUNT]["aws"].put_object(bucket, key, content, request_method="POST")
            stored.set_metadata({name: value for name, value in fields.items() if name.startswith("x-amz-meta-")})
            kept = ("content-type", "content-disposition", "content-encoding", "cache-control", "expires")
            stored.metadata.update({name: fields[name] for name in kept if name in fields})
        self._changed()
        headers = [("ETag", stored.etag), ("Location", f"/{bucket}/{key}")]
        if redirect := fields.get("success_action_redirect"):
            return Answer(303, [("ETag", stored.etag), ("Location", redirect)])
        if fields.get("success_action_status") == "201":
            facts = {"Location": f"/{bucket}/{key}", "Bucket": bucket, "Key": key, "ETag": stored.etag}
            return Answer(201, [*headers, ("Content-Type", "application/xml")], _xml("PostResponse", facts))
        return Answer(200 if fields.get("success_action_status") == "200" else 204, headers)

    def _forward(self, request: Request, moto: Callable[..., Iterable[bytes]]) -> Answer:
        status = "500"
        headers: list[tuple[str, str]] = []

        def start_response(line: str, fields: list[tuple[str, str]], error: object = None) -> Callable[[bytes], None]:
            nonlocal status
            status = line
            headers[:] = fields
            return lambda data: None

        with self.lock:
            chunks = moto(_environ(request), start_response)
            body = b"".join(chunks)
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        target = request.header("x-amz-target") or ""
        if not READS.search(target) if target else request.method not in ("GET", "HEAD"):
            self._changed()
        return Answer(int(status.split()[0]), headers, body)

    def _changed(self) -> None:
        with self._activity:
            self.changes += 1
            self._activity.notify_all()

    def _preflight(self, request: Request) -> Answer:
        rules = self._cors_rules(request)
        headers = cors.preflight(rules, request)
        if headers is None:
            reason = "This CORS request is not allowed." if rules else "CORS is not enabled for this bucket."
            raise sigv4.Refused(403, "AccessForbidden", f"CORSResponse: {reason}")
        return Answer(200, headers)

    def _cors_rules(self, request: Request) -> list[cors.CorsRule]:
        bucket = self.bucket(_bucket_name(request))
        return [
            cors.CorsRule(
                tuple(rule.allowed_origins or ()),
                tuple(rule.allowed_methods or ()),
                tuple(rule.allowed_headers or ()),
                tuple(rule.exposed_headers or ()),
                int(rule.max_age_seconds) if rule.max_age_seconds is not None else None,
            )
            for rule in (bucket.cors if bucket is not None else ())
        ]


def _bucket_name(request: Request) -> str:
    return unquote(request.path.lstrip("/").partition("/")[0])


def _environ(request: Request) -> dict[str, Any]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(request.path, "latin-1"),
        "QUERY_STRING": request.query,
        "RAW_URI": request.target,
        "REQUEST_URI": request.target,
        "REMOTE_ADDR": request.client,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    preserved: dict[str, str] = {}
    for name, value in request.headers:
        key = environ_key_for_header(name)
        environ[key] = f"{environ[key]},{value}" if key in environ else value
        if "_" in name:  # WSGI would turn x-amz-meta-a_b into x-amz-meta-a-b
            preserved[key] = name
    environ[PRESERVED_HEADER_NAMES_ENVIRON_KEY] = preserved
    environ["CONTENT_LENGTH"] = str(len(request.body))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    return environ


JSON_CODES = {
    "AccessDenied": ("MissingAuthenticationTokenException", "Request is missing Authentication Token"),
    "InvalidAccessKeyId": ("UnrecognizedClientException", "The security token included in the request is invalid."),
    "InvalidToken": ("UnrecognizedClientException", "The security token included in the request is invalid."),
    "SignatureDoesNotMatch": ("InvalidSignatureException", None),
    "RequestTimeTooSkewed": ("InvalidSignatureException", "Signature expired"),
}


def _refusal(request: Request, refused: sigv4.Refused) -> Answer:
    if request.header("x-amz-target") is not None:
        code, message = JSON_CODES.get(refused.code, ("IncompleteSignatureException", None))
        body = {"__type": f"com.amazon.coral.service#{code}", "message": message or refused.message}
        return Answer(400, [("Content-Type", "application/x-amz-json-1.0")], json.dumps(body).encode())
    facts = {"Code": refused.code, "Message": refused.message, **refused.facts, "RequestId": "0" * 16}
    return Answer(refused.status, [("Content-Type", "application/xml")], _xml("Error", facts))


def _xml(name: str, facts: dict[str, str]) -> bytes:
    inner = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in facts.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}>{inner}</{name}>'.encode()
