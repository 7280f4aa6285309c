from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tessera.job import Job, Limits, Outcome, Report
from tessera.recipe import Encode, Recipe, Thumbnail, Upscale
from tessera_engine import transfer, worker
from tessera_engine.header import ImageInfo, probe
from tessera_engine.transfer import Storage, StorageUnreachable

Scene = Callable[..., NDArray[np.uint8]]
MakeFile = Callable[..., bytes]

RECIPE = Recipe(
    operations=(Upscale(model="upscayl-standard-4x", scale=4), Encode(format="webp"), Thumbnail(side=32)),
)


@pytest.fixture
def make_job(bucket: Any, make_scene: Scene, make_file: MakeFile) -> Callable[..., Job]:
    """A job whose source is a small PNG in the bucket and whose time is over in a minute."""
    bucket.objects["source"] = make_file(Image.fromarray(make_scene(30, 20)), "png")

    def make(**changes: Any) -> Job:
        links = {
            f"{name}_url": f"{bucket.url}/{name}" for name in ("source", "result", "thumbnail", "report", "failure")
        }
        facts: dict[str, Any] = {
            "task": "t1",
            "file": 0,
            "attempt": 1,
            "recipe": RECIPE,
            "limits": Limits(max_input_pixels=10_000, max_output_pixels=1_000_000),
            "source_etag": bucket.etag,
            "not_after": int(time.time() * 1000) + 60_000,
        }
        return Job(**(facts | links | changes))

    return make


def failure(bucket: Any) -> Outcome:
    """The one thing that was written beside the sign of life."""
    assert bucket.puts() == ["report", "failure"]
    return Outcome.model_validate_json(bucket.objects["failure"])


def ticking(*times: float) -> Callable[[], float]:
    """A clock that shows these times, and the last of them ever after."""
    reading: Iterator[float] = iter(times)
    last = times[-1]
    return lambda: next(reading, last)


def test_thumbnail_report_and_last_the_result(bucket: Any, storage: Storage, make_job: Callable[..., Job]) -> None:
    outcome = worker.run(make_job(), storage=storage)
    assert bucket.asked[:2] == ["PUT /report", "GET /source"]  # a sign of life comes before the work
    first, *progress, thumbnail, told, result = bucket.puts()  # progress: on a machine that is slow
    assert (first, thumbnail, told, result) == ("report", "thumbnail", "report", "result")
    assert set(progress) <= {"report"}
    assert probe(bucket.objects["result"]) == ImageInfo("webp", 120, 80)
    assert probe(bucket.objects["thumbnail"]) == ImageInfo("webp", 32, 21)
    assert Report.model_validate_json(bucket.objects["report"]) == Report(progress=1.0, outcome=outcome)
    assert bucket.headers["GET /source"]["If-Match"] == '"first"'
    kinds = {name: bucket.headers[f"PUT /{name}"]["Content-Type"] for name in ("thumbnail", "report", "result")}
    assert kinds == {"thumbnail": "image/webp", "report": "application/json", "result": "image/webp"}
    assert (outcome.status, outcome.width, outcome.height, outcome.format) == ("done", 120, 80, "webp")
    assert outcome.bytes == len(bucket.objects["result"])
    assert (outcome.model, outcome.stand_in) == ("tessera-photo", True)
    assert outcome.seconds is not None and outcome.seconds > 0
    assert outcome.fidelity is not None and outcome.fidelity > 30
    assert outcome.seam is None  # one tile


def test_sup_09_facts_of_both_files(
    bucket: Any, storage: Storage, make_job: Callable[..., Job], make_scene: Scene, make_file: MakeFile
) -> None:
    bucket.objects["source"] = make_file(Image.fromarray(make_scene(30, 20)), "jpeg", progressive=True, quality=71)
    outcome = worker.run(make_job(), storage=storage)
    source, result = bucket.objects["source"], bucket.objects["result"]
    assert outcome.source is not None and outcome.source.interlaced and outcome.source.quality == 71
    assert (outcome.source.bytes, outcome.source.sha1) == (len(source), hashlib.sha1(source).hexdigest())
    assert outcome.result is not None and (outcome.result.format, outcome.result.width) == ("webp", 120)
    assert (outcome.result.bytes, outcome.result.sha1) == (len(result), hashlib.sha1(result).hexdigest())


def test_running_twice_writes_the_same(bucket: Any, storage: Storage, make_job: Callable[..., Job]) -> None:
    worker.run(make_job(), storage=storage)
    first = bucket.objects["result"]
    worker.run(make_job(), storage=storage)
    assert bucket.objects["result"] == first


