"""python -m tests.mutants [NAME ...]: deliberate bugs, each in a copy of the source, each to be caught by a few tests.

Prints which test caught which bug; 1 where one survives, or where the tests fail without it. A fragment that is not
in the source exactly once is an error: the bug has to be written anew.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = "layers/core/python/tessera/"
NEEDED = ("layers", "functions", "infra", "tests", "client", "docs", "template.yaml", "pyproject.toml")
JOBS = 2
LAB = "lab: "  # all faults of one flow
LIFECYCLE = "tests/integration/test_lifecycle.py::"
CLEANUP = "tests/integration/test_cleanup.py::"
STATUS = "tests/contract/test_upscayl_status.py"
ERRORS = "tests/contract/test_upscayl_errors.py"


@dataclass(frozen=True)
class Mutant:
    """`changes`: (file below tessera/, fragment, what stands there instead). `tests`: a node of pytest's, or a flow."""

    name: str
    tests: str
    changes: tuple[tuple[str, str, str], ...]


MUTANTS = (
    Mutant(
        "the start charges outside of its transaction",
        LAB + "happy",
        (
            ("starts.py", 'add={"balance": -start.held, "tasks": 1}', 'add={"tasks": 1}'),
            (
                "starts.py",
                "            services.table.transact(*writes)\n",
                "            services.table.transact(*writes)\n"
                '            services.table.update(Update(account_key(who.account), add={"balance": -attempt.held}))\n',
            ),
        ),
    ),
    Mutant(
        "the start does not ask for the balance",
        LAB + "credit for one of two starts",
        (("starts.py", 'caller & Attr("balance").gte(start.held),', "caller,"),),
    ),
    Mutant(
        "a start whose answer was lost starts again",
        LAB + "happy",
        (("starts.py", 'if task_row and task_row["nonce"] == attempt.nonce:', "if False:"),),
    ),
    Mutant(
        "a superseded attempt finishes the file",
        LAB + "a zombie's result after the retry",
        (
            (
                "lifecycle.py",
                '        _running(at.attempt),\n        set={\n            "state": "done"',
                '        OPEN,\n        set={\n            "state": "done"',
            ),
        ),
    ),
    Mutant(
        "a file that has ended is finished again",
        LAB + "a zombie's result after the refund",
        (
            (
                "lifecycle.py",
                '        _running(at.attempt),\n        set={\n            "state": "done"',
                '        None,\n        set={\n            "state": "done"',
            ),
            (
                "credits.py",
                '{"kind": kind, "amount": amount, "at": now_ms, **facts}, new=True)',
                '{"kind": kind, "amount": amount, "at": now_ms, **facts})',
            ),
        ),
    ),
    Mutant(
        "a refund can be written twice",
        LAB + "two files, one is no picture, started before the events",
        (
            ("lifecycle.py", 'OPEN if attempt is None else OPEN & Attr("attempt").eq(attempt),', "None,"),
            (
                "credits.py",
                '{"kind": kind, "amount": amount, "at": now_ms, **facts}, new=True)',
                '{"kind": kind, "amount": amount, "at": now_ms, **facts})',
            ),
        ),
    ),
    Mutant(
        "a refund without its side on the balance",
        LAB + "the worker never answers",
        (
            (
                "lifecycle.py",
                "services.table.transact(end, count, credits.give_back(file.account), back)",
                "services.table.transact(end, count, back)",
            ),
        ),
    ),
    Mutant(
        "a failed file is not paid back",
        LAB + "the worker never answers",
        (
            (
                "lifecycle.py",
                "services.table.transact(end, count, credits.give_back(file.account), back)",
                "services.table.transact(end, count)",
            ),
            ("lifecycle.py", '"failed": 1, "refunded": credits.PRICE}', '"failed": 1}'),
        ),
    ),
    Mutant(
        "a work message claims a file that is leased",
        LAB + "every message three times",
        (
            ("lifecycle.py", "if not file.open or file.lease or file.attempt", "if not file.open or file.attempt"),
            (
                "lifecycle.py",
                'free = Attr("state").eq("queued") | (Attr("state").eq("running") & Attr("lease").eq(0))',
                "free = OPEN",
            ),
        ),
    ),
    Mutant(
        "the claim has no condition",
        LAB + "every message three times",
        (
            ("lifecycle.py", "if not file.open or file.lease or file.attempt", "if file.attempt"),
            ("lifecycle.py", 'free & Attr("attempt").eq(file.attempt),', "None,"),
        ),
    ),
    Mutant(
        "the watchdog does not look for the result",
        LAB + "all events of S3 lost",
        (("lifecycle.py", "if file.attempt and (result_arrived", "if False and (result_arrived"),),
    ),
    Mutant(
        "the deadline is not looked at",
        LAB + "a zombie's result after the refund",
        (("lifecycle.py", "    if file.deadline <= now_ms:\n        fail", "    if False:\n        fail"),),
    ),
    Mutant(
        "any number of attempts",
        LIFECYCLE + "test_a_worker_that_dies_is_replaced_three_times_at_most_and_then_the_credit_goes_back",
        (("lifecycle.py", "if not error.retryable or file.attempt >= MAX_ATTEMPTS or", "if not error.retryable or"),),
    ),
    Mutant(
        "a failure of an old attempt fails the new one",
        LAB + "a zombie's failure after the retry",
        (
            ("lifecycle.py", 'if file.state != "running" or file.attempt != attempt:', 'if file.state != "running":'),
            (
                "lifecycle.py",
                "        fail(services, file, attempt, error)",
                "        fail(services, file, None, error)",
            ),
        ),
    ),
    Mutant(
        "an expired upload can be started",
        LAB + "the upload expires",
        (
            ("uploads.py", ' & Attr("expires").gt(now_ms) & ', " & "),
            ("starts.py", "if upload and upload.expires <= start.now_ms:", "if False:"),
        ),
    ),
    Mutant(
        "the ETag is not pinned",
        LAB + "overwritten after the start, its event",
        (("uploads.py", 'Attr("used").not_exists() | Attr("etag").eq(facts.etag),', "None,"),),
    ),
    Mutant(
        "an Idempotency-Key is claimed without a condition",
        LAB + "a start repeated with its key",
        (("idempotency.py", 'Attr("pk").not_exists() | Attr("expires").lte(now_ms),', "None,"),),
    ),
    Mutant(
        "the owner of a task is not asked for",
        STATUS,
        (("tasks.py", "    if view.task.account != account:\n        raise NotFound\n", ""),),
    ),
    Mutant(
        "a revoked key still opens",
        LAB + "an operator's day",
        (("accounts.py", "keys: {name: keys[name] for name in keys if name != who.key_hash})", "keys: keys)"),),
    ),
    Mutant(
        "cleanup deletes a day early",
        LAB + "happy",
        (("cleanup.py", "due = services.now_ms() - GRACE", "due = services.now_ms() + 48 * HOURS"),),
    ),
    Mutant(
        "cleanup deletes the rows before the objects",
        LAB + "happy",
        (
            (
                "cleanup.py",
                "    services.storage.delete_many(\n        upload_key(key.pk",
                "    services.table.delete_many(keys)\n    services.storage.delete_many(\n        upload_key(key.pk",
            ),
        ),
    ),
    Mutant(
        "a result is linked after its expiry",
        CLEANUP + "test_results_go_at_the_end_of_their_retention_and_the_history_stays",
        (("results.py", " or file.expires is None or file.expires <= now_ms:", " or file.expires is None:"),),
    ),
)


