"""Work that is begun before its turn comes: each call in a thread of its own, a few at a time, results in order.

The threads end with the process and are never waited for at its end, so that Ctrl-C is obeyed in the middle of a download.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
GOODBYE_SECONDS = 1.0  # for those that are told to stop; a longer download is left behind


class Traffic:
    """How many bytes came; whether they are still wanted."""

    def __init__(self) -> None:
        self.bytes, self.stopped, self.lock = 0, False, threading.Lock()

    def came(self, count: int) -> None:
        """Raises InterruptedError when they are not wanted any more."""
        with self.lock:
            self.bytes += count
        if self.stopped:
            raise InterruptedError("not wanted any more")


class Begun(threading.Thread, Generic[T]):
    """A call under way."""

    def __init__(self, call: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self.call = call
        self.value: T
        self.error: OSError | ValueError | LookupError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.value = self.call()
        except (OSError, ValueError, LookupError) as error:
            self.error = error

    def result(self) -> T:
        self.join()
        if self.error is not None:
            raise self.error
        return self.value


def ahead(calls: Iterable[tuple[Callable[[], T], int]], most: int, most_weight: int, traffic: Traffic) -> Generator[T]:
    """The results of calls, each with its weight, in their order: up to `most` are under way or done and not yet asked for, of
    no more than `most_weight` together, but always one. Raises what a call raises; then, and when it is closed, the others
    are told to stop.
    """
    waiting: deque[tuple[Begun[T], int]] = deque()
    weight = 0
    try:
        for call, its_weight in calls:
            while waiting and (len(waiting) >= most or weight + its_weight > most_weight):
                first, done_weight = waiting.popleft()
                yield first.result()
                weight -= done_weight
            waiting.append((Begun(call), its_weight))
            weight += its_weight
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        traffic.stopped, deadline = bool(waiting), time.monotonic() + GOODBYE_SECONDS
        for begun, _ in waiting:
            begun.join(max(0.0, deadline - time.monotonic()))
