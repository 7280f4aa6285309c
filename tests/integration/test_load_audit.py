"""What bench.load says of a table in which something is wrong: an audit that finds nothing must be able to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tessera import accounts, credits, ids
from tessera.table import Put, Update
from tessera.tasks import task_key

from bench import load
from tests.world import World, key_of, png


class Scene:
    """An account with one finished task, as clients have seen it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.services = world.services
        self.key = world.account(credits=load.GRANTED)
        self.account = accounts.credential(world.services, self.key).account
        task = world.start(self.key, world.upload(self.key, png()))
        world.run()
        self.task = ids.from_uuid(task) or 0
        self.result = key_of(world.status(self.key, task)["files"][0]["downloadLink"])
        self.seen = load.Seen(accepted={self.task}, ended={self.task: "completed"})

    def audit(self) -> list[str]:
        return load.audit(self.services, self.seen, [self.account])

    def change(self, **values: int) -> None:
        self.services.table.update(Update(task_key(self.task), set=values))


def unseen_task(scene: Scene) -> None:
    scene.world.start(scene.key, scene.world.upload(scene.key, png()))
    scene.world.run()


def second_charge(scene: Scene) -> None:
    entry = credits.entry(scene.account, "again", "capture", 0, 0, task=scene.task, file=0)
    scene.services.table.put(Put(entry.item))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda scene: scene.seen.accepted.add(1), "accepted and is lost"),
        (lambda scene: scene.seen.ended.clear(), "no client saw its end"),
        (unseen_task, "no client knows of it"),
        (lambda scene: scene.change(left=1), "has not ended"),
        (lambda scene: scene.services.storage.delete_many([scene.result]), "its object is None"),
        (lambda scene: credits.grant(scene.services, scene.account, 1), "credits after 1 finished files"),
        (second_charge, "has in the ledger: ['capture', 'capture']"),
    ],
)
def test_what_is_wrong_is_told(world: World, spoil: Callable[[Scene], object], told: str) -> None:
    scene = Scene(world)
    assert scene.audit() == []
    spoil(scene)
    assert any(told in sentence for sentence in scene.audit())
