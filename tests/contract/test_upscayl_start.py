"""start-task: the ways to name or send files, and the options."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tessera.http import MAX_BODY
from tessera.ids import from_uuid
from tessera.job import Job
from tessera.recipe import EnhanceFace, Upscale

from tests.contract.upscayl import (
    BAD_REQUEST,
    MODELS,
    NO_CREDITS,
    START,
    Api,
    Body,
    Part,
    form,
    is_uuid4,
    task_rows,
)
from tests.world import key_of, png

REFUSED = (400, "BAD_REQUEST")


def test_ups_22_start_response_is_exact(api: Api) -> None:
    data = api.post(START, {"files": [api.upload()]})["data"]
    assert data == {"taskId": data["taskId"], "message": "Task request sent successfully"}
    assert is_uuid4(data["taskId"])


# ---------------------------------------------------------------- files: six encodings

Encoding = Callable[[list[Body]], list[Part]]


def repeated(files: list[Body]) -> list[Part]:
    return [Part.json("files", file) for file in files]


def repeated_as_blobs(files: list[Body]) -> list[Part]:
    """A browser's FormData gives every Blob a file name."""
    return [Part.json("files", file, file_name="blob") for file in files]


def one_list(files: list[Body]) -> list[Part]:
    return [Part.json("files", files)]


def brackets(files: list[Body]) -> list[Part]:
    return [Part.text(f"files[{n}][{name}]", str(file[name])) for n, file in enumerate(files) for name in file]


def dotted(files: list[Body]) -> list[Part]:
    return [Part.text(f"files[{n}].{name}", str(file[name])) for n, file in enumerate(files) for name in file]


def enveloped(files: list[Body]) -> list[Part]:
    return [Part.json("data", {"files": files})]


@pytest.mark.parametrize("encode", [repeated, repeated_as_blobs, one_list, brackets, dotted, enveloped])
def test_c_08_files_listed_in_a_form(api: Api, encode: Encoding) -> None:
    files = [api.upload(png(n + 1, 1), originalFileName=f"{n}.png") for n in range(3)]
    task = api.form(*encode(files), Part.text("saveImageAs", "png"))["data"]["taskId"]
    api.run()
    shown = api.status(task)["files"]
    assert [file["fileName"] for file in shown] == [file["fileName"] for file in files]
    assert [file["dimensions"]["width"] for file in shown] == [4, 8, 12]


def test_c_08_indices_are_numbers_not_text(api: Api) -> None:
    files = [api.upload() for _ in range(11)]
    task = api.form(*reversed(brackets(files)))["data"]["taskId"]
    assert [file["fileName"] for file in api.status(task)["files"]] == [file["fileName"] for file in files]


@pytest.mark.parametrize("wrap", [lambda body: body, lambda body: {"data": body}], ids=["flat", "envelope"])
def test_c_08_files_listed_in_json(api: Api, wrap: Any) -> None:
    files = [api.upload(), api.upload()]
    task = api.post(START, wrap({"files": files}))["data"]["taskId"]
    assert [file["fileName"] for file in api.status(task)["files"]] == [file["fileName"] for file in files]


@pytest.mark.parametrize("names", [["0.file", "1.file"], ["file", "file"], ["file[0]", "file[1]"], ["files", "files"]])
def test_c_08_numbered_binary_parts(api: Api, names: list[str]) -> None:
    parts = [Part.file(png(n + 1, 1), name, f"{n}.png") for n, name in enumerate(names)]
    task = api.form(*parts, Part.text("urls", "[]"))["data"]["taskId"]
    api.run()
    shown = api.status(task)["files"]
    assert [(file["originalFileName"], file["dimensions"]["width"]) for file in shown] == [("0.png", 4), ("1.png", 8)]


@pytest.mark.parametrize("send", ["form", "json"])
def test_c_08_urls_are_links_of_uploads(api: Api, send: str) -> None:
    tickets = [api.ticket(fileSize=len(png(n, 1))) for n in (1, 2)]
    for n, ticket in enumerate(tickets):
        api.world.upload_event(api.world.put(ticket["uploadURL"], png(n + 1, 1)))
    urls = [ticket["uploadURL"] for ticket in tickets]
    answer = api.form(Part.json("urls", urls)) if send == "form" else api.post(START, {"urls": urls})
    api.run()
    shown = api.status(answer["data"]["taskId"])["files"]
    assert [file["dimensions"]["width"] for file in shown] == [4, 8]


