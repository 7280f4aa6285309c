"""TransactWriteItems and conditions decide as DynamoDB does, also under threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.local.support import Storage

TABLE = "things"


def key(name: str) -> dict[str, Any]:
    return {"pk": {"S": name}, "sk": {"S": "x"}}


@pytest.fixture(scope="module")
def table(storage: Storage) -> Any:
    client = storage.client("dynamodb")
    client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )
    return client


def put(name: str, n: int = 0, **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": TABLE, "Item": {**key(name), "n": {"N": str(n)}}, **more}}


def add(name: str, condition: str | None = None, n: int = 1) -> dict[str, Any]:
    update: dict[str, Any] = {
        "TableName": TABLE,
        "Key": key(name),
        "UpdateExpression": "ADD n :n",
        "ExpressionAttributeValues": {":n": {"N": str(n)}},
    }
    if condition:
        update |= {"ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    return {"Update": update}


def read(table: Any, name: str) -> int | None:
    item = table.get_item(TableName=TABLE, Key=key(name), ConsistentRead=True).get("Item")
    return int(item["n"]["N"]) if item else None


def refusal(call: Callable[[], object]) -> dict[str, Any]:
    with pytest.raises(ClientError) as raised:
        call()
    response: dict[str, Any] = raised.value.response
    return response


def test_all_or_nothing(table: Any) -> None:
    table.transact_write_items(TransactItems=[put("a", 1), put("b", 2)])
    table.transact_write_items(TransactItems=[add("a"), add("new"), {"Delete": {"TableName": TABLE, "Key": key("b")}}])
    assert [read(table, name) for name in ("a", "b", "new")] == [2, None, 1]
    items = [add("a"), {"Delete": {"TableName": TABLE, "Key": key("new")}}, put("c"), add("b", "attribute_exists(pk)")]
    refusal(lambda: table.transact_write_items(TransactItems=items))
    assert [read(table, name) for name in ("a", "b", "new", "c")] == [2, None, 1, None]


def test_every_failed_condition_has_its_reason_and_item_in_order(table: Any) -> None:
    table.transact_write_items(TransactItems=[put("p", 5), put("q", 6)])
    never = {"ConditionExpression": "attribute_not_exists(pk)"}
    old = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    response = refusal(
        lambda: table.transact_write_items(
            TransactItems=[
                put("p", 1, **never, **old),
                put("fine"),
                put("q", 1, **never),
                add("absent", "attribute_exists(pk)"),
                {"ConditionCheck": {"TableName": TABLE, "Key": {"pk": {"S": "p"}, "sk": {"S": "y"}}, **never}},
            ]
        )
    )
    assert response["Error"]["Code"] == "TransactionCanceledException"
    assert (
        "[ConditionalCheckFailed, None, ConditionalCheckFailed, ConditionalCheckFailed, None]"
        in (response["Error"]["Message"])
    )
    reasons = response["CancellationReasons"]
    failed = "ConditionalCheckFailed"
    assert [reason["Code"] for reason in reasons] == [failed, "None", failed, failed, "None"]
    assert reasons[0]["Item"] == {**key("p"), "n": {"N": "5"}}
    assert ["Item" in reason for reason in reasons] == [True, False, False, False, False]


def test_a_fault_while_applying_is_undone(table: Any) -> None:
    table.transact_write_items(TransactItems=[put("u", 5)])
    wrong = add("v")
    wrong["Update"]["UpdateExpression"] = "SET n = missing + :n"
    response = refusal(lambda: table.transact_write_items(TransactItems=[add("u"), put("w"), wrong]))
    assert [reason["Code"] for reason in response["CancellationReasons"]] == ["None", "None", "ValidationError"]
    assert [read(table, name) for name in ("u", "v", "w")] == [5, None, None]


def test_an_item_may_be_named_once(table: Any) -> None:
    assert refusal(lambda: table.transact_write_items(TransactItems=[put("t"), add("t")]))["Error"]["Code"] == (
        "ValidationException"
    )


def test_single_writes_return_the_item_of_a_failed_condition(table: Any) -> None:
    table.transact_write_items(TransactItems=[put("s", 7)])
    condition = {"ConditionExpression": "n > :m", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    values = {":m": {"N": "9"}}
    calls = [
        lambda: table.update_item(
            **{**add("s")["Update"], **condition, "ExpressionAttributeValues": {":n": {"N": "1"}, **values}}
        ),
        lambda: table.put_item(TableName=TABLE, Item=key("s"), **condition, ExpressionAttributeValues=values),
        lambda: table.delete_item(TableName=TABLE, Key=key("s"), **condition, ExpressionAttributeValues=values),
    ]
    for call in calls:
        response = refusal(call)
        assert response["Error"]["Code"] == "ConditionalCheckFailedException"
        assert response["Item"] == {**key("s"), "n": {"N": "7"}}


def test_no_acknowledged_write_is_lost_under_threads(storage: Storage, table: Any) -> None:
    table.transact_write_items(TransactItems=[put("purse", 100), put("shop", 0)])
    clients = [storage.client("dynamodb") for _ in range(16)]

    def buy(number: int) -> bool:
        client = clients[number % 16]
        client.put_item(TableName=TABLE, Item={**key(f"beside{number}"), "n": {"N": "1"}})
        pay = add("purse", "n >= :one", n=-1)
        pay["Update"]["ExpressionAttributeValues"][":one"] = {"N": "1"}
        try:
            client.transact_write_items(TransactItems=[pay, add("shop"), put(f"bill{number}", 1)])
        except client.exceptions.TransactionCanceledException:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        bought = list(threads.map(buy, range(160)))
    assert sum(bought) == 100
    assert (read(table, "purse"), read(table, "shop")) == (0, 100)
    assert [read(table, f"bill{number}") == 1 for number in range(160)] == bought
    assert all(read(table, f"beside{number}") == 1 for number in range(160))


def test_a_transaction_costs_what_it_touches(table: Any) -> None:
    for start in range(0, 2000, 25):
        requests = [{"PutRequest": {"Item": {**key(f"f{n}"), "n": {"N": "0"}}}} for n in range(start, start + 25)]
        table.batch_write_item(RequestItems={TABLE: requests})
    started = time.monotonic()
    for _ in range(10):
        table.transact_write_items(TransactItems=[add("f1"), add("f2")])
    assert (time.monotonic() - started) / 10 < 0.1  # moto's own way: 0.3 s
