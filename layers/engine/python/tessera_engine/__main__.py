"""`python -m tessera_engine models list | pull NAME... | verify | add FILE --name NAME`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tessera_engine import models, own
from tessera_engine.catalogue import FILES, cache_directory
from tessera_engine.pull import GITHUB, Puller, PullFailed, state

MB = 1_000_000


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 1 when something could not be fetched or a file is not what it should be."""
    options = parser().parse_args(arguments)
    if options.command == "list":
        return list_models()
    if options.command == "add":
        return add(options.file, options.name, options.licence, options.description)
    directory: Path = options.directory or cache_directory()
    if options.command == "verify":
        return verify(directory)
    return pull(options.names, Puller(directory, options.base_url))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m tessera_engine", description="Images in, images out.")
    groups = top.add_subparsers(required=True)
    group = groups.add_parser("models", help="networks and their files")
    commands = group.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every name, what it means, and whether it can run here")
    fetch = commands.add_parser("pull", help="fetch the files of a name; `all` for every file")
    fetch.add_argument("names", nargs="+", metavar="NAME", choices=["all", *models.CATALOGUE, *models.ALIASES])
    fetch.add_argument("--base-url", default=GITHUB, help="where the files' paths are looked up (default: %(default)s)")
    check = commands.add_parser("verify", help="compare every fetched file with its SHA-256")
    new = commands.add_parser("add", help="list a file of your own (.safetensors, .pth), read by spandrel, as a model")
    new.add_argument("file", type=Path, metavar="FILE", help="copied to $TESSERA_OWN_MODELS")
    new.add_argument("--name", required=True, help="what recipes will call it")
    new.add_argument("--licence", default="", help="under which its weights are used")
    new.add_argument("--description", default="", help="what it is good for")
    for command in (fetch, check):
        command.add_argument("--directory", type=Path, help="instead of $TESSERA_MODELS or ~/.cache/tessera/models")
    return top


def list_models() -> int:
    try:
        added = models.own_models()
    except own.OwnModelsBroken as error:
        print(error, file=sys.stderr)
        return 1
    for model in (*models.CATALOGUE.values(), *added.values()):
        size = sum(file.size for file in model.files) / MB
        origin = "your own" if model.name in added else f"{size:.0f} MB" if size else "shipped"
        print(f"{model.name}  ({model.architecture}; {model.licence}; {origin})")
        if model.description:
            print(f"    {model.description}")
        if names := [alias for alias, name in models.ALIASES.items() if name == model.name]:
            print(f"    answers to: {', '.join(names)}")
        print(f"    {model.obstacle(4) or 'installed'}")
    return 0


def add(file: Path, name: str, licence: str, description: str) -> int:
    try:
        entry = own.add(file, name, {*models.CATALOGUE, *models.ALIASES}, licence=licence, description=description)
    except (own.OwnModelsBroken, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    field = f"sees {entry.halo} pixels around each" if entry.exact else "sees the whole picture: large ones in parts"
    print(f"{entry.name}: {entry.architecture}, enlarges {entry.scale} times, {field}")
    return 0


def pull(names: list[str], puller: Puller) -> int:
    chosen = [models.CATALOGUE[models.ALIASES.get(name, name)] for name in names if name != "all"]
    files = FILES.values() if "all" in names else dict.fromkeys(file for model in chosen for file in model.files)
    failed = 0
    for file in files:
        try:
            print(f"{file.name}: {'fetched' if puller.pull(file) else 'was there'}")
        except PullFailed as error:
            print(error, file=sys.stderr)
            failed = 1
    return failed


def verify(directory: Path) -> int:
    states = {file.name: state(directory, file) for file in FILES.values()}
    for name, found in states.items():
        print(f"{found:8} {name}")
    return int("wrong" in states.values())


if __name__ == "__main__":
    sys.exit(main())