def test_c_08_other_urls_are_refused(api: Api) -> None:
    urls = ["https://example.com/a.png", "http://169.254.169.254/", "file:///etc/passwd", "", "a", "http://[", "\ud800"]
    assert_refused(api, *({"urls": [url]} for url in [*urls, "//", None, 1]))


def test_c_08_a_foreign_upload_link_is_refused(api: Api, other: Api) -> None:
    ticket = other.ticket(fileSize=len(png()))
    api.world.upload_event(api.world.put(ticket["uploadURL"], png()))
    assert api.ask(START, {"urls": [ticket["uploadURL"]]}).status == 400
    assert task_rows(api.world) == []


def test_c_08_json_as_curl_sends_it(api: Api) -> None:
    raw = json.dumps({"data": {"files": [api.upload()]}}).encode()
    assert api.send(START, raw, "application/x-www-form-urlencoded").status == 200


def test_c_08_json_body_under_any_type_that_is_no_form(api: Api) -> None:
    raw = json.dumps({"files": [api.upload()]}).encode()
    types = ("application/json; charset=utf-8", "Application/JSON", "", "text/plain")
    assert [api.send(START, raw, content_type).status for content_type in types] == [200] * 4


# ---------------------------------------------------------------- a file sent along


def test_ups_15_direct_file(api: Api) -> None:
    task = api.form(Part.file(png(7, 5), file_name="holiday.png"), Part.text("saveImageAs", "png"))["data"]["taskId"]
    api.run()
    (file,) = api.status(task)["files"]
    assert file["originalFileName"] == "holiday.png"
    assert file["dimensions"] == {"width": 28, "height": 20}


def test_ups_15_files_and_file_exclude_each_other(api: Api) -> None:
    answer = api.form(Part.json("files", [api.upload()]), Part.file(png()), status=400)
    assert answer["error"] == "BAD_REQUEST"
    assert task_rows(api.world) == []


def test_c_09_a_file_is_required(api: Api) -> None:
    assert_refused(api, {}, {"files": []}, {"urls": []}, {"files": [], "model": "anime"}, {"data": {}})


def test_c_09_a_form_without_files_is_refused(api: Api) -> None:
    assert api.form(Part.text("scale", "2"), status=400)["error"] == "BAD_REQUEST"


def test_ups_15_an_empty_file_is_refused(api: Api) -> None:
    assert api.form(Part.file(b""), status=400)["error"] == "BAD_REQUEST"


def test_ups_15_direct_file_up_to_the_payload_limit(api: Api) -> None:
    body = png().ljust(MAX_BODY - 1000, b"\0")
    task = api.form(Part.file(body))["data"]["taskId"]
    api.run()
    assert api.status(task)["files"][0]["fileSize"] == len(body)


def test_c_01_direct_file_beyond_the_payload_limit_names_the_other_door(api: Api) -> None:
    answer = api.form(Part.file(bytes(MAX_BODY)), status=413)
    assert answer["error"] == "FILE_SIZE_EXCEEDED"
    assert "/get-upload-url" in answer["message"]


def test_ups_15_nothing_is_stored_for_a_stranger(world: Any) -> None:
    Api(world, "unknown").form(Part.file(png()), status=401)
    storage = world.services.storage
    assert storage.client.list_objects_v2(Bucket=storage.bucket)["KeyCount"] == 0


# ---------------------------------------------------------------- UploadedFile


def test_ups_16_required_fields(api: Api) -> None:
    file = api.upload()
    told = {
        name: api.post(START, {"files": [{other: file[other] for other in file if other != name}]}, status=400)
        for name in ("fileName", "fileType", "fileSize")
    }
    assert [name for name, body in told.items() if name not in body["message"]] == []


def test_ups_16_optional_fields(api: Api) -> None:
    more = {"originalFileName": "summer.png", "createdAt": 1_633_024_800_000, "expiresAt": 1_633_028_400_000}
    task = api.start(api.upload() | more)
    assert api.status(task)["files"][0]["originalFileName"] == "summer.png"


