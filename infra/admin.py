"""What an operator does, with their own AWS credentials: the API has no routes for it.

python -m infra.admin --stack NAME create --credits 100     a new account; prints its key, the only time it is seen
python -m infra.admin --stack NAME grant KEY 50             more credits (fewer with a negative number)
python -m infra.admin --stack NAME revoke KEY               acts on the next call
python -m infra.admin --stack NAME words KEY observed       fixes the status words of Upscayl's routes for a key
python -m infra.admin --stack NAME reuse KEY off            whether repeats of its account are answered from storage
python -m infra.admin --stack NAME quota KEY 1000           files a month for its account, at most, or "none"
python -m infra.admin --stack NAME spend                    today's GPU jobs, the cap, and whether it is paused
python -m infra.admin --stack NAME cap 500                  GPU jobs a day, at most
python -m infra.admin --stack NAME pause                    no further job goes to a GPU; what is under way goes on
python -m infra.admin --stack NAME resume
python -m infra.admin --stack NAME redrive work             messages that were given up go back into their queue
python -m infra.admin --stack NAME replay TASK              tells its end again: its webhook's attempts start anew
python -m infra.admin --stack NAME show TASK                its files: state, attempts, correlation id for the logs
python -m infra.admin --stack NAME audit                    every account's balance against its ledger

--local var instead of --stack NAME: the one-machine stack that runs with this state folder (`make serve`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "layers/core/python"))  # the service is deployed, not installed

from tessera import accounts, audit, budget, credits, ids, tasks, usage, webhooks  # noqa: E402
from tessera.errors import NotFound, TesseraError, Unauthorized  # noqa: E402
from tessera.services import Services, build  # noqa: E402
from tessera.settings import Settings  # noqa: E402

Words = Literal["documented", "observed"]
DEAD_LETTERS = {
    "upload": "UploadDeadLetters",
    "result": "ResultDeadLetters",
    "work": "WorkDeadLetters",
    "fetch": "FetchDeadLetters",
    "webhook": "HookDeadLetters",
}


def create_account(services: Services, key: str | None = None, amount: int = 0) -> str:
    """Makes an account with a key and credits; returns the key.

    A key brought along that was known here keeps its account, is valid again, and is topped up to `amount`.
    """
    known = None
    if key is not None:
        with suppress(Unauthorized):  # a new key
            known = accounts.find(services, accounts.credential(services, key).account)
    if known is None:
        account_id, balance = accounts.create(services), 0
    else:
        account_id, balance = known.id, known.balance
    if known is None or key is None or accounts.hash_key(key) not in known.api_keys:
        key = accounts.add_key(services, account_id, key)
    if balance < amount:
        credits.grant(services, account_id, amount - balance, "top-up" if known else "initial")
    return key


def settle_vocabulary(services: Services, key: str, words: Words) -> None:
    """Fixes the status words that Upscayl's routes use for a key, whatever the shape of its bodies.

    Raises Unauthorized for an unknown key.
    """
    accounts.describe_key(services, key, {"vocabulary": words})


def of_stack(outputs: Mapping[str, str], session: Any, endpoint_url: str | None = None) -> Services:
    """The services of a deployed stack, from its outputs."""
    settings = Settings(
        table=outputs["Table"],
        bucket=outputs["Bucket"],
        work_queue_url=outputs["WorkQueueUrl"],
        hook_queue_url=outputs["HookQueueUrl"],
    )
    return build(settings, session, endpoint_url)


def deployed(name: str) -> tuple[Services, dict[str, str]]:
    """A stack in AWS, found by the operator's own credentials; with its outputs."""
    import boto3

    session = boto3.Session()
    (stack,) = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    return of_stack(outputs, session), outputs


def local(folder: Path) -> tuple[Services, dict[str, str]]:
    """The stack of this machine, by what it has written into its state folder."""
    import boto3

    told = json.loads((folder / "stack.json").read_text())
    os.environ["NO_PROXY"] = "127.0.0.1"  # a proxy of the owner's shell cannot reach the loopback
    session = boto3.Session(told["access_key"], told["secret_key"], region_name=told["region"])
    return of_stack(told["outputs"], session, told["endpoint"]), told["outputs"]


def spend(services: Services) -> str:
    """Where the day stands."""
    now = budget.read(services.table, services.now_ms())
    return f"{now.day} (UTC): {now.jobs} of {now.cap} GPU jobs{', paused' if now.paused else ''}"


def redrive(services: Services, dead_letters: str) -> str:
    """`dead_letters`: the ARN of the queue whose messages SQS is to move back to where they came from."""
    services.work.client.start_message_move_task(SourceArn=dead_letters)
    return "they are on their way"


