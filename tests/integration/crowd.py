"""Rows by the ten thousand, as tasks and uploads leave them, without a caller for each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from moto.dynamodb.models import dynamodb_backends
from tessera import tasks
from tessera.recipe import Encode, Recipe, Upscale
from tessera.services import Services
from tessera.settings import DAYS, HOURS
from tessera.table import Item, due_shard, serialize
from tessera.tasks import File, Task

from infra.local.guard import ACCOUNT
from tests.world import REGION

RECIPE = Recipe(operations=(Upscale(model="upscayl-standard-4x", scale=4), Encode(format="png")))
OWNER = "0123456789abcdef"


def put(services: Services, rows: Iterable[Item]) -> None:
    """Straight into moto's table: ten thousand calls would take a minute."""
    table = dynamodb_backends[ACCOUNT][REGION].tables[services.table.name]
    for row in rows:
        table.put_item(serialize(row))


def task_rows(number: int, created: int, expires: int, account: str = OWNER) -> list[Item]:
    """A task that is done, and its one file."""
    facts: dict[str, Any] = {"account": account, "recipe": RECIPE, "created": created}
    task = Task(id=number, total=1, left=0, done=1, held=1, expires=expires, **facts)
    file = File(
        task=number,
        nn=0,
        upload="0" * 32,
        name="a",
        original="a",
        deadline=created,
        state="done",
        format="png",
        **facts,
    )
    return [tasks.task_item(task, "nonce"), tasks.file_item(file)]


def upload_row(number: int, expires: int) -> Item:
    upload = f"{number:032x}"
    due = {"due_pk": f"EXPIRES#{due_shard(upload)}", "due_ms": expires}
    return {"pk": f"ACCOUNT#{OWNER}", "sk": f"UPLOAD#{upload}", "state": "uploaded", "etag": '"0"', "size": 9} | due


def living(now_ms: int, count: int) -> list[Item]:
    """A task, its file and an upload for each three, none of which has to go today."""
    rows: list[Item] = []
    for number in range(10**9, 10**9 + count // 3 + 1):
        rows += [*task_rows(number, now_ms, now_ms + DAYS), upload_row(number, now_ms + HOURS)]
    return rows[:count]
