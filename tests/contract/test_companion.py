"""The seven routes of FEATURES section B, each as `@uppy/aws-s3` 6.3.1 calls it and reads its answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tessera import errors
from tessera.accounts import revoke_key
from tessera.uploads import ACCEPTED_TYPES, MAX_BYTES

from tests.contract.companion import MIB, NOT_FOUND, Answer, Page, call, new_token
from tests.contract.upscayl import Api
from tests.world import InjectedFaultError, World, key_of, png

FOREVER = 604_800


@pytest.fixture
def key(world: World) -> str:
    return world.account(credits=10)


@pytest.fixture
def page(world: World, key: str) -> Page:
    return Page(world, new_token(world, key)["token"])


# ---------------------------------------------------------------- POST /v1/upload-tokens


def test_b_a_token_is_made_by_a_key_and_says_what_it_is_good_for(world: World, key: str) -> None:
    made = new_token(world, key, maxBytes=1000, types=["image/png"], count=3, expiresIn=60)
    token = made["token"]
    assert made == {
        "token": token,
        "companionUrl": f"https://api.example.com/u/{token}",
        "expiresAt": world.clock() + 60_000,
        "maxBytes": 1000,
        "types": ["image/png"],
        "count": 3,
        "exact": False,
    }
    assert len(token) == 47 and token.startswith("tsu_")


def test_b_a_token_that_is_asked_for_without_limits_has_defaults(world: World, key: str) -> None:
    made = call(world, "POST", "/v1/upload-tokens", key=key).body["data"]
    assert (made["maxBytes"], made["types"], made["count"]) == (MAX_BYTES, list(ACCEPTED_TYPES), 20)
    assert made["expiresAt"] == world.clock() + 3_600_000


def test_g11_a_token_is_not_stored(world: World, key: str) -> None:
    token = new_token(world, key)["token"]
    Page(world, token).begin()
    table = world.services.table
    rows = table.client.scan(TableName=table.name)["Items"]
    assert any(row["pk"]["S"].startswith("TOKEN#") for row in rows)
    assert token[4:] not in json.dumps(rows)


@pytest.mark.parametrize("wrong", [None, "", "wrong", "tsr_0123456789abcdef_" + "A" * 32])
def test_b_a_token_is_made_by_nobody_else(world: World, wrong: str | None) -> None:
    assert call(world, "POST", "/v1/upload-tokens", body={}, key=wrong).status == 401


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"maxBytes": 0}, "maxBytes"),
        ({"maxBytes": MAX_BYTES + 1}, "maxBytes"),
        ({"maxBytes": True}, "maxBytes"),
        ({"types": []}, "types"),
        ({"types": ["image/gif"]}, "types"),
        ({"types": "image/png"}, "types"),
        ({"count": 0}, "count"),
        ({"count": 10_001}, "count"),
        ({"count": 1.5}, "count"),
        ({"exact": 1}, "exact"),
        ({"expiresIn": 0}, "expiresIn"),
        ({"expiresIn": FOREVER + 1}, "expiresIn"),
    ],
)
def test_b_limits_have_bounds(world: World, key: str, limits: dict[str, Any], named: str) -> None:
    answer = call(world, "POST", "/v1/upload-tokens", body=limits, key=key)
    assert (answer.status, answer.body["error"]) == (400, "BAD_REQUEST")
    assert answer.body["message"].startswith(named)


# ---------------------------------------------------------------- GET /params


def policy(fields: dict[str, str]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(base64.b64decode(fields["policy"]))
    return read


def test_b_params_sign_a_form_for_one_key_and_a_range_of_sizes(page: Page) -> None:
    answer = page.params(name="photo.png", type="image/png").body
    assert (answer["method"], answer["expires"]) == ("POST", 3600)
    conditions = policy(answer["fields"])["conditions"]
    assert ["content-length-range", 1, MAX_BYTES] in conditions
    assert {"key": answer["fields"]["key"]} in conditions
    assert answer["url"].endswith("/") or answer["url"].endswith("/tessera-test")
    assert "file" not in {name.lower() for name in answer["fields"]}  # Uppy refuses such a form


def test_b_a_size_that_the_page_tells_is_the_most_that_the_form_takes(page: Page) -> None:
    fields = page.params(size="4711").body["fields"]
    assert ["content-length-range", 1, 4711] in policy(fields)["conditions"]


@pytest.mark.parametrize("size", ["large", "-1", "1.5", "٣", "", "1e3"])
def test_b_a_size_that_is_no_number_of_bytes_is_the_pages_own_word(page: Page, size: str) -> None:
    fields = page.params(size=size).body["fields"]
    assert ["content-length-range", 1, MAX_BYTES] in policy(fields)["conditions"]


def test_b_links_do_not_outlive_the_token(world: World, key: str) -> None:
    page = Page(world, new_token(world, key, expiresIn=100)["token"])
    world.clock.forward(40)
    assert page.params().body["expires"] == 60
    upload = page.begin().body
    assert page.sign(upload, 1).body["expires"] == 60


def test_b_an_upload_by_a_form_is_an_upload_of_the_account(world: World, key: str, page: Page) -> None:
    """Uppy tells a page the key; with it, a task is started."""
    s3_key = page.params("Mein Foto.png").body["fields"]["key"]
    world.services.storage.write(s3_key, png())
    world.upload_event(s3_key)
    api = Api(world, key)
    file = {"fileName": s3_key, "fileType": "image/png", "fileSize": len(png()), "originalFileName": "Mein Foto.png"}
    task = api.start(file)
    world.run()
    (done,) = api.status(task)["files"]
    assert (done["status"], done["fileName"]) == ("completed", s3_key)
    assert done["processedFileName"].startswith("Mein Foto")


def test_b_the_key_of_another_accounts_upload_starts_nothing(world: World, page: Page) -> None:
    s3_key = page.params().body["fields"]["key"]
    world.services.storage.write(s3_key, png())
    world.upload_event(s3_key)
    other = Api(world, world.account(credits=10))
    body = {"files": [{"fileName": s3_key, "fileType": "image/png", "fileSize": 5}]}
    assert "no file" in other.post("/start-task", body, status=400)["message"]


# ---------------------------------------------------------------- /multipart


def test_b_the_walk_of_an_upload_in_parts(world: World, key: str, page: Page) -> None:
    begun = page.begin(name="big.png", size=5 * MIB + 7).body
    assert begun["bucket"] == "tessera-test"
    assert set(begun) == {"key", "uploadId", "bucket"}

    signed = page.sign(begun, 1).body
    assert signed["expires"] == 3600
    assert key_of(signed["url"]) == begun["key"]
    query = parse_qs(urlsplit(signed["url"]).query)
    assert (query["partNumber"], query["uploadId"]) == (["1"], [begun["uploadId"]])

    batch = page.batch(begun, "1,2").body["presignedUrls"]
    assert [parse_qs(urlsplit(batch[number]).query)["partNumber"] for number in ("1", "2")] == [["1"], ["2"]]

    first = page.send_part(begun, 1, bytes(5 * MIB))
    listed = page.listed(begun).body
    assert listed == [{"PartNumber": 1, "ETag": f'"{first["ETag"]}"', "Size": 5 * MIB}]

    second = page.send_part(begun, 2, b"the end")
    done = page.complete(begun, [first, second]).body
    assert (done["key"], done["bucket"]) == (begun["key"], "tessera-test")
    assert key_of(done["location"]) == begun["key"] and "?" not in done["location"]
    facts = world.services.storage.head(begun["key"])
    assert facts is not None and facts.size == 5 * MIB + 7
    assert page.complete(begun, [first, second]).status == 200  # the answer was lost, and it is asked again


def test_b_a_location_starts_a_task_as_well(world: World, key: str, page: Page) -> None:
    begun = page.begin().body
    location = page.complete(begun, [page.send_part(begun, 1, png())]).body["location"]
    world.upload_event(begun["key"])
    assert Api(world, key).post("/start-task", {"urls": [location]})["data"]["taskId"]


def test_b_parts_that_are_not_there_make_no_file(page: Page) -> None:
    begun = page.begin().body
    there = page.send_part(begun, 1, b"here")
    wrong = [
        [{"PartNumber": 2, "ETag": there["ETag"]}],
        [{"PartNumber": 1, "ETag": "0" * 32}],
        [there, there],
    ]
    assert [page.complete(begun, parts).status for parts in wrong] == [409, 409, 409]
    assert page.complete(begun, [there]).status == 200


def test_b_a_small_part_in_the_middle_makes_no_file(page: Page) -> None:
    begun = page.begin().body
    parts = [page.send_part(begun, number, b"small") for number in (1, 2)]
    answer = page.complete(begun, parts)
    assert (answer.status, answer.body["error"]) == (409, "UPLOAD_INCOMPLETE")


def test_b_an_aborted_upload_is_gone(page: Page) -> None:
    begun = page.begin().body
    part = page.send_part(begun, 1, b"here")
    assert (page.abort(begun).raw, page.abort(begun).raw) == ("{}", "{}")
    assert (page.listed(begun).status, page.complete(begun, [part]).status) == (404, 404)


# ---------------------------------------------------------------- what a token is not good for

Ask = Callable[[Page], Answer]
UPLOAD = {"key": "uploads/0123456789abcdef/" + "0" * 32, "uploadId": "no.such_upload-1"}
ROUTES: dict[str, Ask] = {
    "params": lambda page: page.params(),
    "begin": lambda page: page.begin(),
    "sign": lambda page: page.sign(UPLOAD, 1),
    "batch": lambda page: page.batch(UPLOAD, "1"),
    "list": lambda page: page.listed(UPLOAD),
    "complete": lambda page: page.complete(UPLOAD, [{"PartNumber": 1, "ETag": "e"}]),
    "abort": lambda page: page.abort(UPLOAD),
}


@pytest.mark.parametrize("route", ROUTES)
def test_b_unknown_expired_and_revoked_tokens_are_answered_alike(world: World, route: str) -> None:
    key = world.account()
    revoked = new_token(world, key)["token"]
    revoke_key(world.services, key)
    expired = new_token(world, world.account(), expiresIn=5)["token"]
    world.clock.forward(5)
    tokens = (revoked, expired, "tsu_" + "A" * 43, "tsu_short", "ключ", "..", "a b")
    answers = [ROUTES[route](Page(world, token)) for token in tokens]
    assert {(answer.status, answer.raw) for answer in answers} == {(404, NOT_FOUND)}


@pytest.mark.parametrize("route", ["sign", "batch", "list", "complete", "abort"])
def test_b_an_upload_of_another_token_is_answered_as_an_unknown_one(
    world: World, key: str, page: Page, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another account's, and of another token of the same account."""
    begun = page.begin().body
    others = [Page(world, new_token(world, owner)["token"]) for owner in (key, world.account())]
    own = {**others[0].begin().body, "uploadId": begun["uploadId"]}
    monkeypatch.setitem(UPLOAD, "key", begun["key"])
    monkeypatch.setitem(UPLOAD, "uploadId", begun["uploadId"])
    answers = [ROUTES[route](other) for other in others]
    monkeypatch.setitem(UPLOAD, "key", own["key"])
    answers.append(ROUTES[route](others[0]))
    monkeypatch.setitem(UPLOAD, "key", "results/0123456789abcdef/1/00/1")
    answers.append(ROUTES[route](page))
    assert {(answer.status, answer.raw) for answer in answers} == {(404, NOT_FOUND)}
    assert page.listed(begun).body == []


