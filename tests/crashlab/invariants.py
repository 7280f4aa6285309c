"""What was promised, checked on the rows themselves: after every write, and at rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moto.dynamodb.models import dynamodb_backends
from tessera.credits import PRICE
from tessera.settings import MINUTES
from tessera.storage import AttemptKey

from tests.crashlab.calls import Recorder
from tests.crashlab.pictures import NO_PICTURE
from tests.world import REGION, World

Row = dict[str, Any]

SEEN = ("state", "attempt", "result_key", "thumbnail_key", "error", "width", "height", "bytes", "format", "ended")
HEALED = 2 * MINUTES  # G9
ROUND = 1 * MINUTES  # of the watchdog: what one fault may cost


class Violation(Exception):
    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise


def rows() -> list[Row]:
    """The whole table."""
    return [{name: _plain(value) for name, value in item.attrs.items()} for item in _items()]


def due(kind: str) -> int | None:
    """When the first row of an index is due (ms)."""
    found = (item.attrs for item in _items() if "due_pk" in item.attrs)
    return min((int(row["due_ms"].value) for row in found if row["due_pk"].value.startswith(kind)), default=None)


def _items() -> Iterator[Any]:
    for each in dynamodb_backends["123456789012"][REGION].tables["tessera-test"].items.values():
        yield from each.values()


def _plain(value: Any) -> Any:
    """What the product makes of a value of moto's, ten times as quick as by way of its JSON."""
    if value.type == "N":
        number = float(value.value)
        return int(number) if number.is_integer() else number
    if value.type == "M":
        return {name: _plain(each) for name, each in value.value.items()}
    if value.type == "L":
        return [_plain(each) for each in value.value]
    return set(value.value) if value.type.endswith("S") and value.type != "S" else value.value


class Books:
    """Remembers what has ended, and how many credits were given."""

    def __init__(self, world: World, recorder: Recorder) -> None:
        self.world = world
        self.recorder = recorder
        self.ended: dict[tuple[str, str], Row] = {}

    # ------------------------------------------------------------ at every instant

    def check(self) -> None:
        table = rows()
        for account in (row for row in table if row["sk"] == "ACCOUNT"):
            self._money(account, [row for row in table if row["pk"] == account["pk"]])
        tasks = {row["pk"] for row in table if row["pk"].startswith("TASK#")}
        for pk in tasks:
            self._task([row for row in table if row["pk"] == pk], table)

    def _money(self, account: Row, own: list[Row]) -> None:
        entries = [row for row in own if row["sk"].startswith("CREDIT#")]
        held = sum(row["amount"] for row in entries)
        granted = sum(row["amount"] for row in entries if row["kind"] == "grant")
        require("G1", account["balance"] >= 0, f"balance is {account['balance']}")
        require("G1", account["balance"] == held, f"balance {account['balance']}, ledger {held}")
        require("G1", account.get("granted", 0) == granted, f"granted {account.get('granted')}, ledger {granted}")

    def _task(self, own: list[Row], table: list[Row]) -> None:
        files = [row for row in own if row["sk"].startswith("FILE#")]
        found = [row for row in own if row["sk"] == "TASK"]
        if not files or (found and found[0].get("forgotten")):
            return  # being deleted at the end of the history, of which a webhook's row may be the last
        if not found:
            raise Violation("G6", f"{len(files)} files without a task")
        (task,) = found
        states = [row["state"] for row in files]
        require("G6", len(files) == task["total"], f"{len(files)} of {task['total']} files")
        ledger = f"CREDIT#{task['id']}#"
        entries = {
            row["sk"]: row
            for row in table
            if row["pk"] == f"ACCOUNT#{task['account']}" and row["sk"].startswith(ledger)
        }
        hold = entries.pop(f"{ledger}hold", None)
        require("G6", (-hold["amount"] if hold else 0) == task["held"], "hold and task differ")
        ends = ("done", "failed", "cancelled")
        counted = (task["left"], *(task.get(end, 0) for end in ends))
        truth = (states.count("queued") + states.count("running"), *map(states.count, ends))
        require("G4", counted == truth, f"the task counts {counted}, its files are {truth}")
        for row in files:
            self._file(row, entries.get(f"{ledger}{row['nn']:02d}"))
        told = [row for row in own if row["sk"] == "HOOK"]
        require("G31", not told or ("hook" in task and not task["left"]), "the end of an open task is told")
        refunds = sum(row["amount"] for row in entries.values() if row["kind"] == "refund")
        require("G1", refunds == task.get("refunded", 0), "refunds and task differ")

    def _file(self, row: Row, settled: Row | None) -> None:
        kind = settled["kind"] if settled else None
        if row["state"] in ("queued", "running"):
            require("G1", kind is None, f"an open file has a {kind}")
            return
        if row["state"] == "done":
            require("G1", kind == "capture", f"a finished file has a {kind}")
            at = AttemptKey.parse(row["result_key"])
            require("G8", at is not None and at[1].attempt == row["attempt"], f"{row['result_key']} was superseded")
        else:
            allowed = ("refund",) if row["state"] == "cancelled" else ("refund", None)  # None: refused at the start
            require("G1", kind in allowed, f"a {row['state']} file has a {kind}")
        seen = {name: row.get(name) for name in SEEN}
        first = self.ended.setdefault((row["pk"], row["sk"]), seen)
        require("G4", seen == first, f"a file that had ended changed: {first} -> {seen}")