@pytest.mark.parametrize(
    ("answers", "code", "retryable"),
    [
        ([403], "link_expired", True),
        ([400], "link_expired", True),
        ([404], "source_unavailable", False),
        ([412], "source_changed", False),
        ([503, 500, 503], "source_unavailable", True),
    ],
)
def test_a_source_that_cannot_be_read(
    answers: list[int], code: str, retryable: bool, bucket: Any, storage: Storage, make_job: Callable[..., Job]
) -> None:
    bucket.refuse["GET /source"] = answers
    outcome = worker.run(make_job(), storage=storage)
    assert outcome == failure(bucket)
    assert outcome.error is not None
    assert (outcome.status, outcome.error.code, outcome.error.retryable) == ("failed", code, retryable)


def test_another_object_under_the_same_key(bucket: Any, storage: Storage, make_job: Callable[..., Job]) -> None:
    """G14."""
    job = make_job()
    bucket.etag = '"second"'
    error = worker.run(job, storage=storage).error
    assert error is not None and error.code == "source_changed"


def test_a_hiccup_of_storage_is_tried_again(bucket: Any, storage: Storage, make_job: Callable[..., Job]) -> None:
    bucket.refuse = {"GET /source": [500, 503], "PUT /result": [503]}
    assert worker.run(make_job(), storage=storage).status == "done"
    assert bucket.puts() == ["report", "thumbnail", "report", "result", "result"]


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"GIF89a", "unsupported_format"), (b"\x89PNG\r\n\x1a\n", "corrupt_image"), (None, "too_many_pixels")],
)
def test_a_picture_that_cannot_be_worked_on(
    data: bytes | None, code: str, bucket: Any, storage: Storage, make_job: Callable[..., Job], make_file: MakeFile
) -> None:
    job = make_job()
    bucket.objects["source"] = data or make_file(Image.new("1", (101, 100)), "png")
    error = worker.run(job, storage=storage).error
    assert error == failure(bucket).error
    assert error is not None and (error.code, error.retryable) == (code, False)
    assert "/" not in error.message and error.message.endswith(".")


@pytest.mark.parametrize("kind", ["tiff", "bmp"])
def test_le_31_a_job_says_which_formats_its_source_may_have(
    kind: str, bucket: Any, storage: Storage, make_job: Callable[..., Job], make_file: MakeFile
) -> None:
    job = make_job()
    bucket.objects["source"] = make_file(Image.new("RGB", (30, 20)), kind)
    error = worker.run(job, storage=storage).error
    assert error is not None and (error.code, error.retryable) == ("unsupported_format", False)
    taking = job.model_copy(update={"formats": ("jpeg", "tiff", "png", "bmp", "webp")})
    assert worker.run(taking, storage=storage).status == "done"


def test_nothing_may_stand_in(bucket: Any, storage: Storage, make_job: Callable[..., Job]) -> None:
    error = worker.run(make_job(), stand_in="refuse", storage=storage).error
    assert error is not None and error.code == "model_unavailable"
    assert error == failure(bucket).error


def test_a_late_job_reads_nothing(bucket: Any, storage: Storage, make_job: Callable[..., Job]) -> None:
    outcome = worker.run(make_job(not_after=int(time.time() * 1000) - 1), storage=storage)
    assert outcome.error is not None and outcome.error.code == "too_late" and outcome.error.retryable
    assert bucket.asked == ["PUT /failure"]


@pytest.mark.parametrize("in_time", range(1, 8))
def test_a_job_that_becomes_late_writes_no_result(
    in_time: int, bucket: Any, storage: Storage, make_job: Callable[..., Job]
) -> None:
    """Wherever in its course the time runs out."""
    outcome = worker.run(make_job(not_after=1000), storage=storage, clock=ticking(*[0.5] * in_time, 2.0))
    assert outcome.error is not None and outcome.error.code == "too_late"
    assert "result" not in bucket.objects and bucket.puts()[-1] == "failure"


@pytest.mark.parametrize("name", ["thumbnail", "report", "result", "failure"])
def test_what_cannot_be_written_is_raised(
    name: str, bucket: Any, storage: Storage, make_job: Callable[..., Job]
) -> None:
    bucket.refuse[f"PUT /{name}"] = [503] * 4
    with pytest.raises(StorageUnreachable):
        worker.run(make_job(not_after=0) if name == "failure" else make_job(), storage=storage)
    assert "result" not in bucket.objects and "failure" not in bucket.objects


def test_expired_result_link(bucket: Any, storage: Storage, make_job: Callable[..., Job]) -> None:
    bucket.refuse["PUT /result"] = [403]
    error = worker.run(make_job(), storage=storage).error
    assert error is not None and error.code == "link_expired"
    assert "failure" in bucket.objects


def test_when_every_link_has_expired_the_job_ends_quietly(
    bucket: Any, storage: Storage, make_job: Callable[..., Job]
) -> None:
    bucket.refuse = {"GET /source": [403], "PUT /failure": [403]}
    assert worker.run(make_job(), storage=storage).status == "failed"


def test_storage_that_is_not_there(storage: Storage, make_job: Callable[..., Job]) -> None:
    nowhere = "http://127.0.0.1:9/"  # discard: refused at once
    with pytest.raises(StorageUnreachable):
        worker.run(make_job(source_url=nowhere, failure_url=nowhere), storage=storage)


