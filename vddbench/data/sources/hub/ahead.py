"""Runs calls ahead of time, each in its own thread and a few at once, and yields their results in order.

The threads end with the process, which does not wait for them, so that Ctrl-C works in the middle of a download.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
STOP_SECONDS = 1.0  # to wait for threads that were asked to stop; a longer download is abandoned


class Traffic:
    """Counts received bytes, and stops the threads that receive them."""

    def __init__(self) -> None:
        self.bytes, self.stopped, self.lock = 0, False, threading.Lock()

    def came(self, count: int) -> None:
        """Adds received bytes. Raises InterruptedError in a thread that was asked to stop."""
        with self.lock:
            self.bytes += count
        if self.stopped:
            raise InterruptedError("stopped")


class RunningCall(threading.Thread, Generic[T]):
    """A call that runs in a thread."""

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
    """Yields the results of (call, weight) pairs in their order.

    At most `most` calls run or wait to be consumed. Their weights add up to at most `most_weight`, unless one call alone weighs
    more. Raises what a call raises; then, and when the generator is closed, the other calls are asked to stop.
    """
    waiting: deque[tuple[RunningCall[T], int]] = deque()
    weight = 0
    try:
        for call, its_weight in calls:
            while waiting and (len(waiting) >= most or weight + its_weight > most_weight):
                first, done_weight = waiting.popleft()
                yield first.result()
                weight -= done_weight
            waiting.append((RunningCall(call), its_weight))
            weight += its_weight
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        traffic.stopped, deadline = bool(waiting), time.monotonic() + STOP_SECONDS
        for running, _ in waiting:
            running.join(max(0.0, deadline - time.monotonic()))
