"""SUP-01 to SUP-07 and SUP-14 to SUP-17: who calls, how often, with what, and how a refusal reads."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from uuid import UUID

import pytest
from supares import app
from tessera import accounts, errors, settings, tasks, usage
from tessera.accounts import account_key, credential, revoke_key
from tessera.http import MAX_BODY
from tessera.settings import MINUTES, Limit, Settings
from visualapi import edge

from tests.contract.supares import ACCOUNT, BASE, FETCH, UPLOAD, Answer, Api, basic, bearer
from tests.contract.upscayl import Part
from tests.world import CONTEXT, World, png

QUARTER = 900  # seconds
STEPS: dict[str, Any] = {"superres": {"factor": 2}}
DATA = Part.json("data", STEPS)
FILE = Part("file", png(), "photo.png")


@pytest.fixture
def api(world: World) -> Api:
    return Api.of(world)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Calls that a key may make in a quarter of an hour."""
    monkeypatch.setitem(settings.LIMITS, "default", settings.LIMITS["default"] | {"quarter": Limit(3, 15 * MINUTES)})
    return 3


def told(answer: Answer) -> tuple[int, int, int]:
    return tuple(int(answer.headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset"))  # type: ignore[return-value]


def refused(answer: Answer, status: int, message: str | None = None) -> str:
    """Checks the envelope; returns the message."""
    assert answer.status == status, answer.body
    assert answer.body.keys() == {"success", "code", "id", "message"}
    assert answer.body["success"] is False and answer.body["message"]
    assert UUID(answer.id).version == 4
    assert answer.headers.keys() >= {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}
    assert message in (None, answer.body["message"])
    return str(answer.body["message"])


# ---------------------------------------------------------------- the key


def test_sup_01_basic_auth_has_the_key_as_user_and_no_password(world: World) -> None:
    key = world.account()
    assert Api(world, key, basic(key)).account().status == 200
    without_colon = "Basic " + base64.b64encode(key.encode()).decode()
    with_password = "basic " + base64.b64encode(f"{key}:ignored:too".encode()).decode()
    assert [Api(world, key, each).account().status for each in (without_colon, with_password)] == [200, 200]


def test_sup_02_bearer_auth(world: World) -> None:
    key = world.account()
    assert [Api(world, key, each + key).account().status for each in ("Bearer ", "bearer  ")] == [200, 200]


@pytest.mark.parametrize("route", [("GET", ACCOUNT), ("POST", UPLOAD), ("POST", FETCH), ("GET", f"{BASE}/results/x")])
@pytest.mark.parametrize(
    "authorization",
    ["", "Basic", "Bearer", "Bearer ", basic(""), basic("wrong"), bearer("wrong"), "Basic !!!", "Digest x",
     "Bearer \x00", basic("ключ"), bearer("x" * 5000), basic("tsr_0123456789abcdef_" + "A" * 32)],
)  # fmt: skip
def test_sup_03_a_bad_key_is_a_401_envelope(world: World, route: tuple[str, str], authorization: str) -> None:
    message = refused(Api(world, "", authorization).call(*route), 401)
    assert message == "Invalid or missing API Key"


def test_sup_03_account_tells_what_is_left(world: World) -> None:
    api = Api.of(world, credits=7)
    assert api.upload(png(), **STEPS).status == 202
    answer = api.account()
    assert answer.status == 200
    assert answer.body == {
        "success": True,
        "code": 200,
        "company": None,
        "subscription": {"name": "self-hosted", "period": "month"},
        "quota": {"total": 7, "used": 1, "remaining": 6},
    }
    usage.set_quota(world.services, account_key(credential(world.services, api.key).account), 5)
    assert api.account().body["quota"] == {"total": 5, "used": 1, "remaining": 4}


def test_sup_03_a_revoked_key_is_refused_at_once(world: World, api: Api) -> None:
    assert api.account().status == 200
    revoke_key(world.services, api.key)
    refused(api.account(), 401)


def test_sup_04_c_23_plain_http_fails_whatever_the_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(key: str, proto: str, source: str = "203.0.113.9", path: str = ACCOUNT) -> dict[str, Any]:
        event = {
            "version": "2.0", "rawPath": path, "rawQueryString": "", "isBase64Encoded": False,
            "headers": {"authorization": basic(key), "x-forwarded-proto": proto},
            "requestContext": {
                "http": {"method": "GET", "path": path, "sourceIp": source},
                "stage": "$default", "requestId": "test", "domainName": "api.example.com",
            },
        }  # fmt: skip
        return app.lambda_handler(event, CONTEXT)

    key = world.account()
    for given, path in ((key, ACCOUNT), ("wrong", ACCOUNT), (key, f"{BASE}/nothing")):
        answer = ask(given, "http", path=path)
        assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (403, 403)
        assert "HTTPS" in json.loads(answer["body"])["message"]
    assert ask(key, "https")["statusCode"] == 200
    assert ask("wrong", "https")["statusCode"] == 401
    assert [ask(key, "http", own)["statusCode"] for own in ("127.0.0.1", "::1")] == [200, 200]
    open_to_all = world.services.settings.model_copy(update={"allow_http": True})
    monkeypatch.setitem(world.services.__dict__, "settings", open_to_all)
    assert ask(key, "http")["statusCode"] == 200
    read = Settings.from_environ(
        {"TESSERA_TABLE": "t", "TESSERA_BUCKET": "b", "TESSERA_WORK_QUEUE_URL": "q", "TESSERA_ALLOW_HTTP": "on"}
    )
    assert read.allow_http


# ---------------------------------------------------------------- what is sent


def test_sup_05_c_22_an_image_and_its_steps_come_as_a_form(world: World, api: Api) -> None:
    large = Part.json("data", {"superres": {"factor": 2}}, "data.json")
    sent = (api.form(DATA, FILE), api.form(FILE, DATA), api.form(large, FILE), api.upload(png(), name="", **STEPS))
    assert [answer.status for answer in sent] == [202] * 4
    assert len({answer.id for answer in sent}) == 4
    assert world.balance(api.key) == 96


@pytest.mark.parametrize(
    ("parts", "about"),
    [
        ((FILE,), "'data'"),
        ((DATA,), "'file'"),
        ((DATA, FILE, FILE), "'file'"),
        ((DATA, DATA, FILE), "'data'"),
        ((DATA, Part("file", b"", "photo.png")), "'file'"),
        ((DATA, Part("image", png(), "photo.png")), "'file'"),
        ((DATA, Part.text("file", "https://pictures.example/a.png")), "'file'"),
        ((Part.text("data", "[]"), FILE), "JSON object"),
        ((Part.text("data", "{"), FILE), "JSON object"),
        ((Part("data", b"\xff"), FILE), "be read|JSON object"),
        ((Part.json("data", STEPS | {"url": "https://pictures.example/a.png"}), FILE), "Image Fetch"),
        ((Part.json("data", STEPS | {"supperres": {}}), FILE), "'supperres'"),
        ((Part.json("data", {}), FILE), "operation"),
    ],
)
def test_sup_05_a_form_that_lacks_something_is_told_so(
    world: World, api: Api, parts: tuple[Part, ...], about: str
) -> None:
    message = refused(api.form(*parts), 422)
    assert any(each in message for each in about.split("|")), message
    assert world.balance(api.key) == 100
    assert api.account().body["quota"]["used"] == 0


@pytest.mark.parametrize("kind", ["application/json", "image/png", "", "multipart/form-data"])
def test_sup_05_what_is_no_form_is_told_so(api: Api, kind: str) -> None:
    assert "'file'" in refused(api.call("POST", UPLOAD, png(), kind), 422)


def test_sup_05_a_form_that_ends_too_soon_is_told_so(api: Api) -> None:
    refused(api.call("POST", UPLOAD, png(), "multipart/form-data; boundary=x"), 422, "the form is cut off")


def test_sup_05_c_01_a_body_that_a_function_cannot_take_names_the_way_that_can(api: Api) -> None:
    assert "Image Fetch" in refused(api.upload(bytes(MAX_BODY + 1), **STEPS), 413)


def test_sup_05_nothing_is_stored_for_who_has_no_credits(world: World) -> None:
    api = Api.of(world, credits=0)
    with world.counted() as calls:
        refused(api.upload(png(), **STEPS), 402)
    assert "PutObject" not in calls


def test_sup_05_the_same_request_again_is_one_request(world: World, api: Api) -> None:
    twice = api.saying(idempotency_key="order-17")
    first, again = twice.upload(png(), **STEPS), twice.upload(png(), **STEPS)
    assert (first.status, first.body) == (again.status, again.body)
    assert world.balance(api.key) == 99
    refused(twice.upload(png(), superres={"factor": 3}), 409)


def test_sup_06_fetch_takes_an_address_and_steps(world: World, api: Api) -> None:
    assert api.fetch("https://pictures.example/a/photo.jpg?size=large", **STEPS).status == 202
    assert len(world.take(world.services.settings.work_queue_url)) == 1


@pytest.mark.parametrize(
    "url",
    [None, "", 7, ["https://pictures.example/a.png"], "photo.png", "ftp://pictures.example/a.png", "file:///etc/passwd",
     "http://127.0.0.1/a.png", "http://localhost.:22/a", "http://169.254.169.254/latest/meta-data/", "http://[::1]/a",
     "http://10.1.2.3/a.png", "http://2130706433/", "https://user:word@pictures.example/a.png", "https://" + "a" * 3000,
     "http://0/", "http://[::ffff:127.0.0.1]/"],
)  # fmt: skip
def test_sup_06_no_address_but_a_public_one_is_fetched(world: World, api: Api, url: Any) -> None:
    message = refused(api.fetch(url, **STEPS), 422)
    assert "url" in message.lower()
    assert world.take(world.services.settings.work_queue_url) == []


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b'{"url":1,"url":2}', b"null", b"{}", b'{"a":NaN}'])
def test_sup_06_a_body_that_is_no_object_is_told_so(api: Api, raw: bytes) -> None:
    refused(api.call("POST", FETCH, raw), 422)


