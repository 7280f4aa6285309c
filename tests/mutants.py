"""python -m tests.mutants [NAME | PROMISE ...]: deliberate bugs, each in a copy of the source, each to be caught.

Each takes away what keeps a promise of docs/reliability.md, and names the one test, or the flow of the crash lab, that
has to fail then. Ends with 1 where a bug survives, or where a test fails without one. A fragment that is not in the
source exactly once is an error: the bug has to be written anew.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = "layers/core/python/tessera/"
ENGINE = "layers/engine/python/tessera_engine/"
NEEDED = ("layers", "functions", "infra", "tests", "client", "docs", "template.yaml", "pyproject.toml")
JOBS = 2

Change = tuple[str, str, str]  # file, fragment, what stands there instead


@dataclass(frozen=True)
class Lab:
    """A flow of the crash lab: without a fault, or with one kind of fault in each of its calls of one operation."""

    flow: str
    kind: str = ""
    operation: str = ""

    def __str__(self) -> str:
        return f"crash lab, {self.flow}{f', {self.kind} {self.operation}' if self.kind else ''}"


@dataclass(frozen=True)
class Mutant:
    """`tests`: a node of pytest's below tests/, or a flow."""

    promise: str
    name: str
    tests: str | Lab
    changes: tuple[Change, ...]


LIFECYCLE, CREDITS = CORE + "lifecycle.py", CORE + "credits.py"
STARTS, UPLOADS, CLEANUP = CORE + "starts.py", CORE + "uploads.py", CORE + "cleanup.py"
FINISHED = '        _running(at.attempt),\n        set={\n            "state": "done"'
OLD_RESULT = "a zombie's result after the retry"
TOO_LATE = "a zombie's result after the refund"
LOST_EVENTS = "all events of S3 lost"
FAILS = Lab("overwritten after the start, its event")
REDRIVEN = Lab("messages given up")
WRITTEN_AGAIN: Change = (
    CREDITS,
    '{"kind": kind, "amount": amount, "at": now_ms, **facts}, new=True)',
    '{"kind": kind, "amount": amount, "at": now_ms, **facts})',
)
FINISHED_AGAIN = ((LIFECYCLE, FINISHED, FINISHED.replace("_running(at.attempt)", "None")), WRITTEN_AGAIN)
CLAIMED_AGAIN = (
    (LIFECYCLE, "if not file.open or file.lease or file.attempt", "if file.attempt"),
    (LIFECYCLE, 'free & Attr("attempt").eq(file.attempt),', "None,"),
)
PAID_BACK = "_end_file(services, file.task, count, end, credits.give_back(file.account, file.task), back)"

