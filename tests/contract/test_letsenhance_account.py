"""Let's Enhance, the account: LE-31 to LE-34, C-19, C-23."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.contract.letsenhance import PIPELINE, USAGE, Api, Pictures
from tests.world import World

TOO_MANY = {"status": "REJECTED", "reason": "Too Many Requests. Rate limit exceeded."}  # the document's, to the letter
STRICT = 60  # calls a minute of the profile
MIDDLE = int(datetime(2026, 11, 15, tzinfo=UTC).timestamp()) * 1000
NEXT = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1000


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"allowed_addresses": "127.0.0.1/32"}


@pytest.fixture
def strict(world: World, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> Api:
    profile = world.services.settings.model_copy(update={"limit_profile": "strict"})
    services = replace(world.services, settings=profile)
    monkeypatch.setattr("letsenhance.app.services", lambda: services)
    return Api(world, pictures, world.account(credits=100))


@pytest.mark.parametrize("path", [USAGE, "/v1/me/usage", f"/letsenhance{USAGE}"])
def test_le_31_c_19_usage_with_and_without_a_slash(enhance: Api, path: str) -> None:
    enhance.world.clock.ms = MIDDLE
    answer = enhance.get(path)
    assert answer.status == 200
    assert answer.body == {"quota": 100, "used": 0, "remaining": 100, "reset_at": "2026-12-01T00:00:00.000000"}


def test_le_31_the_counts_move_with_what_is_asked_for_and_what_fails(enhance: Api) -> None:
    def counts() -> tuple[int, int, int]:
        body = enhance.get(USAGE).body
        return body["quota"], body["used"], body["remaining"]

    enhance.limit(5)
    enhance.submit("/burger.jpg", "/nothing.jpg")
    assert counts() == (5, 2, 3)
    enhance.world.run()
    assert counts() == (5, 1, 4)  # what failed is given back


def test_le_32_a_quota_blocks_when_reached_and_begins_anew_on_the_first(enhance: Api) -> None:
    enhance.world.clock.ms = MIDDLE
    enhance.limit(2)
    enhance.submit()
    blocked = enhance.post(enhance.wish("/burger.jpg", "/burger.jpg"))
    assert (blocked.status, blocked.reason) == (402, "The monthly quota is reached.")
    enhance.submit()
    assert enhance.post(enhance.wish()).reason == "The monthly quota is reached."
    enhance.world.clock.ms = NEXT - 1
    assert enhance.post(enhance.wish()).reason == "The monthly quota is reached."
    enhance.world.clock.ms = NEXT
    body = enhance.get(USAGE).body
    assert (body["used"], body["remaining"], body["reset_at"]) == (0, 2, "2027-01-01T00:00:00.000000")
    enhance.submit()


def test_le_32_what_is_not_used_does_not_roll_over(enhance: Api) -> None:
    enhance.world.clock.ms = MIDDLE
    enhance.limit(2)
    enhance.world.clock.ms = NEXT
    assert enhance.post(enhance.wish("/a.jpg", "/b.jpg", "/c.jpg")).status == 402


@pytest.mark.parametrize("count", [1, 3])
def test_le_33_a_picture_is_a_credit(enhance: Api, count: int) -> None:
    enhance.done(*["/burger.jpg"] * count)
    assert enhance.balance == 100 - count


def test_le_34_the_limit_is_a_minutes_and_its_words_are_the_documents(strict: Api) -> None:
    assert [strict.get(USAGE).status for _ in range(STRICT)] == [200] * STRICT
    for answer in (strict.get(USAGE), strict.post(strict.wish()), strict.post({})):
        assert (answer.status, answer.body) == (429, TOO_MANY)
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert strict.balance == 100
    strict.world.clock.forward(60)
    assert strict.get(USAGE).status == 200


def test_le_34_polls_have_their_own_count_in_the_strict_profile(strict: Api) -> None:
    number = strict.submit()
    statuses = [strict.get(f"{PIPELINE}/{number}").status for _ in range(STRICT + 1)]
    assert statuses == [200] * STRICT + [429]
    assert strict.get(USAGE).status == 200


def test_le_34_the_default_profile_has_room_for_600_a_minute(enhance: Api) -> None:
    assert {enhance.get(USAGE).status for _ in range(600)} == {200}
    assert enhance.get(USAGE).body == TOO_MANY


def test_c_23_plain_http_is_refused_but_on_the_machine_itself(enhance: Api) -> None:
    def asked(**where: str) -> dict[str, Any]:
        headers = {"x-forwarded-proto": where["proto"]}
        return enhance.world.request(USAGE, b"", headers, enhance.key, "GET", where["caller"])

    refused = asked(proto="http", caller="203.0.113.7")
    assert refused["statusCode"] == 403
    assert json.loads(refused["body"]) == {"status": "REJECTED", "reason": "HTTPS is required."}
    assert asked(proto="https", caller="203.0.113.7")["statusCode"] == 200
    assert asked(proto="http", caller="127.0.0.1")["statusCode"] == 200
