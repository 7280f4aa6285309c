"""What an operator can do to accounts and keys."""

from __future__ import annotations

import pytest
from botocore.stub import Stubber
from tessera import accounts, budget, credits
from tessera.errors import Invalid, NotFound, Unauthorized
from tessera.table import Update

from infra import admin
from tests.world import World, png

OUTPUTS = {"WorkDeadLetters": "arn:aws:sqs:eu-central-1:123456789012:dead"}


def command(world: World, *words: str) -> str:
    return admin.run(world.services, admin.parser().parse_args(["--stack", "x", *words]), OUTPUTS)


def works(world: World, key: str) -> bool:
    return world.post("/get-upscayl-history", {}, key)[0] == 200


def test_create_grant_and_revoke(world: World) -> None:
    """G11: a revoked key opens nothing from the next call on."""
    key = command(world, "create", "--credits", "5")
    assert works(world, key)
    command(world, "grant", key, "7")
    command(world, "grant", key, "-2")
    assert world.balance(key) == 10
    assert sum(row["amount"] for row in world.ledger(key)) == 10
    command(world, "revoke", key)
    assert not works(world, key)


def test_a_key_is_stored_as_its_hash_only(world: World) -> None:
    """G11."""
    key = command(world, "create")
    brought = command(world, "create", "--key", "a key that somebody brought".replace(" ", "-"))
    rows = world.services.table.client.scan(TableName="tessera-test")["Items"]
    assert key not in str(rows)
    assert brought not in str(rows)


def test_a_key_brought_along_is_kept_topped_up_and_can_come_back(world: World) -> None:
    assert world.account(5, "test") == "test"
    world.account(9, "test")
    assert world.balance("test") == 9
    command(world, "revoke", "test")
    assert not works(world, "test")
    world.account(9, "test")
    assert world.balance("test") == 9


def test_a_key_of_our_form_names_its_own_account_and_no_other(world: World) -> None:
    with pytest.raises(Invalid):
        world.account(1, f"tsr_{'0' * 16}_{'a' * 32}")


def test_two_keys_of_one_account_share_its_credits_and_its_history(world: World) -> None:
    first = world.account(5)
    account = accounts.credential(world.services, first).account
    second = accounts.add_key(world.services, account)
    credits.grant(world.services, account, 1)
    assert world.balance(first) == world.balance(second) == 6
    accounts.revoke_key(world.services, first)
    assert (works(world, first), works(world, second)) == (False, True)


def test_what_cannot_be_done_is_said(world: World) -> None:
    key = world.account(1)
    with pytest.raises(Invalid):
        command(world, "grant", key, "-2")
    with pytest.raises(NotFound):
        credits.grant(world.services, "0" * 16, 1)
    with pytest.raises(Unauthorized):
        command(world, "revoke", "unknown")
    with pytest.raises(Invalid):
        accounts.add_key(world.services, "0" * 16, "with a space")


def test_the_gpus_switch_and_cap_are_seen_and_set(world: World) -> None:
    today = budget.day_of(world.clock.ms)
    assert command(world, "spend") == f"{today} (UTC): 0 of {budget.JOBS_A_DAY} GPU jobs"
    assert command(world, "pause").endswith("GPU jobs, paused")
    assert command(world, "cap", "7") == f"{today} (UTC): 0 of 7 GPU jobs, paused"
    assert command(world, "resume") == f"{today} (UTC): 0 of 7 GPU jobs"
    with pytest.raises(Invalid):
        command(world, "cap", "-1")


def test_redrive_asks_for_the_queue_of_the_stack(world: World) -> None:
    """G30 is the crash lab's: messages given up, healed, and brought back twice."""
    client = world.services.work.client  # moto has no such call
    with Stubber(client) as sqs:
        sqs.add_response("start_message_move_task", {"TaskHandle": "x"}, {"SourceArn": OUTPUTS["WorkDeadLetters"]})
        command(world, "redrive", "work")
        sqs.assert_no_pending_responses()


def test_a_task_is_shown_with_the_id_to_search_for(world: World) -> None:
    key = world.account(2)
    task = world.start(key, world.upload(key, png()))
    shown = command(world, "show", task)
    assert shown.endswith("file 0 queued, attempt 0, correlation test")  # the gateway's id in these tests
    assert command(world, "show", shown.split()[1]) == shown
    for unknown in ("0" * 32, "no task", "12345"):
        with pytest.raises(NotFound):
            command(world, "show", unknown)


def test_the_audit_names_the_accounts_that_are_wrong(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tessera.audit.PAUSE", 0)
    key = world.account(2)
    account = accounts.credential(world.services, key).account
    assert command(world, "audit") == "1 accounts, 0 wrong"
    world.services.table.update(Update(accounts.account_key(account), add={"balance": 3}))
    assert command(world, "audit") == f"account {account}: balance 5, ledger 2\n1 accounts, 1 wrong"
