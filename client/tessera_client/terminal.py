"""Where the command's words go: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console


def printable(text: str) -> str:
    """The text without control characters: names and messages come from files and servers, not from us."""
    return "".join(character if character.isprintable() else "?" for character in text)


class Terminal:
    def __init__(self, out: TextIO, err: TextIO) -> None:
        self.out = out
        self.err = err
        self._bars: Console | None = None

    def say(self, line: str) -> None:
        if self._bars and self.out.isatty():
            self._above_bars(line)
        else:
            self._write(self.out, printable(line))

    def warn(self, line: str) -> None:
        if self._bars:
            self._above_bars(line)
        else:
            self._write(self.err, printable(line))

    def json(self, value: Mapping[str, object]) -> None:
        """One object on a line of its own."""
        self._write(self.out, json.dumps(value))

    @contextmanager
    def sharing_with(self, console: Console) -> Iterator[None]:
        """While bars are drawn on this console, lines go above them."""
        self._bars = console
        try:
            yield
        finally:
            self._bars = None

    def _write(self, file: TextIO, line: str) -> None:
        file.write(f"{line}\n")  # in one piece: other threads write too
        file.flush()

    def _above_bars(self, line: str) -> None:
        if self._bars:
            self._bars.print(printable(line), markup=False, highlight=False, soft_wrap=True)
