"""Accounts and API keys. A key is stored as its SHA-256 only.

A key made here reads `tsr_<account>_<secret>`: it names its account, so one conditional write on the account's row
checks the key, counts the call and answers with balance and counters. A key of another form (an operator may bring
their own) is found by a pointer row that never changes; what it may do is decided on the account's row all the same.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Attr, ConditionBase
from pydantic import BaseModel, ConfigDict, model_validator

from tessera import usage
from tessera.errors import Invalid, NotFound, RateLimited, Unauthorized
from tessera.ids import new_account_id
from tessera.ratelimit import Allowance, Window
from tessera.table import ConditionFailed, Item, Key, Put, Update

if TYPE_CHECKING:
    from tessera.services import Services

OWN_FORM = re.compile(r"tsr_(?P<account>[0-9a-f]{16})_[A-Za-z0-9_-]{32,}")
RACES = 8  # lost in a row before a caller is asked to wait
Keys = dict[str, dict[str, Any]]  # hash -> name, created
POSSIBLE_KEY = re.compile(r"[\x21-\x7e]{1,256}")


class Account(BaseModel):
    """`tasks` counts the rows of the history, `used` files by month; `quota`: of a month, where there is one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    created: int
    balance: int = 0
    tasks: int = 0
    api_keys: Keys = {}
    reuse: bool | None = None
    quota: int | None = None
    used: dict[str, int] = {}

    @model_validator(mode="before")
    @classmethod
    def _by_month(cls, row: Item) -> Item:
        return {"used": {name: row[name] for name in row if name.startswith(usage.PREFIX)}} | row

    def month(self, now_ms: int) -> usage.Usage:
        """What the month of this moment has been used for."""
        return usage.of({**self.used, "balance": self.balance, "quota": self.quota}, now_ms)

    def reuses(self, default: bool) -> bool:
        """Whether repeats are answered from storage; `default` is the deployment's."""
        return default if self.reuse is None else self.reuse


class Caller(BaseModel):
    """Who calls: the account as it is after this call was counted; `allowance` where it was."""

    model_config = ConfigDict(frozen=True)

    account: Account
    key_hash: str
    allowance: Allowance | None = None


class Credential(BaseModel):
    """A key that names an account but is not checked yet."""

    model_config = ConfigDict(frozen=True)

    account: str
    key_hash: str

    def holds(self) -> ConditionBase:
        """True on the account's row while the key is valid."""
        return Attr(f"api_keys.{self.key_hash}").exists()

    def is_held_by(self, row: Item | None) -> bool:
        return row is not None and self.key_hash in row.get("api_keys", {})


def account_key(account: str) -> Key:
    return Key(f"ACCOUNT#{account}", "ACCOUNT")


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def credential(services: Services, key: str) -> Credential:
    """The account that a key names. Raises Unauthorized where it names none. Calls AWS at most once per key form."""
    if not POSSIBLE_KEY.fullmatch(key):
        raise Unauthorized
    key_hash = hash_key(key)
    if own := OWN_FORM.fullmatch(key):
        return Credential(account=own["account"], key_hash=key_hash)
    known = services.account_of_key
    if key_hash not in known:
        pointer = services.table.get(_pointer_key(key_hash))
        if pointer is None:
            raise Unauthorized
        known[key_hash] = pointer["account"]
    return Credential(account=known[key_hash], key_hash=key_hash)


def window(services: Services, who: Credential, kind: str) -> Window | None:
    """The rate-limit window of a kind of call, None where it is not counted."""
    limit = services.settings.limit(kind)
    return None if limit is None else Window.of(kind, who.key_hash, limit, services.now_ms())


def authenticate(services: Services, who: Credential, kind: str) -> Caller:
    """Checks the key and counts the call, in one AWS call but for the first of a window.

    Raises Unauthorized or RateLimited.
    """
    count = window(services, who, kind)
    if count is None:
        return check(services, who)
    for _ in range(RACES):
        write = Update(account_key(who.account), who.holds() & count.when(), set=count.set(), add=count.add())
        try:
            row = services.table.update(write)
        except ConditionFailed as failed:
            count = next_window(who, count, failed.item, services.now_ms())
        else:
            left = count.allowance(row, services.now_ms())
            return Caller(account=Account.model_validate(row), key_hash=who.key_hash, allowance=left)
    raise RateLimited(1)  # other calls of this key were faster every time


