"""Progress and messages on stderr: a bar with the time left on a terminal, a plain line every 15 seconds in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # rich is imported when something is printed: `vddbench --help` needs none of it
    from rich.console import Console
    from rich.progress import Progress

LOG_EVERY_SECONDS = 15.0


@cache
def console() -> Console:
    """The console of messages and progress: stderr."""
    from rich.console import Console

    return Console(stderr=True)


def clean(text: str) -> str:
    """Replaces characters that a terminal would obey (escape codes); the text may come from a stranger's file."""
    if text.isprintable():  # nearly always; a board has many texts
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def say(message: str, style: str = "") -> None:
    """Prints one message on stderr, literally: no markup, no wrapping, no escape codes."""
    console().print(clean(message), style=style, markup=False, highlight=False, soft_wrap=True)


class Bar:
    """One line of progress. `note`, such as a loss, is shown at its end."""

    def __init__(self, progress: Progress | None, title: str, total: int, done: int = 0) -> None:
        """done: steps that an earlier process completed."""
        self.progress, self.title, self.total, self.begun, self.done, self.note = progress, title, total, done, done, ""
        self.started = self.logged = time.monotonic()
        if progress is not None:
            self.task = progress.add_task(title, total=total, completed=done, note="")

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        if self.progress is not None:
            self.note = note or self.note
            self.progress.update(self.task, advance=steps, note=self.note)
        elif (now := time.monotonic()) - self.logged > LOG_EVERY_SECONDS:
            self.logged = now
            seconds = (now - self.started) / max(self.done - self.begun, 1) * (self.total - self.done)
            left = f" ({seconds:.0f} s left)" if self.done > self.begun else ""  # unknown before the first step is done
            print(f"{self.title} {self.done}/{self.total} {note}{left}", file=sys.stderr, flush=True)


@contextmanager
def bar(title: str, total: int, done: int = 0) -> Iterator[Bar]:
    """A progress bar on stderr, so that stdout holds nothing but a command's result."""
    if not console().is_terminal:
        yield Bar(None, title, total, done)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console()) as progress:
        yield Bar(progress, title, total, done)
