"""get-task-status: what a task shows from its start to the end of its links."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image
from tessera.job import JobError, Outcome, Report

from infra.admin import settle_vocabulary
from tests.contract.upscayl import NOT_FOUND, STATUS, Api, Body, is_uuid4, signed
from tests.world import key_of, png

NO_PICTURE = b"this is no picture, whatever its name says, and it is long enough for a header"
DAMAGED = JobError(code="corrupt_image", message="The picture is damaged", retryable=False)


# ---------------------------------------------------------------- who may ask, and how


@pytest.mark.parametrize("wrap", [lambda body: body, lambda body: {"data": body}], ids=["flat", "envelope"])
def test_ups_23_status_takes_both_body_shapes(api: Api, wrap: Any) -> None:
    task = api.start(api.upload())
    answer = api.post(STATUS, wrap({"taskId": task}))
    assert (answer["status"], answer["data"]["files"][0]["originalFileName"]) == ("success", "photo.png")


def test_ups_23_task_id_is_required(api: Api) -> None:
    assert api.post(STATUS, {}, status=400)["error"] == "BAD_REQUEST"


def test_ups_23_task_id_of_another_type_is_a_bad_request(api: Api) -> None:
    values = (None, 1, True, [], {}, "x" * 65)
    assert [api.ask(STATUS, {"taskId": value}).status for value in values] == [400] * len(values)


def test_ups_06_what_is_no_uuid_names_no_task(api: Api) -> None:
    texts = ("", "30a89e69", "not-a-uuid", "\ud800", "\x00", "../x", "{}", "urn:uuid:", "٣" * 32)
    assert {api.ask(STATUS, {"taskId": text}).status for text in texts} <= {400, 404}


def test_ups_06_an_unknown_task_is_not_found(api: Api) -> None:
    assert api.post(STATUS, {"taskId": "30a89e69-c702-4247-9905-f0a53dfa45ab"}, status=404) == NOT_FOUND


def test_ups_06_a_foreign_task_is_answered_as_an_unknown_one(api: Api, other: Api) -> None:
    """G10."""
    foreign = other.start(other.upload())
    answers = [api.ask(STATUS, {"taskId": task}) for task in (foreign, "30a89e69-c702-4247-9905-f0a53dfa45ab")]
    assert (answers[0].status, answers[0].raw, answers[0].headers) == (
        answers[1].status,
        answers[1].raw,
        answers[1].headers,
    )


def test_ups_06_a_neighbouring_id_is_not_found(api: Api) -> None:
    task = api.start(api.upload())
    near = task[:-1] + ("0" if task[-1] != "0" else "1")
    assert is_uuid4(near)
    assert api.ask(STATUS, {"taskId": near}).status == 404


# ---------------------------------------------------------------- the life of a task


def test_ups_24_every_documented_field_is_there(api: Api) -> None:
    documented = {
        "batchMode", "enhanceFace", "error", "files", "model", "progress", "scale", "status", "saveImageAs",
        "creditsDeducted", "deductedCredits",
    }  # fmt: skip
    task = api.start(api.upload())
    before = documented - set(api.status(task))
    api.run()
    assert (before, documented - set(api.status(task))) == (set(), set())


def test_ups_26_documented_words_for_the_flat_body(api: Api) -> None:
    task, lost = api.start(api.upload()), api.start(api.upload())
    words = [api.status(task)["status"]]
    first, second = api.world.dispatch_all()
    words.append(api.status(task)["status"])
    api.world.work(first)
    api.world.work(second, Outcome(status="failed", error=DAMAGED))
    words += [api.status(task)["status"], api.status(lost)["status"]]
    assert words == ["pending", "processing", "completed", "failed"]


def test_c_04_observed_words_for_the_envelope(api: Api) -> None:
    task, lost = api.start(api.upload()), api.start(api.upload())
    words = [api.observed_status(task)["status"]]
    first, second = api.world.dispatch_all()
    words.append(api.observed_status(task)["status"])
    api.world.work(first)
    api.world.work(second, Outcome(status="failed", error=DAMAGED))
    words += [api.observed_status(task)["status"], api.observed_status(lost)["status"]]
    assert words == ["PENDING", "ENHANCING", "PROCESSED", "PROCESSING_FAILED"]


def test_c_04_words_follow_each_request_not_the_task(api: Api) -> None:
    task = api.start(api.upload())
    assert (api.observed_status(task)["status"], api.status(task)["status"]) == ("PENDING", "pending")


def test_c_04_words_can_be_settled_for_a_key(api: Api) -> None:
    assert api.key is not None
    settle_vocabulary(api.world.services, api.key, "documented")
    raw = b'{"data": {"taskId": "' + api.start(api.upload()).encode() + b'"}}'
    assert api.send(STATUS, raw, enveloped=False).body["data"]["status"] == "pending"


def test_ups_25_progress_is_a_percentage_in_a_string_and_never_falls(api: Api) -> None:
    task = api.start(api.upload(), api.upload())
    shown = [api.status(task)["progress"]]
    first, second = api.world.dispatch_all()
    for part in (0.0, 0.5, 0.999):
        report(api, first.report_url, part)
        shown.append(api.status(task)["progress"])
    api.world.work(first)
    report(api, second.report_url, 1.0)
    shown.append(api.status(task)["progress"])
    api.world.work(second)
    shown.append(api.status(task)["progress"])
    assert shown == ["0", "0", "25", "49", "99", "100"]


def test_ups_25_progress_does_not_fall_when_an_attempt_is_repeated(api: Api) -> None:
    task = api.start(api.upload())
    (job,) = api.world.dispatch_all()
    report(api, job.report_url, 0.6)
    api.world.work(job, Outcome(status="failed", error=JobError(code="internal", message="lost", retryable=True)))
    again = api.world.dispatch_all()
    assert ([job.attempt for job in again], api.status(task)["progress"]) == ([2], "60")


def test_ups_27_no_error_while_nothing_failed(api: Api) -> None:
    task = api.start(api.upload())
    before = api.status(task)["error"]
    api.run()
    assert (before, api.status(task)["error"]) == ("", "")


def test_ups_27_a_damaged_picture_fails_with_words_and_costs_nothing(api: Api) -> None:
    task = api.start(api.upload())
    held = api.balance
    (job,) = api.world.dispatch_all()
    api.world.work(job, Outcome(status="failed", error=DAMAGED))
    assert_failed_for_nothing(api, task, "The picture is damaged")
    assert held == 99


def test_ups_27_no_picture_whose_event_came_before_the_start(api: Api) -> None:
    task = api.start(api.upload(NO_PICTURE))
    assert_failed_for_nothing(api, task, "Unsupported file type. Allowed: JPEG, PNG, WEBP")


def test_ups_27_no_picture_whose_event_comes_after_the_start(api: Api) -> None:
    task = api.start(api.upload(NO_PICTURE, event=False))
    assert api.status(task)["status"] == "pending"
    api.deliver_uploads()
    assert_failed_for_nothing(api, task, "Unsupported file type. Allowed: JPEG, PNG, WEBP")


def test_ups_27_one_bad_file_of_two_leaves_something_to_download(api: Api) -> None:
    task = api.start(api.upload(), api.upload(NO_PICTURE, originalFileName="notes.png"))
    api.run()
    status = api.status(task)
    assert (status["status"], status["deductedCredits"], api.balance) == ("completed", 1, 99)
    assert ["downloadLink" in file for file in status["files"]] == [True, False]
    assert status["error"].startswith("notes.png: ")


# ---------------------------------------------------------------- files and links


def test_ups_28_a_finished_file_has_every_documented_field(api: Api) -> None:
    documented = {
        "fileName", "fileType", "path", "createdAt", "expiresAt", "originalFileName", "fileSize", "downloadLink",
        "thumbnailLink", "finalFileSize", "processedFileName", "dimensions",
    }  # fmt: skip
    assert documented - set(finished(api)) == set()


def test_ups_28_what_is_said_of_a_file_is_true_of_its_bytes(api: Api) -> None:
    body = png(9, 5)
    file = finished(api, body, saveImageAs="webp")
    result = api.download(file["downloadLink"])
    picture = Image.open(io.BytesIO(result))
    assert (file["fileSize"], file["finalFileSize"]) == (len(body), len(result))
    assert (file["dimensions"]["width"], file["dimensions"]["height"]) == picture.size == (36, 20)
    assert (file["fileType"], picture.format) == ("image/png", "WEBP")


def test_a_finished_file_says_how_it_was_made(api: Api) -> None:
    """Fields of our own: clients of the vendor's do not look at them."""
    file = finished(api)
    assert {name: file[name] for name in ("engineModel", "standIn", "notes", "fidelity", "seam")} == {
        "engineModel": "test", "standIn": True, "notes": [], "fidelity": 41.25, "seam": 1,
    }  # fmt: skip