def test_sup_07_the_answer_is_202_with_an_id_at_once_and_for_each_request(world: World, api: Api) -> None:
    """Nothing is waited for: no queue has been worked off here."""
    began = time.monotonic()
    answers = [answer for _ in range(3) for answer in (api.fetch(**STEPS), api.upload(png(), **STEPS))]
    assert time.monotonic() - began < len(answers)
    for answer in answers:
        assert answer.body == {"success": True, "code": 202, "id": answer.id}
        assert UUID(answer.id).version == 4
    assert len({answer.id for answer in answers}) == len(answers)


# ---------------------------------------------------------------- C-02


def test_c_02_the_paths_of_two_dialects_have_a_prefix_each(world: World, api: Api) -> None:
    assert api.account().status == 200
    answer = world.request("/1.0/account", b"", {"authorization": api.authorization}, method="GET")
    assert answer["statusCode"] == 404


# ---------------------------------------------------------------- limits


def test_sup_14_a_key_has_100_000_calls_in_15_minutes() -> None:
    limits = [profile["quarter"] for profile in settings.LIMITS.values()]
    assert limits == [(100_000, 900_000)] * len(limits)
    assert edge.CALLS == "quarter"


def test_sup_14_each_key_has_its_own_and_every_call_counts(world: World, api: Api) -> None:
    calls = (
        lambda: api.account(),
        lambda: api.upload(png(), **STEPS),
        lambda: api.fetch(**STEPS),
        lambda: api.results("f26656d4-3322-4279-acf4-0e1b3ef9d4bd"),
        lambda: api.call("DELETE", f"{BASE}/nothing"),
        lambda: api.call("POST", FETCH, b"{"),
        lambda: api.call("GET", FETCH),
        lambda: api.account(),
    )
    assert [told(call())[1] for call in calls] == [100_000 - n for n in range(1, len(calls) + 1)]
    account = credential(world.services, api.key).account
    assert told(Api.of(world, accounts.add_key(world.services, account)).account())[1] == 99_999


