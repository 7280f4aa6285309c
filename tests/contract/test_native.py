"""Our own routes: what each answers, who may ask, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tessera.recipe import Denoise, Encode, EnhanceFace, Thumbnail, Upscale
from tessera.settings import Settings

from tests.contract import native
from tests.contract.native import (
    ABORT,
    ACCOUNT,
    CANCEL,
    DELETE,
    ESTIMATE,
    LIST,
    MODELS,
    PARTS,
    ROTATE,
    SECRET,
    TASKS,
    WEBHOOK,
    Native,
)
from tests.contract.upscayl import BAD_REQUEST, NO_CREDITS, NOT_FOUND, UNAUTHORIZED, signed
from tests.world import World, key_of

MIB = 1024**2


@pytest.fixture
def api(world: World) -> Native:
    return Native(world, world.account(credits=100))


@pytest.fixture
def other(world: World) -> Native:
    return Native(world, world.account(credits=100))


# ---------------------------------------------------------------- every route


@pytest.mark.parametrize("path", [*native.READS, *native.WRITES, *native.BARE])
@pytest.mark.parametrize("key", [None, "unknown", "tsr_0123456789abcdef_" + "x" * 32])
def test_a_key_is_asked_for_before_anything_else(world: World, path: str, key: str | None) -> None:
    assert Native(world, key).get(path, b"{", status=401) == UNAUTHORIZED


@pytest.mark.parametrize("path", [*native.WRITES, *native.BARE])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b'{"a": NaN}', b'{"taskId": "a", "taskId": "b"}', b"[" * 90_000]
)
def test_a_body_that_is_no_json_object_is_a_bad_request(api: Native, path: str, body: bytes) -> None:
    assert api.get(path, body, status=400)["error"] == "BAD_REQUEST"


@pytest.mark.parametrize("path", [*native.WRITES, *native.BARE])
def test_a_body_beyond_the_limit_is_refused_unread(api: Native, path: str) -> None:
    assert api.get(path, b"{" + b" " * 4_400_000 + b"}", status=413)["error"] == "FILE_SIZE_EXCEEDED"


@pytest.mark.parametrize("path", native.WRITES)
def test_what_is_missing_and_what_is_unknown_is_named(api: Native, path: str) -> None:
    assert "missing" in api.get(path, {}, status=400)["message"]
    valid = {
        "taskId": "a",
        "uploadId": "a",
        "key": "b",
        "partNumbers": [1],
        "files": [{"fileName": "c", "width": 1, "height": 1}],
    }
    assert "Extra inputs" in api.get(path, {**valid, "scael": 2}, status=400)["message"]


@pytest.mark.parametrize("path", native.BARE)
def test_what_is_unknown_is_named_where_nothing_has_to_be_said(api: Native, path: str) -> None:
    assert "Extra inputs" in api.get(path, {"scael": 2}, status=400)["message"]


def test_other_paths_are_not_found(api: Native) -> None:
    assert api.get("/v1/nothing", {}, status=404) == NOT_FOUND


# ---------------------------------------------------------------- account, models, estimate


def test_the_account_tells_credits_and_limits(api: Native) -> None:
    assert api.get(ACCOUNT) == {
        "credits": 100,
        "apiVersion": "1",
        "limits": {
            "maxFileBytes": 100 * MIB,
            "maxInputPixels": 64_000_000,
            "maxOutputPixels": 144_000_000,
            "partThreshold": 32 * MIB,
            "maxFilesPerTask": 48,
        },
        "retentionSeconds": 86_400,
    }
    api.start(api.upload())
    assert api.get(ACCOUNT)["credits"] == 99


def test_the_models_of_a_deployment_without_gpu(api: Native) -> None:
    told = api.get(MODELS)
    models = {model["name"]: model for model in told["models"]}
    shipped, public = models["tessera-photo"], models["realesrgan-x4plus"]
    assert (shipped["available"], shipped["default"], shipped["standIn"], shipped["reason"]) == (True, True, None, None)
    assert (public["available"], public["default"], public["standIn"]) == (False, False, "tessera-photo")
    assert "not installed" in public["reason"] and public["scales"] == [2, 3, 4, 8]
    formats = {entry["name"]: entry for entry in told["formats"]}
    assert formats["avif"] == {"name": "avif", "maxSide": 32_768, "maxPixels": 50_000_000}
    assert formats["png"]["maxPixels"] == 144_000_000
    assert told["operations"]["enhanceFace"]["available"] is False
    assert told["operations"]["metadata"] == {"values": ["safe", "keep", "strip"], "default": "safe"}


@pytest.mark.parametrize("settings", [{"faces": "installed"}])
def test_models_say_where_faces_are_restored(api: Native) -> None:
    assert api.get(MODELS)["operations"]["enhanceFace"] == {"available": True, "reason": None}


@pytest.mark.parametrize("settings", [{"networks": "public", "stand_in": "refuse"}])
def test_the_models_of_a_deployment_with_the_public_ones(api: Native) -> None:
    models = api.get(MODELS)["models"]
    assert all(model["available"] for model in models)
    assert [model["name"] for model in models if model["default"]] == ["realesrgan-x4plus"]
    assert api.get(ESTIMATE, {"files": [{"width": 9, "height": 9}]})["seconds"] is None


@pytest.mark.parametrize("settings", [{"stand_in": "refuse"}])
def test_a_model_that_is_missing_and_for_which_none_stands_in_is_refused(api: Native) -> None:
    refused = api.get(TASKS, {"files": [api.upload()], "model": "realesrgan-x4plus"}, status=400)
    assert "realesrgan-x4plus is not installed" in refused["message"]
    assert api.balance == 100


def test_an_estimate(api: Native) -> None:
    wish = {"files": [{"width": 1000, "height": 500}, {"width": 9000, "height": 4000}], "saveImageAs": "webp"}
    told = api.get(ESTIMATE, wish)
    good, bad = told["files"]
    assert good == {"width": 4000, "height": 2000, "pixels": 8_000_000, "accepted": True, "reason": None}
    assert (bad["accepted"], bad["pixels"]) == (False, None)
    assert "576,000,000" in bad["reason"] or "144,000,000" in bad["reason"]
    assert told["credits"] == 1
    assert told["seconds"] == pytest.approx(1 + 0.5 / 4 * 3.21, abs=0.06)
    assert api.balance == 100


@pytest.mark.parametrize(
    ("wish", "size"),
    [({"scale": 3}, (900, 600)), ({"width": 450}, (450, 300)), ({"width": 9000, "height": 500}, (750, 500))],
)
def test_an_estimate_of_other_sizes(api: Native, wish: dict[str, Any], size: tuple[int, int]) -> None:
    (file,) = api.get(ESTIMATE, {"files": [{"width": 300, "height": 200}], **wish})["files"]
    assert (file["width"], file["height"]) == size


def test_an_estimate_knows_what_a_format_can_hold(api: Native) -> None:
    (file,) = api.get(ESTIMATE, {"files": [{"width": 5000, "height": 10}], "saveImageAs": "webp"})["files"]
    assert "16,383" in file["reason"]


# ---------------------------------------------------------------- tasks


def test_a_task_with_everything(api: Native) -> None:
    task = api.start(
        api.upload(),
        *(api.upload(),),
        model="tessera-fidelity",
        scale=2,
        saveImageAs="webp",
        quality=70,
        denoise=40,
        enhanceFace=True,
        metadata="strip",
    )
    jobs = api.world.dispatch_all()
    assert len(jobs) == 2
    assert jobs[0].recipe.operations == (
        Denoise(strength=40),
        Upscale(model="tessera-fidelity", scale=2),
        EnhanceFace(),
        Thumbnail(),
        Encode(format="webp", quality=70, metadata="strip"),
    )
    for job in jobs:
        api.world.work(job)
    told = api.status(task)
    assert (told["status"], told["scale"], told["enhanceFace"], told["deductedCredits"]) == ("completed", "2", True, 2)


def test_a_task_is_started_with_the_deployments_default_by_four_to_jpeg(api: Native) -> None:
    assert api.get(TASKS, {"files": [api.upload()]}).keys() == {"taskId", "status"}
    (job,) = api.world.dispatch_all()
    assert job.recipe.operations == (Upscale(model="tessera-photo", scale=4), Thumbnail(), Encode(format="jpeg"))


def test_a_task_into_a_box_is_told_by_its_box(api: Native) -> None:
    task = api.start(api.upload(), width=12, saveImageAs="avif")
    (job,) = api.world.dispatch_all()
    assert job.recipe.operations[0] == Upscale(model="tessera-photo", width=12)
    told = api.status(task)
    assert (told["width"], told["saveImageAs"], "scale" in told) == (12, "avif", False)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"scale": 5}, "scale"),
        ({"scale": "4"}, "scale"),
        ({"scale": 2, "width": 9}, "exclude each other"),
        ({"width": 0}, "width"),
        ({"model": "upscayl-standard-5x"}, "/v1/models"),
        ({"saveImageAs": "gif"}, "saveImageAs"),
        ({"lossless": True}, "WebP"),
        ({"quality": 0}, "quality"),
        ({"denoise": 101}, "denoise"),
        ({"metadata": "all"}, "metadata"),
        ({"webhook": {}}, "url"),
        ({"webhook": {"url": "ftp://example.com"}}, "URL"),
        ({"webhook": {"url": "http://10.0.0.1/"}}, "not allowed"),
        ({"webhook": {"url": "https://example.com", "delay": 86_401}}, "delay"),
        ({"webhook": {"url": "https://example.com", "delay": -1}}, "delay"),
        ({"webhook": {"url": "https://example.com", "delya": 1}}, "delya"),
        ({"files": []}, "files"),
        ({"files": [{"fileName": "0" * 301}]}, "fileName"),
        ({"files": [{"fileName": "deadbeef-nothing.png"}]}, "no file"),
    ],
)
def test_a_task_that_cannot_be(api: Native, wish: dict[str, Any], why: str) -> None:
    refused = api.get(TASKS, {"files": [api.upload()], **wish}, status=400)
    assert why in refused["message"]
    assert api.balance == 100


def test_a_foreign_upload_is_an_unknown_one(api: Native, other: Native) -> None:
    foreign = other.upload()
    said = api.get(TASKS, {"files": [foreign]}, status=400)
    assert (
        said["message"] == f"{BAD_REQUEST['message']}: no file {foreign['fileName']!r} was uploaded, or it has expired"
    )


def test_a_task_without_credits(world: World) -> None:
    poor = Native(world, world.account(credits=0))
    assert poor.get(TASKS, {"files": [poor.upload()]}, status=402) == NO_CREDITS


def test_the_same_key_is_the_same_task_and_other_content_a_conflict(api: Native) -> None:
    wish = {"files": [api.upload()], "scale": 2}
    first = api.get(TASKS, wish, idempotency_key="k")
    assert api.get(TASKS, wish, idempotency_key="k") == first
    assert api.get(TASKS, {**wish, "scale": 3}, status=409, idempotency_key="k")["error"] == "IDEMPOTENCY_CONFLICT"
    assert api.balance == 99


# ---------------------------------------------------------------- webhooks


def test_a_task_with_a_webhook_is_told_of_it(api: Native) -> None:
    task = api.start(api.upload(), webhook={"url": "https://me:you@example.com/hook?a=b", "delay": 10})
    waiting = {"taskId": task, "state": "waiting", "url": "https://example.com/hook?a=b", "webhookId": None}
    assert api.get(WEBHOOK, {"taskId": task}) == {**waiting, "attempts": [], "nextAttemptAt": None}
    api.world.run()
    told = api.get(WEBHOOK, {"taskId": task})
    assert (told["state"], told["nextAttemptAt"]) == ("pending", api.world.clock.ms + 10_000)
    assert api.get(WEBHOOK, {"taskId": api.start(api.upload())}, status=404) == NOT_FOUND


def test_the_same_key_with_another_webhook_is_a_conflict(api: Native) -> None:
    wish = {"files": [api.upload()], "webhook": {"url": "https://example.com/one"}}
    first = api.get(TASKS, wish, idempotency_key="k")
    assert api.get(TASKS, wish, idempotency_key="k") == first
    other = {**wish, "webhook": {"url": "https://example.com/two"}}
    assert api.get(TASKS, other, status=409, idempotency_key="k")["error"] == "IDEMPOTENCY_CONFLICT"


def test_the_secret_is_shown_and_changed(api: Native, other: Native) -> None:
    first = api.get(SECRET, {})
    assert first["secret"].startswith("whsec_") and first["olderValidUntil"] is None
    assert api.get(SECRET, {}) == first
    changed = api.get(ROTATE, {})
    assert changed["secret"] != first["secret"] and changed["olderValidUntil"] == api.world.clock.ms + 86_400_000
    assert other.get(SECRET, {})["secret"] not in (first["secret"], changed["secret"])
    api.world.clock.forward(86_400)
    assert api.get(SECRET, {}) == {**changed, "olderValidUntil": None}


# ---------------------------------------------------------------- foreign ids


def test_foreign_tasks_are_unknown_ones(api: Native, other: Native) -> None:
    task = other.start(other.upload())
    for path in (CANCEL, DELETE, WEBHOOK):
        answers = {api.ask(path, {"taskId": name}) for name in (task, native.UNKNOWN_TASK, "nonsense", "")}
        assert answers == {(404, json.dumps(NOT_FOUND).encode())}
    other.world.run()
    assert other.status(task)["status"] == "completed"


def test_foreign_uploads_are_unknown_ones(api: Native, other: Native) -> None:
    mine, foreign = api.ticket(), other.ticket()
    other.send_part(foreign, 1, bytes(8 * MIB))
    account = mine["key"].split("/")[1]
    wrong = (
        foreign,
        {"uploadId": foreign["uploadId"], "key": mine["key"]},
        {"uploadId": mine["uploadId"], "key": foreign["key"]},
        {"uploadId": "unknown", "key": mine["key"]},
        {"uploadId": "unknown", "key": f"uploads/{account}/{'0' * 32}"},
        {"uploadId": "unknown", "key": "results/../uploads"},
    )
    for path, more in ((PARTS, {"partNumbers": [1]}), (LIST, {}), (ABORT, {})):
        assert {api.ask(path, {**ids, **more}) for ids in wrong} == {(404, json.dumps(NOT_FOUND).encode())}
    assert len(other.get(LIST, foreign)["parts"]) == 1


# ---------------------------------------------------------------- parts


def test_parts_are_signed_afresh_for_their_own_length(api: Native) -> None:
    ticket = api.ticket(20_000_000)
    api.world.clock.forward(600)
    told = api.get(PARTS, {**ticket, "partNumbers": [3, 1]})
    assert [part["PartNumber"] for part in told["parts"]] == [3, 1]
    for part in told["parts"]:
        link = signed(part["url"])
        assert key_of(part["url"]) == ticket["key"]
        assert (link["uploadid"], link["partnumber"]) == (ticket["uploadId"], str(part["PartNumber"]))
        assert "content-length" in link["x-amz-signedheaders"]
        assert link["x-amz-expires"] == "3000"
    assert told["expiresAt"] == api.world.clock.ms + 3_000_000
    refused = api.get(PARTS, {**ticket, "partNumbers": [1, 4]}, status=400)
    assert "the file has 3 parts, there is no 4" in refused["message"]


@pytest.mark.parametrize("numbers", [[], [0], ["1"], [10_001], [1] * 101, None])
def test_part_numbers_of_another_form(api: Native, numbers: Any) -> None:
    assert api.get(PARTS, {**api.ticket(), "partNumbers": numbers}, status=400)["error"] == "BAD_REQUEST"


def test_parts_are_listed_until_the_upload_is_completed(api: Native) -> None:
    ticket = api.ticket(10_000_000)
    assert api.get(LIST, ticket) == {"parts": []}
    pieces = (bytes(8 * MIB), bytes(10_000_000 - 8 * MIB))
    etags = [api.send_part(ticket, number, piece).strip('"') for number, piece in enumerate(pieces, start=1)]
    parts = [
        {"PartNumber": n, "ETag": etag, "Size": len(piece)}
        for n, (etag, piece) in enumerate(zip(etags, pieces, strict=True), start=1)
    ]
    assert api.get(LIST, ticket) == {"parts": parts}
    body = {**ticket, "parts": [{name: part[name] for name in ("PartNumber", "ETag")} for part in parts]}
    assert api.world.post("/complete-multipart-upload", body, api.key)[0] == 200
    assert api.get(LIST, ticket, status=404) == NOT_FOUND
    assert api.get(ABORT, ticket) == {}
    assert ticket["key"] in api.objects()


def test_an_aborted_upload_is_gone_and_may_be_aborted_again(api: Native) -> None:
    ticket = api.ticket()
    api.send_part(ticket, 1, bytes(8 * MIB))
    assert api.get(ABORT, ticket) == api.get(ABORT, ticket) == {}
    assert api.get(LIST, ticket, status=404) == api.get(PARTS, {**ticket, "partNumbers": [1]}, status=404) == NOT_FOUND
    listed = api.world.services.storage.client.list_multipart_uploads(Bucket="tessera-test")
    assert listed.get("Uploads", []) == []


def test_an_upload_whose_time_is_over_is_an_unknown_one(api: Native) -> None:
    ticket = api.ticket()
    api.world.clock.forward(3600)
    assert api.get(PARTS, {**ticket, "partNumbers": [1]}, status=404) == NOT_FOUND


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize("settings", [{"limit_profile": "strict"}])
def test_the_kinds_are_counted(api: Native, settings: dict[str, Any]) -> None:
    limits = Settings(table="t", bucket="b", work_queue_url="q", **settings)
    assert all(limits.limit(kind) for kind in ("upload", "change", "status", "start"))
    codes = [api.ask(CANCEL, {"taskId": native.UNKNOWN_TASK})[0] for _ in range(101)]
    assert codes == [404] * 100 + [429]