def test_b_an_unknown_path_is_answered_alike(world: World, page: Page) -> None:
    paths = ("", "/nowhere", "/multipart/a/b/c", "/params/more")
    assert {page.get(path).raw for path in paths} == {NOT_FOUND}


@pytest.mark.parametrize("ask", [Page.params, Page.begin])
def test_b_types_and_sizes_are_the_tokens(world: World, key: str, ask: Callable[..., Answer]) -> None:
    page = Page(world, new_token(world, key, types=["image/png"], maxBytes=1000, count=1)["token"])
    wrong = [
        (ask(page, type="image/jpeg"), 415, "INVALID_FILE_TYPE"),
        (ask(page, type="application/octet-stream"), 415, "INVALID_FILE_TYPE"),
        (ask(page, size=1001), 413, "FILE_SIZE_EXCEEDED"),
        (ask(page, size=0), 400, "BAD_REQUEST"),
        (ask(page, filename=""), 400, "BAD_REQUEST"),
        (ask(page, filename="a" * 256), 400, "BAD_REQUEST"),
    ]
    assert [(answer.status, answer.body["error"]) for answer, _, _ in wrong] == [row[1:] for row in wrong]
    assert ask(page, size=1000).status == 200  # nothing of that was counted
    spent = ask(page)
    assert (spent.status, spent.body["error"]) == (403, "UPLOADS_SPENT")


