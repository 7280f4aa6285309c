"""Let's Enhance, what is told of a pipeline: LE-18 to LE-28, LE-35, LE-37, C-13, C-14, C-17 to C-19."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from tessera import cleanup, ids
from tessera.job import JobError, Outcome

from tests.contract.letsenhance import PIPELINE, TIMESTAMP, Api, Pictures, photo, query
from tests.world import World, key_of, png

DAY = 24 * 3600
CORRUPT = Outcome(status="failed", error=JobError(code="corrupt_image", message="Damaged", retryable=False))


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"allowed_addresses": "127.0.0.1/32"}


def test_le_18_a_pipeline_is_its_owners(enhance: Api, world: World, pictures: Pictures) -> None:
    number = enhance.submit()
    assert enhance.get(f"{PIPELINE}/{number}").status == 200
    stranger = Api(world, pictures, world.account(credits=1))
    refused = [stranger.get(f"{PIPELINE}/{number}"), stranger.get(f"{PIPELINE}/26082838")]
    assert [(answer.status, answer.reason) for answer in refused] == [(404, "Not found.")] * 2


@pytest.mark.parametrize("number", ["0", "abc", "-1", "1.5", "9" * 16, "9" * 400, "%C2%B2", "26082838x", "usage"])
def test_le_18_what_can_be_no_id_is_not_found(enhance: Api, number: str) -> None:
    assert enhance.get(f"{PIPELINE}/{number}").status == 404


def test_le_19_processing_and_then_done(enhance: Api, world: World) -> None:
    number = enhance.submit()
    told = [enhance.pipeline(number)]
    assert world.dispatch_all() == [] and world.fetch_all()
    told.append(enhance.pipeline(number))
    (job,) = world.dispatch_all()
    told.append(enhance.pipeline(number))
    world.work(job)
    assert [(one["status"], len(one["results"])) for one in told] == [("PROCESSING", 0)] * 3
    assert all((one["started_at"], one["finished_at"], one["error"], one["errors"]) == (None, None, None, [])
               for one in told)  # fmt: skip
    ended = enhance.pipeline(number)
    assert (ended["status"], len(ended["results"]), ended["error"], ended["errors"]) == ("DONE", 1, None, [])


def test_le_20_le_33_a_corrupt_source_is_an_error_with_its_reason_and_paid_back(enhance: Api) -> None:
    enhance.pictures.bodies["/broken.jpg"] = photo()[:20]
    pipeline = enhance.done("/broken.jpg")
    assert (pipeline["status"], pipeline["results"]) == ("ERROR", [])
    (error,) = pipeline["errors"]
    assert error == f"broken.jpg: {pipeline['error']}" and pipeline["error"]
    assert enhance.balance == 100


def test_le_20_what_a_worker_cannot_read_is_an_error_too(enhance: Api, world: World) -> None:
    number = enhance.submit()
    assert world.dispatch_all() == [] and world.fetch_all()
    (job,) = world.dispatch_all()
    world.work(job, CORRUPT)
    pipeline = enhance.pipeline(number)
    assert (pipeline["status"], pipeline["error"], pipeline["errors"]) == ("ERROR", "Damaged", ["burger.jpg: Damaged"])
    assert pipeline["started_at"] == pipeline["finished_at"]  # nobody told how long it was at it
    assert enhance.balance == 100


def test_le_20_a_source_that_is_not_there_is_an_error(enhance: Api) -> None:
    pipeline = enhance.done("/nothing.jpg")
    assert (pipeline["status"], pipeline["error"]) == ("ERROR", "The picture's server answered 404")


def test_le_20_le_33_of_three_pictures_one_fails_and_two_are_shown_and_paid(enhance: Api) -> None:
    """Our reading: an ERROR, since the request was not fulfilled, with the results that there are."""
    enhance.pictures.bodies |= {"/b.png": b"no picture", "/c.png": photo(30, 20, "png")}
    pipeline = enhance.done("/burger.jpg", "/b.png", "/c.png")
    assert pipeline["status"] == "ERROR"
    assert [result["input_object"]["filename"] for result in pipeline["results"]] == ["burger.jpg", "c.png"]
    assert len(pipeline["errors"]) == 1 and pipeline["errors"][0].startswith("b.png: ")
    assert enhance.balance == 98


def test_le_21_c_14_c_17_the_documents_names_and_status_and_results_above_too(enhance: Api) -> None:
    shown = enhance.shown(enhance.submit(notify_url="https://your.domain/path/to/webhook"))  # looks for all names
    assert (shown["status"], shown["results"]) == ("PROCESSING", [])
    enhance.world.run()
    shown = enhance.shown(shown["pipeline"]["id"])
    assert shown["status"] == shown["pipeline"]["status"] == "DONE"
    assert shown["results"] == shown["pipeline"]["results"] != []
    assert (shown["pipeline"]["error"], shown["pipeline"]["errors"]) == (None, [])
    assert shown["results"][0]["output_object"]["size"] == [1800, 1200]


def test_c_19_the_true_request_is_echoed(enhance: Api) -> None:
    sent = enhance.wish()
    pipeline = enhance.done()
    assert pipeline["operations"] == sent["operations"]
    assert pipeline["sink"] == sent["sink"]


def test_le_22_le_37_moments_are_utc_without_a_zone_and_in_order(enhance: Api, world: World) -> None:
    """`started_at` is when the last step's worker began, reckoned back from the end by the seconds it told."""
    number = enhance.submit()
    world.clock.forward(2.5)
    world.run()
    pipeline = enhance.pipeline(number)
    names = ("submitted_at", "started_at", "finished_at")
    assert all(TIMESTAMP.fullmatch(pipeline[name]) for name in names)
    submitted, started, finished = (datetime.fromisoformat(pipeline[name] + "+00:00").timestamp() for name in names)
    assert finished == world.clock.ms / 1000
    assert finished - submitted == pytest.approx(2.5)
    assert finished - started == pytest.approx(0.1)  # what the worker told
    assert pipeline["results"][0]["created_at"] == pipeline["finished_at"]


