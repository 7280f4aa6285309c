"""What holds a token to its limits, whoever tries and however many at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import pytest
from tessera import cleanup, tokens
from tessera.errors import FileTooLarge, NotFound, TokenSpent, UploadIncomplete
from tessera.storage import Part, StoredPart
from tessera.tokens import Asked, Multipart, Token

from tests.contract.companion import MIB, Page, new_token
from tests.world import InjectedFaultError, World

FILE = Asked("photo.png", "image/png")


def made(world: World, **limits: Any) -> Token:
    return tokens.find(world.services, new_token(world, world.account(), **limits)["token"])


def begun_rows(world: World) -> list[str]:
    table = world.services.table
    rows = table.client.scan(TableName=table.name)["Items"]
    return [row["sk"]["S"] for row in rows if row["pk"]["S"].startswith("TOKEN#")]


def send(world: World, upload: Multipart, number: int, size: int) -> Part:
    storage = world.services.storage
    sent = storage.client.upload_part(
        Bucket=storage.bucket, Key=upload.key, UploadId=upload.s3_id, PartNumber=number, Body=bytes(size)
    )
    return Part(number, sent["ETag"])


def test_g23_a_hundred_at_once_get_no_more_uploads_than_there_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = made(world, count=7)
    lock = Lock()  # moto is not thread-safe; tests/e2e/test_companion.py runs it against the guarded stack
    real = world.services.table.client.update_item

    def one_at_a_time(**write: Any) -> Any:
        with lock:
            return real(**write)

    def begin(_: int) -> bool:
        try:
            tokens.begin_form(world.services, token, FILE)
        except TokenSpent:
            return False
        return True

    monkeypatch.setattr(world.services.table.client, "update_item", one_at_a_time)
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(begin, range(100))) == 7
    (row,) = (row for row in world.services.table.query_partition(f"TOKEN#{token.hash}") if row["sk"] == "TOKEN")
    assert row["begun"] == 7


def test_what_is_aborted_was_counted(world: World) -> None:
    token = made(world, count=2)
    for _ in range(2):
        tokens.abort(world.services, token, tokens.begin_parts(world.services, token, FILE))
    with pytest.raises(TokenSpent):
        tokens.begin_parts(world.services, token, FILE)


def test_a_token_that_expires_between_two_steps_is_over(world: World) -> None:
    token = made(world, expiresIn=10)
    world.clock.forward(10)
    with pytest.raises(NotFound):
        tokens.begin_form(world.services, token, FILE)


# ---------------------------------------------------------------- the size of an upload in parts


def test_a_file_that_is_too_large_is_thrown_away_when_it_is_put_together(world: World) -> None:
    token = made(world, maxBytes=5 * MIB + 10)
    upload = tokens.begin_parts(world.services, token, FILE)
    parts = [send(world, upload, 1, 5 * MIB), send(world, upload, 2, 11)]
    with pytest.raises(FileTooLarge):
        tokens.complete(world.services, token, upload, parts)
    storage = world.services.storage
    assert storage.list_parts(upload.key, upload.s3_id) is None
    assert storage.head(upload.key) is None
    with pytest.raises(NotFound):
        tokens.complete(world.services, token, upload, parts[:1])


def test_parts_that_the_file_is_not_made_of_do_not_weigh(world: World) -> None:
    token = made(world, maxBytes=5 * MIB + 10)
    upload = tokens.begin_parts(world.services, token, FILE)
    parts = [send(world, upload, number, 5 * MIB) for number in (1, 2)]
    tokens.complete(world.services, token, upload, parts[:1])
    facts = world.services.storage.head(upload.key)
    assert facts is not None and facts.size == 5 * MIB


def test_a_size_that_was_told_is_the_limit(world: World) -> None:
    token = made(world)
    upload = tokens.begin_parts(world.services, token, Asked("photo.png", "image/png", 10))
    with pytest.raises(FileTooLarge):
        tokens.complete(world.services, token, upload, [send(world, upload, 1, 11)])


@pytest.mark.parametrize("named", ["before", "after"])
def test_a_part_that_grows_after_it_was_weighed_makes_no_file(
    world: World, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """Whether the ETag that is named belongs to the small part or to the large one that takes its place."""
    token = made(world, maxBytes=10)
    upload = tokens.begin_parts(world.services, token, FILE)
    large = send(world, upload, 1, 11)
    small = send(world, upload, 1, 10)
    storage = world.services.storage
    real = storage.list_parts

    def replaced(key: str, s3_id: str) -> tuple[StoredPart, ...] | None:
        listed = real(key, s3_id)
        send(world, upload, 1, 11)
        return listed

    monkeypatch.setattr(storage, "list_parts", replaced)
    with pytest.raises(UploadIncomplete):
        tokens.complete(world.services, token, upload, [small if named == "before" else large])
    assert storage.head(upload.key) is None


# ---------------------------------------------------------------- what is left behind


def test_rows_of_a_token_go_when_it_has_expired(world: World) -> None:
    token = made(world, expiresIn=100)
    tokens.begin_parts(world.services, token, FILE)
    cleanup.sweep(world.services)
    assert len(begun_rows(world)) == 2
    world.clock.forward(100 + 61)
    cleanup.sweep(world.services)
    assert begun_rows(world) == []


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", range(1, 6))
def test_a_start_that_is_cut_anywhere_gives_no_upload_more(world: World, call: int, moment: str) -> None:
    """Five calls: token, key, count, S3's upload, its row. The page asks again, as its user does."""
    page = Page(world, new_token(world, world.account(), count=2)["token"])
    first = len(world.calls)

    def fault(number: int, operation: str, when: str) -> None:
        if number - first == call and when == moment:
            raise InjectedFaultError

    world.fault = fault
    with world.counted() as calls:
        assert page.begin().status == 500
    world.fault = None
    assert len(calls) == call
    answers = [page.begin().status for _ in range(3)]
    counted = call > 3 or (call == 3 and moment == "after")
    assert answers == ([200, 403, 403] if counted else [200, 200, 403])