def test_a_file_above_the_limit_is_not_read_to_its_end(
    bucket: Any, storage: Storage, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "MAX_SOURCE_BYTES", 100)
    error = worker.run(make_job(), storage=storage).error
    assert error is not None and error.code == "source_unavailable" and not error.retryable


def test_the_unexpected_is_told_without_details(
    bucket: Any, storage: Storage, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def break_down(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(worker, "carry_out", break_down)
    outcome = worker.run(make_job(), storage=storage)
    assert outcome.error == worker.INTERNAL == failure(bucket).error
    assert "secret" in caplog.text


def test_progress_is_told_now_and_then(bucket: Any, storage: Storage, make_job: Callable[..., Job]) -> None:
    now = [0.0]
    progress = worker.Progress(make_job(), storage, lambda: now[0])
    for step in range(91):
        now[0] += 0.2
        progress(step / 100)
    assert 2 <= len(bucket.puts()) <= 9
    assert set(bucket.puts()) == {"report"}
    last = Report.model_validate_json(bucket.objects["report"])
    assert 0.5 < last.progress <= 0.9 and last.outcome is None


def test_a_lost_progress_report_is_no_matter(bucket: Any, storage: Storage, make_job: Callable[..., Job]) -> None:
    bucket.refuse["PUT /report"] = [500]
    now = iter((0.0, 5.0, 5.0))
    worker.Progress(make_job(report_url="http://127.0.0.1:9/"), storage, lambda: next(now))(0.5)


def test_a_long_silence_is_broken(bucket: Any, storage: Storage, make_job: Callable[..., Job]) -> None:
    now = [0.0]
    progress = worker.Progress(make_job(), storage, lambda: now[0])
    for _ in range(3):
        now[0] += worker.HEARTBEAT_SECONDS
        progress(0.01)
    assert len(bucket.puts()) == 4


def test_a_large_result_goes_by_way_of_a_file(
    bucket: Any, storage: Storage, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.run(make_job(), storage=storage)
    in_memory = bucket.objects["result"]
    monkeypatch.setattr(worker, "IN_MEMORY", 100)
    bucket.refuse = {"PUT /result": [503]}  # and is sent from its start again
    outcome = worker.run(make_job(), storage=storage)
    assert bucket.objects["result"] == in_memory
    assert outcome.bytes == len(in_memory)


# ---------------------------------------------------------------- the owner's own bucket

ACL = {"x-amz-acl": "public-read"}


def test_sup_13_the_owners_bucket_has_the_result_before_ours(
    bucket: Any, storage: Storage, make_job: Callable[..., Job]
) -> None:
    worker.run(make_job(store_url=f"{bucket.url}/theirs", store_headers=ACL), storage=storage)
    assert bucket.puts()[-2:] == ["theirs", "result"]
    assert bucket.objects["theirs"] == bucket.objects["result"]
    sent = bucket.headers["PUT /theirs"]
    assert (sent["x-amz-acl"], sent["Content-Type"]) == ("public-read", "image/webp")
    assert "x-amz-acl" not in bucket.headers["PUT /result"]


def test_sup_13_a_large_result_goes_there_from_its_start(
    bucket: Any, storage: Storage, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "IN_MEMORY", 100)
    bucket.refuse = {"PUT /theirs": [503]}
    worker.run(make_job(store_url=f"{bucket.url}/theirs"), storage=storage)
    assert bucket.objects["theirs"] == bucket.objects["result"]


@pytest.mark.parametrize("status", [301, 400, 403, 404])
def test_sup_13_a_bucket_that_refuses_fails_the_job_for_good(
    bucket: Any, storage: Storage, make_job: Callable[..., Job], status: int
) -> None:
    bucket.refuse = {"PUT /theirs": [status]}
    error = worker.run(make_job(store_url=f"{bucket.url}/theirs"), storage=storage).error
    assert error is not None
    assert (error.code, error.retryable) == ("not_stored", False)
    assert error.message == f"The bucket that was named for the result did not take it ({status})."
    assert "result" not in bucket.objects
    assert Outcome.model_validate_json(bucket.objects["failure"]).error == error


@pytest.mark.parametrize("gone", [False, True])
def test_sup_13_a_bucket_that_cannot_be_reached_may_be_tried_again(
    bucket: Any, storage: Storage, make_job: Callable[..., Job], gone: bool
) -> None:
    bucket.refuse = {"PUT /theirs": [503] * 3}
    url = "http://127.0.0.1:9/theirs" if gone else f"{bucket.url}/theirs"  # discard: refused at once
    error = worker.run(make_job(store_url=url), storage=storage).error
    assert error is not None and (error.code, error.retryable) == ("not_stored", True)
    assert "127.0.0.1" not in error.message
    assert "result" not in bucket.objects
