"""The engine without the service.

python -m tessera_engine upscale PICTURE [RESULT] [--scale 4] [--model NAME]
python -m tessera_engine models list | pull NAME... | verify | add FILE --name NAME
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError
from tessera.job import Limits
from tessera.recipe import Encode, ImageFormat, Recipe, Upscale

from tessera_engine import faces, models, own
from tessera_engine.catalogue import FACES, FILES, cache_directory
from tessera_engine.errors import EngineError
from tessera_engine.header import ALL
from tessera_engine.pipeline import carry_out
from tessera_engine.pull import GITHUB, Puller, PullFailed, state

MB = 1_000_000
FACES_LICENCE = "GFPGANv1.4: Apache-2.0, with parts that its LICENSE gives for non-commercial use only. Yours to judge."
BAR = 40  # characters
UNLIMITED = Limits(
    max_input_pixels=500_000_000, max_output_pixels=10**12
)  # the decoder's memory follows from the first
ENDINGS: dict[str, ImageFormat] = {
    ".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp", ".avif": "avif", ".tif": "tiff", ".tiff": "tiff",
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 1 when something could not be fetched or a file is not what it should be."""
    options = parser().parse_args(arguments)
    if options.command == "upscale":
        return upscale(options)
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
    groups = top.add_subparsers(dest="command", required=True)
    enlarge = groups.add_parser("upscale", help="one picture")
    enlarge.add_argument("picture", type=Path)
    enlarge.add_argument("result", type=Path, nargs="?", help="its ending says the format (default: PICTURE-4x.jpg)")
    enlarge.add_argument("--scale", type=int, choices=[2, 3, 4, 8], default=4)
    enlarge.add_argument("--model", default=models.DEFAULT.name, help="see `models list` (default: %(default)s)")
    enlarge.add_argument("--quality", type=int, default=92, metavar="1..100")
    enlarge.add_argument("--metadata", choices=["safe", "keep", "strip"], default="safe")
    group = groups.add_parser("models", help="networks and their files")
    commands = group.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every name, what it means, and whether it can run here")
    fetch = commands.add_parser("pull", help="fetch the files of a name; `all` for every network's, `faces` for faces'")
    fetch.add_argument("names", nargs="+", metavar="NAME", choices=["all", "faces", *models.CATALOGUE, *models.ALIASES])
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


def upscale(options: argparse.Namespace) -> int:
    """Any size and any format that is read, in bands: what is limited is the memory that the picture itself takes."""
    picture: Path = options.picture
    result: Path = options.result or picture.with_name(f"{picture.stem}-{options.scale}x.jpg")
    kind = ENDINGS.get(result.suffix.lower())
    if kind is None:
        print(f"{result}: the ending is none of {', '.join(ENDINGS)}", file=sys.stderr)
        return 2
    partial = result.with_name(f".{result.name}.partial")
    try:
        recipe = Recipe(
            operations=(
                Upscale(model=options.model, scale=options.scale),
                Encode(format=kind, quality=options.quality, metadata=options.metadata),
            )
        )
        with partial.open("wb") as sink:
            made = carry_out(
                recipe, picture.read_bytes(), UNLIMITED, stand_in="refuse", listener=bar, sink=sink, formats=ALL
            )
        partial.replace(result)
    except (EngineError, OSError, ValidationError) as error:
        partial.unlink(missing_ok=True)
        print(f"\n{picture}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        partial.unlink(missing_ok=True)
        print("\ninterrupted", file=sys.stderr)
        return 130
    bar(1.0)
    print(
        f"\n{result}: {made.width} x {made.height}, {result.stat().st_size:,} bytes, {made.model}",
        *made.notes,
        sep="\n  ",
    )
    return 0


def bar(done: float) -> None:
    """On the terminal only."""
    if sys.stderr.isatty():
        full = round(done * BAR)
        print(f"\r[{'#' * full}{'.' * (BAR - full)}] {done:4.0%}", end="", file=sys.stderr, flush=True)


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
    size = sum(file.size for file in FACES.values()) / MB
    print(f"faces  ({', '.join(file.architecture for file in FACES.values())}; {size:.0f} MB)")
    print(f"    {FACES_LICENCE}")
    print(f"    {faces.obstacle() or 'installed'}")
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
    chosen = [models.CATALOGUE[models.ALIASES.get(name, name)] for name in names if name not in ("all", "faces")]
    files = FILES.values() if "all" in names else [file for model in chosen for file in model.files]
    if "faces" in names:
        print(FACES_LICENCE, file=sys.stderr)
        files = [*files, *FACES.values()]
    failed = 0
    for file in dict.fromkeys(files):
        try:
            print(f"{file.name}: {'fetched' if puller.pull(file) else 'was there'}")
        except PullFailed as error:
            print(error, file=sys.stderr)
            failed = 1
    return failed


def verify(directory: Path) -> int:
    states = {file.name: state(directory, file) for file in (*FILES.values(), *FACES.values())}
    for name, found in states.items():
        print(f"{found:8} {name}")
    return int("wrong" in states.values())


if __name__ == "__main__":
    sys.exit(main())
