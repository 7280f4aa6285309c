"""tessera status TASK_ID"""

from __future__ import annotations

import argparse

from tessera_client.commands.command import Command, Context, add_connection
from tessera_client.commands.words import size_words, stand_in_lines
from tessera_client.exits import Exit
from tessera_client.models import TaskStatus


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task_id", metavar="TASK_ID")
    add_connection(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    with context.client(args) as client:
        task = client.get_task_status(args.task_id)
    if args.json:
        # Here the links are what a script asks for, so they are given; they are printed nowhere else.
        context.terminal.json({"taskId": args.task_id, **task.model_dump(mode="json", by_alias=True)})
    else:
        for line in lines(args.task_id, task):
            context.terminal.say(line)
    return Exit.FAILED if task.state == "failed" else Exit.DONE


def lines(task_id: str, task: TaskStatus) -> list[str]:
    about = f"{task.state}, {task.percent} %" if task.state == "processing" else task.state
    said = [f"{task_id}: {about}", f"  {task.model}, {task.scale}x, {task.save_image_as}"]
    if task.state == "failed":
        said.append(f"  reason: {task.reason}")
    for file in task.files:
        said.append(f"  {file.original_file_name or file.file_name}{size_words(file)}")
        said.extend(f"    {line}" for line in stand_in_lines(file, task))
    return said


COMMAND = Command("status", "how far a task is", arguments, run, epilog="exit code 1 where the task has failed")