def test_sup_15_the_headers_are_on_every_response(world: World, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    number = api.upload(png(), **STEPS).id
    stranger = Api(world, "", bearer("wrong"))
    answers = {
        200: api.account(),
        202: api.results(number),
        401: stranger.account(),
        404: api.results("f26656d4-3322-4279-acf4-0e1b3ef9d4bd"),
        422: api.fetch(**{"superres": {"factor": 0}}),
    }
    for status, answer in answers.items():
        assert answer.status == status
        limit, remaining, reset = told(answer)
        assert limit == 100_000 and 0 <= remaining <= limit and 0 < reset <= QUARTER
        assert "retry-after" not in answer.headers
    assert told(stranger.call("GET", f"{BASE}/nothing"))[1] == 100_000
    monkeypatch.setattr(tasks, "get", lambda *_: 1 // 0)
    broken = api.results(number)
    assert (broken.status, told(broken)[0]) == (500, 100_000)


def test_sup_15_the_reset_is_the_seconds_left_by_the_clock(world: World, api: Api) -> None:
    assert told(api.account()) == (100_000, 99_999, 900)
    world.clock.forward(122)
    assert told(api.account()) == (100_000, 99_998, 778)
    world.clock.forward(777.5)
    assert told(api.account()) == (100_000, 99_997, 1)
    world.clock.forward(0.5)
    assert told(api.account()) == (100_000, 99_999, 900)


def test_sup_16_a_429_says_when_to_come_back(world: World, api: Api, few: int) -> None:
    world.clock.forward(122)
    assert [told(api.account())[1] for _ in range(few)] == [2, 1, 0]
    for answer in (api.account(), api.upload(png(), **STEPS), api.results("x"), api.call("PUT", f"{BASE}/nothing")):
        refused(answer, 429, "Rate limit exceeded. Retry in 778 seconds.")
        assert answer.headers["retry-after"] == answer.headers["x-ratelimit-reset"] == "778"
        assert told(answer) == (few, 0, 778)
    assert Api.of(world).account().status == 200
    world.clock.forward(778)
    assert told(api.account()) == (few, few - 1, 900)


# ---------------------------------------------------------------- errors


def of_every_kind() -> list[errors.TesseraError]:
    made: list[errors.TesseraError] = []
    kinds = [errors.TesseraError]
    given: dict[type[errors.TesseraError], tuple[Any, ...]] = {
        errors.RateLimited: (5,), errors.InsufficientCredits: (1, 0), errors.QuotaReached: (1, 0),
        errors.Invalid: ("one reason",), errors.MissingFields: ("url",), errors.FileTooLarge: (7,),
        errors.BodyTooLarge: (7,), errors.UnknownUpload: ("a.png",), errors.UploadIncomplete: ("a reason",),
        errors.TokenSpent: (3,),
    }  # fmt: skip
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind is not errors.TesseraError:
            made.append(kind(*given.get(kind, ())))
    return made


@pytest.mark.parametrize("error", of_every_kind(), ids=lambda error: type(error).__name__)
def test_sup_17_every_refusal_has_the_envelope_and_is_the_callers(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: errors.TesseraError
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(tasks, "get", fail)
    monkeypatch.setattr(app.translate, "from_id", lambda _: 1)
    answer = api.results("any")
    assert 400 <= answer.status < 500
    refused(answer, answer.status)
    assert type(error) in edge.ANSWERS or isinstance(error, errors.QuotaReached)


def test_sup_17_what_is_unexpected_is_a_500_that_tells_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("the secret place /var/task")

    monkeypatch.setattr(app.translate, "to_account", fail)
    assert refused(api.account(), 500) == "Internal server error"


@pytest.mark.parametrize("number", ["x", "f26656d4-3322-4279-acf4-0e1b3ef9d4bd", "0" * 500, "%00", "..", "é"])
def test_sup_17_an_id_that_is_none_is_404(api: Api, number: str) -> None:
    refused(api.results(number), 404)


def test_sup_17_a_foreign_request_is_as_unknown_as_any(world: World, api: Api) -> None:
    number = api.upload(png(), **STEPS).id
    refused(Api.of(world).results(number), 404, "Not found")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_sup_17_what_there_is_not_is_404(api: Api, method: str) -> None:
    refused(api.call(method, f"{BASE}/nothing"), 404)
    if method not in ("POST",):
        refused(api.call(method, UPLOAD), 404)