def test_b_part_numbers_end_where_the_file_has_to(world: World, key: str) -> None:
    page = Page(world, new_token(world, key, maxBytes=10 * MIB + 1)["token"])
    any_size, small = page.begin().body, page.begin(size=5 * MIB).body
    assert [page.sign(any_size, number).status for number in (1, 3, 4)] == [200, 200, 413]
    assert [page.sign(small, number).status for number in (1, 2)] == [200, 413]
    numbers = ("0", "-1", "x", "1.0", "10001", "9" * 40, "٣")
    assert {page.sign(any_size, number).status for number in numbers} == {400}
    assert {page.batch(any_size, numbers).status for numbers in ("", "1,x", ",", "1," * 100 + "1")} == {400}


def test_b_parts_are_signed_for_their_length_where_the_page_tells_how_it_cuts(world: World, key: str) -> None:
    page = Page(world, new_token(world, key, exact=True)["token"])
    upload = page.begin(size=11 * MIB, partSize=5 * MIB).body
    assert [page.sign(upload, number).status for number in (1, 3, 4)] == [200, 200, 413]
    signed = page.sign(upload, 1).body["url"]
    assert parse_qs(urlsplit(signed).query)["X-Amz-SignedHeaders"] == ["content-length;host"]
    assert page.params().status == 200  # the policy of a form has a size anyway


