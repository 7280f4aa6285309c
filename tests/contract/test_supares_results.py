"""SUP-08 to SUP-13: what comes back, where it lies and for how long, and who is told of it."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from tessera import cleanup, ids, webhooks
from tessera.job import JobError, Outcome, Picture, Report
from tessera.storage import UPLOADS
from tessera.webhooks import Delivery
from visualapi.pictures import to_picture

from tests.contract.supares import Answer, Api, engine
from tests.receiver import Receiver, receiving
from tests.served import Answer as Served200
from tests.served import Served
from tests.world import World, key_of, png

MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds
STEPS: dict[str, Any] = {"superres": {"factor": 2}}
STORE = {"key": "AKIDCALLER", "secret": "the-callers-secret", "bucket": "callers-pictures", "region": "eu-central-1"}
NAMES = {
    "name", "format", "width", "height", "colorspace", "interlaced", "sampling", "depth", "quality", "bytes", "sha1",
}  # fmt: skip
FACTS = Picture(
    format="png", width=6, height=4, bytes=99, sha1="0" * 40, colorspace="gray", depth=16, interlaced=True,
    alpha=False,
)  # fmt: skip


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"allowed_addresses": "127.0.0.1/32", "engine": "layer:1"}


@pytest.fixture
def api(world: World) -> Api:
    return Api.of(world)


@pytest.fixture
def receiver(world: World) -> Iterator[Receiver]:
    with receiving() as receiver:
        receiver.clock = world.clock
        yield receiver


def arrive(world: World) -> None:
    """The events of what has been stored."""
    for slot in world.services.storage.folders(UPLOADS):
        for key, _ in world.services.storage.modified(UPLOADS + slot):
            world.upload_event(key)


def finished(world: World, api: Api, image: bytes | None = None, **steps: Any) -> Answer:
    number = api.upload(image or png(), **STEPS, **steps).id
    world.run()
    return api.results(number)


def link(answer: Answer) -> str:
    return str(answer.body["output"]["url"])


# ---------------------------------------------------------------- polling


def test_sup_08_c_22_pending_is_202_and_done_is_200_with_one_id(world: World, api: Api) -> None:
    accepted = api.upload(png(), **STEPS)
    pending = api.results(accepted.id)
    assert (pending.status, pending.body) == (202, accepted.body)
    (job,) = world.dispatch_all()
    assert api.results(accepted.id).body == accepted.body
    world.work(job)
    done = api.results(accepted.id)
    assert (done.status, done.id) == (200, accepted.id)
    assert done.body.keys() == {"success", "code", "id", "input", "output"}
    assert world.services.storage.read(key_of(link(done))) is not None


def test_sup_08_a_picture_that_cannot_be_processed_is_the_callers_and_costs_nothing(world: World, api: Api) -> None:
    number = api.upload(b"no picture at all", **STEPS).id
    arrive(world)
    assert world.dispatch_all() == []
    answer = api.results(number)
    assert (answer.status, answer.id) == (422, number)
    assert answer.body.keys() == {"success", "code", "id", "message"}
    assert answer.body["message"]
    assert world.balance(api.key) == 100


@pytest.mark.parametrize(("code", "status"), [("corrupt_image", 422), ("too_many_pixels", 422), ("not_stored", 422),
                                              ("model_unavailable", 500), ("too_late", 500)])  # fmt: skip
def test_sup_08_sup_17_a_failure_is_4xx_or_5xx_by_whose_it_is(world: World, api: Api, code: Any, status: int) -> None:
    number = api.upload(png(), **STEPS).id
    (job,) = world.dispatch_all()
    world.work(job, Outcome(status="failed", error=JobError(code=code, message="So it was.", retryable=False)))
    answer = api.results(number)
    assert (answer.status, answer.id, answer.body["message"]) == (status, number, "So it was.")
    assert world.balance(api.key) == 100


def test_sup_06_sup_08_a_picture_by_its_address_is_fetched_and_comes_back(world: World, api: Api) -> None:
    with Served(lambda path: Served200.of(png())) as source:
        number = api.fetch(f"{source.url}/holiday/photo.png?size=large", **STEPS).id
        assert world.dispatch_all() == []
        assert api.results(number).status == 202
        world.fetch_all()
        world.run()
    done = api.results(number)
    assert (done.status, done.body["input"]["name"]) == (200, "photo.png")
    assert source.asked == ["/holiday/photo.png?size=large"]


def test_sup_06_an_address_that_gives_no_picture_fails_the_request(world: World, api: Api) -> None:
    with Served(lambda path: Served200(404)) as source:
        number = api.fetch(f"{source.url}/photo.png", **STEPS).id
        world.dispatch_all()
        world.fetch_all()
    answer = api.results(number)
    assert answer.status == 422 and "404" in answer.body["message"]
    assert world.balance(api.key) == 100


# ---------------------------------------------------------------- facts


def test_sup_09_facts_are_those_that_the_worker_has_read(world: World, api: Api) -> None:
    number = api.upload(png(), "Ferien 1.png", **STEPS).id
    (job,) = world.dispatch_all()
    event = world.work(job, event=False)
    made = FACTS.model_copy(update={"format": "jpeg", "quality": 92, "sampling": "4:2:0", "colorspace": "srgb"})
    told = Outcome(status="done", source=FACTS, result=made)
    world.services.storage.write(key_of(job.report_url), Report(progress=1, outcome=told).model_dump_json().encode())
    world.result_event(event)
    body = api.results(number).body
    assert body["input"] == {
        "name": "Ferien 1.png", "format": "png", "width": 6, "height": 4, "colorspace": "gray", "interlaced": True,
        "sampling": None, "depth": 16, "quality": None, "bytes": 99, "sha1": "0" * 40,
    }  # fmt: skip
    assert body["output"].keys() == NAMES | {"url"}
    assert body["output"]["name"] == "image.jpg"
    assert (body["output"]["quality"], body["output"]["sampling"]) == (92, "4:2:0")


def test_sup_09_a_worker_that_tells_nothing_leaves_null() -> None:
    assert to_picture(None, "photo.png") == dict.fromkeys(NAMES) | {"name": "photo.png"}


def test_sup_09_the_real_worker_reads_both_files(world: World, api: Api) -> None:
    buffer = io.BytesIO()
    picture = Image.linear_gradient("L").resize((40, 30))
    Image.merge("RGB", (picture, picture.rotate(90), picture)).save(
        buffer, "jpeg", quality=83, subsampling="4:2:2", progressive=True
    )
    source = buffer.getvalue()
    number = api.upload(source, "holiday.jpg", superres={"factor": 2}, output={"format": "jpeg", "quality": 77}).id
    engine(world)
    body = api.results(number).body
    result = world.services.storage.read(key_of(body["output"]["url"]))
    assert result is not None
    for shown, content in ((body["input"], source), (body["output"], result)):
        opened = Image.open(io.BytesIO(content))
        assert shown["sha1"] == hashlib.sha1(content).hexdigest()
        assert shown["bytes"] == len(content)
        assert (shown["width"], shown["height"]) == opened.size
        assert (shown["format"], shown["colorspace"], shown["depth"]) == ("jpeg", "srgb", 8)
    assert (body["input"]["quality"], body["input"]["sampling"], body["input"]["interlaced"]) == (83, "4:2:2", True)
    assert (body["output"]["quality"], body["output"]["sampling"], body["output"]["interlaced"]) == (77, "4:2:0", False)


# ---------------------------------------------------------------- webhooks


def test_sup_10_the_end_is_told_once_with_the_results_own_body(world: World, api: Api, receiver: Receiver) -> None:
    url = receiver.url("/hooks?order=17&a=b", credentials="me:you%21")
    number = api.upload(png(), **STEPS, webhook={"url": url}).id
    world.tell(60)
    assert receiver.got == []
    world.run()
    ended = world.clock.ms
    world.tell(HOUR / 2)
    (got,) = receiver.got
    assert (got.at, got.path) == (ended, "/hooks?order=17&a=b")
    assert got.headers["authorization"] == "Basic " + base64.b64encode(b"me:you!").decode()
    assert got.headers["content-type"] == "application/json"
    assert (got.json["id"], got.json["code"], got.json["success"]) == (number, 200, True)
    shown = api.results(number).body
    assert got.json.keys() == shown.keys()
    assert got.json["input"] == shown["input"]
    told, asked = got.json["output"], shown["output"]
    assert key_of(told["url"]) == key_of(asked["url"])
    assert told | {"url": ""} == asked | {"url": ""}


@pytest.mark.parametrize("delay", [1, 90, 901, 86_400])
def test_sup_10_a_delay_is_kept_to_the_second_where_a_message_can_carry_it(
    world: World, api: Api, receiver: Receiver, delay: int
) -> None:
    api.upload(png(), **STEPS, webhook={"url": receiver.url(), "delay": delay})
    world.run()
    ended = world.clock.ms
    world.tell(delay - 1)
    world.watchdog()
    assert receiver.got == []
    world.tell(1)
    world.watchdog()  # which carries what is longer than a message can wait: it runs each minute
    world.tell(1)
    (got,) = receiver.got
    assert ended + delay * 1000 <= got.at <= ended + (delay + 1) * 1000


def test_sup_10_a_failure_is_told_as_well(world: World, api: Api, receiver: Receiver) -> None:
    number = api.upload(b"no picture at all", **STEPS, webhook={"url": receiver.url()}).id
    arrive(world)
    world.tell(60)
    (got,) = receiver.got
    assert got.json == api.results(number).body
    assert (got.json["success"], got.json["code"], got.json["id"]) == (False, 422, number)


@pytest.mark.parametrize(
    ("webhook", "about"),
    [
        ("https://receiver.example/", "'url'"),
        ({}, "'url'"),
        ({"url": 7}, "'url'"),
        ({"url": "ftp://receiver.example/"}, "URL"),
        ({"url": "http://169.254.169.254/"}, "URL"),
        *(({"url": "https://receiver.example/", "delay": delay}, "'delay'")
          for delay in (-1, 86_401, "5", 1.5, True, None, [1])),
        ({"url": "https://receiver.example/", "retries": 3}, "'retries'"),
    ],
)  # fmt: skip
def test_sup_10_a_webhook_that_is_none_is_422_by_name(world: World, api: Api, webhook: Any, about: str) -> None:
    answer = api.fetch(**STEPS, webhook=webhook)
    assert answer.status == 422 and about in answer.body["message"]
    assert world.balance(api.key) == 100


@pytest.mark.parametrize(
    ("given", "pause"), [({}, 0), ({"delay": 0}, 0), ({"delay": 1}, 1000), ({"delay": 86_400}, 86_400_000)]
)
def test_sup_10_delay_is_seconds_and_none_without_one(world: World, api: Api, given: Any, pause: int) -> None:
    number = api.upload(b"no picture", **STEPS, webhook={"url": "https://receiver.example/", **given}).id
    arrive(world)
    found = webhooks.find(world.services, ids.from_uuid(number) or 0)
    assert isinstance(found, Delivery)
    assert found.pauses[0] == pause


# ---------------------------------------------------------------- where, and for how long


def test_sup_11_the_path_is_the_requests_id_as_folders(world: World, api: Api) -> None:
    answer = finished(world, api)
    head, _, tail = answer.id.partition("-")
    folders = [head[n : n + 2] for n in range(0, 8, 2)] + [tail]
    path = urlsplit(link(answer)).path
    assert f"/{'/'.join(folders)}/" in path
    (saved,) = parse_qs(urlsplit(link(answer)).query)["response-content-disposition"]
    assert "image.jpg" in saved


@pytest.mark.parametrize(("kind", "name"), [("png", "image.png"), ("webp", "image.webp"), ("jpg", "image.jpg")])
def test_sup_11_the_name_follows_the_format(world: World, api: Api, kind: str, name: str) -> None:
    answer = finished(world, api, output={"format": kind})
    assert answer.body["output"]["name"] == name
    assert name in parse_qs(urlsplit(link(answer)).query)["response-content-disposition"][0]


def later_than_s3(world: World) -> None:
    """Past the real clock, by which moto dates objects."""
    world.clock.forward(2 * HOUR)


def test_sup_12_a_result_is_there_for_an_hour_and_then_for_nobody(world: World, api: Api) -> None:
    """Our reading of what `results` says then: the request is known, its image is not there."""
    later_than_s3(world)
    began = world.clock.ms
    number = api.upload(png(), **STEPS).id
    (job,) = world.dispatch_all()
    key = world.work(job)
    made = world.services.storage.head(key)
    assert made is not None
    ends = min(world.clock.ms, made.modified_ms) + HOUR * 1000
    world.clock.ms = ends - 1000
    (seconds,) = parse_qs(urlsplit(link(api.results(number))).query)["X-Amz-Expires"]
    assert seconds == "1"
    world.clock.ms = ends
    gone = api.results(number)
    assert (gone.status, gone.body["output"]["url"]) == (200, None)
    world.clock.ms = began + 2 * HOUR * 1000  # its hour, and at most one more
    assert cleanup.sweep(world.services)["tasks"] == 1
    assert world.services.storage.head(key) is None
    assert world.services.storage.head(key_of(job.thumbnail_url)) is None
    assert api.results(number).body["output"]["url"] is None


def test_sup_12_only_results_of_these_requests_end_so_soon(world: World, api: Api) -> None:
    later_than_s3(world)
    task = world.start(api.key, world.upload(api.key, png(9, 9)))
    finished(world, api)
    world.run()
    world.clock.forward(2 * HOUR)
    assert cleanup.sweep(world.services)["tasks"] == 1
    assert world.status(api.key, task)["files"][0]["downloadLink"]


# ---------------------------------------------------------------- the caller's own bucket


def test_sup_13_the_url_is_the_permanent_one_of_the_callers_bucket(world: World, api: Api) -> None:
    number = api.upload(png(), **STEPS, store={**STORE, "path": "holiday/1.jpg", "acl": "public-read"}).id
    (job,) = world.dispatch_all()
    location = "https://callers-pictures.s3.eu-central-1.amazonaws.com/holiday/1.jpg"
    assert job.store_url.startswith(f"{location}?")
    assert job.store_headers == {"x-amz-acl": "public-read"}
    world.work(job)
    assert link(api.results(number)) == location
    world.clock.forward(3 * DAY)
    cleanup.sweep(world.services)
    assert link(api.results(number)) == location


def test_sup_13_no_secret_of_the_callers_is_kept(
    world: World, api: Api, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    api.upload(png(), **STEPS, store=STORE)
    api.fetch(**STEPS, store=STORE | {"bucket": "X"})
    (job,) = world.dispatch_all()
    world.work(job)
    assert STORE["secret"] not in str(world.services.table.client.scan(TableName="tessera-test"))
    assert STORE["secret"] not in job.model_dump_json()
    said = caplog.text + capsys.readouterr().out
    assert STORE["secret"] not in said and "X-Amz-Signature" not in said


def test_sup_13_a_repeat_is_written_into_the_bucket_too(world: World, api: Api) -> None:
    finished(world, api)
    number = api.upload(png(), **STEPS).id
    assert world.dispatch_all() == []  # a copy will do
    api.upload(png(), **STEPS, store=STORE)
    (job,) = world.dispatch_all()
    assert job.store_url
    assert api.results(number).status == 202


@pytest.mark.parametrize(
    ("change", "about"),
    [
        ({"provider": "ftp"}, "'provider'"),
        ({"provider": 7}, "'provider'"),
        ({"key": None}, "'key'"),
        ({"secret": ""}, "'secret'"),
        ({"bucket": "Has Spaces"}, "'bucket'"),
        ({"region": "nowhere"}, "'region'"),
        ({"path": ["a"]}, "'path'"),
        ({"acl": "everybody"}, "'acl'"),
        ({"endpoint": "https://s3.example.com:443"}, "'endpoint'"),
        ({"token": "x"}, "'token'"),
    ],
)
def test_sup_13_a_store_that_is_none_is_422_by_name(world: World, api: Api, change: Any, about: str) -> None:
    answer = api.fetch(**STEPS, store=STORE | change)
    assert answer.status == 422 and about in answer.body["message"], answer.body
    assert STORE["secret"] not in str(answer.body)
    assert api.fetch(**STEPS, store="s3").status == 422
    assert world.balance(api.key) == 100
