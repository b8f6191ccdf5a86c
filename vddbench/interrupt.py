"""Ctrl-C and SIGTERM, noted rather than obeyed at once: the step under way is finished and saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from vddbench.progress import say


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Collects the first Ctrl-C or SIGTERM, so that the step under way is finished and saved; a second one stops at once."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)
        say("\nstopping after this step; once more to stop at once", style="yellow")

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    before = {each: handler for each, handler in before.items() if handler != signal.SIG_IGN}  # nohup, jobs of a script
    try:
        for each in before:
            signal.signal(each, note)
    except ValueError:  # not the main thread: nobody can press Ctrl-C here
        yield caught
        return
    try:
        yield caught
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
