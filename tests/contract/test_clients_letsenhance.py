"""Clients of Let's Enhance as they are in use, each as a script: A0.6, A0.7, LE-36.

One reads `pipeline.status` and the first result's `tmp_url` and `filename`, and polls without a pause. One is of PHP:
it has one operation where the document has a list, follows no redirect, and sends its key to the result's link as well.
"""

from __future__ import annotations

from typing import Any

import pytest
from tessera import tasks

from tests.contract.letsenhance import MARKETPLACE, PIPELINE, Api, query
from tests.world import World

POLLS = 2_000  # without a pause


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"allowed_addresses": "127.0.0.1/32"}


def test_a0_7_a_client_that_polls_without_a_pause_is_never_limited(enhance: Api, world: World) -> None:
    number = enhance.submit()
    for poll in range(POLLS):
        answer = enhance.get(f"{PIPELINE}/{number}")
        assert answer.status == 200, (poll, answer.body)
        if answer.body["pipeline"]["status"] != "PROCESSING":
            break
        if poll == POLLS - 100:
            world.run()
    output = answer.body["pipeline"]["results"][0]["output_object"]
    assert enhance.download(output["tmp_url"]).startswith(b"\xff\xd8")
    assert output["filename"].endswith(".jpg")


def test_a0_7_the_clients_words_are_enough(enhance: Api) -> None:
    pipeline = enhance.done()
    assert pipeline["status"] == "DONE"
    output = pipeline["results"][0]["output_object"]
    assert output["filename"] in query(output["tmp_url"])["response-content-disposition"]


PHP = {"op": "preset/product", "width": 1800, "height": 1200, "jpeg_qf": 75, "background_removal": False}


def test_a0_7_one_operation_instead_of_a_list_with_the_names_of_another_version(enhance: Api) -> None:
    pipeline = enhance.done(operations=PHP)
    assert pipeline["status"] == "DONE"
    assert pipeline["operations"] == [PHP]
    assert recipe(enhance, PHP) == recipe(enhance, {**MARKETPLACE_OF_PHP, "quality": 75})
    assert recipe(enhance, PHP) != recipe(enhance, {**MARKETPLACE_OF_PHP, "quality": 80})


MARKETPLACE_OF_PHP = {"op": "preset/marketplace", "width": 1800, "height": 1200}


def test_a0_7_the_documents_name_goes_before_the_other(enhance: Api) -> None:
    assert recipe(enhance, MARKETPLACE | {"jpeg_qf": 10}) == recipe(enhance, MARKETPLACE)


@pytest.mark.parametrize("wished", [True, "true", 1, {"mode": "auto"}])
def test_a0_7_a_background_that_is_to_be_removed_is_rejected_with_a_reason(enhance: Api, wished: Any) -> None:
    answer = enhance.post(enhance.wish(operations=PHP | {"background_removal": wished}))
    assert (answer.status, answer.reason) == (
        400,
        "Invalid request: operations.0: background_removal is not available",
    )
    assert enhance.balance == 100


def recipe(enhance: Api, operation: dict[str, Any]) -> Any:
    return tasks.get(enhance.world.services, enhance.account, enhance.submit(operations=operation)).task.recipe