def test_ups_16_fields_of_another_form(api: Api) -> None:
    wrong: list[Body] = [
        *({"fileName": value} for value in ("", 1, None, "\ud800", "x" * 2000)),
        *({"fileType": value} for value in ("image/gif", None)),
        *({"fileSize": value} for value in (0, 104_857_601, "many", True, 1.5)),
        *({"originalFileName": value} for value in ("x" * 256, 7)),
    ]
    file = api.upload()
    assert_refused(api, *({"files": [file | fields]} for fields in wrong))


def test_ups_16_an_unknown_file_starts_nothing(api: Api) -> None:
    unknown = api.upload() | {"fileName": "00000000-photo.png"}
    api.post(START, {"files": [api.upload(), unknown]}, status=400)
    assert (task_rows(api.world), api.balance, api.total()) == ([], 100, 0)


def test_ups_16_a_file_that_was_never_sent_starts_nothing(api: Api) -> None:
    ticket = api.ticket()
    file = {name: ticket[name] for name in ("fileName", "fileType", "fileSize")}
    assert api.ask(START, {"files": [file]}).status == 400
    assert task_rows(api.world) == []


def test_ups_16_an_expired_file_starts_nothing(api: Api) -> None:
    file = api.upload()
    api.world.clock.forward(3600)
    assert api.ask(START, {"files": [file]}).status == 400


def test_ups_16_a_foreign_file_is_answered_as_an_unknown_one(api: Api, other: Api) -> None:
    foreign = other.upload()
    unknown = foreign | {"fileName": "00000000-photo.png"}
    answers = [api.ask(START, {"files": [file]}).raw.replace(file["fileName"], "?") for file in (foreign, unknown)]
    assert answers[0] == answers[1]


def test_ups_16_what_a_client_says_of_a_file_is_not_used(api: Api) -> None:
    """G12: size, type, expiry, key and path are those of the stored object, whatever copies of them say."""
    ticket = api.ticket(fileSize=len(png()))
    api.world.upload_event(api.world.put(ticket["uploadURL"], png()))
    lies = {
        "fileSize": 99_000_000, "fileType": "image/webp", "expiresAt": 9**15,
        "key": "uploads/0/0123456789abcdef/" + "0" * 32, "filePath": "../../elsewhere", "uploadURL": "http://127.0.0.1/x",
    }  # fmt: skip
    api.post(START, {"files": [{"fileName": ticket["fileName"], **lies}], "saveImageAs": "png"})
    (job,) = api.world.dispatch_all()
    assert key_of(job.source_url) == key_of(ticket["uploadURL"])
    stored = api.world.services.storage.head(key_of(ticket["uploadURL"]))
    assert stored is not None
    assert job.source_etag == stored.etag


def test_ups_16_a_file_listed_twice_is_refused(api: Api) -> None:
    file = api.upload()
    assert api.ask(START, {"files": [file, file]}).status == 400


# ---------------------------------------------------------------- options


def test_ups_17_enhance_face(api: Api) -> None:
    file = api.upload()
    words = {"true": True, "false": False, "True": True, "1": True, "0": False}
    tasks = [api.form(Part.json("files", [file]), Part.text("enhanceFace", word))["data"]["taskId"] for word in words]
    tasks += [api.start(file, enhanceFace=value) for value in (True, False, 1, 0)]
    expected = [*words.values(), True, False, True, False]
    assert [api.status(task)["enhanceFace"] for task in tasks] == expected
    jobs = jobs_of(api, tasks)
    assert [any(isinstance(step, EnhanceFace) for step in job.recipe.operations) for job in jobs] == expected


def test_ups_17_enhance_face_is_a_boolean(api: Api) -> None:
    file = api.upload()
    assert_refused(api, *({"files": [file], "enhanceFace": value} for value in ("maybe", 2, [], {}, 1.0)))


def test_c_09_null_is_left_out_and_so_is_an_empty_field_of_a_form(api: Api) -> None:
    names = ("model", "scale", "saveImageAs", "enhanceFace")
    nulls = api.post(START, {"files": [api.upload()], **dict.fromkeys(names)})
    empty = api.form(Part("files", json.dumps(api.upload()).encode()), *(Part(name, b"") for name in names))
    for answer in (nulls, empty):
        status = api.status(answer["data"]["taskId"])
        assert [status[name] for name in names] == ["upscayl-standard-4x", "4", "jpg", False]