@dataclass(frozen=True)
class Outcome:
    caught: bool
    by: str
    seconds: float


def main(names: Sequence[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not names or any(name in mutant.name for name in names)]
    survived = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(JOBS) as pool:
        subsets = sorted({mutant.tests for mutant in chosen})
        without = pool.map(lambda tests: tried(Path(folder), tests), subsets)
        for tests, outcome in zip(subsets, without, strict=True):
            if outcome.caught:
                print(f"FAILS WITHOUT A BUG  {tests}: {outcome.by}", flush=True)
                return 1
        outcomes = pool.map(lambda mutant: tried(Path(folder), mutant.tests, mutant.changes), chosen)
        for mutant, outcome in zip(chosen, outcomes, strict=True):
            survived += not outcome.caught
            verdict = "caught" if outcome.caught else "SURVIVED"
            print(f"{verdict:8}  {mutant.name:52}  {outcome.by}  ({outcome.seconds:.0f} s)", flush=True)
    print(f"{len(chosen)} mutants, {survived} survived")
    return 1 if survived else 0


def tried(folder: Path, tests: str, changes: tuple[tuple[str, str, str], ...] = ()) -> Outcome:
    """Runs tests on a copy of the source with the changes made."""
    began = time.monotonic()
    copy = Path(tempfile.mkdtemp(dir=folder))
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.onnx"))
        else:
            shutil.copy(source, copy / name)
    for file, fragment, instead in changes:
        path = copy / CORE / file
        text = path.read_text()
        if text.count(fragment) != 1:
            raise SystemExit(f"{file} has this {text.count(fragment)} times, not once: {fragment}")
        path.write_text(text.replace(fragment, instead))
    made = subprocess.run(
        command(tests, bool(changes)), cwd=copy, capture_output=True, text=True, env=environment(copy), check=False
    )
    shutil.rmtree(copy)
    failed = re.search(r"^(?:FAILED (?P<test>\S+)|VIOLATED (?P<flow>.*))", made.stdout, re.MULTILINE)
    if made.returncode and not failed:
        raise SystemExit(f"{tests} ended with {made.returncode}:\n{made.stdout[-2000:]}{made.stderr[-2000:]}")
    by = tests if failed is None else failed["test"] or failed["flow"]
    return Outcome(made.returncode != 0, by, time.monotonic() - began)


def command(tests: str, faults: bool) -> list[str]:
    """Without a bug a flow's faults are `make crash-lab`'s to run."""
    if tests.startswith(LAB):
        flow = ["--jobs", "1", "--flow", tests.removeprefix(LAB)]
        return [sys.executable, "-m", "tests.crashlab", *flow, "--first" if faults else "--baseline"]
    return [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", tests]


def environment(copy: Path) -> dict[str, str]:
    folders = ("layers/core/python", "layers/engine/python", "functions", "client", ".")
    return os.environ | {"PYTHONPATH": os.pathsep.join(str(copy / folder) for folder in folders)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
