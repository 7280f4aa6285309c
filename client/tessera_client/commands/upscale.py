"""tessera upscale PHOTO..."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tessera_client.batch import Attempt, Batch, Work
from tessera_client.client import Client, Upscaled
from tessera_client.commands.command import Command, Context, UsageError, add_connection
from tessera_client.commands.words import error_json, error_words, result_json, size_words, stand_in_lines
from tessera_client.errors import TesseraError, UnsupportedFile
from tessera_client.exits import Exit, exit_of_all
from tessera_client.journal import Journal, Record
from tessera_client.models import DEFAULT_MODEL, MODELS
from tessera_client.names import SUFFIXES, pictures_in, result_path
from tessera_client.photo import Photo
from tessera_client.progress import OnProgress
from tessera_client.reporters import reporting
from tessera_client.terminal import Terminal

MOST_PARALLEL = 32


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="a picture, or a folder of pictures")
    parser.add_argument("--scale", type=int, choices=(2, 4, 8), default=4, help="default 4")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help=f"default {DEFAULT_MODEL}")
    parser.add_argument("--format", choices=("jpg", "png", "webp"), default="png", help="default png")
    parser.add_argument("--face", action="store_true", help="restore faces")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results; default beside each picture")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results; else NAME-4x-1.png")
    parser.add_argument("--parallel", type=int, default=2, metavar="N", help="pictures at a time, default 2")
    add_connection(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    if not 1 <= args.parallel <= MOST_PARALLEL:
        raise UsageError(f"--parallel takes 1 to {MOST_PARALLEL}")
    if args.out and args.out.suffix.lower() in SUFFIXES and not args.out.is_dir():
        raise UsageError("--out takes a folder; the results are named after their pictures")
    photos, refused = expand(args.photos)
    errors: list[TesseraError | OSError] = []

    def tell(attempt: Attempt) -> None:
        report(attempt, args, context.terminal)
        if attempt.error:
            errors.append(attempt.error)

    with context.client(args) as client, reporting(context.terminal, silent=args.json) as reporter:
        for attempt in refused:
            tell(attempt)
        records = Records(client.identity, args)
        left = [photo for photo in photos if not finished_before(photo, records, args, context.terminal)]
        batch = Batch(client, work(client, photos, args, records), reporter, args.parallel)
        try:
            for attempt in batch.run(left):
                tell(attempt)
        except KeyboardInterrupt:
            warn = context.terminal.warn
            warn("interrupted. Run the same command again to go on: what is finished is not done again, running tasks")
            warn("are waited for, and finished parts of large uploads are kept.")
            for attempt in batch.cancel():
                if attempt.result:
                    tell(attempt)
                elif attempt.task_id:
                    warn(f"{attempt.photo}: its task runs on; fetch it with: tessera download {attempt.task_id}")
            return Exit.INTERRUPTED
        if not errors:
            records.remove()
    return exit_of_all(errors)


class Records:
    """The journals of the folders of results, each read once."""

    def __init__(self, owner: str, args: argparse.Namespace) -> None:
        self._owner = owner
        self._args = args
        self._wish = json.dumps([args.model, args.scale, args.format, args.face])
        self._journals: dict[Path, Journal] = {}

    def of(self, photo: Path) -> Record | None:
        """None for what is no picture; to try it says why."""
        folder = result_path(photo, self._args.out, self._args.scale, self._args.format).parent.resolve()
        if folder not in self._journals:
            self._journals[folder] = Journal(folder, self._owner)
        try:
            return self._journals[folder].record(Photo.read(photo), self._wish)
        except (UnsupportedFile, OSError):
            return None

    def remove(self) -> None:
        for journal in self._journals.values():
            journal.remove()


def finished_before(photo: Path, records: Records, args: argparse.Namespace, terminal: Terminal) -> bool:
    """Whether an interrupted run has this picture's result already, which is told."""
    record = records.of(photo)
    place = record.finished() if record else None
    if record is None or place is None:
        return False
    if args.json:
        about = {"result": str(place), "taskId": record.entry.task_id, "finishedBefore": True}
        terminal.json({"file": str(photo), "ok": True, **about})
    else:
        terminal.say(f"{photo} -> {place}, finished before")
    return True


def expand(given: Sequence[Path]) -> tuple[list[Path], list[Attempt]]:
    """Each picture once, folders replaced by the pictures inside; beside them the folders that hold none."""
    found: dict[Path, Path] = {}
    refused = []
    for path in given:
        inside = [path]
        if path.is_dir():
            try:
                inside = pictures_in(path)
            except OSError as error:
                refused.append(Attempt(path, error=error))
                continue
            if not inside:
                refused.append(Attempt(path, error=UnsupportedFile("no JPEG, PNG or WebP picture in this folder")))
        for photo in inside:
            found.setdefault(photo.resolve(), photo)
    return list(found.values()), refused


def work(client: Client, photos: Sequence[Path], args: argparse.Namespace, records: Records) -> Work:
    kept = {photo: record for photo in photos if (record := records.of(photo))}
    wanted = Counter(result_path(photo, args.out, args.scale, args.format).resolve() for photo in photos)
    wanted.update(photo.resolve() for photo in photos)

    def may_replace(photo: Path) -> bool:
        """--overwrite is about earlier runs: never a source of this one, nor the result of another picture."""
        return args.overwrite and wanted[result_path(photo, args.out, args.scale, args.format).resolve()] == 1

    def upscale(photo: Path, on_progress: OnProgress) -> Upscaled:
        return client.upscale(
            photo,
            model=args.model,
            scale=args.scale,
            save_as=args.format,
            enhance_face=args.face,
            out=args.out,
            overwrite=may_replace(photo),
            on_progress=on_progress,
            record=kept.get(photo),
        )

    return upscale


def report(attempt: Attempt, args: argparse.Namespace, terminal: Terminal) -> None:
    if attempt.result:
        result = attempt.result
        if args.json:
            about = result_json(result.path, result.task_id, result.file, result.task)
            terminal.json({"file": str(attempt.photo), "ok": True, **about, "seconds": round(attempt.seconds, 3)})
        else:
            terminal.say(f"{attempt.photo} -> {result.path}{size_words(result.file)}")
            for line in stand_in_lines(result.file, result.task):
                terminal.say(f"  {line}")
    elif attempt.error:
        if args.json:
            about = error_json(attempt.error)
            terminal.json({"file": str(attempt.photo), "ok": False, "taskId": attempt.task_id, "error": about})
        else:
            task = f" (task {attempt.task_id})" if attempt.task_id else ""
            terminal.warn(f"{attempt.photo}: failed: {error_words(attempt.error)}{task}")


COMMAND = Command("upscale", "upscale pictures", arguments, run, epilog="\n  ".join(("models:", *MODELS)))