def test_ups_15_a_file_sent_along_keeps_the_end_of_a_very_long_name(api: Api) -> None:
    task = api.form(Part("file", png(), "x" * 3000 + ".png"))["data"]["taskId"]
    api.run()
    file = api.status(task)["files"][0]
    assert len(file["originalFileName"]) == 255
    assert file["originalFileName"].endswith(".png")
    assert len(file["downloadLink"]) < 1500


def test_ups_05_a_file_sent_along_without_credit_is_not_even_stored(world: Any) -> None:
    poor = Api(world, world.account(credits=0))
    assert poor.form(Part.file(png()), status=402) == NO_CREDITS
    assert "Contents" not in world.services.storage.client.list_objects_v2(Bucket="tessera-test")


def test_ups_31_a_bad_file_needs_no_credit(world: Any) -> None:
    poor = Api(world, world.account(credits=1))
    good, bad = poor.upload(), poor.upload(b"no picture")
    task = poor.post(START, {"files": [good, bad]})["data"]["taskId"]
    assert poor.status(task)["deductedCredits"] == 1


def test_ups_18_each_model_reaches_the_worker(api: Api) -> None:
    assert len(MODELS) == 12
    assert ran(api, *MODELS) == [(model, model) for model in MODELS]


def test_c_06_names_without_4x_are_aliases(api: Api) -> None:
    names = [model.removesuffix("-4x") for model in MODELS]
    assert ran(api, *names) == [(model, model) for model in MODELS]


def test_c_06_models_of_the_older_document_are_aliases(api: Api) -> None:
    meant = {"photo-realistic": "natural-plus-4x", "anime": "digital-art-4x", "digital-art": "digital-art-4x"}
    assert ran(api, *meant) == [(model, model) for model in meant.values()]


def test_c_06_an_unknown_model_is_answered_with_the_twelve(api: Api) -> None:
    file = api.upload()
    models = ("unknown", "", 4, [], "UPSCAYL-STANDARD-4X", "../upscayl-lite-4x")
    told = [api.post(START, {"files": [file], "model": model}, status=400)["message"] for model in models]
    assert [name for message in told for name in MODELS if name not in message] == []


def test_ups_19_output_is_input_times_scale(api: Api) -> None:
    file = api.upload(png(7, 3))
    scales: tuple[Any, ...] = ("2", "4", "8", 2, 4, 8)
    tasks = [api.start(file, scale=scale, saveImageAs="png") for scale in scales]
    api.run()
    shown = [(status["scale"], status["files"][0]["dimensions"]) for status in map(api.status, tasks)]
    assert shown == [(str(n), {"width": 7 * int(n), "height": 3 * int(n)}) for n in scales]


def test_ups_19_no_other_scale(api: Api) -> None:
    file = api.upload()
    texts = ("3", "16", "", "4.0", " 4", "x4", "04", "\u0664")
    assert_refused(api, *({"files": [file], "scale": value} for value in (*texts, 3, 0, -2, 4.0, True, ["4"])))


@pytest.mark.parametrize(
    ("word", "magic"), [("png", b"\x89PNG"), ("jpg", b"\xff\xd8\xff"), ("webp", b"RIFF"), (None, b"\xff\xd8\xff")]
)
def test_ups_20_save_image_as(api: Api, word: str | None, magic: bytes) -> None:
    task = api.start(api.upload(), **({} if word is None else {"saveImageAs": word}))
    api.run()
    status = api.status(task)
    (file,) = status["files"]
    assert status["saveImageAs"] == (word or "jpg")
    assert file["processedFileName"].endswith(f".{word or 'jpg'}")
    assert api.download(file["downloadLink"]).startswith(magic)


def test_ups_20_no_other_format(api: Api) -> None:
    file = api.upload()
    assert_refused(api, *({"files": [file], "saveImageAs": value} for value in ("jpeg", "gif", "PNG", "", 1)))


def test_ups_21_compression_is_ignored(api: Api) -> None:
    file = api.upload()
    values = (0, 50, 100, -1, 101, "x", None, [], {})
    assert [api.ask(START, {"files": [file], "compression": value}).status for value in values] == [200] * len(values)


