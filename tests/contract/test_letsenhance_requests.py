"""Let's Enhance, what is asked for: LE-01 to LE-17, C-15, C-16, C-18. The pictures' pixels are in
test_letsenhance_pixels.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tessera.webhooks import Hook

from tests.contract.letsenhance import MARKETPLACE, PIPELINE, SAMPLES, USAGE, Api, Pictures, query
from tests.world import World


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"allowed_addresses": "127.0.0.1/32"}


# ---------------------------------------------------------------- the key


@pytest.mark.parametrize("key", [None, "", "1234567890", "not a key"])
@pytest.mark.parametrize(("method", "path"), [("POST", PIPELINE), ("GET", f"{PIPELINE}/26082838"), ("GET", USAGE)])
def test_le_01_a_key_is_needed_and_asked_for_before_anything_else(
    world: World, pictures: Pictures, key: str | None, method: str, path: str
) -> None:
    answer = Api(world, pictures, key).send(method, path, b"{")
    assert (answer.status, answer.reason) == (401, "Invalid or missing API key.")


def test_le_01_a_key_that_an_operator_wished_for_is_as_good(world: World, pictures: Pictures) -> None:
    world.account(credits=5, key="1234567890")
    assert Api(world, pictures, "1234567890").submit()


# ---------------------------------------------------------------- the body


@pytest.mark.parametrize("path", [PIPELINE, f"{PIPELINE}/", f"/letsenhance{PIPELINE}", f"/letsenhance{PIPELINE}/"])
def test_le_02_a_pipeline_is_submitted_with_and_without_a_slash(enhance: Api, path: str) -> None:
    answer = enhance.post(enhance.wish(), path)
    assert (answer.status, answer.body["status"]) == (200, "ACCEPTED")
    number = answer.body["pipeline"]["id"]
    assert enhance.get(f"{path.rstrip('/')}/{number}").body["pipeline"]["id"] == number
    assert enhance.get(f"{path.rstrip('/')}/{number}/").body["pipeline"]["id"] == number


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b'"a"', b"\xff", b'{"source": NaN}', b"[" * 100_000], ids=repr
)
def test_le_02_what_is_no_json_object_is_rejected(enhance: Api, raw: bytes) -> None:
    answer = enhance.send("POST", PIPELINE, raw)
    assert (answer.status, answer.reason) == (400, "Invalid request.")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source": ...}, "source missing"),
        ({"source": {"http": {}}}, "url missing"),
        ({"operations": ...}, "operations missing"),
        ({"operations": [{}]}, "op missing"),
        ({"operations": []}, "operations"),
        ({"operations": [MARKETPLACE, MARKETPLACE]}, "operations"),
        ({"operations": "preset/marketplace"}, "operations.0"),
        ({"sink": {"temp_store": "yes"}}, "sink.temp_store"),
        ({"notify_url": 5}, "notify_url"),
    ],
)
def test_le_02_le_17_a_reason_names_what_is_wrong(enhance: Api, changes: dict[str, Any], reason: str) -> None:
    answer = enhance.post(enhance.wish(**changes))
    assert answer.status == 400
    assert answer.reason.startswith("Invalid request: ") and reason in answer.reason


def test_le_02_nesting_without_end_and_halves_of_characters_are_no_fault_of_ours(enhance: Api) -> None:
    deep = json.dumps(enhance.wish(more=...)).encode()[:-1] + b', "more": ' + b"[" * 450 + b"]" * 450 + b"}"
    assert enhance.send("POST", PIPELINE, deep).status in (200, 400)
    half = enhance.operation(comment="\ud800")
    assert half.status == 200
    assert enhance.pipeline(half.body["pipeline"]["id"])["operations"][0]["comment"] == "\ud800"


# ---------------------------------------------------------------- source


def test_le_03_c_18_a_url_or_a_list_of_them_and_always_a_list_is_told(enhance: Api) -> None:
    url = f"{enhance.pictures.url}/burger.jpg"
    for given in (url, [url], [url, url]):
        answer = enhance.post(enhance.wish(source={"http": {"url": given}}))
        listed = given if isinstance(given, list) else [given]
        assert answer.body["pipeline"]["source"] == {"http": {"url": listed}}
        assert enhance.pipeline(answer.body["pipeline"]["id"])["source"] == {"http": {"url": listed}}


@pytest.mark.parametrize(
    "url", ["", "ftp://example.com/a.jpg", "burger.jpg", "file:///etc/passwd", 7, {}, [], [[]], ["a"], "https://", None]
)
def test_le_03_le_17_what_is_no_address_is_rejected(enhance: Api, url: Any) -> None:
    answer = enhance.post(enhance.wish(source={"http": {"url": url}}))
    assert answer.status == 400
    assert answer.reason.startswith("Invalid request: ")
    assert enhance.balance == 100


# ---------------------------------------------------------------- notify_url


@pytest.mark.parametrize("url", ["https://your.domain/path/to/webhook", "http://your.domain/path/to/webhook"])
def test_le_04_notify_url_is_echoed_and_differs_by_request(enhance: Api, url: str) -> None:
    told, untold = (enhance.post(enhance.wish(notify_url=given)).body["pipeline"] for given in (url, None))
    assert (told["notify_url"], untold["notify_url"]) == (url, None)
    assert enhance.pipeline(told["id"])["notify_url"] == url
    assert enhance.pipeline(untold["id"])["notify_url"] is None
    assert enhance.task(told["id"]).task.hook == Hook.after(url)
    assert enhance.task(untold["id"]).task.hook is None


def test_le_04_notify_url_is_null_where_nothing_is_said_of_it(enhance: Api) -> None:
    assert enhance.pipeline(enhance.submit())["notify_url"] is None


@pytest.mark.parametrize(
    "url", ["ftp://your.domain/", "your.domain", "http://169.254.169.254/latest/", "https://[::1]/"]
)
def test_le_04_an_address_that_may_not_be_told_is_rejected(enhance: Api, url: str) -> None:
    assert enhance.post(enhance.wish(notify_url=url)).reason
    assert enhance.balance == 100


# ---------------------------------------------------------------- operations


@pytest.mark.parametrize("op", ["preset/unknown", "marketplace", "", 5, None, ["preset/marketplace"], {}])
def test_le_05_an_unknown_operation_is_rejected_with_those_that_are_known(enhance: Api, op: Any) -> None:
    reason = enhance.operation(op=op).reason
    assert op is None or all(name in reason for name in SAMPLES)


@pytest.mark.parametrize("side", ["width", "height"])
@pytest.mark.parametrize("value", [0, -1, 65_536, "1800", 1.5, True])
def test_le_06_a_side_is_a_number_of_pixels(enhance: Api, side: str, value: Any) -> None:
    assert side in enhance.operation(**{side: value}).reason


@pytest.mark.parametrize("level", [0, 11, -1, 4.5, "4", True])
def test_le_07_a_level_is_1_to_10(enhance: Api, level: Any) -> None:
    answer = enhance.operation(restoration_level=level)
    assert answer.status == 400
    assert "restoration_level" in answer.reason


@pytest.mark.parametrize("level", range(1, 11))
def test_le_07_every_level_is_accepted(enhance: Api, level: int) -> None:
    assert enhance.operation(restoration_level=level).body["status"] == "ACCEPTED"


@pytest.mark.parametrize("name", ["lightai_intensity", "toneai_intensity", "tone_intensity"])
@pytest.mark.parametrize("value", [0.1, 0.99, 1.0, 1, 0])
def test_le_08_le_09_c_16_an_intensity_is_0_to_1(enhance: Api, name: str, value: float) -> None:
    assert enhance.operation(**{"toneai_intensity": ..., name: value}).status == 200


@pytest.mark.parametrize("name", ["lightai_intensity", "toneai_intensity", "tone_intensity"])
@pytest.mark.parametrize("value", [-0.1, 1.01, "0.5", True, 1e400])
def test_le_08_le_09_c_16_another_intensity_is_rejected(enhance: Api, name: str, value: Any) -> None:
    operation = {"op": "preset/marketplace", name: value}
    raw = json.dumps(enhance.wish(operations=[operation])).replace("Infinity", "1e400")
    answer = enhance.send("POST", PIPELINE, raw.encode())
    assert answer.status == 400
    assert "_intensity" in answer.reason


@pytest.mark.parametrize("op", sorted(SAMPLES))
def test_le_09_c_15_tone_has_two_names_in_every_preset(enhance: Api, op: str) -> None:
    sample = {name: value for name, value in SAMPLES[op].items() if name != "toneai_intensity"}
    recipes = [
        enhance.task(enhance.submit(operations=[sample | tone])).task.recipe
        for tone in ({"toneai_intensity": 0.7}, {"tone_intensity": 0.7}, {})
    ]
    assert recipes[0] == recipes[1] != recipes[2]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "", 5])
def test_le_10_another_format_is_rejected(enhance: Api, kind: Any) -> None:
    assert "image_format" in enhance.operation(image_format=kind).reason


@pytest.mark.parametrize("value", [0, 101, "75", 75.5])
def test_le_11_a_quality_is_1_to_100(enhance: Api, value: Any) -> None:
    assert "quality" in enhance.operation(quality=value).reason


@pytest.mark.parametrize("op", ["preset/realestate", "preset/print", "preset/marketplace"])
def test_le_12_le_13_le_14_the_samples_are_accepted_and_echoed(enhance: Api, op: str) -> None:
    pipeline = enhance.done(operations=[SAMPLES[op]])
    assert pipeline["status"] == "DONE"
    assert pipeline["operations"] == [SAMPLES[op]]


@pytest.mark.parametrize("dpi", [0, -300, "300", 65_536])
def test_le_13_a_density_is_a_number(enhance: Api, dpi: Any) -> None:
    assert "dpi" in enhance.operation(op="preset/print", dpi=dpi).reason


def test_what_an_operation_leaves_out_has_defaults_and_is_not_made_up_in_the_echo(enhance: Api) -> None:
    pipeline = enhance.done(operations=[{"op": "preset/marketplace"}], sink=...)
    assert pipeline["operations"] == [{"op": "preset/marketplace"}]
    assert pipeline["results"][0]["output_object"]["size"] == [900, 600]
    assert pipeline["results"][0]["output_object"]["tmp_url"]


def test_an_echo_has_its_bounds(enhance: Api) -> None:
    assert "too long" in enhance.operation(comment="x" * 5000).reason


# ---------------------------------------------------------------- sink


def test_le_15_a_temporary_link_only_where_it_is_wished(enhance: Api) -> None:
    kept = enhance.done(sink={"temp_store": True})
    output = kept["results"][0]["output_object"]
    assert query(output["tmp_url"])["X-Amz-Expires"] == "86400"
    unlinked = enhance.done(sink={"temp_store": False})
    output = unlinked["results"][0]["output_object"]
    assert (output["tmp_url"], output["temp_url"]) == (None, None)
    assert (kept["sink"], unlinked["sink"]) == ({"temp_store": True}, {"temp_store": False})


# ---------------------------------------------------------------- answers


def test_le_16_accepted_with_an_integer_id(enhance: Api) -> None:
    answer = enhance.post(enhance.wish())
    assert answer.status == 200
    assert answer.body["status"] == "ACCEPTED"
    pipeline = answer.body["pipeline"]
    assert type(pipeline["id"]) is int and pipeline["id"] < 2**53  # what JavaScript can hold
    assert pipeline["notify_url"] is None
    assert pipeline["source"] == {"http": {"url": [f"{enhance.pictures.url}/burger.jpg"]}}


def test_le_16_an_idempotency_key_starts_one_pipeline(enhance: Api) -> None:
    raw = json.dumps(enhance.wish()).encode()
    headers = {"idempotency-key": "once"}
    first, second = (enhance.send("POST", PIPELINE, raw, headers) for _ in range(2))
    assert first.body["pipeline"]["id"] == second.body["pipeline"]["id"]
    assert enhance.balance == 99
    other = enhance.send("POST", PIPELINE, raw.replace(b"75", b"80"), headers)
    assert (other.status, bool(other.reason)) == (409, True)


def test_le_17_le_33_a_rejected_request_costs_nothing(enhance: Api) -> None:
    before = enhance.get(USAGE).body
    refused = [
        enhance.operation(restoration_level=11),
        enhance.operation(background_removal=True),
        enhance.post({}),
        enhance.post(enhance.wish(source={"http": {"url": "nowhere"}})),
    ]
    assert {answer.body["status"] for answer in refused} == {"REJECTED"}
    assert all(answer.reason for answer in refused)
    assert enhance.balance == 100
    assert enhance.get(USAGE).body == before


def test_le_17_without_credits_a_request_is_rejected(world: World, pictures: Pictures) -> None:
    poor = Api(world, pictures, world.account(credits=1))
    answer = poor.post(poor.wish("/a.jpg", "/b.jpg"))
    assert (answer.status, answer.reason) == (402, "Not enough credits.")
    assert poor.balance == 1


def test_an_unknown_path_is_not_found(enhance: Api) -> None:
    answer = enhance.get("/letsenhance/v1/nothing")
    assert (answer.status, answer.reason) == (404, "Not found.")
