"""tessera download TASK_ID: wait for a task and fetch its results, for instance after an interrupted upscale."""

from __future__ import annotations

import argparse
from pathlib import Path

from tessera_client.commands.command import Command, Context, add_connection
from tessera_client.commands.words import error_json, error_words, result_json, size_words, stand_in_lines
from tessera_client.errors import TesseraError
from tessera_client.exits import exit_of_all
from tessera_client.models import ProcessedFile, TaskStatus
from tessera_client.names import result_path
from tessera_client.reporters import reporting


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task_id", metavar="TASK_ID")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="default: the current folder")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files; else NAME-4x-1.png")
    add_connection(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    terminal = context.terminal
    errors: list[Exception] = []
    with context.client(args) as client, reporting(terminal, silent=args.json) as reporter:
        label = Path(args.task_id)
        task = client.wait(args.task_id, on_progress=lambda progress: reporter.progress(label, progress))
        for file in task.files:
            wanted = result_path(args.out / safe_name(file, args.task_id), None, task.scale or "4", suffix_of(task))
            try:
                place = client.download(file, wanted, overwrite=args.overwrite)
            except (TesseraError, OSError) as error:
                errors.append(error)
                if args.json:
                    terminal.json({"ok": False, "taskId": args.task_id, "error": error_json(error)})
                else:
                    terminal.warn(f"{wanted.name}: failed: {error_words(error)}")
                continue
            if args.json:
                terminal.json({"ok": True, **result_json(place, args.task_id, file, task)})
            else:
                terminal.say(f"{place}{size_words(file)}")
                for line in stand_in_lines(file, task):
                    terminal.say(f"  {line}")
    return exit_of_all(errors)


def safe_name(file: ProcessedFile, task_id: str) -> str:
    """The picture's own name without any folder in it: a server's words never choose where we write."""
    name = Path((file.original_file_name or "").replace("\\", "/")).name
    return "".join(letter for letter in name if letter.isprintable() and letter not in ':*?"<>|') or task_id


def suffix_of(task: TaskStatus) -> str:
    return task.save_image_as if task.save_image_as in ("jpg", "png", "webp") else "png"


COMMAND = Command("download", "wait for a task and fetch its results", arguments, run)
