"""A stack under load whose processes are killed: `python -m bench.load --minutes 5`, or `make load MINUTES=5`.

Clients keep tasks in flight, each with one small picture of its own (some send one again), while a process of a
function drawn by lot is killed every few seconds. When the time is over everything has to come to its end. Then the
table is read: ends with 1 where a task that was accepted is lost or still open, a credit is missing or counted twice,
or a finished file has no object.

The stack is that of `make serve`, in a process of its own with a folder that is removed, on the loopback.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import httpx
from PIL import Image
from tessera import ids
from tessera.accounts import account_key, credential
from tessera.credits import PRICE
from tessera.services import Services, build
from tessera.settings import Settings
from tessera.table import Item

from infra.admin import create_account
from infra.local.stack import DEFAULTS, REGION

ROOT = Path(__file__).resolve().parent.parent
GRANTED = 1_000_000
LEASE = 15  # seconds: a file whose worker was killed is noticed within the run
TAIL = 420  # seconds for what is open at the end: two rounds of the watchdog, a dispatcher's lease, and the queue
PAUSE = 0.5  # seconds between two looks of a client
REPEATS = 0.1  # of the pictures are ones that were sent before
SIDE = 24  # pixels of a picture


@dataclass(frozen=True)
class Plan:
    seconds: float
    clients: int = 20
    in_flight: int = 200
    kill_every: float = 10.0
    kills: int = 0  # at least; the time is over when they are done too
    victims: Collection[str] = ()  # functions; all where none is named
    seed: int = 1


@dataclass
class Seen:
    """What the clients and the killer saw."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # seconds, by route
    again: Counter[str] = field(default_factory=Counter)  # answers that made a client ask again
    accepted: set[int] = field(default_factory=set)
    ended: dict[int, str] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    lasted: float = 0.0  # seconds under load
    tail: float = 0.0  # seconds until everything had ended


# ---------------------------------------------------------------- the stack


@dataclass(frozen=True)
class Running:
    url: str
    process: int
    services: Services