def require(promise: str, holds: bool, what: str) -> None:
    if not holds:
        raise Violation(promise, what)


# ---------------------------------------------------------------- at rest


def at_rest(table: list[Row], faults: int) -> None:
    """Nothing is on its way any more. Each fault may have cost a round of the watchdog."""
    for row in table:
        if row["sk"] == "TASK":
            require("G5", row["left"] == 0, "a task has not ended")
        if row["sk"].startswith("FILE#"):
            late = row["ended"] - row["deadline"]
            require("G5", late <= (2 + faults) * ROUND, f"a file ended {late / 1000:.0f} s after its deadline")
    for account in (row for row in table if row["sk"] == "ACCOUNT"):
        done = sum(row["state"] == "done" for row in table if row.get("account") == account["id"] and "state" in row)
        expected = account.get("granted", 0) - PRICE * done
        require("G1", account["balance"] == expected, f"balance {account['balance']}, {done} files are done")
        count = sum(row["sk"] == "TASK" for row in table if row.get("account") == account["id"])
        require("G6", account["tasks"] == count, f"the account counts {account['tasks']} tasks of {count}")


def healed(table: list[Row], written: dict[Any, int], faults: int) -> None:
    """G9: a file ends soon after its result was there, whatever became of the event."""
    for at, when in written.items():
        for row in table:
            mine = row.get("pk") == f"TASK#{at.task}" and row.get("nn") == at.nn
            if mine and row.get("state") == "done" and row["attempt"] == at.attempt:
                took = row["ended"] - when
                require("G9", took <= HEALED + faults * ROUND, f"a result was seen after {took / 1000:.0f} s")


def kept(table: list[Row], stored: dict[str, Any], now_ms: int) -> None:
    """G7: what is promised is there."""
    for row in table:
        if row.get("state") == "done" and row["expires"] > now_ms:
            require("G7", row["result_key"] in stored, "a finished file has no object")
            require("G7", stored[row["result_key"]].value != NO_PICTURE, "a finished file is no picture")


def gone(stored: dict[str, Any], multiparts: int) -> None:
    """After all retentions and an hour."""
    uploads = sorted(key for key in stored if key.startswith("uploads/"))
    require("G15", not uploads, f"left in the bucket: {uploads[:3]}")
    require("G15", not multiparts, f"{multiparts} multipart uploads were never ended")
    require("G19", len(stored) == len(uploads), f"left in the bucket: {sorted(stored)[-3:]}")
