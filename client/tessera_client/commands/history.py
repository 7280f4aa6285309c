"""tessera history"""

from __future__ import annotations

import argparse
from datetime import datetime
from itertools import islice

from tessera_client.client import HISTORY_PAGE
from tessera_client.commands.command import Command, Context, UsageError, add_connection
from tessera_client.exits import Exit
from tessera_client.models import PastTask


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="at most N tasks, default 20")
    parser.add_argument("--status", choices=("pending", "processing", "completed", "failed"), help="only these")
    add_connection(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    if args.limit < 1:
        raise UsageError("--limit takes a number above 0")
    with context.client(args) as client:
        tasks = client.history(status=args.status, page_size=min(args.limit, HISTORY_PAGE))
        for task in islice(tasks, args.limit):
            if args.json:
                context.terminal.json(without_links(task))
            else:
                context.terminal.say(line(task))
    return Exit.DONE


def without_links(task: PastTask) -> dict[str, object]:
    links = {"files": {"__all__": {"download_link", "thumbnail_link"}}}
    return task.model_dump(mode="json", by_alias=True, exclude=links)


def line(task: PastTask) -> str:
    names = ", ".join(file.original_file_name or file.file_name or "?" for file in task.files)
    when = f"{datetime.fromtimestamp(task.created_at / 1000):%Y-%m-%d %H:%M}" if task.created_at else "-"
    about = f"{task.model} {task.scale}x {task.save_image_as}"
    return f"{when}  {task.task_id or '-'}  {task.state:<10}  {about}  {names}"


COMMAND = Command("history", "earlier tasks, newest first", arguments, run)
