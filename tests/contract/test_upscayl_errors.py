"""What is answered where something is wrong: with the key, the body, the number of calls, or with us."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tessera.accounts import add_key, credential, revoke_key
from tessera.http import MAX_BODY

from tests.contract.upscayl import (
    BAD_REQUEST,
    BROKEN,
    COMPLETE,
    COMPLETE_BAD_REQUEST,
    COMPLETE_BROKEN,
    DOCUMENTED,
    HISTORY,
    ROUTES,
    START,
    STATUS,
    UNAUTHORIZED,
    UPLOAD,
    Answer,
    Api,
    Body,
    Part,
    checked,
    form,
    task_rows,
)
from tests.world import CONTEXT, InjectedFaultError, World, png

UNKNOWN = "30a89e69-c702-4247-9905-f0a53dfa45ab"
STRICT = {"limit_profile": "strict"}
HOUR = 3_600_000  # ms
LIMITS = {UPLOAD: 100, HISTORY: 100, STATUS: 100, START: 50, COMPLETE: 50}


# ---------------------------------------------------------------- UPS-01: the key


@pytest.mark.parametrize("route", ROUTES)
def test_ups_01_a_key_that_is_none_is_refused_whatever_the_body(world: World, route: str) -> None:
    strange = "tsr_0123456789abcdef_" + "A" * 32
    keys = (None, "", "wrong", strange, strange + "\n", "x" * 300, "ключ", "a b", "'; DROP TABLE", "\x00")
    answers = [Api(world, key).send(route, raw) for key in keys for raw in (b"{}", b"{")]
    assert [answer.body for answer in answers] == [UNAUTHORIZED] * len(answers)
    assert {answer.status for answer in answers} == {401}


@pytest.mark.parametrize("route", ROUTES)
def test_ups_01_a_known_key_opens_every_route(api: Api, route: str) -> None:
    assert api.ask(route, {}).status != 401


@pytest.mark.parametrize("own_form", [True, False])
def test_ups_01_a_revoked_key_is_refused_at_once(world: World, own_form: bool) -> None:
    key = world.account(key=None if own_form else "brought-along")
    before = Api(world, key).ask(HISTORY, {}).status
    revoke_key(world.services, key)
    assert (before, Api(world, key).ask(HISTORY, {}).status) == (200, 401)


# ---------------------------------------------------------------- UPS-02, UPS-04: the documented bodies


def test_ups_02_every_documented_error_body_can_be_had_word_for_word(world: World) -> None:
    api, poor = Api(world, world.account()), Api(world, world.account(credits=0))
    wish = {"originalFileName": "a.png", "fileType": "image/png", "fileSize": 1}
    had = [
        api.ask(UPLOAD, wish | {"fileType": "image/gif"}),
        api.ask(UPLOAD, wish | {"fileSize": 104_857_601}),
        api.ask(UPLOAD, {"fileType": "image/png", "fileSize": 1}),
        Api(world, None).ask(UPLOAD, wish),
        api.send(STATUS, b"{"),
        api.ask(STATUS, {"taskId": UNKNOWN}),
        poor.ask(START, {"files": [poor.upload()]}),
        api.ask(COMPLETE, {"data": {}}),
    ]
    world.fault = broken_at(1)
    had += [api.ask(UPLOAD, wish), api.ask(COMPLETE, {"data": {}})]
    bodies = [(answer.status, answer.body) for answer in had]
    documented = {
        (status, json.dumps(example))
        for route in ROUTES
        for status in DOCUMENTED.statuses(route)
        if status not in (200, 413, 429)
        for example in examples(route, status)
    }
    assert {(status, json.dumps(body)) for status, body in bodies} == documented


def test_ups_04_an_empty_name_is_a_missing_one(api: Api) -> None:
    body = api.post(UPLOAD, {"originalFileName": "", "fileType": "image/png", "fileSize": 1}, status=400)
    assert body == {"error": "MISSING_REQUIRED_FIELDS", "message": "Required fields missing: originalFileName"}


def test_ups_02_an_unknown_route_is_answered_in_the_same_shape(api: Api) -> None:
    status, body = api.world.post("/nowhere", {}, api.key)
    assert (status, body["error"]) == (404, "NOT_FOUND")


# ---------------------------------------------------------------- UPS-03: hostile bodies

HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "cut": b'{"taskId": "',
    "trailing": b"{}{}",
    "single quotes": b"{'taskId': 1}",
    "a name twice": b'{"taskId": "a", "taskId": "b"}',
    "a name twice inside": b'{"data": {"taskId": "a", "taskId": "b"}}',
    "list": b"[]",
    "number": b"1",
    "text": b'"x"',
    "null": b"null",
    "true": b"true",
    "nan": b'{"fileSize": NaN, "limit": NaN}',
    "infinity": b'{"fileSize": -Infinity}',
    "long integer": b'{"fileSize": ' + b"9" * 5000 + b"}",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"data":' * 100_000,
    "deep inside": b'{"files":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "invalid utf-8": b'{"taskId": "\xff\xfe"}',
    "utf-16": '{"taskId": "x"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "gzip": gzip.compress(b"{}"),
    "nul": b"\0",
    "form": form(Part.text("taskId", UNKNOWN))[0],
}


@pytest.mark.parametrize("route", ROUTES)
def test_ups_03_what_is_no_json_object_is_answered_exactly(api: Api, route: str) -> None:
    """G22."""
    expected = COMPLETE_BAD_REQUEST if route == COMPLETE else BAD_REQUEST
    answers = {name: api.send(route, raw) for name, raw in HOSTILE.items()}
    wrong = {name: answer.raw for name, answer in answers.items() if (answer.status, answer.body) != (400, expected)}
    assert wrong == {}


@pytest.mark.parametrize("route", ROUTES)
def test_ups_03_invalid_base64_is_a_bad_request(api: Api, route: str) -> None:
    texts = ("%%%", "e30", "e30=\n=", "ключ", "e")
    answers = [invoked(api, route, body=text, isBase64Encoded=True) for text in texts]
    assert [answer.status for answer in answers] == [400] * len(texts)


@pytest.mark.parametrize("route", ROUTES)
def test_ups_03_a_body_may_be_absent_or_plain_text(api: Api, route: str) -> None:
    answers = [invoked(api, route, body=text, isBase64Encoded=False) for text in (None, "", "\ud800", "{")]
    assert [answer.status for answer in answers] == [400] * 4


@pytest.mark.parametrize("route", ROUTES)
def test_c_01_a_body_beyond_the_payload_limit_is_413(api: Api, route: str) -> None:
    assert api.send(route, bytes(MAX_BODY + 1)).status == 413


def test_c_01_a_declared_length_is_believed(api: Api) -> None:
    assert invoked(api, UPLOAD, {"content-length": "99999999999"}, body="{}").status == 413


def test_ups_03_a_strange_declared_length_harms_nothing(api: Api) -> None:
    lengths = ("-1", "x", "٣", "1e9", "", "9" * 400)
    answers = [invoked(api, HISTORY, {"content-length": length}, body="{}") for length in lengths]
    assert [answer.status for answer in answers] == [200] * len(lengths)


# ---------------------------------------------------------------- UPS-07, UPS-09: limits


def harmless(api: Api) -> dict[str, Callable[[], Answer]]:
    """A call of each route that is counted and changes nothing that another one needs."""
    file = api.upload()
    return {
        UPLOAD: lambda: api.ask(UPLOAD, {"originalFileName": "a", "fileType": "image/png", "fileSize": 1}),
        HISTORY: lambda: api.ask(HISTORY, {"limit": 1}),
        STATUS: lambda: api.ask(STATUS, {"taskId": UNKNOWN}),
        START: lambda: api.ask(START, {"files": [file]}),
        COMPLETE: lambda: api.ask(COMPLETE, {"data": {}}),
    }


def spend(api: Api, route: str) -> Callable[[], Answer]:
    """Makes all calls that an hour allows, from its first second on; what they need is made in the hour before."""
    call = harmless(api)[route]
    api.world.clock.ms = (api.world.clock.ms // HOUR + 1) * HOUR
    for _ in range(LIMITS[route]):
        assert call().status != 429
    return call


@pytest.mark.parametrize("settings", [STRICT])
@pytest.mark.parametrize("route", [UPLOAD, HISTORY, STATUS, COMPLETE])
def test_ups_09_each_route_has_its_documented_limit(api: Api, route: str) -> None:
    assert DOCUMENTED.operation(route)["x-rateLimit"]["requests"] == LIMITS[route]
    call = spend(api, route)
    if route == COMPLETE:  # its document has no 429
        assert api.world.post(COMPLETE, {"data": {}}, api.key)[0] == 429
    else:
        assert call().body == examples(route, 429)[0]


@pytest.mark.parametrize("settings", [STRICT | {"upload_ttl_seconds": 90_000}])
def test_ups_09_start_has_its_documented_limit(api: Api) -> None:
    call = spend(api, START)
    refused = call()
    assert (refused.status, refused.body) == (429, examples(START, 429)[0])
    assert (api.balance, api.total()) == (50, 50)


@pytest.mark.parametrize("settings", [STRICT])
def test_ups_07_retry_after_says_when_and_then_it_works_again(api: Api) -> None:
    call = spend(api, STATUS)
    seconds = int(call().headers["retry-after"])
    api.world.clock.forward(seconds - 1)
    before = call().status
    assert seconds == 3600
    api.world.clock.forward(1)
    assert (before, call().status) == (429, 404)


@pytest.mark.parametrize("settings", [STRICT])
def test_ups_09_limits_are_counted_by_route_and_key(api: Api, other: Api) -> None:
    call = spend(api, UPLOAD)
    second = add_key(api.world.services, credential(api.world.services, str(api.key)).account)
    statuses = [call().status, api.ask(HISTORY, {}).status, other.ask(UPLOAD, {}).status]
    assert [*statuses, Api(api.world, second).ask(UPLOAD, {}).status] == [429, 200, 400, 400]


@pytest.mark.parametrize("settings", [STRICT])
def test_ups_09_refused_starts_count_too(api: Api) -> None:
    """Whether the body is unreadable, holds no file, or names one that is not there."""
    unknown = {"fileName": "00000000-a.png", "fileType": "image/png", "fileSize": 1}
    bodies = [b"{", b"{}", json.dumps({"files": [unknown]}).encode(), json.dumps({"files": [unknown] * 2}).encode()]
    statuses = [api.send(START, bodies[n % len(bodies)]).status for n in range(LIMITS[START] + 1)]
    assert statuses == [400] * LIMITS[START] + [429]


def test_c_11_the_default_profile_lets_clients_poll(api: Api) -> None:
    assert {api.ask(STATUS, {"taskId": UNKNOWN}).status for _ in range(101)} == {404}


def test_c_11_the_default_profile_allows_more_than_the_documented_calls(api: Api) -> None:
    wish = {"originalFileName": "a", "fileType": "image/png", "fileSize": 1}
    assert {api.ask(UPLOAD, wish).status for _ in range(101)} == {200}


# ---------------------------------------------------------------- UPS-08: our own faults


@pytest.mark.parametrize("when", ["before", "after"])
def test_ups_08_a_fault_tells_nothing_of_itself(api: Api, when: str) -> None:
    """G22."""
    calls = harmless(api)
    api.world.fault = broken_at(len(api.world.calls) + 1, when)
    answers = {route: call() for route, call in calls.items()}
    assert {answer.status for answer in answers.values()} == {500}
    assert {route: answer.body for route, answer in answers.items()} == dict.fromkeys(ROUTES, BROKEN) | {
        COMPLETE: COMPLETE_BROKEN
    }


def test_ups_08_a_fault_in_a_start_takes_nothing(api: Api) -> None:
    call = harmless(api)[START]
    api.world.fault = broken_at(len(api.world.calls) + 1)
    answer, api.world.fault = call(), None
    assert (answer.status, task_rows(api.world), api.balance) == (500, [], 100)


# ---------------------------------------------------------------- anything at all

TEXT = st.text(st.characters(), max_size=20)  # with lone surrogates and controls
SCALAR = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-2, 200), st.floats(allow_nan=False), TEXT,
    st.sampled_from(["", "0", "-1", "1e9", "NaN", "null", "\x00", "https://[", "//", "../", "{}", "[]", UNKNOWN]),
)  # fmt: skip
ANYTHING = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)


def fields_of(**valid: st.SearchStrategy[Any]) -> st.SearchStrategy[Body]:
    """Documented fields, each left out, right or anything."""
    return st.fixed_dictionaries({}, optional={name: right | ANYTHING for name, right in valid.items()})


FILE = fields_of(
    fileName=st.just("NAME"), fileType=st.just("image/png"), fileSize=st.just(64), originalFileName=TEXT
)  # fmt: skip
BODIES: dict[str, st.SearchStrategy[Body]] = {
    UPLOAD: fields_of(
        originalFileName=TEXT, fileType=st.just("image/png"), fileSize=st.integers(1, 10**9), multipart=st.booleans()
    ),
    COMPLETE: fields_of(
        uploadId=TEXT,
        key=TEXT,
        parts=st.lists(fields_of(PartNumber=st.integers(0, 3), ETag=TEXT), max_size=3),
    ),
    START: fields_of(
        files=st.lists(FILE, max_size=3),
        urls=st.lists(TEXT, max_size=2),
        model=st.sampled_from(["anime", "upscayl-lite-4x"]),
        scale=st.sampled_from(["2", "4", "8"]),
        saveImageAs=st.sampled_from(["png", "jpg"]),
        enhanceFace=st.booleans(),
        compression=st.integers(),
    ),
    STATUS: fields_of(taskId=st.just(UNKNOWN)),
    HISTORY: fields_of(
        timestampOffset=st.integers(0, 2**62),
        batch=st.booleans(),
        failed=st.booleans(),
        limit=st.integers(0, 101),
        processed=st.sampled_from(["pending", "failed"]),
    ),
}
# The same examples in every run: a red test names what broke it. To search further, take `derandomize` away.
WIDE = settings(
    max_examples=60, derandomize=True, database=None, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
def test_ups_02_any_json_gets_a_documented_answer_and_never_a_5xx(api: Api, route: str) -> None:
    name = api.upload()["fileName"]

    @WIDE
    @given(body=BODIES[route] | st.fixed_dictionaries({"data": BODIES[route]}) | ANYTHING)
    def any_body(body: Any) -> None:
        raw = json.dumps(body).replace('"NAME"', json.dumps(name)).encode()
        enveloped = isinstance(body, dict) and isinstance(body.get("data"), dict)
        assert api.send(route, raw, enveloped=enveloped).status < 500

    any_body()


FIELD_NAMES = st.sampled_from(
    ["files", "files[]", "files[0]", "files[0][fileName]", "files[1].fileSize", "file", "0.file", "urls", "data",
     "model", "scale", "saveImageAs", "enhanceFace", "compression", "x"]
)  # fmt: skip
PARTS = st.builds(
    Part,
    FIELD_NAMES,
    st.binary(max_size=30) | ANYTHING.map(lambda value: json.dumps(value).encode()) | st.just(png()),
    st.none() | st.sampled_from(["a.png", "blob", "", "../a", "ü.jpg"]),
    st.none() | st.sampled_from(["application/json", "image/png", "x"]),
)


def test_ups_02_any_form_gets_a_documented_answer_and_never_a_5xx(api: Api) -> None:
    @WIDE
    @given(parts=st.lists(PARTS, max_size=5))
    def any_form(parts: list[Part]) -> None:
        assert api.send(START, *form(*parts)).status < 500

    any_form()


def test_ups_02_any_bytes_get_a_documented_answer_and_never_a_5xx(api: Api) -> None:
    types = st.sampled_from(["multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""])
    starts = st.sampled_from([b"", b"--x\r\n", b"a=1&files=", b"{"])

    @WIDE
    @given(raw=st.binary(max_size=60), content_type=types, start=starts)
    def any_bytes(raw: bytes, content_type: str, start: bytes) -> None:
        assert api.send(START, start + raw, content_type).status < 500

    any_bytes()


# ---------------------------------------------------------------- helpers


def examples(route: str, status: int) -> list[Body]:
    media = DOCUMENTED.response(route, status)
    named = [example["value"] for example in media.get("examples", {}).values()]
    return [media["example"]] if "example" in media else named


def broken_at(first: int, when: str = "before") -> Callable[[int, str, str], None]:
    """Every AWS call from the `first` on fails, with words that must not be seen outside."""

    def fault(number: int, operation: str, at: str) -> None:
        if number >= first and at == when:
            raise InjectedFaultError(f"secret of {operation} in app.py, line 1")

    return fault


def invoked(api: Api, route: str, headers: dict[str, str] | None = None, **event: Any) -> Answer:
    """The handler called with an event as a gateway never makes it."""
    from upscayl.app import lambda_handler

    sent = {"x-api-key": api.key, "content-type": "application/json"} | (headers or {})
    http = {"method": "POST", "path": route, "sourceIp": "127.0.0.1"}
    context = {"http": http, "stage": "$default", "requestId": "test"}
    whole = {"version": "2.0", "routeKey": f"POST {route}", "rawPath": route, "rawQueryString": "", "headers": sent}
    return checked(route, lambda_handler(whole | {"requestContext": context} | event, CONTEXT))


def test_ups_07_clocks_that_differ_at_the_turn_of_the_hour_count_on(world: Any) -> None:
    api = Api(world, world.account())
    wish = {"originalFileName": "a.png", "fileType": "image/png", "fileSize": 5}
    world.clock.forward(3600)
    assert world.post("/get-upload-url", wish, api.key)[0] == 200
    world.clock.forward(-2)  # another machine's clock, in the hour before
    with world.counted() as calls:
        assert world.post("/get-upload-url", wish, api.key)[0] == 200
    assert len(calls) <= 2
