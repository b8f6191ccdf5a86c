"""Ctrl-C and SIGTERM, noted rather than obeyed at once: the step under way is finished and saved."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_listening: list[list[int]] = []  # what `interruptible` blocks under way have collected


def ask_to_stop() -> bool:
    """As Ctrl-C would, from any thread. Was there a step to finish?"""
    for caught in _listening:
        caught.append(signal.SIGTERM)
    return bool(_listening)


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Collects the first Ctrl-C or SIGTERM, so that the step under way is finished and saved; a second one stops at once."""
    caught: list[int] = []
    _listening.append(caught)
    try:
        with _signals(caught):
            yield caught
    finally:
        _listening.pop()


@contextmanager
def _signals(caught: list[int]) -> Iterator[None]:
    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)
        with suppress(OSError):  # a handler may run inside any line: no console, no locks
            os.write(2, b"\nstopping when the step under way is done; once more to stop at once\n")

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    ignored = {signal.SIG_IGN, None}  # by nohup, by a script's background jobs; None: not Python's
    before = {each: handler for each, handler in before.items() if handler not in ignored}
    try:
        for each in before:
            signal.signal(each, note)
    except ValueError:  # not the main thread: nobody can press Ctrl-C here
        yield
        return
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
