"""The `tessera` command: a table of subcommands, and what they share when something goes wrong."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from tessera_client.client import Client
from tessera_client.commands import download, history, offers, status, tasks, upscale
from tessera_client.commands.command import Command, Connect, Context, UsageError
from tessera_client.errors import TesseraError
from tessera_client.exits import Exit, exit_of
from tessera_client.redact import without_secrets
from tessera_client.terminal import Terminal
from tessera_client.version import VERSION

COMMANDS: tuple[Command, ...] = (
    upscale.COMMAND,
    download.COMMAND,
    status.COMMAND,
    history.COMMAND,
    tasks.CANCEL,
    tasks.DELETE,
    offers.MODELS,
    offers.ESTIMATE,
    offers.ACCOUNT,
)

EPILOG = """exit codes: 0 all done, 1 a file failed, 2 wrong usage, 3 the key is refused, 4 not enough credits,
5 server or storage unreachable or out of order, 130 interrupted.
environment: TESSERA_URL, TESSERA_KEY, TESSERA_CACHE (folder for the state of unfinished uploads)."""


def build_parser(commands: Sequence[Command] = COMMANDS) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tessera",
        description="Upscale pictures on a Tessera server.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"tessera {VERSION}")
    choices = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in commands:
        chosen = choices.add_parser(
            command.name,
            help=command.help,
            description=command.help,
            epilog=command.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.arguments(chosen)
        chosen.set_defaults(run=command.run)
    return parser


def main(
    argv: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    connect: Connect = Client,
    terminal: Terminal | None = None,
) -> int:
    """Run one command; its exit code comes back. Nothing printed holds a key or a pre-signed query."""
    terminal = terminal or Terminal(sys.stdout, sys.stderr)
    parser = build_parser()
    try:
        args = parser.parse_args(argv)
    except SystemExit as end:  # argparse has said what was wrong, or --help
        return Exit.DONE if end.code in (0, None) else Exit.USAGE
    try:
        return int(args.run(args, Context(environ, connect, terminal)))
    except UsageError as error:
        terminal.warn(f"tessera: {error}")
        return Exit.USAGE
    except TesseraError as error:
        terminal.warn(f"tessera: {without_secrets(str(error))}")
        return exit_of(error)
    except KeyboardInterrupt:
        terminal.warn("tessera: interrupted")
        return Exit.INTERRUPTED


def entry() -> NoReturn:
    """The console script."""
    try:
        code = main()
    except BrokenPipeError:  # the reader of stdout has gone, as in `tessera history | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.FAILED
    if code == Exit.INTERRUPTED:
        # A thread may still wait for a slow network; its upload's state is on disk, so nobody has to wait for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
