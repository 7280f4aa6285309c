"""The DynamoDB table: its key chart, and get, put, update, query and transact on plain Python values.

    pk               sk                 row                  index `history`              index `due`
    ACCOUNT#<id>     ACCOUNT            accounts.Account
    KEY#<sha256>     KEY                pointer to account
    ACCOUNT#<id>     UPLOAD#<id>        uploads.Upload                                    EXPIRES#<shard> | ms
    ACCOUNT#<id>     PARTS#<id>         multiparts.Begun                                  EXPIRES#<shard> | ms
    ACCOUNT#<id>     CREDIT#<id>        credits.Entry
    ACCOUNT#<id>     REUSE#<sha256>     reuse.Known                                       EXPIRES#<shard> | ms
    ACCOUNT#<id>     ONCE#<sha256>      idempotency.Once                                  EXPIRES#<shard> | ms
    TOKEN#<sha256>   TOKEN              tokens.Token                                      EXPIRES#<shard> | ms
    TOKEN#<sha256>   BEGUN#<upload>     tokens.Begun                                      EXPIRES#<shard> | ms
    TASK#<n>         TASK               tasks.Task           ACCOUNT#<id> | TASK#<ms>#~   EXPIRES#<shard> | ms
    TASK#<n>         FILE#<nn>          tasks.File           ACCOUNT#<id> | TASK#<ms>#nn  WATCH#<shard>   | ms
    TASK#<n>         HOOK               webhooks.Delivery                                 HOOK#<shard>    | ms, EXPIRES#
    ACCOUNT#<id>     SIGNING            signatures.Secrets

A status is one Query of TASK#<n>; a history page is one Query of `history`, newest first, a task before its files.
`due` is sparse: a row is in it only while somebody has to look at it again, and its `ms` says when. It repeats what
cleanup has to know of a task (DUE_FACTS), so that a task that has expired is not read.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import ConditionBase, ConditionExpressionBuilder
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type_serializer = TypeSerializer()
type_deserializer = TypeDeserializer()

Item = dict[str, Any]

DUE_SHARDS = 8  # spreads the index over partitions; readers query each
DUE_PAGE = 500  # rows
DUE_FACTS = ("account", "correlation", "created", "total")
BATCH_WRITE = 25  # DynamoDB
MAX_TRANSACTION = 100  # DynamoDB
CONFLICT_TRIES = 9  # with the pauses of _back_off: about 3 s


@dataclass(frozen=True)
class Key:
    pk: str
    sk: str

    @classmethod
    def of(cls, item: Item) -> Key:
        return cls(item["pk"], item["sk"])

    def as_item(self) -> Item:
        return {"pk": self.pk, "sk": self.sk}


@dataclass(frozen=True)
class Put:
    """Write a whole row. `new`: only where no row has its key."""

    item: Item
    new: bool = False


@dataclass(frozen=True)
class Update:
    """One conditional write. `set` passes over None, `set_once` over an attribute that has a value.

    `sums`: attribute -> another one of the row, what counts where the row has none such, and what is added to it.
    """

    key: Key
    when: ConditionBase | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    set_once: Mapping[str, Any] = field(default_factory=dict)
    sums: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)
    add: Mapping[str, Any] = field(default_factory=dict)
    remove: Sequence[str] = ()


class ConditionFailed(Exception):
    """The row was not in the state that the write asked for; `item` is the row as it is, None where there is none."""

    def __init__(self, item: Item | None) -> None:
        super().__init__("condition failed")
        self.item = item


class Contended(Exception):
    """The row was being written by others at every try; nothing was written."""


class TransactionFailed(Exception):
    """`failures`: position of a write whose condition failed -> its row as it is. Nothing was written."""

    def __init__(self, failures: dict[int, Item | None]) -> None:
        super().__init__(f"conditions failed: {sorted(failures)}")
        self.failures = failures


@dataclass(frozen=True)
class Page:
    items: tuple[Item, ...]
    last: Item | None  # where to go on, None at the end


def due_shard(text: str) -> int:
    return zlib.crc32(text.encode()) % DUE_SHARDS


class Table:
    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self.client = client
        self.name = name

    def get(self, key: Key) -> Item | None:
        answer = self.client.get_item(TableName=self.name, Key=serialize(key.as_item()), ConsistentRead=True)
        return deserialize(answer["Item"]) if "Item" in answer else None

    def put(self, put: Put) -> None:
        """Raises ConditionFailed where `new` and the row exists."""
        try:
            self.client.put_item(**self._expression(put))
        except self.client.exceptions.ConditionalCheckFailedException as error:
            raise ConditionFailed(_item_of(error)) from error

    def update(self, update: Update) -> Item:
        """The row after the write. Raises ConditionFailed or Contended."""
        for attempt in range(CONFLICT_TRIES):
            try:
                answer = self.client.update_item(**self._expression(update), ReturnValues="ALL_NEW")
                return deserialize(answer["Attributes"])
            except self.client.exceptions.ConditionalCheckFailedException as error:
                raise ConditionFailed(_item_of(error)) from error
            except self.client.exceptions.TransactionConflictException:
                _back_off(attempt)
        raise Contended

    def transact(self, *writes: Put | Update) -> None:
        """All or nothing, at most 100 writes. Raises TransactionFailed when a condition fails, or Contended.

        A transaction that lost a race for a row is tried again: nothing of it was written.
        """
        items: list[Any] = [{type(write).__name__: self._expression(write)} for write in writes]
        for attempt in range(CONFLICT_TRIES):
            try:
                self.client.transact_write_items(TransactItems=items)
                return
            except self.client.exceptions.TransactionCanceledException as error:
                reasons = error.response["CancellationReasons"]
                failures = {
                    position: deserialize(reason["Item"]) if reason.get("Item") else None
                    for position, reason in enumerate(reasons)
                    if reason.get("Code") == "ConditionalCheckFailed"
                }
                if failures:
                    raise TransactionFailed(failures) from error
                if not any(reason.get("Code") == "TransactionConflict" for reason in reasons):
                    raise
                _back_off(attempt)
        raise Contended

    def query_partition(self, pk: str) -> tuple[Item, ...]:
        """All rows of a partition, in key order, as of now."""
        items: list[Item] = []
        start: dict[str, Any] = {}
        while True:
            answer = self.client.query(
                TableName=self.name,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues=serialize({":pk": pk}),
                ConsistentRead=True,
                **start,
            )
            items += map(deserialize, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return tuple(items)
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def query_range(self, pk: str, first: str, last: str) -> Iterator[Item]:
        """The rows of a partition whose sort keys lie from `first` to `last`, in key order, page by page."""
        request: dict[str, Any] = {
            "TableName": self.name,
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
            "ExpressionAttributeValues": serialize({":pk": pk, ":first": first, ":last": last}),
            "ConsistentRead": True,
        }
        for answer in self.client.get_paginator("query").paginate(**request):
            yield from map(deserialize, answer["Items"])

    def scan_partitions(self, sk: str) -> Iterator[str]:
        """The partition keys of all rows with this sort key. Reads the whole table: for a nightly round only."""
        request: dict[str, Any] = {
            "TableName": self.name,
            "FilterExpression": "sk = :sk",
            "ExpressionAttributeValues": serialize({":sk": sk}),
            "ProjectionExpression": "pk",
        }
        for answer in self.client.get_paginator("scan").paginate(**request):
            yield from (str(deserialize(item)["pk"]) for item in answer["Items"])

    def query_history(self, pk: str, below: str, limit: int, start: Item | None = None) -> Page:
        """Rows of `history` whose sort key is smaller than `below`, newest first."""
        return self._page(
            IndexName="history",
            KeyConditionExpression="history_pk = :pk AND history_sk < :below",
            ExpressionAttributeValues=serialize({":pk": pk, ":below": below}),
            ScanIndexForward=False,
            Limit=limit,
            **({"ExclusiveStartKey": serialize(start)} if start else {}),
        )

    def query_due(self, kind: str, shard: int, until_ms: int, start: Item | None = None) -> Page:
        """Keys and DUE_FACTS of the rows of one shard that are due, the longest overdue first."""
        return self._page(
            IndexName="due",
            KeyConditionExpression="due_pk = :pk AND due_ms <= :until",
            ExpressionAttributeValues=serialize({":pk": f"{kind}#{shard}", ":until": until_ms}),
            Limit=DUE_PAGE,
            **({"ExclusiveStartKey": serialize(start)} if start else {}),
        )

    def delete_many(self, keys: Iterable[Key]) -> None:
        """Unconditional; rows that are gone already are no error."""
        pending = [{"DeleteRequest": {"Key": serialize(key.as_item())}} for key in keys]
        for attempt in range(CONFLICT_TRIES):
            left: list[Any] = []
            for first in range(0, len(pending), BATCH_WRITE):
                answer = self.client.batch_write_item(RequestItems={self.name: pending[first : first + BATCH_WRITE]})  # type: ignore[dict-item]
                left += answer.get("UnprocessedItems", {}).get(self.name, [])
            if not left:
                return
            pending = left
            _back_off(attempt)
        raise TimeoutError(f"{len(pending)} rows could not be deleted: the table is throttled")

    def _page(self, **query: Any) -> Page:
        answer = self.client.query(TableName=self.name, **query)
        last = answer.get("LastEvaluatedKey")
        return Page(tuple(map(deserialize, answer["Items"])), deserialize(last) if last else None)

    def _expression(self, write: Put | Update) -> Any:
        if isinstance(write, Put):
            put = {"TableName": self.name, "Item": serialize(write.item)}
            if not write.new:
                return put
            returned = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
            return {**put, "ConditionExpression": "attribute_not_exists(pk)", **returned}
        return {"TableName": self.name, **_update_expression(write)}


def _update_expression(update: Update) -> dict[str, Any]:
    names: dict[str, str] = {}
    values: dict[str, Any] = {}

    def name(attribute: str) -> str:
        alias = f"#u{len(names)}"
        names[alias] = attribute
        return alias

    def value(python: Any) -> str:
        alias = f":u{len(values)}"
        values[alias] = python
        return alias

    sets = [f"{name(attribute)} = {value(new)}" for attribute, new in update.set.items() if new is not None]
    for attribute, first in update.set_once.items():
        alias = name(attribute)
        sets.append(f"{alias} = if_not_exists({alias}, {value(first)})")
    for attribute, (other, otherwise, amount) in update.sums.items():
        sets.append(f"{name(attribute)} = if_not_exists({name(other)}, {value(otherwise)}) + {value(amount)}")
    clauses = {
        "SET": sets,
        "ADD": [f"{name(attribute)} {value(amount)}" for attribute, amount in update.add.items()],
        "REMOVE": [name(attribute) for attribute in update.remove],
    }
    expression: dict[str, Any] = {
        "Key": serialize(update.key.as_item()),
        "UpdateExpression": " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts),
    }
    if update.when is not None:
        condition = ConditionExpressionBuilder().build_expression(update.when)
        expression["ConditionExpression"] = condition.condition_expression
        expression["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        names |= condition.attribute_name_placeholders
        values |= condition.attribute_value_placeholders
    if names:
        expression["ExpressionAttributeNames"] = names
    if values:
        expression["ExpressionAttributeValues"] = serialize(values)
    return expression


def serialize(item: Mapping[str, Any]) -> dict[str, Any]:
    """Python -> DynamoDB's typed JSON. Floats go as decimals, None is left out."""
    return {name: type_serializer.serialize(_decimal(value)) for name, value in item.items() if value is not None}


def _decimal(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(str(value))
    if isinstance(value, Mapping):
        return {name: _decimal(element) for name, element in value.items()}
    return [_decimal(element) for element in value] if isinstance(value, list | tuple) else value


def deserialize(item: Mapping[str, Any]) -> Item:
    """DynamoDB's typed JSON -> Python: whole numbers as int, others as float."""
    return {name: _plain(type_deserializer.deserialize(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list):
        return [_plain(element) for element in value]
    if isinstance(value, dict):
        return {name: _plain(element) for name, element in value.items()}
    return value


def _item_of(error: ClientError) -> Item | None:
    item: Any = error.response.get("Item")
    return deserialize(item) if item else None


def _back_off(attempt: int) -> None:
    time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))