def test_le_22_a_worker_that_began_before_it_was_asked_is_not_believed(enhance: Api, world: World) -> None:
    pipeline = enhance.done()  # in no time, by a clock that stands
    assert pipeline["started_at"] == pipeline["submitted_at"] == pipeline["finished_at"]


def test_le_23_c_18_a_result_for_every_url_in_their_order(enhance: Api) -> None:
    enhance.pictures.bodies |= {"/b.png": photo(30, 20, "png"), "/c.bmp": photo(40, 20, "bmp")}
    paths = ("/b.png", "/burger.jpg", "/c.bmp")
    pipeline = enhance.done(*paths)
    assert [result["input_object"]["url"] for result in pipeline["results"]] == pipeline["source"]["http"]["url"]
    names = [result["output_object"]["filename"] for result in pipeline["results"]]
    assert len(set(names)) == 3
    assert enhance.balance == 97


def test_le_24_le_25_the_input_as_in_the_sample(enhance: Api) -> None:
    assert enhance.result()["input_object"] == {
        "ext": "jpg",
        "mps": 0.54,
        "url": f"{enhance.pictures.url}/burger.jpg",
        "mime": "image/jpeg",
        "size": [900, 600],
        "width": 900,
        "format": "JPEG",
        "height": 600,
        "s3_key": None,
        "tmp_url": None,
        "basename": "burger",
        "filename": "burger.jpg",
        "interpret": None,
        "s3_bucket": None,
        "s3_key_prefix": "",
    }


def test_le_24_le_26_the_output_as_in_the_sample(enhance: Api) -> None:
    pipeline = enhance.done()
    output = pipeline["results"][0]["output_object"]
    links = output.pop("tmp_url"), output.pop("temp_url")
    key = output.pop("s3_key")
    assert re.fullmatch(rf"p/{pipeline['id']}/burger_[A-Za-z0-9]{{6}}\.jpg", key)
    filename = key.rpartition("/")[2]
    assert output == {
        "ext": "jpg",
        "mps": 2.16,
        "url": None,
        "mime": "image/jpeg",
        "size": [1800, 1200],
        "width": 1800,
        "format": "JPEG",
        "height": 1200,
        "basename": filename.removesuffix(".jpg"),
        "filename": filename,
        "interpret": "srgb",
        "s3_bucket": "leapi-tmp-us-east-1",
        "s3_key_prefix": "",
    }
    assert links[0] == links[1]


