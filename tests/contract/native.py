"""A caller of our own routes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.contract import reference
from tests.contract.upscayl import Body
from tests.world import World, png

UNKNOWN_TASK = "30a89e69-c702-4247-9905-f0a53dfa45ab"
ACCOUNT, MODELS, ESTIMATE = "/v1/account", "/v1/models", "/v1/estimate"
TASKS, CANCEL, DELETE = "/v1/tasks", "/v1/tasks/cancel", "/v1/tasks/delete"
PARTS, LIST, ABORT = "/v1/uploads/parts", "/v1/uploads/parts/list", "/v1/uploads/abort"
WEBHOOK, SECRET, ROTATE = "/v1/tasks/webhook", "/v1/webhook-secret", "/v1/webhook-secret/rotate"
READS = (ACCOUNT, MODELS)
WRITES = (ESTIMATE, TASKS, CANCEL, DELETE, WEBHOOK, PARTS, LIST, ABORT)
BARE = (SECRET, ROTATE)  # nothing has to be said


@dataclass
class Native:
    world: World
    key: str | None

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        """`body`: a JSON value, or bytes as they are."""
        method = "GET" if path in READS else "POST"
        raw = body if isinstance(body, bytes) else b"" if method == "GET" else json.dumps(body).encode()
        sent = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        answer = self.world.request(path, raw, sent, self.key, method=method)
        told = {name.lower(): value for name, value in answer["headers"].items()}
        assert told["content-type"] == "application/json"
        assert (told["cache-control"], told["x-content-type-options"]) == ("no-store", "nosniff")
        said = json.loads(answer["body"])
        if answer["statusCode"] == 200:
            assert said.keys() == {"status", "data"} and said["status"] == "success"
        else:
            assert {name: type(value) for name, value in said.items()} == {"error": str, "message": str}
        if path in reference.DOCUMENT["paths"]:
            reference.check(path, method, answer["statusCode"], said)
        return answer["statusCode"], answer["body"].encode()

    def get(self, path: str, body: Any = None, status: int = 200, **headers: str) -> Body:
        """The answer's data, or the whole answer of a refusal."""
        code, raw = self.ask(path, body, **headers)
        assert code == status, raw
        said: Body = json.loads(raw)
        return said["data"] if status == 200 else said

    def upload(self, body: bytes | None = None, event: bool = True) -> Body:
        assert self.key is not None
        return {"fileName": self.world.upload(self.key, body or png(), event=event)["fileName"]}

    def start(self, *files: Body, **fields: Any) -> str:
        return str(self.get(TASKS, {"files": list(files), **fields})["taskId"])

    def status(self, task: str) -> Body:
        assert self.key is not None
        return self.world.status(self.key, task)

    def ticket(self, size: int = 20_000_000) -> Body:
        """Of a multipart upload: uploadId and key."""
        wish = {"originalFileName": "a.png", "fileType": "image/png", "fileSize": size, "multipart": True}
        status, answer = self.world.post("/get-upload-url", wish, self.key)
        assert status == 200, answer
        return {name: answer["data"][name] for name in ("uploadId", "key")}

    def send_part(self, ticket: Body, number: int, body: bytes) -> str:
        client = self.world.services.storage.client
        sent = client.upload_part(
            Bucket="tessera-test", Key=ticket["key"], UploadId=ticket["uploadId"], PartNumber=number, Body=body
        )
        return str(sent["ETag"])

    @property
    def balance(self) -> int:
        assert self.key is not None
        return self.world.balance(self.key)

    def objects(self) -> list[str]:
        listed = self.world.services.storage.client.list_objects_v2(Bucket="tessera-test")
        return [entry["Key"] for entry in listed.get("Contents", [])]
