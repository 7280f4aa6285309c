"""Whether the books are right: every account against its ledger and its open tasks, while the service goes on.

    balance  = sum of the ledger's amounts, never below 0
    granted  = sum of the grants
    held     = captured + paid back + price of the files still open, for each task that ever held credits

Every change of a balance writes one ledger row in its transaction, and rows of the ledger are never removed. So
two readings in a row (account, ledger, tasks; account, ledger, tasks) that find the same ledger have seen one moment:
the second account and the first tasks were read between the two ledgers. What looks wrong in one reading is called a
mismatch where the next finds the same ledger and the same fault.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tessera import rounds
from tessera.accounts import account_key
from tessera.credits import PRICE
from tessera.metrics import Metric, emit
from tessera.observability import logger
from tessera.tasks import task_key

if TYPE_CHECKING:
    from tessera.services import Services

LOOKS = 5  # at an account that looks wrong
PAUSE = 0.5  # seconds between them: a transaction that is being written shows its rows one after the other
LEDGER_ENDS = "CREDIT#~"  # from ACCOUNT to here lie the account's row and its ledger: one query reads both


@dataclass(frozen=True)
class Books:
    """One reading of account, ledger and open tasks, in this order. `entries`: the ledger's rows, which only grow."""

    entries: int
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """`mismatches`: account id -> what is wrong. `unsettled`: accounts that never stood still while looked at."""

    accounts: int
    mismatches: dict[str, tuple[str, ...]]
    unsettled: tuple[str, ...]


def audit(services: Services, pause: Callable[[float], None] = time.sleep) -> Audit:
    """Over all accounts.

    The one place that scans the table: it has to see every account there is, once a night.
    """
    mismatches: dict[str, tuple[str, ...]] = {}
    unsettled: list[str] = []

    def look(account: str) -> None:
        wrong = check(services, account, pause)
        if wrong is None:
            unsettled.append(account)
        elif wrong:
            mismatches[account] = wrong

    seen = rounds.each(_accounts(services), look)
    return Audit(seen, mismatches, tuple(unsettled))


def tell(found: Audit) -> None:
    """One log line for each account that is wrong, and the metric that the alarm watches."""
    for account, wrong in found.mismatches.items():
        logger.error("ledger mismatch", account=account, wrong=wrong)
    logger.info("audited", accounts=found.accounts, unsettled=found.unsettled)
    emit({Metric.ACCOUNTS_AUDITED: found.accounts, Metric.LEDGER_MISMATCH: len(found.mismatches)})


def check(services: Services, account: str, pause: Callable[[float], None] = time.sleep) -> tuple[str, ...] | None:
    """What is wrong with an account's books, in words with ids and sums only; None where they never stood still."""
    books = read(services, account)
    for _ in range(LOOKS):
        if not books.wrong:
            return ()
        pause(PAUSE)
        again = read(services, account)
        if again == books:
            return books.wrong
        books = again
    return None


def read(services: Services, account: str) -> Books:
    """Tasks are read where the ledger says that some of their files are open."""
    key = account_key(account)
    rows = services.table.query_range(key.pk, key.sk, LEDGER_ENDS)
    row = next(rows, None)
    if row is None or row["sk"] != key.sk:
        return Books(0, ("no account row",))
    sums: Counter[str] = Counter()
    open_credits: Counter[int] = Counter()
    entries = 0
    for entry in rows:
        entries += 1
        sums["all"] += entry["amount"]
        sums[entry["kind"]] += entry["amount"]
        if entry["kind"] == "hold":
            open_credits[entry["task"]] -= entry["amount"]
        elif entry["kind"] in ("capture", "refund"):
            open_credits[entry["task"]] -= PRICE
    balance, granted = row["balance"], row.get("granted", 0)
    wrong = []
    if balance != sums["all"]:
        wrong.append(f"balance {balance}, ledger {sums['all']}")
    if balance < 0:
        wrong.append(f"balance {balance} is below 0")
    if granted != sums["grant"]:
        wrong.append(f"granted {granted}, ledger {sums['grant']}")
    wrong += _wrong_tasks(services, open_credits)
    return Books(entries, tuple(wrong))


def _wrong_tasks(services: Services, open_credits: Counter[int]) -> Iterator[str]:
    """A task's row goes with its history, long after its last file has ended: open credits without one are lost."""
    for task, held in open_credits.items():
        if held:
            row = services.table.get(task_key(task))
            owed = row["left"] * PRICE if row else 0
            if owed != held:
                yield f"task {task}: {held} held, {owed} for open files"


def _accounts(services: Services) -> Iterator[str]:
    return (pk.removeprefix("ACCOUNT#") for pk in services.table.scan_partitions("ACCOUNT"))
