"""Ctrl-C and SIGTERM do not stop a loop at once: they are recorded, so that the current step is finished and saved."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_listening: list[list[int]] = []  # the signals that each active `interruptible` block has received


def ask_to_stop() -> bool:
    """Has the effect of Ctrl-C, from any thread. Returns False if no `interruptible` block is active to receive it."""
    for caught in _listening:
        caught.append(signal.SIGTERM)
    return bool(_listening)


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Yields a list that receives the first Ctrl-C or SIGTERM, so that a loop can finish and save its step.

    A second signal stops at once.
    """
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
        for name, handler in before.items():
            signal.signal(name, handler)
        with suppress(OSError):  # a handler may interrupt any line, so it must use no console and no locks
            os.write(2, b"\nfinishing the current step, then stopping; press again to stop at once\n")

    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    ignored = {
        signal.SIG_IGN,
        None,
    }  # SIG_IGN: as under nohup; None: the handler was not set from Python
    before = {name: handler for name, handler in before.items() if handler not in ignored}
    try:
        for name in before:
            signal.signal(name, note)
    except ValueError:  # not the main thread: nobody can press Ctrl-C here
        yield
        return
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
