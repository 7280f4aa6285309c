"""get-upscayl-history: filters and the walk through the pages."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from tessera.job import JobError, Outcome

from tests.contract.upscayl import HISTORY, Api


def test_ups_33_an_empty_history_is_no_error(api: Api) -> None:
    answer = api.post(HISTORY, {})
    assert answer == {
        "status": "success",
        "pagination": {"total": 0, "hasMore": False, "nextOffset": answer["pagination"]["nextOffset"]},
        "data": [],
    }


@pytest.mark.parametrize("wrap", [lambda body: body, lambda body: {"data": body}], ids=["flat", "envelope"])
def test_c_03_history_takes_both_body_shapes(api: Api, wrap: Any) -> None:
    started(api, 3, apart=1)
    assert len(api.post(HISTORY, wrap({"limit": 2}))["data"]) == 2


def test_ups_32_limit_is_1_to_100(api: Api) -> None:
    assert [api.ask(HISTORY, {"limit": limit}).status for limit in (-1, 0, 1, 100, 101)] == [400, 400, 200, 200, 400]


def test_ups_32_limit_is_20_by_default(api: Api) -> None:
    tasks = started(api, 21, apart=1)
    assert [task["taskId"] for task in api.history()] == tasks[:0:-1]


def test_ups_32_fields_of_another_form(api: Api) -> None:
    wrong = [
        *({"limit": value} for value in ("10", 1.5, True)),
        *({"timestampOffset": value} for value in ("1", 1.5, -1, 10**18, True)),
        *({name: value} for name in ("batch", "failed") for value in ("true", 1, [])),
        *({"processed": value} for value in ("done", "", 1, True, "\ud800")),
    ]
    assert [body for body in wrong if api.ask(HISTORY, body).status != 400] == []


# ---------------------------------------------------------------- pages


@pytest.mark.parametrize("apart", [0, 1], ids=["one millisecond", "a millisecond apart"])
def test_ups_33_a_walk_of_45_tasks_has_no_gap_and_no_repeat(api: Api, apart: int) -> None:
    tasks = started(api, 45, apart)
    walks = [[task for page in api.pages(limit) for task in page] for limit in (10, 20)]
    assert [sorted(walk) for walk in walks] == [sorted(tasks)] * 2


def test_ups_33_a_walk_over_bursts_has_no_gap_and_no_repeat(api: Api) -> None:
    tasks: list[str] = []
    for count in (1, 7, 2, 9, 1, 3):
        tasks += started(api, count, apart=0)
        api.world.clock.ms += 1
    walks = [[task for page in api.pages(limit) for task in page] for limit in (4, 10)]
    assert [sorted(walk) for walk in walks] == [sorted(tasks)] * 2


def test_ups_33_tasks_that_come_during_a_walk_do_not_shift_it(api: Api) -> None:
    tasks = started(api, 6, apart=1)
    first = api.post(HISTORY, {"limit": 3})
    started(api, 2, apart=1)
    (second,) = api.pages(limit=3, timestampOffset=first["pagination"]["nextOffset"])
    assert [task["taskId"] for task in first["data"]] + second == tasks[::-1]


def test_ups_32_a_page_has_no_more_than_limit(api: Api) -> None:
    started(api, 9, apart=1)
    assert [len(page) for page in api.pages(limit=4)] == [4, 4, 1]


def test_ups_33_pagination_says_how_many_there_are_and_whether_more_follow(api: Api) -> None:
    started(api, 4, apart=1)
    page = api.post(HISTORY, {"limit": 2})
    rest = api.post(HISTORY, {"limit": 2, "timestampOffset": page["pagination"]["nextOffset"]})
    assert [(answer["pagination"]["total"], answer["pagination"]["hasMore"]) for answer in (page, rest)] == [
        (4, True),
        (4, False),
    ]


def test_c_10_newest_first(api: Api) -> None:
    started(api, 5, apart=1)
    times = [task["createdAt"] for task in api.history()]
    assert len(times) == 5
    assert all(newer > older for newer, older in pairwise(times))


def test_c_10_timestamp_offset_means_strictly_older(api: Api) -> None:
    """G24."""
    first, _ = started(api, 2, apart=1)
    newest, oldest = api.history()
    below_newest = api.history(timestampOffset=newest["createdAt"])
    assert [task["taskId"] for task in below_newest] == [oldest["taskId"]] == [first]
    assert api.history(timestampOffset=oldest["createdAt"]) == []


def test_ups_33_another_accounts_tasks_are_not_there(api: Api, other: Api) -> None:
    other.start(other.upload())
    assert (api.history(), api.total()) == ([], 0)


# ---------------------------------------------------------------- what is in it


def test_ups_34_a_task_has_the_fields_of_its_status_but_deducted_credits(api: Api) -> None:
    task = api.start(api.upload())
    api.run()
    (item,) = api.history()
    status = api.status(task)
    assert {name: item[name] for name in status if name in item} == {
        name: value for name, value in status.items() if name != "deductedCredits"
    }
    assert "deductedCredits" not in item


def test_c_10_id_and_time_of_a_task_are_there_besides(api: Api) -> None:
    task = api.start(api.upload())
    (item,) = api.history()
    assert (item["taskId"], item["createdAt"]) == (task, api.world.clock.ms)


def test_c_04_history_speaks_as_its_body_does(api: Api) -> None:
    api.start(api.upload())
    flat, enveloped = api.post(HISTORY, {}), api.post(HISTORY, {"data": {}})
    assert [answer["data"][0]["status"] for answer in (flat, enveloped)] == ["pending", "PENDING"]


# ---------------------------------------------------------------- filters

FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"pending", "processing", "done", "lost", "pair", "half", "lost pair"}),
    ({"processed": "pending"}, {"pending"}),
    ({"processed": "processing"}, {"processing"}),
    ({"processed": "completed"}, {"done", "pair", "half"}),
    ({"processed": "failed"}, {"lost", "lost pair"}),
    ({"batch": True}, {"pair", "half", "lost pair"}),
    ({"batch": False}, {"pending", "processing", "done", "lost"}),
    ({"failed": True}, {"lost", "half", "lost pair"}),
    ({"failed": False}, {"pending", "processing", "done", "pair"}),
    ({"batch": True, "failed": True}, {"half", "lost pair"}),
    ({"batch": True, "failed": True, "processed": "completed"}, {"half"}),
    ({"batch": False, "processed": "failed"}, {"lost"}),
    ({"failed": False, "processed": "failed"}, set()),
    ({"processed": "PROCESSED"}, {"done", "pair", "half"}),
]


def test_ups_32_filters_are_anded(api: Api) -> None:
    names = {task: name for name, task in one_of_each(api).items()}
    found = [{names[task["taskId"]] for task in api.history(**filters)} for filters, _ in FILTERS]
    assert found == [expected for _, expected in FILTERS]


def test_ups_32_filters_hold_over_all_pages(api: Api) -> None:
    tasks = one_of_each(api)
    walked = [task for page in api.pages(limit=1, batch=True) for task in page]
    assert sorted(walked) == sorted([tasks["pair"], tasks["half"], tasks["lost pair"]])


def started(api: Api, count: int, apart: int) -> list[str]:
    """Ids of new tasks, the clock moved by `apart` ms after each."""
    file = api.upload()
    tasks: list[str] = []
    for _ in range(count):
        tasks.append(api.start(file))
        api.world.clock.ms += apart
    return tasks


def one_of_each(api: Api) -> dict[str, str]:
    """A task of each kind by its name here, a second apart."""
    good = [api.upload(), api.upload()]
    fates = {"done": "+", "lost": "-", "pair": "++", "half": "+-", "lost pair": "--", "processing": "?"}
    tasks: dict[str, str] = {}
    for name, fate in fates.items():
        tasks[name] = api.start(*good[: len(fate)])
        for job, end in zip(sorted(api.world.dispatch_all(), key=lambda job: job.file), fate, strict=True):
            if end == "+":
                api.world.work(job)
            elif end == "-":
                error = JobError(code="corrupt_image", message="damaged", retryable=False)
                api.world.work(job, Outcome(status="failed", error=error))
        api.world.clock.forward(1)
    return tasks | {"pending": api.start(good[0])}
