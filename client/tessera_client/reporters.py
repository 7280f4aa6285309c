"""Showing progress while files are worked on: bars on a terminal, lines elsewhere, nothing for scripts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn
from rich.progress import Progress as RichProgress

from tessera_client.progress import Progress
from tessera_client.terminal import Terminal, printable

WORDS = {"upload": "uploading", "queued": "queued", "upscale": "upscaling", "download": "downloading"}


class Reporter(Protocol):
    """Called from several threads."""

    def progress(self, photo: Path, progress: Progress) -> None: ...

    def finished(self, photo: Path) -> None: ...


class Silent:
    def progress(self, photo: Path, progress: Progress) -> None:
        pass

    def finished(self, photo: Path) -> None:
        pass


class Lines:
    """One line on stderr for each new phase or note of a file."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._last: dict[Path, str] = {}
        self._lock = threading.Lock()

    def progress(self, photo: Path, progress: Progress) -> None:
        words = progress.note or WORDS[progress.phase]
        if progress.phase == "queued" and progress.task_id and not progress.note:
            words += f", task {progress.task_id}"
        with self._lock:
            if self._last.get(photo) != words:
                self._last[photo] = words
                self._terminal.warn(f"{photo}: {words}")

    def finished(self, photo: Path) -> None:
        with self._lock:
            self._last.pop(photo, None)


class Bars:
    """One bar for each file under way; it starts again with each phase."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._rows: dict[Path, TaskID] = {}
        self._lock = threading.Lock()

    def progress(self, photo: Path, progress: Progress) -> None:
        words = progress.note or WORDS[progress.phase]
        with self._lock:
            if photo not in self._rows:
                self._rows[photo] = self._bars.add_task(words, name=printable(photo.name))
            # total None draws a moving bar: there is nothing to measure in a queue or in a download of unknown size
            total = progress.total if progress.total and progress.phase != "queued" else None
            self._bars.update(self._rows[photo], description=words, completed=progress.done, total=total)

    def finished(self, photo: Path) -> None:
        with self._lock:
            if photo in self._rows:
                self._bars.remove_task(self._rows.pop(photo))


@contextmanager
def reporting(terminal: Terminal, *, silent: bool) -> Iterator[Reporter]:
    """The reporter that fits: `silent`, or by whether stderr is a terminal."""
    if silent:
        yield Silent()
    elif not terminal.err.isatty():
        yield Lines(terminal)
    else:
        console = Console(file=terminal.err)
        columns = (
            TextColumn("{task.fields[name]}", markup=False),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
        )
        bars = RichProgress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
        with bars, terminal.sharing_with(console):
            yield Bars(bars)
