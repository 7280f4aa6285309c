"""Credits and their ledger. One finished file costs PRICE; what fails costs nothing.

    balance = sum of the ledger's amounts, at every instant: both change in one transaction.

A start holds the price of its files, a finished file's capture settles its share (amount 0), a failed file's refund
gives it back. An entry's id names what it is for, so writing it twice is impossible.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Literal

from boto3.dynamodb.conditions import Attr

from tessera import ids, usage
from tessera.accounts import Account, account_key
from tessera.errors import InsufficientCredits, Invalid, NotFound
from tessera.table import Key, Put, TransactionFailed, Update

if TYPE_CHECKING:
    from tessera.services import Services

PRICE = 1  # credits per finished file, as the services spoken here charge

Kind = Literal["grant", "hold", "capture", "refund"]


def entry(account: str, entry_id: str, kind: Kind, amount: int, now_ms: int, **facts: Any) -> Put:
    """A ledger row that can be written once."""
    key = Key(f"ACCOUNT#{account}", f"CREDIT#{entry_id}")
    return Put(key.as_item() | {"kind": kind, "amount": amount, "at": now_ms, **facts}, new=True)


def hold(account: str, task: int, amount: int, now_ms: int) -> Put:
    return entry(account, f"{task}#hold", "hold", -amount, now_ms, task=task)


def capture(account: str, task: int, nn: int, now_ms: int) -> Put:
    return entry(account, f"{task}#{nn:02d}", "capture", 0, now_ms, task=task, file=nn)


def refund(account: str, task: int, nn: int, now_ms: int) -> Put:
    """Shares its id with the capture of the same file: a file is either paid for or paid back."""
    return entry(account, f"{task}#{nn:02d}", "refund", PRICE, now_ms, task=task, file=nn)


def give_back(account: str, task: int, files: int = 1) -> Update:
    """The account's side of the refunds of so many files of a task."""
    return Update(account_key(account), add={"balance": PRICE * files, usage.counter(ids.created_ms(task)): -files})


def require(account: Account, files: int) -> None:
    """An early refusal, before anything is stored; what counts is the start's own condition."""
    if account.balance < PRICE * files:
        raise InsufficientCredits(PRICE * files, account.balance)


def grant(services: Services, account: str, amount: int, note: str = "") -> None:
    """Adds credits, or takes them with a negative amount; NotFound or Invalid where that is impossible."""
    now_ms = services.now_ms()
    key = account_key(account)
    grown = Update(key, Attr("pk").exists() & Attr("balance").gte(-amount), add={"balance": amount, "granted": amount})
    row = entry(account, f"grant#{now_ms}#{secrets.token_hex(4)}", "grant", amount, now_ms, note=note)
    try:
        services.table.transact(grown, row)
    except TransactionFailed as failed:
        if 1 in failed.failures:
            return  # a repeat of a call whose answer was lost: the row stands
        if failed.failures[0] is None:
            raise NotFound from failed
        raise Invalid("the balance is smaller than that") from failed
