"""`python -m infra.local serve` runs the service on this machine; `demo` sends one picture through it."""

from __future__ import annotations

import argparse
import errno
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

INTERRUPTED = 130  # 128 + SIGINT, as shells say it
ROOT = Path(__file__).resolve().parents[2]
for _folder in ("layers/core/python", "client"):  # the service is deployed, not installed
    sys.path.append(str(ROOT / _folder))

from .demo import SAMPLE, demo  # noqa: E402
from .gpu import provider_for  # noqa: E402
from .stack import Stack  # noqa: E402
from .state import StateError  # noqa: E402
from .template import TemplateError  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        if options.command == "demo":
            return demo(options.image, options.parameters)
        return serve(options)
    except (StateError, TemplateError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return _fail(f"port {getattr(options, 'port', '?')} is in use: choose another with --port")


def serve(options: argparse.Namespace) -> int:
    """Until SIGINT or SIGTERM; then the state is saved."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with (
        provider_for(options.parameters, options.state / "containers") as provider,
        Stack(
            state_dir=options.state,
            port=options.port,
            parameters=options.parameters,
            api_key=options.api_key,
            variables=provider.environment if provider else None,
        ) as stack,
    ):
        if provider:
            provider.keep_token(stack.client("secretsmanager"))
        print(f"Page     {stack.page_url}")
        print(f"API      {stack.api_url}")
        print(f"Storage  {stack.storage_url}")
        print(f"Key      {stack.api_key}")
        print(f"Logs     {options.state / 'log'}")
        print("\nTry it:\n" + _curl(stack), flush=True)
        ended.wait()
        print("\nStopping: work under way goes on at the next start.", flush=True)
    return 0


def _curl(stack: Stack) -> str:
    body = '{"originalFileName": "photo.jpg", "fileType": "image/jpeg", "fileSize": 24368}'
    key = f"-H 'X-API-Key: {stack.api_key}'"
    return f"  curl -s {stack.api_url}/get-upload-url {key} -H 'Content-Type: application/json' -d '{body}'"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("serve", help="run in the foreground")
    server.add_argument("--port", type=int, default=8000, help="of the API (default: 8000)")
    server.add_argument("--api-key", help="make this key valid, with plenty of credits")
    server.add_argument("--state", type=Path, default=ROOT / "var", help="folder that keeps everything (default: var)")
    shown = commands.add_parser("demo", help="upscale one picture and show every step")
    shown.add_argument("image", nargs="?", type=Path, default=SAMPLE)
    for command in (server, shown):
        command.add_argument(
            "--param", dest="parameters", action=_Parameter, default={}, metavar="NAME=VALUE", help="of the template"
        )
    return parser


class _Parameter(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        name, equals, value = str(values).partition("=")
        if not equals:
            parser.error(f"{option_string} wants NAME=VALUE")
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), name: value})


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
