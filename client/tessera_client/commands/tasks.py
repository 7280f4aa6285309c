"""tessera cancel and tessera delete"""

from __future__ import annotations

import argparse

from tessera_client.commands.command import Command, Context, add_connection
from tessera_client.exits import Exit


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task_ids", nargs="+", metavar="TASK_ID")
    add_connection(parser)


def cancel(args: argparse.Namespace, context: Context) -> int:
    with context.client(args) as client:
        for task_id in args.task_ids:
            task = client.cancel_task(task_id)
            if args.json:
                context.terminal.json(task.model_dump(mode="json", by_alias=True))
            else:
                context.terminal.say(f"{task_id}: {task.status}, {task.cancelled} cancelled, {task.done} done")
    return Exit.DONE


def delete(args: argparse.Namespace, context: Context) -> int:
    with context.client(args) as client:
        for task_id in args.task_ids:
            task = client.delete_task(task_id)
            if args.json:
                context.terminal.json(task.model_dump(mode="json", by_alias=True))
            else:
                context.terminal.say(f"{task_id}: deleted, {task.deleted} results")
    return Exit.DONE


CANCEL = Command("cancel", "end what is open of tasks and be paid back; finished pictures stay", arguments, cancel)
DELETE = Command("delete", "delete results and uploads of tasks; open ones are cancelled", arguments, delete)
