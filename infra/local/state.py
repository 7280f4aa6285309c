"""`State`: what outlives the stack, in one folder: objects, items, messages and the stack's own keys.

Guarantees: `state.jsonl` is replaced as a whole, so it is one moment of storage, table and queues together; a message
that was being worked on is waiting again after a restart, and that delivery is not counted against it; files with
secrets in them are for their owner only; one stack at a time uses a folder. Multipart uploads that are not complete
are not kept: the client's next call answers 404 NoSuchUpload and it starts over.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import string
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.utilities import dynamo_json_dump
from moto.s3.models import FakeKey, s3_backends
from moto.sqs.models import Message

from .deployment import Deployment
from .guard import ACCOUNT, Guard

VERSION = 1
SAVE_SECONDS = 2
REST = 5  # times as long as a save took: a large state does not keep the stack busy with saving itself

Line = dict[str, Any]


class StateError(Exception):
    """The folder cannot be used; the message says why."""


@dataclass
class Identity:
    """Chosen at the first start; the links that were signed with it stay good."""

    access_key: str
    secret_key: str
    storage_port: int = 0
    api_key: str | None = None


class State:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StateError(f"another stack is using {folder}") from None
        self._file = folder / "state.jsonl"
        self._objects = folder / "objects"
        self._objects.mkdir(exist_ok=True, mode=0o700)
        self._identity_file = folder / "identity.json"
        self._saved = -1
        self._saving = threading.Lock()
        self._stop = threading.Event()
        self._saver: threading.Thread | None = None
        self._failure: OSError | None = None

    def close(self) -> None:
        os.close(self._lock)

    def identity(self) -> Identity:
        if self._identity_file.exists():
            return Identity(**json.loads(self._identity_file.read_text()))
        access = "AKIA" + "".join(secrets.choice(string.ascii_uppercase + "234567") for _ in range(16))
        identity = Identity(access, secrets.token_urlsafe(30))
        self.keep(identity)
        return identity

    def keep(self, identity: Identity) -> None:
        _replace(self._identity_file, json.dumps(asdict(identity), indent=1))

    def describe(self, identity: Identity, endpoint: str, region: str, outputs: Mapping[str, str]) -> None:
        """For `infra.admin --local`: where the stack of this folder is, and what it is made of."""
        told = {"endpoint": endpoint, "region": region, "outputs": dict(outputs)}
        keys = {"access_key": identity.access_key, "secret_key": identity.secret_key}
        _replace(self.folder / "stack.json", json.dumps(told | keys, indent=1))

    # ------------------------------------------------------------------ saving

    def save(self, guard: Guard, deployment: Deployment) -> None:
        with self._saving:
            if guard.changes != self._saved:
                self._save(guard, deployment)

    def _save(self, guard: Guard, deployment: Deployment) -> None:
        self._write_new_objects(guard, deployment)
        with guard.lock:
            changes = guard.changes
            objects = [line for name in deployment.buckets for line in self._bucket(name)]
            items = [line for name in deployment.tables for line in _items(guard, name)]
            messages = [line for name in deployment.queues for line in _messages(guard, name)]
        head: Line = {"kind": "tessera-local-state", "version": VERSION}
        _replace(self._file, "".join(dynamo_json_dump(line) + "\n" for line in (head, *objects, *items, *messages)))
        kept = {line["file"] for line in objects}
        for path in self._objects.iterdir():
            if path.name not in kept:
                path.unlink()
        self._saved = changes

    def save_often(self, guard: Guard, deployment: Deployment) -> None:
        """Starts saving in the background, until `stop`."""

        def run() -> None:
            rest = float(SAVE_SECONDS)
            while not self._stop.wait(rest):
                started = time.monotonic()
                try:
                    self.save(guard, deployment)
                except OSError as error:  # a full disk: `stop` raises it
                    self._failure = error
                    return
                rest = max(SAVE_SECONDS, REST * (time.monotonic() - started))

        self._saver = threading.Thread(target=run, daemon=True)
        self._saver.start()

    def stop(self) -> None:
        self._stop.set()
        if self._saver is not None:
            self._saver.join()
        if self._failure is not None:
            raise self._failure

    def _write_new_objects(self, guard: Guard, deployment: Deployment) -> None:
        """Ahead of the one moment that is saved: writing a large object must not hold up the calls."""
        with guard.lock:
            keys = [(name, key) for name in deployment.buckets for key in _keys(name)]
        for name, key in keys:
            path = self._path(name, key)
            if not path.exists():
                with guard.lock:
                    content = None if key.disposed else key.value
                if content is not None:
                    _replace(path, content)

    def _path(self, bucket: str, key: FakeKey) -> Path:
        identity = json.dumps([bucket, key.name, key.etag, key.last_modified.isoformat()])
        return self._objects / hashlib.sha256(identity.encode()).hexdigest()[:40]

    def _bucket(self, name: str) -> Iterator[Line]:
        for key in _keys(name):
            path = self._path(name, key)
            if not path.exists():
                _replace(path, key.value)
            yield {
                "kind": "object",
                "bucket": name,
                "key": key.name,
                "etag": key.etag,
                "modified": key.last_modified.isoformat(),
                "metadata": dict(key.metadata),
                "file": path.name,
            }

    # ------------------------------------------------------------------ restoring

    def restore(self, guard: Guard, deployment: Deployment) -> None:
        """Fills the new, empty resources; no events are sent for what comes back."""
        if not self._file.exists():
            return
        known = {"object": deployment.buckets, "item": deployment.tables, "message": deployment.queues}
        with guard.lock, self._file.open() as lines:
            head = json.loads(next(lines))
            if head != {"kind": "tessera-local-state", "version": VERSION}:
                raise StateError(f"{self._file} was written by another version: start with an empty folder")
            for text in lines:
                line: Line = json.loads(text)
                owner = line.get("bucket") or line.get("table") or line.get("queue")
                if owner not in known[line["kind"]]:
                    raise StateError(f"{self._file} has a {line['kind']} of {owner}, which the template does not make")
                if line["kind"] == "object":
                    self._restore_object(line)
                elif line["kind"] == "item":
                    _restore_item(guard, line)
                else:
                    _restore_message(guard, line)

    def _restore_object(self, line: Line) -> None:
        content = (self._objects / line["file"]).read_bytes()
        key = s3_backends[ACCOUNT]["aws"].put_object(
            line["bucket"], line["key"], content, etag=line["etag"].strip('"'), disable_notification=True
        )
        key.metadata.update(line["metadata"])
        key.last_modified = datetime.fromisoformat(line["modified"])


def _keys(bucket: str) -> Iterator[FakeKey]:
    keys = s3_backends[ACCOUNT]["aws"].buckets[bucket].keys
    return (key for key in (keys[name] for name in keys) if isinstance(key, FakeKey))  # the rest: delete markers


def _items(guard: Guard, name: str) -> Iterator[Line]:
    for item in dynamodb_backends[ACCOUNT][guard.keys.region].tables[name].all_items():
        yield {"kind": "item", "table": name, "item": item.to_json()["Attributes"]}


def _messages(guard: Guard, name: str) -> Iterator[Line]:
    for message in guard.queues()[name]._messages:
        taken = not message.visible
        yield {
            "kind": "message",
            "queue": name,
            "id": message.id,
            "body": message.body,
            "attributes": message.message_attributes,
            "sent": message.sent_timestamp,
            "received": max(0, message.approximate_receive_count - taken),
            "delayed_until": message.delayed_until,
        }


def _restore_item(guard: Guard, line: Line) -> None:
    """An item whose time to live is over does not come back: moto itself never lets one go."""
    tables = dynamodb_backends[ACCOUNT][guard.keys.region]
    lifetime = line["item"].get(tables.tables[line["table"]].ttl.get("AttributeName", ""), {})
    if float(lifetime.get("N", "inf")) > time.time():
        tables.put_item(line["table"], line["item"])


def _restore_message(guard: Guard, line: Line) -> None:
    message = Message(line["id"], line["body"])
    message.message_attributes = line["attributes"]
    message.sent_timestamp = line["sent"]
    message.approximate_receive_count = line["received"]
    message.delayed_until = line["delayed_until"]
    guard.queues()[line["queue"]].add_message(message)


def _replace(path: Path, content: str | bytes) -> None:
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
