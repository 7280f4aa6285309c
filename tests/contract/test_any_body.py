"""Whatever a client sends, Let's Enhance's and SupaRes' routes answer in their own shape, never with a 5xx (G22)."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract import letsenhance, supares
from tests.contract.upscayl import Part, form
from tests.world import World, png

EXAMPLES = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["\ud800", "http://[", "http://a@b/", "https://a.example/" + "x" * 3000, "//", "\x00", "🦩"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)
PIPELINE: dict[str, Any] = {
    "source": {"http": {"url": ["https://a.example/b.jpg"]}},
    "notify_url": "https://a.example/hook",
    "operations": [letsenhance.PRINT],
    "sink": {"temp_store": True},
}
REQUEST: dict[str, Any] = {
    "url": "https://a.example/b.jpg",
    "enhance": {"superres": {"factor": 2}, "tone": {"contrast": 0.5}},
    "low_light": {"intensity": 0.5},
    "noise_removal": 0.5,
    "output": {"format": "png", "quality": 90, "lossless": False},
    "webhook": {"url": "https://a.example/hook?x=1", "delay": 5},
    "store": {
        "key": "AK",
        "secret": "SK",
        "bucket": "a-bucket",
        "region": "eu-central-1",
        "path": "a/",
        "acl": "private",
    },
}


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, each in inner for place in places(each, (*at, key)))]


@st.composite
def changed(draw: st.DrawFn, good: dict[str, Any]) -> Any:
    """A good body with one to three of its values replaced, dropped or joined by others."""
    body = copy.deepcopy(good)
    for place in draw(st.lists(st.sampled_from(places(good)[1:]), min_size=1, max_size=3)):
        holder = body
        try:
            for step in place[:-1]:
                holder = holder[step]
            if draw(st.booleans()):
                holder[place[-1]] = draw(VALUES)
            elif isinstance(holder, dict):
                del holder[place[-1]]
                holder[draw(st.text(max_size=6))] = draw(VALUES)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change has taken it away
    return body


def raw(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture
def key(world: World) -> str:
    return world.account(credits=100_000)


@EXAMPLES
@given(body=changed(PIPELINE) | VALUES)
def test_g22_a_pipeline(world: World, key: str, body: Any) -> None:
    answer = world.request("/v1/pipeline", raw(body), {"content-type": "application/json"}, key)
    told = json.loads(answer["body"])
    assert answer["statusCode"] in (200, 400), told
    assert told["status"] == ("ACCEPTED" if answer["statusCode"] == 200 else "REJECTED")
    if answer["statusCode"] == 200:
        shown = world.request(f"/v1/pipeline/{told['pipeline']['id']}", b"", {}, key, "GET")
        assert shown["statusCode"] == 200


@EXAMPLES
@given(body=changed(REQUEST) | VALUES)
def test_g22_image_fetch(world: World, key: str, body: Any) -> None:
    api = supares.Api.of(world, key)
    answer = api.call("POST", supares.FETCH, raw(body))
    assert answer.status in (202, 422), answer.body


@EXAMPLES
@given(body=changed({name: REQUEST[name] for name in REQUEST if name != "url"}) | VALUES, name=st.text(max_size=300))
def test_g22_image_upload(world: World, key: str, body: Any, name: str) -> None:
    sent, kind = form(Part("data", raw(body)), Part("file", png(), name.encode(errors="replace").decode() or "a"))
    answer = supares.Api.of(world, key).call("POST", supares.UPLOAD, sent, kind)
    assert answer.status in (202, 422), answer.body


@EXAMPLES
@given(number=st.text(min_size=1, max_size=60))
def test_g22_ids(world: World, key: str, number: str) -> None:
    path = number.replace("?", "").replace("/", "") or "x"
    shown = world.request(f"/v1/pipeline/{path}", b"", {}, key, "GET")
    assert shown["statusCode"] == 404, shown["body"]
    assert supares.Api.of(world, key).results(path).status == 404
