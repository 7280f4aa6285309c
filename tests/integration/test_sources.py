"""SUP-07, LE-30, LE-31: pictures by URL, from the start of a task to its result, and whatever a source may do to us.

The source is a real server on this machine, by the deployment's leave (`AllowedAddresses`); no API starts such tasks in
these tests, they call the core.
"""

from __future__ import annotations

import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.client import BaseClient
from moto import mock_aws
from PIL import Image
from tessera import (
    accounts,
    cleanup,
    deletion,
    idempotency,
    lifecycle,
    outbound,
    sources,
    starts,
    storage,
    tasks,
    uploads,
)
from tessera.dispatch import FileRef
from tessera.errors import Invalid, UnknownUpload
from tessera.job import Job
from tessera.recipe import WEB, Encode, Recipe, SourceFormat, Upscale
from tessera.settings import DAYS, SECONDS
from tessera.starts import Terms, Wanted
from tessera.tasks import File, View

from infra.local import multiparts, transactions
from tests.served import Answer, Served
from tests.world import encoded, key_of, make_world, png, s3_message

RECIPE = Recipe(operations=(Upscale(model="upscayl-standard-4x", scale=4), Encode(format="png")))
FORMATS: tuple[SourceFormat, ...] = ("jpeg", "tiff", "png", "bmp", "webp")
WORDS = "Unsupported file type. Allowed: JPEG, PNG, WEBP"
OTHER_WORDS = "Unsupported file type. Allowed: JPEG, TIFF, PNG, BMP, WEBP"
MB = 1024 * 1024