@pytest.mark.parametrize(
    ("path", "basename"),
    [("/moved", "moved"), ("/a.b.jpg", "a.b"), ("/%C3%A4%20b.jpg?x=1", "ä b"), ("/" + "n" * 250 + ".jpg", "n" * 120)],
)
def test_le_26_names_come_from_the_address(enhance: Api, path: str, basename: str) -> None:
    enhance.pictures.bodies[path] = photo()
    result = enhance.result(path)
    assert result["input_object"]["basename"] == basename
    assert result["input_object"]["filename"] == f"{basename}.jpg"
    assert result["output_object"]["filename"].startswith(f"{basename}_")
    assert len(result["output_object"]["tmp_url"]) < 8192


def test_le_26_the_name_stays_the_same_from_poll_to_poll(enhance: Api) -> None:
    number = enhance.submit()
    enhance.world.run()
    names = {enhance.pipeline(number)["results"][0]["output_object"]["s3_key"] for _ in range(3)}
    assert len(names) == 1


def test_le_27_c_13_a_link_signed_by_sigv4_for_the_rest_of_its_day(enhance: Api, world: World) -> None:
    number = enhance.submit()
    world.run()

    def asked() -> dict[str, str]:
        output = enhance.pipeline(number)["results"][0]["output_object"]
        assert output["tmp_url"] == output["temp_url"]
        return query(output["tmp_url"])

    link = asked()
    assert link["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert {"X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature"} <= set(link)
    assert link["response-content-type"] == "image/jpeg"
    assert link["X-Amz-Expires"] == "86400"
    world.clock.forward(3600)
    assert asked()["X-Amz-Expires"] == str(DAY - 3600)


def test_le_28_a_result_is_kept_for_a_day_whatever_the_deployment_keeps(enhance: Api, world: World) -> None:
    number = enhance.submit()
    world.run()
    link = enhance.pipeline(number)["results"][0]["output_object"]["tmp_url"]
    world.clock.forward(DAY - 1)
    cleanup.sweep(world.services)
    assert enhance.download(link)
    world.clock.forward(3600)
    cleanup.sweep(world.services)
    assert world.services.storage.read(key_of(link)) is None
    pipeline = enhance.pipeline(number)
    assert pipeline["status"] == "DONE"
    assert pipeline["results"][0]["output_object"]["tmp_url"] is None


@pytest.mark.parametrize(
    ("kind", "ext", "mime"),
    [("jpeg", "jpg", "jpeg"), ("tiff", "tif", "tiff"), ("png", "png", "png"), ("bmp", "bmp", "bmp"),
     ("webp", "webp", "webp")],
)  # fmt: skip
def test_le_35_five_formats_go_in(enhance: Api, kind: str, ext: str, mime: str) -> None:
    enhance.pictures.bodies["/a.bin"] = photo(90, 60, kind)
    read = enhance.result("/a.bin")["input_object"]
    assert (read["ext"], read["mime"], read["format"]) == (ext, f"image/{mime}", kind.upper())
    assert read["size"] == [90, 60]


def test_le_35_a_gif_is_an_error(enhance: Api) -> None:
    enhance.pictures.bodies["/a.gif"] = photo(90, 60, "gif")
    pipeline = enhance.done("/a.gif")
    assert pipeline["status"] == "ERROR"
    assert pipeline["errors"] == ["a.gif: Unsupported file type. Allowed: JPEG, TIFF, PNG, BMP, WEBP"]
    assert enhance.balance == 100


def test_a_task_of_another_api_is_shown_without_words_that_it_was_not_started_by(enhance: Api, world: World) -> None:
    assert enhance.key
    task = ids.from_uuid(world.start(enhance.key, world.upload(enhance.key, png(90, 60)), scale="2"))
    assert task is not None
    world.run()
    pipeline = enhance.pipeline(task)
    assert (pipeline["status"], pipeline["operations"], pipeline["notify_url"]) == ("DONE", [], None)
    assert pipeline["results"][0]["input_object"]["url"] is None
