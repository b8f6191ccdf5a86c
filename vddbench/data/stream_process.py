"""Decodes elementary streams of strangers in a child process with limits, which is killed when it exceeds them.

One child serves all streams of a set. It receives and returns bytes only (nothing is unpickled), decodes on one thread, and:

* CPU time is limited per stream and in total (RLIMIT_CPU): the kernel kills the child.
* Memory is limited by what a stream may claim (sizes are compared before memory is allocated) and, on Linux, by RLIMIT_AS. The
  kernel of macOS does not enforce RLIMIT_AS; there the first limit alone holds.
* It writes no core files and no other files.

The child has the rights of its user: these limits stop streams that ask for too much, not one that takes control of a codec.
"""

from __future__ import annotations

import math
import multiprocessing
import resource
import signal
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vddbench.data.decode import start_worker
from vddbench.data.elementary import BadStream, split
from vddbench.data.stream_codec import plane_shapes, stream_planes
from vddbench.data.workers import spawning

# CPU time. Noisy clips at crf 10 to 30 took 0.1 microseconds per pixel and frame or less on one core of an AMD EPYC
SECONDS_TO_START = 20.0  # it takes 0.4 s
SECONDS, SECONDS_PER_PIXEL = 5.0, 1e-6  # of one stream: 5.2 s for 16x112x112
MEAN_SECONDS = 0.02  # mean CPU seconds per stream, in addition to SECONDS_PER_PIXEL: one stream may be slow, but not all
MEMORY_BYTES = 10**9  # beyond what the child has mapped when it starts; 512x512 pixels x 256 frames take 0.3 GB
ANSWER_SECONDS = 900  # time on the clock for one stream, in case that the child neither works nor ends

GOOD, BAD = b"+", b"-"  # first byte of an answer
MAX_REASON_BYTES = 2000


class Limits(NamedTuple):
    """Limits of the child."""

    stream_seconds: float  # CPU time of one stream
    total_seconds: float  # CPU time of all
    memory_bytes: int

    @classmethod
    def of(cls, num_streams: int, frames: int, size: int) -> Limits:
        pixels = SECONDS_PER_PIXEL * frames * size * size
        total = SECONDS_TO_START + SECONDS + num_streams * (MEAN_SECONDS + pixels)
        return cls(stream_seconds=SECONDS + pixels, total_seconds=total, memory_bytes=MEMORY_BYTES)


def planes_of(streams: Sequence[bytes], frames: int, size: int) -> Generator[tuple[np.ndarray, ...]]:
    """Decodes each stream to its planes Y, U, V, uint8 [T, h, w] of `plane_shapes`, in order.

    Raises BadStream at the first stream that is refused, or on which the child ended.
    """
    shapes = plane_shapes(size)
    if not streams:
        return
    with _child(len(streams), frames, size) as (process, connection):
        _send(connection, streams[0])
        for following in [*streams[1:], None]:
            answer = _answer(process, connection, 1 + frames * sum(h * w for h, w in shapes))
            if following is not None:  # the child decodes it while the caller converts this one
                _send(connection, following)
            pixels = np.frombuffer(answer, np.uint8).reshape(frames, -1)
            parts = np.split(pixels, np.cumsum([h * w for h, w in shapes])[:-1], axis=1)
            yield tuple(part.reshape(frames, h, w) for part, (h, w) in zip(parts, shapes, strict=True))


@contextmanager
def _child(num_streams: int, frames: int, size: int) -> Iterator[tuple[BaseProcess, Connection]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, Limits.of(num_streams, frames, size), frames, size), daemon=True)
    with spawning():
        process.start()
    theirs.close()  # so that reading fails once the child has ended
    try:
        yield process, ours
    finally:
        ours.close()
        process.kill()
        process.join()


def _send(connection: Connection, stream: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # the child has ended; `_answer` says why
        connection.send_bytes(stream)


def _answer(process: BaseProcess, connection: Connection, num_bytes: int) -> bytes:
    """The planes that the child returns. Raises BadStream."""
    try:
        if not connection.poll(ANSWER_SECONDS):
            raise BadStream(f"was not decoded within {ANSWER_SECONDS} s")
        answer = connection.recv_bytes(max(num_bytes, 1 + MAX_REASON_BYTES))
    except (EOFError, ConnectionResetError):
        process.join()
        raise BadStream(_cause(process.exitcode or 0)) from None
    if answer[:1] == BAD:
        raise BadStream(answer[1:].decode(errors="replace"))
    return answer[1:]


def _cause(exit_code: int) -> str:
    if -exit_code in {signal.SIGXCPU, signal.SIGKILL}:
        return "takes too much CPU time to decode"
    name = f"signal {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"
    return f"ended the process that decodes it ({name})"


def _serve(connection: Connection, limits: Limits, frames: int, size: int) -> None:
    """Runs in the child: answers each stream with its planes or with the reason for which it is refused."""
    start_worker()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, mapped + limits.memory_bytes)
    _lower(resource.RLIMIT_CPU, math.ceil(limits.total_seconds))
    while True:
        try:
            stream = connection.recv_bytes()
            _lower(resource.RLIMIT_CPU, math.ceil(time.process_time() + limits.stream_seconds), soft_only=True)
            answer = GOOD + stream_planes(split(stream, frames), size)
        except BadStream as error:
            answer = BAD + str(error).encode()[:MAX_REASON_BYTES]
        except EOFError:
            return
        except MemoryError:
            answer = BAD + f"needs more than {limits.memory_bytes:,} bytes of memory to decode".encode()
        connection.send_bytes(answer)


def _lower(what: int, value: int, soft_only: bool = False) -> None:
    """Sets a limit, unless a lower one holds already. soft_only: it can be raised again."""
    hard = resource.getrlimit(what)[1]
    lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (lowest, hard if soft_only else lowest))