@pytest.mark.parametrize("told", [{}, {"size": 11 * MIB}, {"partSize": 5 * MIB}, {"size": "L", "partSize": "S"}])
def test_b_an_exact_token_asks_for_the_sizes_of_parts(world: World, key: str, told: dict[str, Any]) -> None:
    page = Page(world, new_token(world, key, exact=True, count=1)["token"])
    answer = page.begin(**told)
    assert (answer.status, answer.body["error"]) == (400, "MISSING_REQUIRED_FIELDS")
    assert page.begin(size=11 * MIB, partSize=5 * MIB - 1).status == 400
    assert page.begin(size=11 * MIB, partSize=5 * MIB).status == 200


def test_b_calls_are_counted_on_the_key_that_made_the_token(world: World, key: str) -> None:
    page = Page(world, new_token(world, key, count=200)["token"])
    strict = world.services.settings.model_copy(update={"limit_profile": "strict"})
    object.__setattr__(world.services, "settings", strict)
    answers = [page.params() for _ in range(100)]
    assert [answer.status for answer in answers] == [200] * 99 + [429]  # the token's own call was counted too
    assert int(answers[-1].headers["retry-after"]) > 0


# ---------------------------------------------------------------- hostile input

BODIES = [b"", b"{", b"[]", b'"x"', b"\xff", b"null", b'{"filename": "a", "filename": "b"}', b"[" * 100_000]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@pytest.mark.parametrize("body", BODIES)
def test_b_no_body_breaks_a_route(page: Page, key: str, body: bytes) -> None:
    begun = page.begin().body
    answers = [
        page.post("/multipart", body),
        page.post(f"/multipart/{begun['uploadId']}/complete", body, key=begun["key"]),
    ]
    assert {answer.status for answer in answers} == {400}
    if body:
        assert call(page.world, "POST", "/v1/upload-tokens", body=body, key=key).status == 400


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=ANYTHING, kind=ANYTHING, metadata=ANYTHING, parts=ANYTHING, path=st.text(min_size=1, max_size=20))
def test_b_nothing_that_a_page_sends_is_our_failure(
    page: Page, name: Any, kind: Any, metadata: Any, parts: Any, path: str
) -> None:
    begun = {"key": UPLOAD["key"], "uploadId": path}
    answers = [
        page.post("/multipart", {"filename": name, "type": kind, "metadata": metadata}),
        page.get("/params", filename=name, type=kind, **{f"metadata[{path}]": metadata}),
        page.complete(begun, parts),
        page.sign(begun, path),
        page.batch(begun, str(parts)),
        page.listed(begun),
        page.abort(begun),
    ]
    assert [answer.raw for answer in answers if answer.status >= 500] == []


def test_b_no_name_breaks_storage(page: Page) -> None:
    names = ("\x00", "\x1b[0m", "<a>&amp;", "ü" * 255, "../../etc/passwd", "a\r\nb", "${filename}")
    for name in names:
        assert page.params(name).status == 200
        assert page.begin(name).status == 200
    assert page.begin("\ud800").status == 400


def test_b_a_failure_of_ours_is_told_as_one(page: Page) -> None:
    def fault(number: int, operation: str, moment: str) -> None:
        raise InjectedFaultError

    page.world.fault = fault
    answer = page.params()
    page.world.fault = None
    assert (answer.status, answer.body["error"]) == (500, "INTERNAL_SERVER_ERROR")


def test_every_error_has_an_answer() -> None:
    from companion.errors import ANSWERS, INTERNAL, answer_to

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TesseraError)]
    leaves = [kind for kind in kinds if kind is not errors.TesseraError]
    assert len(leaves) > 10
    assert {kind for kind in leaves if answer_to(kind.__new__(kind)) is INTERNAL} == set()
    assert set(ANSWERS) <= set(kinds)