def test_c_09_defaults(api: Api) -> None:
    status = api.status(api.start(api.upload()))
    shown = {name: status[name] for name in ("model", "scale", "saveImageAs", "enhanceFace")}
    assert shown == {"model": "upscayl-standard-4x", "scale": "4", "saveImageAs": "jpg", "enhanceFace": False}


# ---------------------------------------------------------------- credits


def test_ups_05_no_credits_no_task(world: Any) -> None:
    poor = Api(world, world.account(credits=0))
    assert poor.post(START, {"files": [poor.upload()]}, status=402) == NO_CREDITS
    assert (task_rows(world), poor.total()) == ([], 0)


def test_ups_05_no_credits_for_a_direct_file_no_task(world: Any) -> None:
    poor = Api(world, world.account(credits=0))
    assert poor.form(Part.file(png()), status=402) == NO_CREDITS
    assert task_rows(world) == []


def test_ups_05_credits_for_some_files_start_none(world: Any) -> None:
    poor = Api(world, world.account(credits=2))
    assert poor.post(START, {"files": [poor.upload() for _ in range(3)]}, status=402) == NO_CREDITS
    assert (task_rows(world), poor.balance) == ([], 2)


def test_ups_05_the_last_credit_is_worth_one_picture(world: Any) -> None:
    poor = Api(world, world.account(credits=1))
    file = poor.upload()
    assert [poor.ask(START, {"files": [file]}).status for _ in range(2)] == [200, 402]


# ---------------------------------------------------------------- forms that are none


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data; boundary=x", "multipart/form-data", "multipart/form-data; boundary="]
)
def test_ups_03_a_broken_form_is_a_bad_request(api: Api, content_type: str) -> None:
    whole = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
    cut = [whole[:length] for length in range(0, len(whole), 5)]
    answers = [api.send(START, raw, content_type) for raw in (*cut, b"\0", b"--x--\r\n", b"--x\r\n\r\n\r\n--x--")]
    assert {(answer.status, answer.body["error"]) for answer in answers} == {(400, "BAD_REQUEST")}


def test_ups_03_a_form_that_was_cut_off_starts_nothing(api: Api) -> None:
    whole, content_type = form(Part("files", json.dumps(api.upload()).encode()), Part("scale", b"2"))
    for length in range(whole.index(b"scale"), len(whole) - 4):
        assert api.send(START, whole[:length], content_type).status == 400
    assert task_rows(api.world) == []
    assert api.send(START, whole[:-2], content_type).status == 200  # RFC 2046: the last line break is the epilogue's


@pytest.mark.parametrize("name", ["files", "data", "files[0][fileSize]", "files[0][constructor]", "model", "scale"])
def test_ups_03_hostile_text_in_a_form_is_a_bad_request(api: Api, name: str) -> None:
    texts = (b"{", b"[" * 100_000, b"9" * 5000, b"\xff\xfe", b"NaN", b"null", b"[null]", b'["a"]', b"1", b"")
    raws = [form(Part(name, text)) for text in texts]
    answers = [api.send(START, raw, content_type) for raw, content_type in raws]
    assert {(answer.status, answer.body["error"]) for answer in answers} == {(400, "BAD_REQUEST")}


def test_ups_03_more_parts_than_a_form_may_have(api: Api) -> None:
    assert api.form(*[Part.text("a", "")] * 1001, status=400) == BAD_REQUEST


def jobs_of(api: Api, tasks: list[str]) -> list[Job]:
    """The worker's jobs of tasks that have one file each."""
    jobs = {job.task: job for job in api.world.dispatch_all()}
    return [jobs[str(from_uuid(task))] for task in tasks]


def ran(api: Api, *models: str) -> list[tuple[str, str]]:
    """What models become: in the worker's jobs, and in the statuses."""
    file = api.upload()
    tasks = [api.start(file, model=model) for model in models]
    steps = [next(step for step in job.recipe.operations if isinstance(step, Upscale)) for job in jobs_of(api, tasks)]
    return [(step.model, api.status(task)["model"]) for step, task in zip(steps, tasks, strict=True)]


def assert_refused(api: Api, *bodies: Body) -> None:
    answers = [(api.ask(START, body), body) for body in bodies]
    wrong = [(answer.status, body) for answer, body in answers if (answer.status, answer.body["error"]) != REFUSED]
    assert wrong == []
