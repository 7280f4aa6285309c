"""G3: `Idempotency-Key`. The same request is answered as the first time and charged once; another one is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tessera import accounts, cleanup, credits
from tessera.idempotency import KEPT
from tessera.settings import SECONDS

from tests.contract.upscayl import COMPLETE, NO_CREDITS, START, UNAUTHORIZED, UPLOAD, Answer, Api, Part, checked, form
from tests.world import World, png

CONFLICT = {"error": "IDEMPOTENCY_CONFLICT", "message": "This Idempotency-Key was used for another request"}
LINK = {"originalFileName": "a.png", "fileType": "image/png", "fileSize": 9}
SIZE = 12 * 1024 * 1024


def ask(api: Api, route: str, body: Any, key: str = "once", content_type: str = "application/json") -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": content_type, "idempotency-key": key}
    return checked(route, api.world.request(route, raw, headers, api.key))


def test_g3_a_start_sent_again_gives_the_same_task_and_is_charged_once(api: Api) -> None:
    body = {"files": [api.upload(), api.upload()]}
    first, again = ask(api, START, body), ask(api, START, body)
    assert first.status == again.status == 200
    assert first.body == again.body
    assert api.balance == 98
    api.run()
    later = ask(api, START, body)
    assert later.body == first.body
    assert (api.balance, api.total()) == (98, 1)


def test_g3_the_words_count_not_their_order_or_the_shape(api: Api) -> None:
    files = [api.upload()]
    first = ask(api, START, {"files": files, "scale": "2", "saveImageAs": "png"})
    again = ask(api, START, {"saveImageAs": "png", "scale": 2, "model": None, "files": files})
    assert first.body == again.body


def test_g3_another_request_with_the_key_is_a_conflict(api: Api) -> None:
    files = [api.upload()]
    ask(api, START, {"files": files})
    for other in ({"files": files, "scale": "2"}, {"files": [api.upload()]}):
        answer = ask(api, START, other)
        assert (answer.status, answer.body) == (409, CONFLICT)
    link = ask(api, UPLOAD, LINK)
    assert (link.status, link.body) == (409, CONFLICT)
    assert (api.balance, api.total()) == (99, 1)


def test_g3_another_key_is_another_start(api: Api) -> None:
    body = {"files": [api.upload()]}
    assert ask(api, START, body, "one").body != ask(api, START, body, "two").body
    assert api.balance == 98


def test_g3_a_repeat_is_answered_when_the_credits_are_spent(world: World) -> None:
    api = Api(world, world.account(credits=1))
    body = {"files": [api.upload()]}
    first = ask(api, START, body)
    assert api.balance == 0
    assert ask(api, START, body).body == first.body
    refused = ask(api, START, body, "another")
    assert (refused.status, refused.body) == (402, NO_CREDITS)


def test_g3_a_refused_start_may_be_tried_again_with_its_key(world: World) -> None:
    api = Api(world, world.account(credits=0))
    body = {"files": [api.upload()]}
    assert ask(api, START, body).status == 402
    credits.grant(world.services, accounts.credential(world.services, str(api.key)).account, 1)
    assert ask(api, START, body).status == 200


def test_g3_a_file_sent_along_is_stored_and_started_once(api: Api) -> None:
    def send(body: bytes, boundary: str) -> Answer:
        raw, content_type = form(Part.file(body))
        mark = "----formboundary7MA4YWxkTrZu0gW"
        return ask(api, START, raw.replace(mark.encode(), boundary.encode()), "k", content_type.replace(mark, boundary))

    first, again = send(png(3, 3), "first-boundary"), send(png(3, 3), "second-boundary")
    assert first.status == 200
    assert first.body == again.body
    assert send(png(4, 4), "third-boundary").status == 409
    storage = api.world.services.storage
    assert storage.client.list_objects_v2(Bucket=storage.bucket, Prefix="uploads/")["KeyCount"] == 1
    assert api.balance == 99


def test_g3_a_key_counts_for_a_day(api: Api) -> None:
    def link() -> Any:
        return ask(api, UPLOAD, LINK).body["data"]

    first = link()
    api.world.clock.forward(KEPT / SECONDS - 1)
    assert link()["fileName"] == first["fileName"]
    api.world.clock.forward(2)
    assert link()["fileName"] != first["fileName"]


def test_g3_its_row_is_swept_with_what_has_expired(api: Api) -> None:
    services = api.world.services
    account = accounts.credential(services, str(api.key)).account

    def rows() -> int:
        return sum(row["sk"].startswith("ONCE#") for row in services.table.query_partition(f"ACCOUNT#{account}"))

    ask(api, START, {"files": [api.upload()]})
    api.run()
    assert rows() == 1
    api.world.clock.forward(KEPT / SECONDS + 120)
    cleanup.sweep(services)
    assert rows() == 0


def test_g3_an_upload_link_asked_for_again_names_the_same_object(api: Api) -> None:
    body = {"originalFileName": "big.png", "fileType": "image/png", "fileSize": SIZE, "multipart": True}
    first, again = ask(api, UPLOAD, body).body["data"], ask(api, UPLOAD, body).body["data"]
    assert {name: first[name] for name in ("fileName", "uploadId", "key", "partSize")} == {
        name: again[name] for name in ("fileName", "uploadId", "key", "partSize")
    }
    storage = api.world.services.storage
    assert len(storage.client.list_multipart_uploads(Bucket=storage.bucket)["Uploads"]) == 1
    answer = ask(api, UPLOAD, body | {"fileSize": SIZE + 1})
    assert (answer.status, answer.body) == (409, CONFLICT)


@pytest.mark.parametrize("key", ["x" * 256, "two words", "tab\t", "schlüssel"])
def test_g3_a_key_that_is_none_is_refused(api: Api, key: str) -> None:
    for route, body in ((START, {"files": [api.upload()]}), (UPLOAD, LINK)):
        answer = ask(api, route, body, key)
        assert (answer.status, answer.body["error"]) == (400, "BAD_REQUEST")
        assert "Idempotency-Key" in answer.body["message"]
    assert api.balance == 100


def test_g10_a_key_of_the_account_is_needed_to_be_told_anything(api: Api, other: Api, world: World) -> None:
    body = {"files": [api.upload()]}
    ask(api, START, body)
    assert api.key is not None
    stranger = Api(world, api.key[:-4] + "AAAA")  # names the account, but is none of its keys
    for said in (body, {"files": []}, {"files": body["files"], "scale": "2"}):
        answer = ask(stranger, START, said)
        assert (answer.status, answer.body) == (401, UNAUTHORIZED)
    assert ask(other, START, {"files": [other.upload()]}).status == 200  # keys of two accounts do not meet


def test_g3_routes_that_create_nothing_do_not_ask_for_the_key(api: Api) -> None:
    answer = ask(api, COMPLETE, {"uploadId": "x", "key": "y", "parts": [{"PartNumber": 1, "ETag": "z"}]}, "two words")
    assert answer.status == 400
    assert "Idempotency-Key" not in answer.body["message"]