def show(services: Services, task_id: str) -> str:
    """A line for each file, and one for the webhook of a task that has ended. Raises NotFound."""
    rows = services.table.query_partition(f"TASK#{number_of(task_id)}")
    files = [tasks.File.model_validate(row) for row in rows if row["sk"].startswith("FILE#")]
    if not files:
        raise NotFound
    lines = [
        f"task {file.task} file {file.nn} {file.state}, attempt {file.attempt}, "
        f"correlation {file.correlation or 'unknown'}{', ' + file.error if file.error else ''}"
        for file in files
    ]
    hooks = [webhooks.Delivery.model_validate(row) for row in rows if row["sk"] == "HOOK"]
    return "\n".join([*lines, *map(_told, hooks)])


def _told(hook: webhooks.Delivery) -> str:
    answers = [str(made.status or made.error) for made in hook.log]
    return f"task {hook.task} webhook {hook.state}, attempt {hook.attempt}, answers {', '.join(answers) or 'none'}"


def replay(services: Services, task_id: str) -> str:
    """Raises NotFound for a task without a webhook, or one that has not ended."""
    webhooks.replay(services, number_of(task_id))
    return "it is on its way"


def number_of(task_id: str) -> int:
    """As the API or the logs say it. Raises NotFound."""
    number = ids.from_uuid(task_id) or (int(task_id) if task_id.isdigit() else None)
    if number is None:
        raise NotFound
    return number


def audited(services: Services) -> str:
    """The books of all accounts, by their ids."""
    found = audit.audit(services)
    wrong = [f"account {account}: {'; '.join(words)}" for account, words in found.mismatches.items()]
    unsettled = [f"account {account}: too busy to be judged, try again" for account in found.unsettled]
    return "\n".join([*wrong, *unsettled, f"{found.accounts} accounts, {len(wrong)} wrong"])


def run(services: Services, options: argparse.Namespace, outputs: Mapping[str, str]) -> str:
    """Carries out a command; returns what to print. `outputs` are the stack's."""
    if options.command == "create":
        return create_account(services, options.key, options.credits)
    if options.command == "grant":
        credits.grant(services, accounts.credential(services, options.key).account, options.credits, "operator")
    elif options.command == "revoke":
        accounts.revoke_key(services, options.key)
    elif options.command == "reuse":
        accounts.set_reuse(services, accounts.credential(services, options.key).account, options.reuse == "on")
    elif options.command == "quota":
        who = accounts.credential(services, options.key)
        usage.set_quota(services, accounts.account_key(who.account), options.files)
    elif options.command == "show":
        return show(services, options.task)
    elif options.command == "replay":
        return replay(services, options.task)
    elif options.command == "audit":
        return audited(services)
    elif options.command == "redrive":
        return redrive(services, outputs[DEAD_LETTERS[options.queue]])
    elif options.command in ("spend", "pause", "resume", "cap"):
        if options.command == "cap":
            budget.set_cap(services.table, options.jobs)
        elif options.command != "spend":
            budget.pause(services.table, options.command == "pause")
        return spend(services)
    else:
        settle_vocabulary(services, options.key, options.words)
    return "done"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m infra.admin", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = made.add_mutually_exclusive_group(required=True)
    where.add_argument("--stack", help="name of the deployed stack")
    where.add_argument("--local", type=Path, help="state folder of the stack that runs on this machine")
    commands = made.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create")
    create.add_argument("--credits", type=int, default=0)
    create.add_argument("--key", help="bring a key along instead of having one made")
    grant = commands.add_parser("grant")
    grant.add_argument("key")
    grant.add_argument("credits", type=int)
    commands.add_parser("revoke").add_argument("key")
    words = commands.add_parser("words")
    words.add_argument("key")
    words.add_argument("words", choices=["documented", "observed"])
    reuse = commands.add_parser("reuse")
    reuse.add_argument("key")
    reuse.add_argument("reuse", choices=["on", "off"])
    quota = commands.add_parser("quota")
    quota.add_argument("key")
    quota.add_argument("files", type=lambda text: None if text == "none" else int(text))
    for name in ("spend", "pause", "resume", "audit"):
        commands.add_parser(name)
    commands.add_parser("cap").add_argument("jobs", type=int)
    for name in ("show", "replay"):
        commands.add_parser(name).add_argument("task", help="its id, as the API or the logs say it")
    commands.add_parser("redrive").add_argument("queue", choices=DEAD_LETTERS)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    from botocore.exceptions import BotoCoreError, ClientError

    options = parser().parse_args(arguments)
    try:
        services, outputs = local(options.local) if options.local else deployed(options.stack)
        print(run(services, options, outputs))
    except (TesseraError, BotoCoreError, ClientError, FileNotFoundError) as error:
        print(f"error: {type(error).__name__} {error}".rstrip(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