MUTANTS = (
    Mutant(
        "G1",
        "the start charges outside of its transaction",
        Lab("happy"),
        (
            (STARTS, 'add={"balance": -start.held, start.month', "add={start.month"),
            (
                STARTS,
                "            services.table.transact(*writes)\n",
                "            services.table.transact(*writes)\n"
                '            services.table.update(Update(account_key(who.account), add={"balance": -attempt.held}))\n',
            ),
        ),
    ),
    Mutant(
        "G1",
        "a refund without its side on the balance",
        FAILS,
        ((LIFECYCLE, PAID_BACK, "_end_file(services, file.task, count, end, back)"),),
    ),
    Mutant(
        "G1",
        "a failed file is not paid back",
        FAILS,
        (
            (LIFECYCLE, PAID_BACK, "_end_file(services, file.task, count, end)"),
            (LIFECYCLE, '{"failed": 1, "refunded": credits.PRICE}', '{"failed": 1}'),
        ),
    ),
    Mutant(
        "G1",
        "a refund can be written twice",
        Lab("two files, one is no picture, started before the events", "kill-after", "TransactWriteItems"),
        (
            (LIFECYCLE, 'OPEN if attempt is None else OPEN & Attr("attempt").eq(attempt),', "None,"),
            WRITTEN_AGAIN,
        ),
    ),
    Mutant(
        "G2",
        "the start does not ask for the balance",
        "integration/test_lifecycle.py::"
        "test_g2_a_hundred_parallel_starts_with_credit_for_one_make_one_task_and_one_charge",
        ((STARTS, 'caller & Attr("balance").gte(start.held) &', "caller &"),),
    ),
    Mutant(
        "G3",
        "an Idempotency-Key is claimed without a condition",
        Lab("a start repeated with its key"),
        ((CORE + "idempotency.py", 'Attr("pk").not_exists() | Attr("expires").lte(now_ms),', "None,"),),
    ),
    Mutant(
        "G3",
        "a key is taken for another request's",
        "contract/test_idempotency.py::test_g3_another_request_with_the_key_is_a_conflict",
        ((CORE + "idempotency.py", 'if row["digest"] != self.digest:', "if False:"),),
    ),
    Mutant("G4", "a file that has ended is finished again", Lab(TOO_LATE), FINISHED_AGAIN),
    Mutant(
        "G4",
        "a work message claims a file that is leased",
        Lab("every message three times"),
        (
            (LIFECYCLE, "if not file.open or file.lease or file.attempt", "if not file.open or file.attempt"),
            (
                LIFECYCLE,
                'free = Attr("state").eq("queued") | (Attr("state").eq("running") & Attr("lease").eq(0))',
                "free = OPEN",
            ),
        ),
    ),
    Mutant("G4", "the claim has no condition", Lab("every message three times"), CLAIMED_AGAIN),
    Mutant(
        "G5",
        "the deadline is not looked at",
        Lab(TOO_LATE),
        ((LIFECYCLE, "    if file.deadline <= now_ms:\n        fail", "    if False:\n        fail"),),
    ),
    Mutant(
        "G5",
        "any number of attempts",
        "integration/test_lifecycle.py::"
        "test_a_worker_that_dies_is_replaced_three_times_at_most_and_then_the_credit_goes_back",
        ((LIFECYCLE, "if not error.retryable or file.attempt >= MAX_ATTEMPTS or", "if not error.retryable or"),),
    ),
    Mutant(
        "G5",
        "a work message that was lost is not sent again",
        Lab("the work message lost"),
        ((LIFECYCLE, 'if file.state == "queued" or file.lease == 0:', "if False:"),),
    ),
    Mutant(
        "G6",
        "a start whose answer was lost starts again",
        Lab("happy", "duplicate", "TransactWriteItems"),
        ((STARTS, 'if task_row and task_row["nonce"] == attempt.nonce:', "if False:"),),
    ),
    Mutant(
        "G6",
        "an expired upload can be started",
        Lab("the upload expires"),
        (
            (UPLOADS, ' & Attr("expires").gt(now_ms) & ', " & "),
            (STARTS, "if upload and upload.expires <= start.now_ms:", "if False:"),
        ),
    ),
    Mutant(
        "G7",
        "cleanup deletes a day early",
        Lab("happy"),
        ((CLEANUP, "services.now_ms() - GRACE, counts", "services.now_ms() + 2880 * MINUTES, counts"),),
    ),
    Mutant(
        "G7",
        "a result is believed to be a picture",
        Lab("the worker writes garbage once"),
        (
            (
                LIFECYCLE,
                "        attempt_failed(services, at.task, at.nn, at.attempt, LOST)\n        return True\n",
                '        header = images.Header("png", 1, 1)\n',
            ),
        ),
    ),
    Mutant(
        "G8",
        "a superseded attempt finishes the file",
        Lab(OLD_RESULT),
        ((LIFECYCLE, FINISHED, FINISHED.replace("_running(at.attempt)", "OPEN")),),
    ),
    Mutant(
        "G8",
        "a failure of an old attempt fails the new one",
        Lab("a zombie's failure after the retry"),
        (
            (LIFECYCLE, 'if file.state != "running" or file.attempt != attempt:', 'if file.state != "running":'),
            (LIFECYCLE, "        fail(services, file, attempt, error)", "        fail(services, file, None, error)"),
        ),
    ),
    Mutant(
        "G9",
        "the watchdog does not look for the result",
        Lab(LOST_EVENTS),
        ((LIFECYCLE, "if file.attempt and (result_arrived", "if False and (result_arrived"),),
    ),
    Mutant(
        "G9",
        "a hand-over without an answer counts as none",
        Lab("happy", "lost", "SendMessage"),
        ((CORE + "dispatch.py", "raise OutcomeUnknown(type(silence)", "raise NotNow(type(silence)"),),
    ),
    Mutant(
        "G10",
        "the owner of a task is not asked for",
        "contract/test_upscayl_status.py::test_ups_06_a_foreign_task_is_answered_as_an_unknown_one",
        ((CORE + "tasks.py", "    if view.task.account != account:\n        raise NotFound\n", ""),),
    ),
    Mutant(
        "G10",
        "parts of another account's file can be completed",
        "contract/test_upscayl_upload.py::test_ups_37_a_foreign_key_completes_nothing",
        ((UPLOADS, "if owner is None or owner[0] != account:", "if owner is None:"),),
    ),
    Mutant(
        "G12",
        "a key is taken as the client gives it",
        "contract/test_upscayl_upload.py::test_ups_37_a_foreign_key_is_answered_as_an_unknown_one",
        ((UPLOADS, "if owner is None or owner[0] != account:", "if owner is None:"),),
    ),
    Mutant(
        "G10",
        "a repeat finds another account's result",
        "integration/test_reuse.py::test_another_account_is_never_shown_a_result",
        (
            (CORE + "reuse.py", 'Key(f"ACCOUNT#{at.account}", f"REUSE#', 'Key("ACCOUNT#all", f"REUSE#'),
            (
                CORE + "reuse.py",
                "earlier = AttemptKey(at.account, known.task",
                'earlier = AttemptKey(file_of(services, known)["account"], known.task',
            ),
            (
                CORE + "reuse.py",
                "def _copy(",
                "def file_of(services, known):\n    return services.table.get(file_key(known.task, known.nn))\n\n\n"
                "def _copy(",
            ),
        ),
    ),
    Mutant(
        "G11",
        "a revoked key still opens",
        "integration/test_admin.py::test_create_grant_and_revoke",
        ((CORE + "accounts.py", "{name: keys[name] for name in keys if name != who.key_hash}", "keys"),),
    ),
    Mutant(
        "G11",
        "a key is kept as it is",
        "integration/test_admin.py::test_a_key_is_stored_as_its_hash_only",
        ((CORE + "accounts.py", 'facts = {"name": name,', 'facts = {"name": key,'),),
    ),
    Mutant(
        "G13",
        "the link does not sign the size",
        "contract/test_upscayl_upload.py::test_c_12_link_signs_the_length_and_never_the_type",
        (
            (
                CORE + "storage.py",
                'else {"ContentLength": size}\n        return self._presign("put_object"',
                'else {}\n        return self._presign("put_object"',
            ),
        ),
    ),
    Mutant(
        "G13",
        "the link is good for a day",
        "contract/test_upscayl_upload.py::test_ups_13_life_of_the_link_is_as_configured",
        ((CORE + "storage.py", "**parameters}, ExpiresIn=max(1, seconds)", "**parameters}, ExpiresIn=86_400"),),
    ),
    Mutant(
        "G14",
        "the ETag is not pinned",
        FAILS,
        (
            (
                UPLOADS,
                'Attr("used").not_exists() | Attr("etag").eq(facts.etag) | Attr("state").eq("fetching"),',
                "None,",
            ),
        ),
    ),
    Mutant(
        "G14",
        "the worker takes whatever lies there",
        "unit/engine/test_worker.py::test_another_object_under_the_same_key",
        ((ENGINE + "transfer.py", 'headers={"If-Match": etag}', "headers={}"),),
    ),
    Mutant(
        "G15",
        "abandoned parts stay",
        Lab("multipart, abandoned"),
        ((CLEANUP, "_delete_strays, _abort_parts)", "_delete_strays)"),),
    ),
    Mutant(
        "G15",
        "what has no row stays",
        Lab("an upload that nobody uses"),
        ((CLEANUP, "_delete_strays, _abort_parts)", "_abort_parts)"),),
    ),
    Mutant(
        "G16",
        "a result may have any number of pixels",
        "unit/engine/test_imageio.py::test_sizes_are_refused_by_the_header",
        ((ENGINE + "imageio.py", "if changed and across * down > limits.max_output_pixels:", "if False:"),),
    ),
    Mutant(
        "G17",
        "the decoder's process is not confined",
        "unit/engine/test_sandbox.py::test_it_is_confined",
        ((ENGINE + "decoder.py", "        confine(memory)\n", ""),),
    ),
    Mutant(
        "G17",
        "the decoder's process has our environment",
        "unit/engine/test_sandbox.py::test_it_has_no_credentials",
        (
            (
                ENGINE + "sandbox.py",
                "env=ENVIRONMENT | {name: os.environ[name] for name in INHERITED if name in os.environ},",
                "env={**os.environ},",
            ),
        ),
    ),
    Mutant(
        "G18",
        "all of the EXIF is kept",
        "unit/engine/test_imageio.py::test_metadata_policies",
        ((ENGINE + "metadata.py", "exif = kept(origin.exif, policy,", 'exif = kept(origin.exif, "keep",'),),
    ),
    Mutant(
        "G19",
        "results are not deleted",
        Lab("happy"),
        (
            (
                CLEANUP,
                'for row in rows for key in objects_of(row["account"]',
                'for row in () for key in objects_of(row["account"]',
            ),
        ),
    ),
    Mutant(
        "G19",
        "a result is linked after its expiry",
        "integration/test_cleanup.py::test_results_go_at_the_end_of_their_retention_and_the_history_stays",
        ((CORE + "results.py", " or file.expires is None or file.expires <= now_ms:", " or file.expires is None:"),),
    ),
    Mutant(
        "G22",
        "what is no JSON is our fault",
        "contract/test_upscayl_errors.py::test_ups_03_what_is_no_json_object_is_answered_exactly",
        ((CORE + "http.py", "except (ValueError, RecursionError) as error:", "except RecursionError as error:"),),
    ),
    Mutant(
        "G22",
        "a fault tells of itself",
        "contract/test_upscayl_errors.py::test_ups_08_a_fault_tells_nothing_of_itself",
        (
            (
                "functions/jsonapi/errors.py",
                '"INTERNAL_SERVER_ERROR", always("An unexpected error occurred"))',
                '"INTERNAL_SERVER_ERROR", str)',
            ),
        ),
    ),
    Mutant(
        "G23",
        "a limit is not a condition",
        "integration/test_ratelimit.py",
        ((CORE + "ratelimit.py", "& Attr(self.count_name).lt(self.limit.calls)", ""),),
    ),
    Mutant(
        "G24",
        "the history counts what is gone",
        Lab("happy"),
        ((CLEANUP, 'add={"tasks": -tasks}', 'add={"tasks": 0}'),),
    ),
    Mutant(
        "G24",
        "a page begins with the last one's end",
        "contract/test_upscayl_history.py::test_c_10_timestamp_offset_means_strictly_older",
        ((CORE + "tasks.py", 'f"TASK#{max(0, before_ms):013d}"', 'f"TASK#{max(0, before_ms + 1):013d}"'),),
    ),
    Mutant(
        "G25",
        "logs are written as they are",
        "unit/test_redaction.py::test_g25_the_logger_redacts_messages_fields_and_stacks",
        ((CORE + "observability.py", "return redacted(super().format(record))", "return super().format(record)"),),
    ),
    Mutant(
        "G28",
        "the cap is no condition",
        "integration/test_budget.py::test_no_more_than_the_cap_and_again_the_next_day",
        ((CORE + "budget.py", ' & Attr("jobs").lt(Attr("cap"))', ""),),
    ),
    Mutant(
        "G28",
        "a job is counted after it was handed over",
        Lab("a GPU, all events"),
        (
            (
                CORE + "budget.py",
                "        day = take(self.table, self.now_ms())\n"
                "        try:\n            return self.inner.spawn(job)\n",
                "        day = day_of(self.now_ms())\n        try:\n            call = self.inner.spawn(job)\n"
                "            take(self.table, self.now_ms())\n            return call\n",
            ),
        ),
    ),
    Mutant(
        "G29",
        "the stack listens to the network",
        "integration/local/test_storage.py::test_it_listens_on_the_loopback_only",
        (("infra/local/server.py", 'LOOPBACK = "127.0.0.1"', 'LOOPBACK = "0.0.0.0"'),),
    ),
    Mutant("G30", "a work message that comes back is work", REDRIVEN, CLAIMED_AGAIN),
    Mutant("G30", "a result that comes back counts again", REDRIVEN, FINISHED_AGAIN),
    Mutant(
        "G31",
        "the outbox row is not written with the last file",
        Lab("a webhook, its message lost"),
        ((LIFECYCLE, "outbox = () if ended is None else (ended.put(now_ms),)", "outbox = ()"),),
    ),
    Mutant(
        "G31",
        "an attempt is claimed without a condition",
        "integration/test_webhooks.py::test_two_messages_at_once_make_one_attempt",
        (
            (
                CORE + "webhooks.py",
                "claim = Update(hook_key(found.task), _same(found), set=",
                "claim = Update(hook_key(found.task), None, set=",
            ),
        ),
    ),
    Mutant(
        "G31",
        "the watchdog sends no message about what is due",
        Lab("a webhook, its message lost"),
        ((CORE + "webhooks.py", "    services.hooks.send(refs)\n    now_ms", "    now_ms"),),
    ),
)