class Source:
    """A world beside a server; `answer` says what it answers next."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: Callable[[str], Answer] = lambda path: Answer.of(png())
        self.server = Served(lambda path: self.answer(path))
        self.world = make_world(monkeypatch, allowed_addresses=self.server.allowed)
        self.key = self.world.account(10)
        self.services = self.world.services
        self.who = accounts.credential(self.services, self.key)

    def says(self, *answers: Answer) -> None:
        """These in turn, the last for ever."""
        told = list(answers)
        self.answer = lambda path: told.pop(0) if len(told) > 1 else told[0]

    def start(self, *paths: str, formats: tuple[SourceFormat, ...] = WEB) -> int:
        wanted = tuple(
            Wanted.fetched(self.services, path if "://" in path else self.server.url + path)
            for path in paths or ("/a.png",)
        )
        return starts.start(self.services, self.who, wanted, RECIPE, terms=Terms(formats=formats))

    def view(self, task: int) -> View:
        return tasks.get(self.services, self.who.account, task)

    def file(self, task: int, nn: int = 0) -> File:
        return self.view(task).files[nn]

    def upload(self, task: int, nn: int = 0) -> dict[str, Any] | None:
        return self.services.table.get(uploads.row_key(self.who.account, self.file(task, nn).upload))

    def key_of(self, task: int, nn: int = 0) -> str:
        return storage.upload_key(self.who.account, self.file(task, nn).upload)

    def messages(self) -> list[FileRef]:
        """Work messages become fetch messages, which are taken."""
        assert self.world.dispatch_all() == []
        bodies = self.world.take(self.services.settings.fetch_queue_url)
        return [FileRef.model_validate_json(body) for body in bodies]

    def fetched(self) -> list[Job]:
        """Everything that can go on goes on, until a worker has a job."""
        assert self.world.dispatch_all() == []
        self.world.fetch_all()
        return self.world.dispatch_all()

    def round(self) -> None:
        self.world.clock.forward(61)
        self.world.watchdog()

    def paid(self) -> int:
        return 10 - self.world.balance(self.key)

    def stored(self) -> list[str]:
        pages = self.services.storage.client.get_paginator("list_objects_v2").paginate(Bucket="tessera-test")
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def open_parts(self) -> list[Any]:
        listed: Any = self.services.storage.client.list_multipart_uploads(Bucket="tessera-test")
        return list(listed.get("Uploads", []))


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    with mock_aws(), transactions.as_aws(), multiparts.as_aws():
        made = Source(monkeypatch)
        with made.server:
            yield made


def failed(source: Source, task: int, reason: str) -> None:
    """And paid back, with nothing left to do."""
    file = source.file(task)
    assert (file.state, file.error) == ("failed", reason)
    assert source.paid() == 0
    assert source.world.dispatch_all() == []
    row = source.upload(task)
    assert row is not None and row["state"] == "rejected"


# ---------------------------------------------------------------- the usual course


def test_sup_07_le_30_a_picture_is_fetched_enlarged_and_paid_for(source: Source) -> None:
    task = source.start("/pictures/caf%C3%A9%20au%20lait.png?size=large")
    (job,) = source.fetched()
    row = source.upload(task)
    assert row is not None
    assert (row["state"], row["format"], row["etag"]) == ("uploaded", "png", job.source_etag)
    source.world.work(job)
    file = source.file(task)
    assert (file.state, file.original, file.source_format, file.source_bytes) == (
        "done", "café au lait.png", "png", len(png()),
    )  # fmt: skip
    assert (file.width, file.height) == (24, 16)
    assert source.paid() == 1
    (sent,) = source.server.sent
    assert sent["accept-encoding"] == "identity"
    assert sent["host"] == f"127.0.0.1:{source.server.port}"
    assert source.server.asked == ["/pictures/caf%C3%A9%20au%20lait.png?size=large"]


def test_two_files_of_one_task_are_fetched_beside_one_that_was_sent(source: Source) -> None:
    ticket = source.world.upload(source.key, png())
    wanted = (
        Wanted.of(ticket["fileName"]),
        *(Wanted.fetched(source.services, f"{source.server.url}/{name}.png") for name in "ab"),
    )
    task = starts.start(source.services, source.who, wanted, RECIPE)
    (first,) = source.world.dispatch_all()
    source.world.fetch_all()
    for job in (first, *source.world.dispatch_all()):
        source.world.work(job)
    assert [file.state for file in source.view(task).files] == ["done"] * 3
    assert [file.original for file in source.view(task).files] == ["photo.png", "a.png", "b.png"]
    assert source.paid() == 3


@pytest.mark.parametrize(
    ("path", "original"),
    [
        ("/a/b.jpg", "b.jpg"), ("/a/b.jpg?x=/c.png#d", "b.jpg"), ("/", "127.0.0.1"), ("", "127.0.0.1"),
        ("/a/", "a"), ("/a%2F..%2Fb.png", "a_.._b.png"), ("/%00%0A.png", "__.png"), ("/" + "x" * 300, "x" * 255),
    ],
)  # fmt: skip
def test_a_picture_is_named_by_the_end_of_its_path(source: Source, path: str, original: str) -> None:
    assert Wanted.fetched(source.services, source.server.url + path).original == original


def test_le_30_an_address_that_cannot_be_is_refused_before_anything_is_written(source: Source) -> None:
    for url in (
        "",
        "a.png",
        "file:///etc/passwd",
        "http://127.0.0.1:1/",
        "http://10.0.0.1/a.png",
        "http://a@b.example/",
    ):
        with pytest.raises(Invalid):
            Wanted.fetched(source.services, url)
    assert source.paid() == 0


def test_a_start_that_is_repeated_fetches_once(source: Source) -> None:
    def start() -> int:
        once = idempotency.once(source.who.account, "the-key", "start", lambda: {"url": "same"})
        return starts.start(
            source.services, source.who, (Wanted.fetched(source.services, source.server.url),), RECIPE, once
        )

    assert start() == start()
    assert len(source.fetched()) == 1
    assert len(source.server.asked) == 1
    assert source.paid() == 1


def test_an_upload_that_is_being_fetched_is_no_file_of_another_task(source: Source) -> None:
    task = source.start()
    name = source.file(task).name
    with pytest.raises(UnknownUpload):
        starts.start(source.services, source.who, (Wanted.of(name),), RECIPE)
    assert source.paid() == 1


# ---------------------------------------------------------------- what no further try changes


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(404), "The picture's server answered 404"),
        (Answer(403), "The picture's server answered 403"),
        (Answer(410), "The picture's server answered 410"),
        (Answer(204, pieces=()), "The picture's server answered 204"),
        (Answer(302, pieces=()), "The picture's server answered 302"),
        (Answer(304, pieces=()), "The picture's server answered 304"),
        (Answer(302, {"Location": "/again"}, ()), sources.TOO_MANY),
        (Answer(302, {"Location": "http://169.254.169.254/latest/"}, ()), sources.FORBIDDEN),
        (Answer(302, {"Location": "http://[::1]/"}, ()), sources.FORBIDDEN),
        (Answer(302, {"Location": "http://127.0.0.1:9/"}, ()), sources.FORBIDDEN),
        (Answer(302, {"Location": "file:///etc/passwd"}, ()), sources.FORBIDDEN),
        (Answer(302, {"Location": "http://nowhere.invalid/"}, ()), sources.UNKNOWN_HOST),
        (Answer(length=uploads.MAX_BYTES + 1), sources.TOO_LARGE),
    ],
)
def test_le_30_what_is_wrong_for_good_fails_at_once_and_is_paid_back(
    source: Source, answer: Answer, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def resolve(host: Any, *more: Any, **options: Any) -> Any:
        if host == b"nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return real(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    source.says(answer)
    task = source.start()
    asked = sources.REDIRECTS + 1 if reason == sources.TOO_MANY else 1
    assert source.fetched() == []
    failed(source, task, reason)
    assert len(source.server.asked) == asked
    assert source.stored() == source.open_parts() == []
    source.round()
    assert len(source.server.asked) == asked


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>no picture</html>", WORDS), (b"", WORDS), (encoded(Image.new("P", (4, 4)), "gif"), WORDS),
        (encoded(Image.new("RGB", (4, 4)), "tiff"), WORDS), (encoded(Image.new("RGB", (4, 4)), "bmp"), WORDS),
        (b"\x89PNG\r\n\x1a\n", "The PNG header is damaged"),
    ],
)  # fmt: skip
def test_sup_07_what_is_no_picture_is_refused_by_its_bytes_whatever_its_header_says(
    source: Source, body: bytes, reason: str
) -> None:
    source.says(Answer.of(body, **{"Content-Type": "image/png"}))
    task = source.start()
    assert source.fetched() == []
    file = source.file(task)
    assert (file.state, file.error) == ("failed", reason)
    assert source.paid() == 0


def test_le_30_three_redirects_are_followed_and_what_they_say_is_not_read(source: Source) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(MB)

    def answer(path: str) -> Answer:
        left = int(path.strip("/"))
        return Answer(307, {"Location": f"/{left - 1}"}, endless()) if left else Answer.of(png())

    source.answer = answer
    source.start("/3")
    assert len(source.fetched()) == 1
    assert source.server.asked == ["/3", "/2", "/1", "/0"]


def test_a_source_without_a_length_is_counted_and_cut_off(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 20 * MB)
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(60):
            sent += 1
            yield bytes(MB)

    source.says(Answer(pieces=pieces()))
    task = source.start()
    assert source.fetched() == []
    failed(source, task, sources.TOO_LARGE)
    assert sent < 40  # what was on its way in buffers
    assert source.stored() == source.open_parts() == []


def test_a_source_of_the_largest_size_is_taken(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 20 * MB)
    body = png() + bytes(20 * MB - len(png()))
    source.says(Answer.of(body))
    source.start()
    (job,) = source.fetched()
    assert source.services.storage.read(key_of(job.source_url)) == body
    assert source.open_parts() == []


# ---------------------------------------------------------------- what may go better next time


def no_dns(*_: Any, **__: Any) -> Any:
    raise socket.gaierror(socket.EAI_AGAIN, "later")


TRANSIENT = [
    (Answer(500), "The picture's server answered 500"),
    (Answer(503), "The picture's server answered 503"),
    (Answer(429), "The picture's server answered 429"),
    (Answer(pieces=(png()[:20],), length=len(png()), cut=True), sources.BROKEN),
    (Answer(pieces=(png(), bytes(9 * MB)), length=30 * MB, cut=True), sources.BROKEN),
]


@pytest.mark.parametrize(("answer", "reason"), TRANSIENT)
def test_le_30_what_may_pass_is_tried_three_times(source: Source, answer: Answer, reason: str) -> None:
    source.says(answer)
    task = source.start()
    for tries in (1, 2):
        assert source.fetched() == []
        row = source.upload(task)
        assert row is not None
        assert (row["state"], row["tries"], row["lease"]) == ("fetching", tries, 0)
        assert source.stored() == source.open_parts() == []
        source.round()
    assert source.fetched() == []
    failed(source, task, reason)
    assert len(source.server.asked) == sources.TRIES
    source.round()
    assert source.fetched() == []
    assert len(source.server.asked) == sources.TRIES


@pytest.mark.parametrize(("answer", "reason"), TRANSIENT)
def test_le_30_a_second_try_may_go_well(source: Source, answer: Answer, reason: str) -> None:
    source.says(answer, Answer.of(png()))
    task = source.start()
    assert source.fetched() == []
    source.round()
    (job,) = source.fetched()
    source.world.work(job)
    assert source.file(task).state == "done"


def test_names_that_cannot_be_asked_for_and_servers_that_are_not_there_may_come_back(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = source.start()
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", no_dns)
        (ref,) = source.messages()
        sources.fetch(source.services, ref)
    with monkeypatch.context() as patch:
        patch.setattr(outbound.httpcore.SyncBackend, "connect_tcp", refused)
        source.round()
        (ref,) = source.messages()
        sources.fetch(source.services, ref)
    source.round()
    (job,) = source.fetched()
    source.world.work(job)
    assert source.file(task).state == "done"
    assert len(source.server.asked) == 1


def refused(*_: Any) -> Any:
    raise outbound.httpcore.ConnectError("refused")


def test_le_30_a_source_that_drips_is_given_up_when_its_time_is_over(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "TOTAL_SECONDS", 0.6)
    monkeypatch.setattr(sources, "TRIES", 1)

    def drips() -> Iterator[bytes]:
        for _ in range(100):
            time.sleep(0.05)
            yield b"x"

    source.says(Answer(pieces=drips(), length=100))
    task = source.start()
    began = time.monotonic()
    assert source.fetched() == []
    assert time.monotonic() - began < 3
    failed(source, task, sources.TOO_SLOW)


def test_le_30_redirects_that_take_their_time_share_it(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "TOTAL_SECONDS", 0.5)
    monkeypatch.setattr(sources, "TRIES", 1)

    def slowly(path: str) -> Answer:
        time.sleep(0.3)
        return Answer(302, {"Location": "/next"}, ())

    source.answer = slowly
    task = source.start()
    assert source.fetched() == []
    failed(source, task, sources.TOO_SLOW)
    assert len(source.server.asked) == 2


def test_an_outage_of_storage_is_no_try_at_the_source(source: Source) -> None:
    task = source.start()
    (ref,) = source.messages()

    def outage(number: int, operation: str, moment: str) -> None:
        if operation == "PutObject":
            raise OSError("storage is away")

    source.world.fault = outage
    with pytest.raises(OSError, match="storage is away"):
        sources.fetch(source.services, ref)
    source.world.fault = None
    row = source.upload(task)
    assert row is not None
    assert (row["tries"], row["lease"]) == (0, 0)
    source.round()
    assert len(source.fetched()) == 1


# ---------------------------------------------------------------- duplicates, dead fetchers, lost events


def test_a_picture_is_fetched_by_one_at_a_time(source: Source) -> None:
    source.start()
    (ref,) = source.messages()
    again: list[int] = []

    def answer(path: str) -> Answer:
        sources.fetch(source.services, ref)  # while the first is at it
        again.append(1)
        return Answer.of(png())

    source.answer = answer
    sources.fetch(source.services, ref)
    sources.fetch(source.services, ref)  # and after it
    assert (len(source.server.asked), again) == (1, [1])


def test_messages_and_events_that_come_twice_change_nothing(source: Source) -> None:
    task = source.start()
    (ref,) = source.messages()
    sources.fetch(source.services, ref)
    key = source.key_of(task)
    for _ in range(2):
        source.world.upload_event(key)
        sources.fetch(source.services, ref)
    (job,) = source.world.dispatch_all()
    source.world.work(job)
    row = source.upload(task)
    source.world.upload_event(key)
    sources.fetch(source.services, ref)
    assert (source.upload(task), len(source.server.asked), source.paid()) == (row, 1, 1)


def test_a_lost_event_is_made_good_by_the_next_message_without_another_fetch(source: Source) -> None:
    task = source.start()
    (ref,) = source.messages()
    sources.fetch(source.services, ref)  # its event is lost
    source.world.clock.forward(sources.LEASE / SECONDS)
    source.round()
    (job,) = source.fetched()
    source.world.work(job)
    assert (source.file(task).state, len(source.server.asked)) == ("done", 1)


def test_a_lost_message_is_sent_again_by_the_watchdog(source: Source) -> None:
    source.start()
    assert len(source.messages()) == 1  # and lost
    source.round()
    assert len(source.fetched()) == 1


def test_a_fetcher_that_dies_is_replaced_after_its_lease_and_three_of_them_are_the_end(source: Source) -> None:
    class Died(BaseException):
        pass

    def dead(*_: Any) -> Any:
        raise Died

    task = source.start()
    for _ in range(sources.TRIES):
        (ref,) = source.messages()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(source.services.storage), "write_stream", dead)
            with pytest.raises(Died):
                sources.fetch(source.services, ref)
        source.round()
        (early,) = source.messages()
        sources.fetch(source.services, early)  # the dead one has it still
        assert source.server.asked == []
        source.world.clock.forward(sources.LEASE / SECONDS)
        source.world.watchdog()
    (ref,) = source.messages()
    sources.fetch(source.services, ref)
    failed(source, task, sources.GIVEN_UP)


def test_bytes_that_come_after_the_first_are_not_processed(source: Source) -> None:
    """The ETag is pinned when the picture arrives: who could write there once more changes nothing."""
    task = source.start()
    (job,) = source.fetched()
    source.services.storage.write(source.key_of(task), png(9, 9))
    source.world.upload_event(source.key_of(task))
    row = source.upload(task)
    assert row is not None and row["etag"] == job.source_etag
    assert source.services.storage.head(source.key_of(task)).etag != job.source_etag  # type: ignore[union-attr]


# ---------------------------------------------------------------- the owner's wishes, and the end


def test_nothing_is_fetched_for_a_task_that_was_cancelled(source: Source) -> None:
    task = source.start()
    (ref,) = source.messages()
    lifecycle.cancel(source.services, source.who.account, task)
    sources.fetch(source.services, ref)
    source.round()
    assert source.fetched() == []
    assert (source.server.asked, source.file(task).state, source.paid()) == ([], "cancelled", 0)


def test_a_task_that_is_cancelled_while_its_picture_is_fetched_stays_so(source: Source) -> None:
    task = source.start()

    def answer(path: str) -> Answer:
        lifecycle.cancel(source.services, source.who.account, task)
        return Answer.of(png())

    source.answer = answer
    assert source.fetched() == []
    assert (source.file(task).state, source.paid()) == ("cancelled", 0)


@pytest.mark.parametrize("answer", [Answer.of(png()), Answer(404)])
def test_a_task_that_is_deleted_while_its_picture_is_fetched_leaves_nothing(source: Source, answer: Answer) -> None:
    task = source.start()
    key = source.key_of(task)

    def told(path: str) -> Answer:
        deletion.delete(source.services, source.who.account, task)
        return answer

    source.answer = told
    (ref,) = source.messages()
    sources.fetch(source.services, ref)
    assert source.upload(task) is None
    assert source.stored() == []
    source.world.upload_event(key)  # which comes late
    assert source.upload(task) is None
    assert source.paid() == 0


def test_a_task_that_is_deleted_before_its_picture_is_fetched_leaves_nothing(source: Source) -> None:
    task = source.start()
    (ref,) = source.messages()
    deletion.delete(source.services, source.who.account, task)
    sources.fetch(source.services, ref)
    assert (source.server.asked, source.upload(task), source.paid()) == ([], None, 0)


def test_a_source_that_never_comes_fails_at_the_tasks_deadline_and_its_row_goes_with_its_time(source: Source) -> None:
    task = source.start()
    (ref,) = source.messages()
    source.world.clock.forward(source.services.settings.task_deadline_seconds + 1)
    source.world.watchdog()
    assert (source.file(task).state, source.paid()) == ("failed", 0)
    sources.fetch(source.services, ref)
    assert source.server.asked == []
    row = source.upload(task)
    assert row is not None and row["state"] == "fetching"
    source.world.clock.forward(source.services.settings.upload_hold_ms / SECONDS)
    cleanup.sweep(source.services)
    assert source.upload(task) is None
    source.world.clock.forward(source.services.settings.history_retention_days * DAYS / SECONDS)
    cleanup.sweep(source.services)
    rows = source.services.table.query_partition(f"ACCOUNT#{source.who.account}")
    assert not [row for row in rows if row["sk"].startswith("UPLOAD#")]


# ---------------------------------------------------------------- memory


def test_memory_does_not_grow_with_the_picture(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """90 MB go through in parts of 8; what S3 takes is thrown away here, as S3 would take it off our hands."""
    parts: list[int] = []
    real: Any = BaseClient._make_api_call  # type: ignore[attr-defined]

    def make(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        if operation == "UploadPart":
            parts.append(len(parameters["Body"]))
            return {"ETag": f'"{len(parts)}"'}
        return {} if operation == "CompleteMultipartUpload" else real(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", make)
    chunk = bytes(256 * 1024)
    source.says(Answer(pieces=(chunk for _ in range(360)), length=360 * len(chunk)))
    source.start()
    (ref,) = source.messages()
    tracemalloc.start()
    try:
        sources.fetch(source.services, ref)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(parts) == 90 * MB
    assert peak < 40 * MB, f"{peak / MB:.0f} MB"


# ---------------------------------------------------------------- formats


def picture(kind: str) -> bytes:
    return encoded(Image.new("RGB", (6, 4), (200, 30, 60)), kind)


@pytest.mark.parametrize("kind", FORMATS)
def test_le_31_a_task_takes_the_formats_of_its_api(source: Source, kind: str) -> None:
    source.says(Answer.of(picture(kind)))
    task = source.start(formats=FORMATS)
    (job,) = source.fetched()
    assert job.formats == FORMATS
    source.world.work(job)
    file = source.file(task)
    assert (file.state, file.source_format) == ("done", kind)


@pytest.mark.parametrize("body", [picture("gif"), b"no picture at all"])
def test_le_31_what_an_api_does_not_take_is_refused_with_what_it_takes(source: Source, body: bytes) -> None:
    source.says(Answer.of(body))
    task = source.start(formats=FORMATS)
    assert source.fetched() == []
    file = source.file(task)
    assert (file.state, file.error, source.paid()) == ("failed", OTHER_WORDS, 0)


@pytest.mark.parametrize("event", [True, False])
@pytest.mark.parametrize(("formats", "reason"), [(WEB, WORDS), (FORMATS, "")])
def test_one_upload_is_taken_by_one_task_and_not_by_another(
    source: Source, event: bool, formats: tuple[SourceFormat, ...], reason: str
) -> None:
    """Whether the upload's event comes before the start or after it."""
    ticket = source.world.upload(source.key, picture("tiff"), event=event)
    wanted = (Wanted.of(ticket["fileName"]),)
    task = starts.start(source.services, source.who, wanted, RECIPE, terms=Terms(formats=formats))
    if not event:
        source.world.dispatch_all()
        source.world.upload_event(source.key_of(task))
    file = source.file(task)
    assert file.error == reason
    assert file.state == ("failed" if reason else file.state)
    assert source.paid() == (0 if reason else 1)


def test_a_picture_with_too_many_pixels_of_a_format_that_is_not_taken_is_refused_for_its_format(source: Source) -> None:
    size = (100_000).to_bytes(4, "little")
    source.says(Answer.of(b"BM" + bytes(12) + (40).to_bytes(4, "little") + size + size + bytes(30)))
    task, other = source.start(), source.start(formats=FORMATS)
    assert source.fetched() == []
    assert source.file(task).error == WORDS
    assert "pixels are more than" in source.file(other).error


def test_an_event_of_s3_for_what_was_fetched_goes_through_the_function(source: Source) -> None:
    from fetch_source.app import on_message
    from on_upload.app import on_message as on_upload

    task = source.start()
    (ref,) = source.messages()
    on_message(ref.model_dump_json())
    on_upload(s3_message(source.key_of(task)))
    assert len(source.world.dispatch_all()) == 1
