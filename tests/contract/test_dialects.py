"""A task is the account's: whichever API it was started by, the others show it in their own words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tessera import ids

from tests.contract import letsenhance, supares
from tests.contract.native import Native
from tests.world import World, png


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"allowed_addresses": "127.0.0.1/32"}


STARTED_BY = ("upscayl", "native", "letsenhance", "supares")


def start(by: str, world: World, enhance: letsenhance.Api, picture: bytes) -> int:
    """A task that has ended."""
    key = enhance.key
    assert key is not None
    if by == "letsenhance":
        enhance.pictures.bodies["/a.png"] = picture
        number: int | None = enhance.submit("/a.png")
    elif by == "supares":
        number = ids.from_uuid(supares.Api.of(world, key).upload(picture, noise_removal=True).id)
        for name, _ in list(world.services.storage.modified("uploads/")):
            world.upload_event(name)
    elif by == "native":
        own = Native(world, key)
        number = ids.from_uuid(own.start(own.upload(picture), width=30))
    else:
        number = ids.from_uuid(world.start(key, world.upload(key, picture)))
    world.run()
    assert number is not None
    return number


@pytest.mark.parametrize("ends_well", [True, False], ids=["done", "failed"])
@pytest.mark.parametrize("by", STARTED_BY)
def test_a_task_is_shown_by_every_api(world: World, enhance: letsenhance.Api, by: str, ends_well: bool) -> None:
    key = enhance.key
    assert key is not None
    number = start(by, world, enhance, png() if ends_well else b"no picture")
    uuid = ids.to_uuid(number)

    status = world.status(key, uuid)  # whose model is none of that document's
    assert status["status"] == ("completed" if ends_well else "failed")

    pipeline = enhance.pipeline(number)
    assert pipeline["status"] == ("DONE" if ends_well else "ERROR")
    assert [bool(result["output_object"]["tmp_url"]) for result in pipeline["results"]] == [True] * ends_well

    told = supares.Api.of(world, key).results(uuid)
    assert told.status == (200 if ends_well else 422)
    if ends_well:
        assert told.body["output"]["url"] and told.body["output"]["sha1"]


def test_somebody_else_s_task_is_unknown_to_every_api(world: World, enhance: letsenhance.Api) -> None:
    number = start("upscayl", world, enhance, png())
    other = world.account()
    unknown = number - (1 << 20)
    as_other = supares.Api.of(world, other)
    theirs, nobodys = (as_other.results(ids.to_uuid(n)) for n in (number, unknown))
    assert theirs.status == nobodys.status == 404
    assert theirs.body | {"id": ""} == nobodys.body | {"id": ""}
    raw = [world.request(f"/v1/pipeline/{n}", b"", {}, other, "GET") for n in (number, unknown)]
    assert raw[0] == raw[1] and raw[0]["statusCode"] == 404
    assert json.loads(raw[0]["body"]) == {"status": "REJECTED", "reason": "Not found."}
