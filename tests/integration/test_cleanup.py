"""What has expired is deleted, to the minute, and nothing else is."""

from __future__ import annotations

from tessera import cleanup
from tessera.settings import HOURS

from infra.local import multiparts
from tests.world import World, png


def objects(world: World) -> list[str]:
    listed = world.services.storage.client.list_objects_v2(Bucket="tessera-test")
    return [entry["Key"] for entry in listed.get("Contents", [])]


def test_an_upload_that_no_task_uses_is_gone_after_its_hour(world: World) -> None:
    key = world.account()
    world.upload(key, png())
    cleanup.sweep(world.services)
    assert len(objects(world)) == 1
    world.clock.forward(3600 + 61)
    assert cleanup.sweep(world.services)["uploads"] == 1
    assert objects(world) == []
    assert cleanup.sweep(world.services)["uploads"] == 0


def test_an_upload_is_kept_as_long_as_a_task_may_need_it(world: World) -> None:
    key = world.account()
    upload = world.upload(key, png())
    world.clock.forward(3500)
    task = world.start(key, upload)
    world.clock.forward(1790)
    cleanup.sweep(world.services)
    world.run()
    assert world.status(key, task)["status"] == "completed"


def test_results_go_at_the_end_of_their_retention_and_the_history_stays(world: World) -> None:
    """G19."""
    key = world.account()
    task = world.start(key, world.upload(key, png()))
    world.run()
    assert "downloadLink" in world.status(key, task)["files"][0]
    world.clock.forward(86_400 + 1)
    assert "downloadLink" not in world.status(key, task)["files"][0]
    world.clock.forward(1800 + 60)
    assert cleanup.sweep(world.services)["tasks"] == 1
    assert objects(world) == []
    _, history = world.post("/get-upscayl-history", {}, key)
    assert history["pagination"]["total"] == 1
    assert world.status(key, task)["status"] == "completed"


def test_the_history_forgets_after_its_days_and_counts_right(world: World) -> None:
    """G24."""
    key = world.account()
    upload = world.upload(key, png())
    old = world.start(key, upload)
    world.run()
    world.clock.forward(86_400 + 1800 + 61)
    cleanup.sweep(world.services)
    world.clock.forward(90 * 86_400)
    world.start(key, world.upload(key, png()))
    assert cleanup.sweep(world.services)["tasks"] == 1
    assert world.post("/get-task-status", {"taskId": old}, key)[0] == 404
    history = world.post("/get-upscayl-history", {}, key)[1]
    assert (history["pagination"]["total"], len(history["data"])) == (1, 1)


def test_parts_that_nobody_completed_are_freed(world: World) -> None:
    """G15."""
    key = world.account()
    wish = {"originalFileName": "a.png", "fileType": "image/png", "fileSize": 9_000_000, "multipart": True}
    with multiparts.as_aws():
        world.post("/get-upload-url", wish, key)
        assert cleanup.sweep(world.services)["parts"] == 0
        world.clock.ms += 4 * HOURS  # past the real clock, by which S3 dates an upload
        assert cleanup.sweep(world.services)["parts"] == 1