def test_ups_28_files_are_named_as_they_were_uploaded(api: Api) -> None:
    upload = api.upload(originalFileName="vacation photo ü.png")
    task = api.start(upload)
    api.run()
    (file,) = api.status(task)["files"]
    assert (file["fileName"], file["originalFileName"]) == (upload["fileName"], "vacation photo ü.png")
    assert file["processedFileName"] == "vacation photo ü-4x.jpg"


def test_c_05_link_has_the_other_names_besides(api: Api) -> None:
    file = finished(api)
    assert file["downloadLink"] == file["downloadUrl"] == file["url"]
    assert not file["path"].startswith("http")


def test_ups_29_links_live_until_expires_at(api: Api) -> None:
    file = finished(api)
    now = api.world.clock.ms
    lives = [int(signed(file[name])["x-amz-expires"]) for name in ("downloadLink", "thumbnailLink")]
    assert lives == [(file["expiresAt"] - now) // 1000] * 2 == [86_400] * 2


def test_ups_29_links_are_shown_until_they_expire(api: Api) -> None:
    task = api.start(api.upload())
    api.run()
    expires = api.status(task)["files"][0]["expiresAt"]
    api.world.clock.ms = expires - 1000
    last = api.status(task)["files"][0]
    api.world.clock.ms = expires
    gone = api.status(task)["files"][0]
    assert signed(last["downloadLink"])["x-amz-expires"] == "1"
    assert {"downloadLink", "downloadUrl", "url", "thumbnailLink"} & set(gone) == set()


def test_ups_29_thumbnail_is_a_picture(api: Api) -> None:
    assert Image.open(io.BytesIO(api.download(finished(api)["thumbnailLink"]))).format == "WEBP"


def test_ups_29_download_is_saved_under_its_name(api: Api) -> None:
    query = signed(finished(api)["downloadLink"])
    assert 'attachment; filename="photo-4x.jpg"' in query["response-content-disposition"]


def test_ups_30_batch_mode_is_for_several_files(api: Api) -> None:
    one, two = api.start(api.upload()), api.start(api.upload(), api.upload())
    assert [(api.status(task)["batchMode"], len(api.status(task)["files"])) for task in (one, two)] == [
        (False, 1),
        (True, 2),
    ]


# ---------------------------------------------------------------- credits


def test_ups_31_a_task_costs_one_credit_a_picture(api: Api) -> None:
    task = api.start(api.upload(), api.upload(), api.upload())
    api.run()
    status = api.status(task)
    assert (status["creditsDeducted"], status["deductedCredits"], api.balance) == (True, 3, 97)


def test_ups_31_repeated_events_move_the_balance_once(api: Api) -> None:
    assert api.key is not None
    file = api.upload()
    task = api.start(file)
    for _ in range(2):
        api.deliver_uploads()
    (job,) = api.world.dispatch_all()
    result = api.world.work(job)
    for _ in range(3):
        api.world.result_event(result)
    api.world.watchdog()
    status = api.status(task)
    assert (status["deductedCredits"], status["status"], api.balance) == (1, "completed", 99)
    assert sum(row["amount"] for row in api.world.ledger(api.key)) == 99


def test_ups_31_repeated_failures_pay_back_once(api: Api) -> None:
    task = api.start(api.upload())
    (job,) = api.world.dispatch_all()
    failure = api.world.work(job, Outcome(status="failed", error=DAMAGED))
    for _ in range(3):
        api.world.result_event(failure)
    assert_failed_for_nothing(api, task, "The picture is damaged")


def test_ups_31_a_repeated_event_of_no_picture_pays_back_once(api: Api) -> None:
    task = api.start(api.upload(NO_PICTURE, event=False))
    for _ in range(3):
        api.deliver_uploads()
    assert_failed_for_nothing(api, task, "Unsupported file type. Allowed: JPEG, PNG, WEBP")


def assert_failed_for_nothing(api: Api, task: str, error: str) -> None:
    status = api.status(task)
    assert (status["status"], status["error"]) == ("failed", error)
    assert (status["deductedCredits"], status["creditsDeducted"], api.balance) == (0, False, 100)


def finished(api: Api, body: bytes | None = None, **fields: Any) -> Body:
    task = api.start(api.upload(body), **fields)
    api.run()
    (file,) = api.status(task)["files"]
    return dict(file)


def report(api: Api, url: str, progress: float) -> None:
    api.world.services.storage.write(key_of(url), Report(progress=progress).model_dump_json().encode())