def check(services: Services, who: Credential) -> Caller:
    """Checks the key without counting the call. Raises Unauthorized."""
    row = services.table.get(account_key(who.account))
    if row is None or not who.is_held_by(row):
        raise Unauthorized
    return Caller(account=Account.model_validate(row), key_hash=who.key_hash)


def next_window(who: Credential, count: Window, row: Item | None, now_ms: int) -> Window:
    """After a refused write: the window to try again with. Raises Unauthorized or RateLimited where there is none."""
    if row is None or not who.is_held_by(row):
        raise Unauthorized
    if count.spent(row):
        raise RateLimited(count.retry_after(now_ms))
    return count.for_row(row)


def find(services: Services, account: str) -> Account | None:
    row = services.table.get(account_key(account))
    return Account.model_validate(row) if row else None


def create(services: Services) -> str:
    """A new account without key or credits; returns its id."""
    account = new_account_id()
    row = {"id": account, "created": services.now_ms(), "balance": 0, "tasks": 0, "api_keys": {}}
    services.table.put(Put(account_key(account).as_item() | row, new=True))
    return account


def set_reuse(services: Services, account: str, reuse: bool) -> None:
    """Whether repeats of this account are answered from storage, whatever the default. Raises NotFound."""
    try:
        services.table.update(Update(account_key(account), Attr("pk").exists(), set={"reuse": reuse}))
    except ConditionFailed as failed:
        raise NotFound from failed


def add_key(services: Services, account: str, key: str | None = None, name: str = "") -> str:
    """Makes a key valid and returns it: the only time that it is seen. A key brought along keeps its form.

    Raises NotFound for an unknown account and Invalid for a key that belongs to another one.
    """
    if key is not None and not POSSIBLE_KEY.fullmatch(key):
        raise Invalid("A key is 1 to 256 visible ASCII characters")
    if key is not None and (own := OWN_FORM.fullmatch(key)) and own["account"] != account:
        raise Invalid("This key names another account")
    key = key or f"tsr_{account}_{secrets.token_urlsafe(24)}"
    key_hash = hash_key(key)
    if not OWN_FORM.fullmatch(key):
        try:
            services.table.put(Put(_pointer_key(key_hash).as_item() | {"account": account}, new=True))
        except ConditionFailed as failed:
            if failed.item is None or failed.item["account"] != account:
                raise Invalid("This key belongs to another account") from failed
    facts = {"name": name, "created": services.now_ms()}
    _change_keys(services, account, lambda keys: keys | {key_hash: facts})
    return key


def revoke_key(services: Services, key: str) -> None:
    """Acts on the next call: every call is checked on the account's row. Raises Unauthorized for an unknown key."""
    who = credential(services, key)
    check(services, who)
    _change_keys(services, who.account, lambda keys: {name: keys[name] for name in keys if name != who.key_hash})


def describe_key(services: Services, key: str, facts: Mapping[str, str]) -> None:
    """Adds facts to a key that an edge may read. Raises Unauthorized for an unknown key."""
    who = credential(services, key)
    check(services, who)
    _change_keys(services, who.account, lambda keys: keys | {who.key_hash: {**keys[who.key_hash], **facts}})


def _change_keys(services: Services, account: str, change: Callable[[Keys], Keys]) -> None:
    """Raises NotFound for an unknown account, ConditionFailed when two operators change the keys at once."""
    row = services.table.get(account_key(account))
    if row is None:
        raise NotFound
    same = Attr("api_keys").eq(row["api_keys"])
    services.table.update(Update(account_key(account), same, set={"api_keys": change(row["api_keys"])}))


def _pointer_key(key_hash: str) -> Key:
    return Key(f"KEY#{key_hash}", "KEY")
