"""tessera models, tessera account and tessera estimate"""

from __future__ import annotations

import argparse
import re

from tessera_client.commands.command import Command, Context, UsageError, add_connection
from tessera_client.exits import Exit
from tessera_client.header import picture_size
from tessera_client.own_models import FileEstimate, Model

SIZE = re.compile(r"(\d{1,7})x(\d{1,7})")


def models(args: argparse.Namespace, context: Context) -> int:
    with context.client(args) as client:
        for model in client.models().models:
            if args.json:
                context.terminal.json(model.model_dump(mode="json", by_alias=True))
            else:
                context.terminal.say(line(model))
    return Exit.DONE


def line(model: Model) -> str:
    about = "default" if model.default else "" if model.available else f"not installed, {model.stand_in} stands in"
    if not model.available and not model.stand_in:
        about = "not installed"
    return f"{model.name:<34} {model.description}{f' ({about})' if about else ''}"


def account(args: argparse.Namespace, context: Context) -> int:
    with context.client(args) as client:
        known = client.account()
    if args.json:
        context.terminal.json(known.model_dump(mode="json", by_alias=True))
    else:
        context.terminal.say(f"{known.credits:,} credits")
    return Exit.DONE


def estimate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", nargs="+", metavar="PHOTO", help="a picture, or its size as 1024x768")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4, 8), default=4, help="default 4")
    parser.add_argument("--model", metavar="NAME", help="one of `tessera models`")
    parser.add_argument("--format", choices=("jpg", "png", "webp", "avif", "tiff"), default="png", help="default png")
    add_connection(parser)


def estimate(args: argparse.Namespace, context: Context) -> int:
    sizes = [size_of(picture) for picture in args.pictures]
    with context.client(args) as client:
        told = client.estimate(sizes, model=args.model, scale=args.scale, save_as=args.format)
    if args.json:
        context.terminal.json(told.model_dump(mode="json", by_alias=True))
    else:
        for picture, file in zip(args.pictures, told.files, strict=True):
            context.terminal.say(f"{picture}: {outlook(file)}")
        about = f", about {told.seconds:g} s" if told.seconds is not None else ""
        context.terminal.say(f"{told.credits} credits{about}")
    return Exit.DONE if all(file.accepted for file in told.files) else Exit.FAILED


def size_of(picture: str) -> tuple[int, int]:
    if match := SIZE.fullmatch(picture):
        return int(match[1]), int(match[2])
    try:
        return picture_size(picture)
    except OSError as error:
        raise UsageError(f"{picture}: {error.strerror or 'cannot be read'}") from None


def outlook(file: FileEstimate) -> str:
    return f"{file.width} x {file.height}" if file.accepted else f"refused: {file.reason}"


MODELS = Command("models", "the server's models, and which are installed", add_connection, models)
ACCOUNT = Command("account", "credits that are left", add_connection, account)
ESTIMATE = Command("estimate", "what pictures would become, cost and take", estimate_arguments, estimate)