@dataclass(frozen=True)
class Outcome:
    caught: bool
    by: str
    seconds: float


def main(names: Sequence[str]) -> int:
    chosen = [each for each in MUTANTS if not names or any(name in (each.promise, each.name) for name in names)]
    survived: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(JOBS) as pool:
        subsets = sorted({mutant.tests for mutant in chosen}, key=str)
        without = pool.map(lambda tests: tried(Path(folder), tests), subsets)
        for tests, outcome in zip(subsets, without, strict=True):
            if outcome.caught:
                print(f"FAILS WITHOUT A BUG  {tests}: {outcome.by}", flush=True)
                return 1
        outcomes = pool.map(lambda mutant: tried(Path(folder), mutant.tests, mutant.changes), chosen)
        for mutant, outcome in zip(chosen, outcomes, strict=True):
            survived[mutant.promise] += not outcome.caught
            verdict = "caught" if outcome.caught else "SURVIVED"
            print(
                f"{mutant.promise:4} {verdict:8}  {mutant.name:50}  {outcome.by}  ({outcome.seconds:.0f} s)", flush=True
            )
    print(f"{len(chosen) - survived.total()} of {len(chosen)} mutants caught, of {len(survived)} promises")
    return 1 if survived.total() else 0


def tried(folder: Path, tests: str | Lab, changes: tuple[Change, ...] = ()) -> Outcome:
    """Runs tests on a copy of the source with the changes made."""
    began = time.monotonic()
    copy = Path(tempfile.mkdtemp(dir=folder))
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    for file, fragment, instead in changes:
        path = copy / file
        text = path.read_text()
        if text.count(fragment) != 1:
            raise SystemExit(f"{file} has this {text.count(fragment)} times, not once: {fragment}")
        path.write_text(text.replace(fragment, instead))
    made = subprocess.run(command(tests), cwd=copy, capture_output=True, text=True, env=environment(copy), check=False)
    shutil.rmtree(copy)
    failed = re.search(r"^(?:FAILED (?P<test>\S+)|VIOLATED (?P<flow>.*))", made.stdout, re.MULTILINE)
    if made.returncode and not failed:
        raise SystemExit(f"{tests} ended with {made.returncode}:\n{made.stdout[-2000:]}{made.stderr[-2000:]}")
    by = str(tests) if failed is None else failed["test"] or failed["flow"]
    return Outcome(made.returncode != 0, by, time.monotonic() - began)


def command(tests: str | Lab) -> list[str]:
    if isinstance(tests, str):
        return [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{tests}"]
    faults = ["--kind", tests.kind, "--operation", tests.operation] if tests.kind else ["--baseline"]
    return [sys.executable, "-m", "tests.crashlab", "--jobs", "1", "--flow", tests.flow, *faults]


def environment(copy: Path) -> dict[str, str]:
    folders = ("layers/core/python", "layers/engine/python", "functions", "client", ".")
    return os.environ | {"PYTHONPATH": os.pathsep.join(str(copy / folder) for folder in folders)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
