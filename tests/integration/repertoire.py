"""All that the functions of template.yaml ever ask AWS for: in their usual course, and when something is late, lost,
broken or over. `walk` plays it through; what was asked for is in the cloud's recorder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest
from tessera import accounts, ids, outbound, sources, starts, uploads
from tessera.job import Job, JobError, Outcome
from tessera.recipe import Encode, Recipe, Upscale
from tessera.storage import parse_upload_key
from tessera.webhooks import Hook

from tests.contract.upscayl import Part, form
from tests.integration.cloud import Cloud
from tests.world import key_of, png

Jobs = Callable[[], Sequence[Job]]  # those that were handed over since the last time

CORRUPT = Outcome(status="failed", error=JobError(code="corrupt_image", message="Damaged", retryable=False))
HICCUP = Outcome(status="failed", error=JobError(code="internal", message="Something broke", retryable=True))
DAYS = 86_400
NOWHERE = "https://receiver.invalid/"
RECIPE = Recipe(operations=(Upscale(model="upscayl-standard-4x", scale=4), Encode(format="png")))


class Walk:
    def __init__(self, cloud: Cloud, jobs: Jobs) -> None:
        self.cloud = cloud
        self.jobs = jobs
        self.key = cloud.account(credits=100)
        self.pictures = 0
        self.uploaded = ""  # key of the last upload of a task with a webhook

    def picture(self) -> bytes:
        """Another one each time: a repeat would be answered from storage."""
        self.pictures += 1
        return png(6 + self.pictures, 4)

    def started(self, body: bytes | None = None) -> str:
        return self.cloud.start(self.key, self.cloud.upload(self.key, body or self.picture()))

    def running(self, body: bytes | None = None) -> tuple[str, Job]:
        task = self.started(body)
        (job,) = self.dispatched()
        return task, job

    def dispatched(self) -> Sequence[Job]:
        assert self.cloud.feed("DispatchFunction") == 0
        return self.jobs()

    def state(self, task: str) -> str:
        return str(self.cloud.status(self.key, task)["status"])

    # ------------------------------------------------------------ the usual course, and what callers do wrong

    def a_picture_and_its_repeat(self) -> None:
        body = self.picture()
        task, job = self.running(body)
        assert self.state(task) == "processing"  # no report yet
        self.cloud.tick("AuditFunction")  # while credits are held
        self.cloud.finish(job)
        assert self.state(task) == "completed"
        repeat = self.started(body)
        assert self.dispatched() == []
        assert self.cloud.feed("OnResultFunction") == 0
        assert self.state(repeat) == "completed"
        assert self.cloud.post("/get-upscayl-history", {}, self.key)[0] == 200

    def a_repeat_while_the_first_is_at_work(self) -> None:
        body = self.picture()
        _, first = self.running(body)
        _, second = self.running(body)
        for job in (first, second):
            self.cloud.finish(job)

    def a_file_in_parts(self) -> None:
        body = self.picture()
        wish = {"originalFileName": "a.png", "fileType": "image/png", "fileSize": len(body), "multipart": True}
        ticket: Any = self.cloud.post("/get-upload-url", wish, self.key)[1]["data"]
        name = {"Bucket": self.cloud.services.settings.bucket, "Key": ticket["key"], "UploadId": ticket["uploadId"]}
        part = self.cloud.services.storage.client.upload_part(**name, PartNumber=1, Body=body)
        made = {"parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        wish = {"uploadId": ticket["uploadId"], "key": ticket["key"], **made}
        assert self.cloud.post("/complete-multipart-upload", wish, self.key)[0] == 200
        assert self.cloud.feed("OnUploadFunction") == 0

    # ------------------------------------------------------------ our own routes

    def account_and_models(self) -> None:
        assert self.cloud.get("/v1/account", self.key)[0] == 200
        assert self.cloud.get("/v1/models", self.key)[0] == 200
        assert self.cloud.post("/v1/estimate", {"files": [{"width": 6, "height": 4}]}, self.key)[0] == 200
        assert self.cloud.get("/openapi.json")[0] == 200

    def a_task_that_is_cancelled(self) -> None:
        """Before its event, and with what the watchdog does about a job that is under way."""
        data = self.cloud.upload(self.key, self.picture(), event=False)
        status, answer = self.cloud.post("/v1/tasks", {"files": [{"fileName": data["fileName"]}]}, self.key)
        assert status == 200, answer
        cancelled = self.cloud.post("/v1/tasks/cancel", {"taskId": answer["data"]["taskId"]}, self.key)[1]
        assert cancelled["data"]["status"] == "cancelled"
        gone = self.cloud.upload(self.key, self.picture(), event=False)
        self.cloud.remove(key_of(gone["uploadURL"]))
        assert self.cloud.post("/v1/tasks", {"files": [{"fileName": gone["fileName"]}]}, self.key)[0] == 400
        task, _ = self.running()
        assert self.cloud.post("/v1/tasks/cancel", {"taskId": task}, self.key)[0] == 200
        self.cloud.tick("WatchdogFunction")

    def a_task_that_is_deleted(self) -> None:
        task, job = self.running()
        self.cloud.finish(job)
        status, answer = self.cloud.post("/v1/tasks/delete", {"taskId": task}, self.key)
        assert (status, answer["data"]["deleted"]) == (200, 1)

    def parts_that_are_given_up(self) -> None:
        wish = {"originalFileName": "a.png", "fileType": "image/png", "fileSize": 9, "multipart": True}
        data: Any = self.cloud.post("/get-upload-url", wish, self.key)[1]["data"]
        of = {name: data[name] for name in ("uploadId", "key")}
        assert self.cloud.post("/v1/uploads/parts", {**of, "partNumbers": [1]}, self.key)[0] == 200
        assert self.cloud.post("/v1/uploads/parts/list", of, self.key)[0] == 200
        assert self.cloud.post("/v1/uploads/abort", of, self.key)[0] == 200

    def a_page_with_a_token(self) -> None:
        def page(method: str, path: str, body: Any = None) -> tuple[int, Any]:
            answer = self.cloud.request(path, b"" if body is None else json.dumps(body).encode(), {}, None, method)
            return answer["statusCode"], json.loads(answer["body"])

        own = self.cloud.account(key="a-key-of-the-operators-own-form")  # which a row leads to
        made: Any = self.cloud.post("/v1/upload-tokens", {"maxBytes": 10}, own)[1]["data"]
        base = f"/u/{made['token']}/s3"
        assert page("GET", f"{base}/params?filename=a.png&type=image/png")[0] == 200
        client = self.cloud.services.storage.client
        for body, end in ((b"small", 200), (b"more than ten bytes", 413), (b"gone", 404)):
            begun = page("POST", f"{base}/multipart", {"filename": "a.png", "type": "image/png"})[1]
            upload, of = f"{base}/multipart/{begun['uploadId']}", f"key={begun['key']}"
            assert page("GET", f"{upload}/1?{of}")[0] == 200
            name = {"Bucket": begun["bucket"], "Key": begun["key"], "UploadId": begun["uploadId"]}
            part = client.upload_part(**name, PartNumber=1, Body=body)
            assert page("GET", f"{upload}?{of}")[0] == 200
            if end == 404:
                assert page("DELETE", f"{upload}?{of}")[0] == 200
            parts = {"parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
            assert page("POST", f"{upload}/complete?{of}", parts)[0] == end
        assert self.cloud.feed("OnUploadFunction") == 0

    # ------------------------------------------------------------ SupaRes

    def supares(self) -> None:
        auth = {"authorization": f"Bearer {self.key}"}

        def ask(method: str, path: str, raw: bytes = b"", **headers: str) -> tuple[int, Any]:
            answer = self.cloud.request(f"/supares/1.0/{path}", raw, auth | headers, method=method)
            return answer["statusCode"], json.loads(answer["body"])

        assert ask("GET", "account")[0] == 200
        own = {"authorization": f"Bearer {self.cloud.account(key='another-key-of-the-operators-form')}"}
        assert self.cloud.request("/supares/1.0/account", b"", own, method="GET")["statusCode"] == 200
        steps = Part.json("data", {"superres": {"factor": 4}, "webhook": {"url": NOWHERE}})
        for body, end in ((self.picture(), 200), (b"no picture", 422)):
            raw, kind = form(steps, Part("file", body, "a.png"))
            status, accepted = ask("POST", "upload", raw, **{"content-type": kind, "idempotency-key": f"for-{end}"})
            assert status == 202, accepted
            assert self.cloud.feed("OnUploadFunction") == 0
            for job in self.dispatched():
                self.cloud.finish(job)
            assert ask("GET", f"results/{accepted['id']}")[0] == end
        known = self.cloud.upload(self.key, b"no picture")["fileName"]
        stored = uploads.store
        with pytest.MonkeyPatch.context() as patch:
            # its event was faster than the start, which refuses it and tells of it
            patch.setattr(uploads, "store", lambda *given: stored(*given) and known)
            raw, kind = form(steps, Part("file", b"no picture", "a.png"))
            assert ask("POST", "upload", raw, **{"content-type": kind})[0] == 202
        assert ask("POST", "fetch", b'{"url": "https://pictures.example/a.png", "superres": {"factor": 2}}')[0] == 202
        self.cloud.lose("WorkQueue")

    # ------------------------------------------------------------ events that are late, or of what is no picture

    def starts_before_the_event(self) -> None:
        for body, end in ((self.picture(), "pending"), (b"no picture", "failed")):
            task = self.cloud.start(self.key, self.cloud.upload(self.key, body, event=False))
            assert self.cloud.feed("OnUploadFunction") == 0
            assert self.state(task) == end
        self.dispatched()

    def an_upload_that_was_removed(self) -> None:
        data = self.cloud.upload(self.key, self.picture(), event=False)
        self.cloud.remove(key_of(data["uploadURL"]))
        assert self.cloud.feed("OnUploadFunction") == 0
        wish = {"files": [{name: data[name] for name in ("fileName", "fileType", "fileSize")}]}
        assert self.cloud.post("/start-task", wish, self.key)[0] == 400

    # ------------------------------------------------------------ pictures by URL

    def by_url(self, *answers: Callable[[], httpx.Response], loses: bool = False, hook: Hook | None = None) -> None:
        """A task whose source answers so, one message after the other; `loses` the event of what was fetched."""
        services, told = self.cloud.services, list(answers)
        who = accounts.credential(services, self.key)

        def client(*_: Any, **__: Any) -> httpx.Client:
            return httpx.Client(transport=httpx.MockTransport(lambda request: told.pop(0)()))

        wanted = (starts.Wanted.fetched(services, "https://pictures.example/a.png"),)
        self.latest = starts.start(services, who, wanted, RECIPE, terms=starts.Terms(hook=hook))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(outbound, "client", client)
            for n in range(len(answers) + loses):
                if n:
                    self.cloud.clock.forward(sources.LEASE / 1000 + 61)
                    self.cloud.tick("WatchdogFunction")
                assert self.dispatched() == []
                assert self.cloud.feed("FetchSourceFunction") == 0
                if loses and not n:
                    self.cloud.lose("UploadEventQueue")

    def pictures_by_url(self) -> None:
        def cut() -> Iterator[bytes]:
            yield bytes(9 * 1024 * 1024)
            raise httpx.ReadError("cut off")

        def good() -> httpx.Response:
            return httpx.Response(200, content=iter((self.picture(),)))

        self.by_url(lambda: httpx.Response(404))
        self.by_url(lambda: httpx.Response(200, content=cut()), good)
        assert self.cloud.feed("OnUploadFunction") == 0
        (job,) = self.dispatched()
        self.cloud.finish(job)
        self.by_url(good, loses=True)
        (job,) = self.dispatched()
        self.cloud.finish(job)

        def deleted() -> httpx.Response:
            task = ids.to_uuid(self.latest)
            assert self.cloud.post("/v1/tasks/delete", {"taskId": task}, self.key)[0] == 200
            return good()

        self.by_url(deleted)
        assert self.cloud.feed("OnUploadFunction") == 0

    # ------------------------------------------------------------ workers that fail

    def failures(self) -> None:
        task, job = self.running()
        self.cloud.finish(job, HICCUP)
        (again,) = self.dispatched()
        self.cloud.finish(again, CORRUPT)
        assert self.state(task) == "failed"

    def a_result_that_was_removed(self) -> None:
        _, job = self.running()
        self.cloud.remove(self.cloud.work(job, event=False))
        assert self.cloud.feed("OnResultFunction") == 0

    # ------------------------------------------------------------ what the watchdog finds

    def lost_messages(self) -> None:
        task, job = self.running()
        self.cloud.work(job, event=False)
        self.cloud.lose("ResultEventQueue")
        waiting = self.started()
        self.cloud.lose("WorkQueue")
        self.cloud.clock.forward(61)
        self.cloud.tick("WatchdogFunction")
        assert self.state(task) == "completed"
        (job,) = self.dispatched()
        self.cloud.finish(job)
        assert self.state(waiting) == "completed"

    def workers_that_say_nothing(self) -> None:
        task, job = self.running()
        self.cloud.clock.forward(self.cloud.services.settings.lease_seconds + 1)
        self.cloud.tick("WatchdogFunction")
        self.cloud.poller.send_message(QueueUrl=self.cloud.queue("JobDeadLetters"), MessageBody=job.model_dump_json())
        assert self.cloud.feed("WatchdogFunction") == 0
        self.cloud.clock.forward(self.cloud.services.settings.task_deadline_seconds)
        self.cloud.tick("WatchdogFunction")
        assert self.state(task) == "failed"

    # ------------------------------------------------------------ webhooks

    def hooked(self, *bodies: bytes, delay: int = 0, event: bool = True) -> str:
        """A task with a webhook to a server that is not there."""
        data = [self.cloud.upload(self.key, body, event=event) for body in bodies]
        self.uploaded = key_of(data[-1]["uploadURL"])
        files = [{"fileName": each["fileName"]} for each in data]
        wish = {"files": files, "webhook": {"url": NOWHERE, "delay": delay}}
        status, answer = self.cloud.post("/v1/tasks", wish, self.key)
        assert status == 200, answer
        return str(answer["data"]["taskId"])

    def webhook(self, task: str) -> str:
        status, answer = self.cloud.post("/v1/tasks/webhook", {"taskId": task}, self.key)
        assert status == 200, answer
        return str(answer["data"]["state"])

    def webhooks(self) -> None:
        tasks = []
        for outcome in (None, CORRUPT):  # told by on_result, and tried twice
            tasks.append(self.hooked(self.picture()))
            (job,) = self.dispatched()
            self.cloud.finish(job, outcome)
            assert self.cloud.feed("DeliverWebhookFunction") == 0
        refused = self.hooked(b"no picture")  # by the start
        cancelled = self.hooked(self.picture())  # by its owner
        assert self.cloud.post("/v1/tasks/cancel", {"taskId": cancelled}, self.key)[0] == 200
        late = self.hooked(b"no picture", event=False)  # by on_upload
        assert self.cloud.feed("OnUploadFunction") == 0
        self.by_url(lambda: httpx.Response(404), hook=Hook.after(NOWHERE))  # by fetch_source
        known = self.hooked(b"no picture", event=False)  # by dispatch: on_upload died in the middle
        owner = parse_upload_key(self.uploaded)
        assert owner is not None and uploads.arrived(self.cloud.services, *owner)
        self.cloud.lose("UploadEventQueue")
        assert self.dispatched() == []
        for way in ("", "/rotate"):
            assert self.cloud.post(f"/v1/webhook-secret{way}", {}, self.key)[0] == 200
        self.cloud.clock.forward(240)
        self.cloud.tick("WatchdogFunction")  # whose messages are those of the second attempts
        assert self.cloud.feed("DeliverWebhookFunction") == 0
        assert {self.webhook(task) for task in (*tasks, refused, cancelled, late, known)} == {"pending"}

    # ------------------------------------------------------------ the APIs that fetch and tell

    def fed_by_url(self, picture: bytes) -> Job:
        """What was started by URL, fetched, and handed over."""
        with pytest.MonkeyPatch.context() as patch:
            answers = httpx.MockTransport(lambda request: httpx.Response(200, content=iter((picture,))))
            patch.setattr(outbound, "client", lambda *_, **__: httpx.Client(transport=answers))
            assert self.dispatched() == []
            assert self.cloud.feed("FetchSourceFunction") == 0
        assert self.cloud.feed("OnUploadFunction") == 0
        (job,) = self.dispatched()
        return job

    def pipelines(self) -> None:
        own = self.cloud.account(credits=9, key="another-key-of-the-operators-own-form")
        wish = {
            "source": {"http": {"url": "https://pictures.example/a.png"}},
            "operations": [{"op": "preset/print", "width": 24}],
            "notify_url": NOWHERE,
        }
        told: Any = {}
        for _ in range(2):  # the second is the first again
            raw = json.dumps(wish).encode()
            answer = self.cloud.request("/v1/pipeline/", raw, {"idempotency-key": "once"}, own)
            told = json.loads(answer["body"])
            assert told["status"] == "ACCEPTED", told
        self.cloud.finish(self.fed_by_url(self.picture()))
        shown = self.cloud.get(f"/v1/pipeline/{told['pipeline']['id']}", own)[1]
        assert shown["status"] == "DONE"
        assert self.cloud.get("/v1/me/usage/", own)[0] == 200
        assert self.cloud.feed("DeliverWebhookFunction") == 0

    # ------------------------------------------------------------ the end of everything

    def the_end(self) -> None:
        wish = {"originalFileName": "a.png", "fileType": "image/png", "fileSize": 9, "multipart": True}
        assert self.cloud.post("/get-upload-url", wish, self.key)[0] == 200
        self.cloud.upload(self.key, self.picture(), event=False)
        self.cloud.lose("UploadEventQueue")
        for days in (2, self.cloud.services.settings.history_retention_days):
            self.cloud.clock.forward(days * DAYS + 2 * 3600)
            self.cloud.tick("CleanupFunction")
        assert self.cloud.everything() == []


def walk(cloud: Cloud, jobs: Jobs) -> None:
    script = Walk(cloud, jobs)
    script.a_picture_and_its_repeat()
    script.pictures_by_url()
    script.a_repeat_while_the_first_is_at_work()
    script.a_file_in_parts()
    script.account_and_models()
    script.a_task_that_is_cancelled()
    script.a_task_that_is_deleted()
    script.parts_that_are_given_up()
    script.a_page_with_a_token()
    script.supares()
    script.starts_before_the_event()
    script.an_upload_that_was_removed()
    script.failures()
    script.a_result_that_was_removed()
    script.lost_messages()
    script.workers_that_say_nothing()
    script.webhooks()
    script.pipelines()
    script.the_end()
