"""What a subcommand is, and what it is given."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tessera_client.client import Client
from tessera_client.terminal import Terminal

Connect = Callable[[str, str], Client]


class UsageError(Exception):
    """The command line or the environment lacks something; exit code 2."""


@dataclass(frozen=True)
class Context:
    environ: Mapping[str, str]
    connect: Connect
    terminal: Terminal

    def client(self, args: argparse.Namespace) -> Client:
        """The client for --url and --key, or the environment's."""
        url = args.url or self.environ.get("TESSERA_URL", "")
        key = args.key or self.environ.get("TESSERA_KEY", "")
        if not url:
            raise UsageError("which server? give --url or set TESSERA_URL")
        if not key:
            raise UsageError("which key? set TESSERA_KEY or give --key")
        try:
            return self.connect(url, key)
        except ValueError as error:
            raise UsageError(str(error)) from None


@dataclass(frozen=True)
class Command:
    """A row of the table in cli.py. A group of commands is a row whose `arguments` add subparsers of their own, each
    with `set_defaults(action=...)`, and whose `run` calls that action."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Context], int]
    epilog: str = ""


def add_connection(parser: argparse.ArgumentParser) -> None:
    """The options of every command that talks to a server."""
    parser.add_argument("--url", help="the server; else TESSERA_URL")
    parser.add_argument("--key", help="the API key; better in TESSERA_KEY, where other users' ps does not show it")
    parser.add_argument("--json", action="store_true", help="one JSON object per line on stdout, nothing else there")