@contextmanager
def stack(folder: Path) -> Iterator[Running]:
    command = [sys.executable, "-m", "infra.local", "serve", "--port", "0", "--state", str(folder)]
    command += ["--param", f"LeaseSeconds={LEASE}"]
    with (
        (folder / "stack.log").open("w") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            told = dict(_told(process))
            yield Running(told["API"], process.pid, _services(told["Storage"], folder))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _told(process: subprocess.Popen[str]) -> Iterator[tuple[str, str]]:
    assert process.stdout is not None
    for line in process.stdout:
        name, _, value = line.strip().partition(" ")
        yield name, value.strip()
        if name == "Key":
            return
    raise RuntimeError("the stack did not start; its log says why")


def _services(storage_url: str, folder: Path) -> Services:
    identity = json.loads((folder / "identity.json").read_text())
    session = boto3.Session(identity["access_key"], identity["secret_key"], region_name=REGION)
    settings = Settings(table="tessera-Table", bucket=DEFAULTS["BucketName"], work_queue_url="")
    return build(settings, session, storage_url)


# ---------------------------------------------------------------- clients


class Time:
    """Until `up` the load is kept; what is open then has TAIL seconds."""

    def __init__(self) -> None:
        self._up = threading.Event()
        self._patience = float("inf")

    @property
    def up(self) -> bool:
        return self._up.is_set()

    @property
    def spent(self) -> bool:
        return time.monotonic() > self._patience

    def is_up(self) -> None:
        self._patience = time.monotonic() + TAIL
        self._up.set()


class Caller(threading.Thread):
    """One client: keeps its share of tasks in flight until the time is over, then looks until all have ended."""

    def __init__(self, url: str, key: str, share: int, seen: Seen, rng: random.Random, load: Time) -> None:
        super().__init__(daemon=True)
        self.url, self.key, self.share, self.seen, self.rng, self.load = url, key, share, seen, rng, load
        self.open: list[str] = []  # the longest not looked at first
        self.sent: list[bytes] = []
        self.failure: BaseException | None = None
        self._http = httpx.Client(timeout=60, trust_env=False)

    def run(self) -> None:
        try:
            with self._http:
                while not self.load.up or (self.open and not self.load.spent):
                    if len(self.open) < self.share and not self.load.up:
                        self._start()
                    else:
                        self._look()
                        time.sleep(PAUSE)
        except Exception as error:  # told by the thread that waits for this one
            self.failure = error

    def _start(self) -> None:
        body = self._picture()
        wish = {"originalFileName": "load.png", "fileType": "image/png", "fileSize": len(body)}
        data = self._post("/get-upload-url", wish)["data"]
        began = time.monotonic()
        self._http.put(data["uploadURL"], content=body).raise_for_status()
        self.seen.times["PUT to storage"].append(time.monotonic() - began)
        files = [{name: data[name] for name in ("fileName", "fileType", "fileSize")}]
        # The answer of a process that is killed is lost: the key lets the request be sent again.
        once = {"Idempotency-Key": secrets.token_hex(16)}
        task = self._post("/start-task", {"files": files, "scale": 2, "saveImageAs": "png"}, once)["data"]["taskId"]
        self.seen.accepted.add(ids.from_uuid(task) or 0)
        self.open.append(task)

    def _look(self) -> None:
        if not self.open:
            return
        task = self.open.pop(0)
        status = self._post("/get-task-status", {"taskId": task})["data"]["status"]
        if status in ("completed", "failed"):
            self.seen.ended[ids.from_uuid(task) or 0] = status
        else:
            self.open.append(task)

    def _picture(self) -> bytes:
        if self.sent and self.rng.random() < REPEATS:
            return self.rng.choice(self.sent)
        noise = Image.frombytes("RGB", (SIDE, SIDE), self.rng.randbytes(3 * SIDE * SIDE))
        buffer = io.BytesIO()
        noise.save(buffer, "png")
        self.sent.append(buffer.getvalue())
        return buffer.getvalue()

    def _post(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Asks again after what a killed process looks like from outside; any other refusal raises."""
        while True:
            began = time.monotonic()
            answer = self._http.post(self.url + path, json=body, headers={"X-API-Key": self.key} | (headers or {}))
            self.seen.times[path].append(time.monotonic() - began)
            if answer.status_code < 500:
                answer.raise_for_status()
                told: dict[str, Any] = answer.json()
                return told
            self.seen.again[f"{path} {answer.status_code}"] += 1
            if self.load.spent:
                raise TimeoutError(f"{path} is still answered {answer.status_code}")
            time.sleep(0.2)


# ---------------------------------------------------------------- the killer


def processes(of_stack: int) -> dict[str, list[int]]:
    """The processes of each function."""
    found: dict[str, list[int]] = defaultdict(list)
    for listing in Path(f"/proc/{of_stack}/task").glob("*/children"):
        for process in map(int, listing.read_text().split()):
            try:
                variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
            except OSError:
                continue  # it has ended meanwhile
            named = (entry.partition(b"=")[2] for entry in variables if entry.startswith(b"AWS_LAMBDA_FUNCTION_NAME="))
            for name in named:
                found[name.decode()].append(process)
    return found


def kill_one(of_stack: int, plan: Plan, seen: Seen, rng: random.Random) -> bool:
    """False where no victim is alive."""
    alive = {name: those for name, those in processes(of_stack).items() if not plan.victims or name in plan.victims}
    if not alive:
        return False
    function = rng.choice(sorted(alive))
    os.kill(rng.choice(alive[function]), signal.SIGKILL)
    seen.kills[function] += 1
    return True


# ---------------------------------------------------------------- the run


def run(plan: Plan, folder: Path) -> tuple[Seen, list[str]]:
    """What was seen, and what is wrong afterwards."""
    rng = random.Random(plan.seed)
    seen = Seen()
    with stack(folder) as running:
        keys = [create_account(running.services, None, GRANTED) for _ in range(plan.clients)]
        load, share = Time(), plan.in_flight // plan.clients
        callers = [Caller(running.url, key, share, seen, random.Random(rng.random()), load) for key in keys]
        for caller in callers:
            caller.start()
        began = time.monotonic()
        due = began + plan.kill_every
        while (now := time.monotonic()) < began + plan.seconds or seen.kills.total() < plan.kills:
            if now >= due and kill_one(running.process, plan, seen, rng):
                due = now + plan.kill_every
            time.sleep(0.1)
        load.is_up()
        for caller in callers:
            caller.join()
        seen.lasted, seen.tail = now - began, time.monotonic() - now
        wrong = [f"a client ended with {caller.failure!r}" for caller in callers if caller.failure]
        return seen, wrong + audit(running.services, seen, [credential(running.services, key).account for key in keys])


# ---------------------------------------------------------------- what the table says


def audit(services: Services, seen: Seen, accounts: Sequence[str]) -> list[str]:
    """One sentence for each thing that is wrong."""
    wrong: list[str] = []
    started: set[int] = set()
    for account in accounts:
        rows = services.table.query_partition(f"ACCOUNT#{account}")
        entries = [row for row in rows if row["sk"].startswith("CREDIT#")]
        paid = {entry["task"] for entry in entries if entry["kind"] == "hold"}
        files = [file for task in sorted(paid) for file in _files(services, task, wrong)]
        for file in files:
            wrong += _audit_file(services, file, entries)
        wrong += _audit_account(services, account, files, entries)
        started |= paid
    wrong += [f"task {task} was accepted and is lost" for task in seen.accepted - started]
    wrong += [f"task {task} was paid for and no client knows of it" for task in started - seen.accepted]
    wrong += [f"task {task}: no client saw its end" for task in seen.accepted - seen.ended.keys()]
    return wrong


def _files(services: Services, task: int, wrong: list[str]) -> list[Item]:
    rows = services.table.query_partition(f"TASK#{task}")
    left = [row["left"] for row in rows if row["sk"] == "TASK"]
    if left != [0]:
        wrong.append(f"task {task} has not ended" if left else f"task {task} was paid for and is not there")
    return [row for row in rows if row["sk"].startswith("FILE#")]


def _audit_file(services: Services, file: Item, entries: Sequence[Item]) -> Iterator[str]:
    name = f"task {file['task']}, file {file['nn']}"
    settled = [row["kind"] for row in entries if row.get("task") == file["task"] and row.get("file") == file["nn"]]
    expected = {"done": ["capture"], "failed": ["refund"]}.get(file["state"])
    if settled != expected:
        yield f"{name} is {file['state']} and has in the ledger: {settled}"
    if file["state"] == "done":
        facts = services.storage.head(file["result_key"])
        if facts is None or facts.size != file["bytes"]:
            yield f"{name} is done and its object is {facts}"


def _audit_account(services: Services, account: str, files: Sequence[Item], entries: Sequence[Item]) -> Iterator[str]:
    row = services.table.get(account_key(account)) or {}
    done = sum(file["state"] == "done" for file in files)
    held = Counter(entry["task"] for entry in entries if entry["kind"] == "hold")
    if row["balance"] != GRANTED - PRICE * done:
        yield f"account {account} has {row['balance']} credits after {done} finished files"
    if row["balance"] != sum(entry["amount"] for entry in entries):
        yield f"account {account}: balance and ledger differ"
    if any(times != 1 for times in held.values()):
        yield f"account {account}: a task was paid for twice"


# ---------------------------------------------------------------- print


def print_report(plan: Plan, seen: Seen, wrong: Sequence[str]) -> None:
    ends = Counter(seen.ended.values())
    print(
        f"{plan.clients} clients, {plan.in_flight} tasks in flight, {seen.lasted:.0f} s and {seen.tail:.0f} s after it"
    )
    print(
        f"{len(seen.accepted)} tasks accepted, {ends['completed']} completed, {ends['failed']} failed and paid back, ",
        end="",
    )
    print(f"{len(seen.ended) / (seen.lasted + seen.tail):.1f} a second")
    print(
        f"{seen.kills.total()} processes killed: {', '.join(f'{name} {n}' for name, n in sorted(seen.kills.items()))}"
    )
    print(f"asked again: {', '.join(f'{name} x {n}' for name, n in sorted(seen.again.items())) or 'never'}\n")
    print("| route | requests | p50, ms | p95, ms |\n|---|---|---|---|")
    for route, times in sorted(seen.times.items()):
        cuts = quantiles(times, n=20) if len(times) > 1 else times * 19
        print(f"| {route} | {len(times):,} | {cuts[9] * 1000:.0f} | {cuts[18] * 1000:.0f} |")
    print("\n" + ("\n".join(wrong) or "0 lost, 0 charged twice, 0 stuck"))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description="A stack under load and under fire.")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--kill-every", type=float, default=10, help="seconds")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of pictures and kills")
    options = parser.parse_args(arguments)
    plan = Plan(60 * options.minutes, options.clients, options.in_flight, options.kill_every, seed=options.seed)
    print(f"seed {plan.seed}", flush=True)
    with TemporaryDirectory(prefix="tessera-load-") as folder:
        seen, wrong = run(plan, Path(folder))
    print_report(plan, seen, wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
