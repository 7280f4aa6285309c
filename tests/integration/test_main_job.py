"""The walk of one request through the real handlers, and what it costs in AWS calls."""

from __future__ import annotations

from tests.world import World, png


def test_a_picture_goes_in_and_comes_out_four_times_larger(world: World) -> None:
    key = world.account(credits=3)
    upload = world.upload(key, png(6, 4))
    task = world.start(key, upload, saveImageAs="png")
    assert world.status(key, task)["status"] == "pending"
    (job,) = world.dispatch_all()
    assert world.status(key, task)["status"] == "processing"
    world.work(job)
    status = world.status(key, task)
    assert status["status"] == "completed"
    assert status["progress"] == "100"
    assert status["files"][0]["dimensions"] == {"width": 24, "height": 16}
    assert world.balance(key) == 2


def test_aws_calls_of_each_request_are_as_few_as_promised(world: World) -> None:
    key = world.account()
    world.upload(key, png())  # the first call of an hour makes the window
    with world.counted() as calls:
        world.post("/get-upload-url", {"originalFileName": "a.png", "fileType": "image/png", "fileSize": 9}, key)
    assert calls == ["UpdateItem"]
    arrived = world.upload(key, png())
    world.start(key, arrived)
    with world.counted() as calls:
        task = world.start(key, arrived)
    assert calls == ["TransactWriteItems", "SendMessageBatch"]
    world.run()
    with world.counted() as calls:
        assert world.status(key, task)["status"] == "completed"
    assert calls == ["GetItem", "Query"]
    world.post("/get-upscayl-history", {}, key)
    with world.counted() as calls:
        world.post("/get-upscayl-history", {}, key)
    assert calls == ["UpdateItem", "Query"]


def test_start_asks_s3_once_for_each_file_whose_event_has_not_arrived(world: World) -> None:
    key = world.account()
    world.start(key, world.upload(key, png()))
    early = [world.upload(key, png(), event=False) for _ in range(2)]
    with world.counted() as calls:
        world.start(key, *early)
    assert sorted(calls) == ["HeadObject", "HeadObject", "SendMessageBatch", "TransactWriteItems", "TransactWriteItems"]
