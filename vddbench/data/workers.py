"""The process pool of `prepare`: decodes videos in parallel and yields their frames in the order of the videos.

Processes are spawned (a fork would copy torch's locks in an unknown state), ignore Ctrl-C (the parent ends them), and end
when their parent ends or is killed.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from vddbench.data.decode import Geometry, UnreadableVideo, start_worker
from vddbench.data.fingerprint import thumbnail
from vddbench.data.stored_frames import Stored, store_video

if TYPE_CHECKING:  # decoder processes import this file, and pydantic takes as long as all their other imports
    from vddbench.spec import DatasetSpec, Video

IN_FLIGHT = 4  # videos per worker that are decoded ahead of the one that is appended

Render = Callable[["Video"], np.ndarray]


class Finished(NamedTuple):
    """A video, its outcome, and a file with its stored frames, which is empty if the video is unreadable."""

    video: Video
    outcome: Stored | UnreadableVideo
    frames: BinaryIO


def rendered_videos(videos: list[Video], spec: DatasetSpec, render: Render) -> Generator[Finished]:
    """Renders the videos of a procedural dataset in this process; every frame is stored."""
    for video in videos:
        frames = render(video)
        size = spec.size
        assert frames.dtype == np.uint8 and frames.shape[1:] == (size, size, 3) and len(frames) >= spec.frames
        digest = hashlib.sha256(frames.tobytes()).hexdigest()
        small = thumbnail(frames)
        stored = Stored(
            num_frames=len(frames), stride=1, sha256=digest, frames_sha256=digest, thumbnail=small, num_source=len(frames)
        )
        yield Finished(video, stored, io.BytesIO(frames.tobytes()))


def decoded_videos(
    videos: Iterable[tuple[Video, Path]], spec: DatasetSpec, parts: Path, workers: int, *, keep: bool = True
) -> Generator[Finished]:
    """Decodes (video, its file) pairs in `workers` processes, through files in the folder `parts`, and keeps their order.

    Takes at most IN_FLIGHT pairs per worker from `videos` ahead of the results. Without `keep`, a video's file is deleted once
    it is decoded. Raises OSError if a part can't be written, ValueError if a worker died, and whatever `videos` raises.
    """
    waiting: deque[tuple[Video, Path, Future[Stored]]] = deque()
    numbered = iter(enumerate(videos))
    geometry = Geometry.of(spec)
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with _safe_path():
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker)
    with pool:
        try:
            while True:
                for i, (video, path) in islice(numbered, workers * IN_FLIGHT - len(waiting)):
                    part = parts / str(i)
                    with spawning():
                        waiting.append((video, part, pool.submit(_store, path.absolute(), geometry, part, keep)))
                if not waiting:
                    return
                yield _first(waiting)
                waiting.popleft()
        except BrokenProcessPool:
            names = ", ".join(str(video.path) for video, _, _ in waiting)
            raise ValueError(
                f"a decoding process died: out of memory, or a decoder crashed on one of these videos (then remove it): {names}"
            ) from None
        finally:
            if waiting:  # Ctrl-C or an error: don't wait for the videos in flight
                for process in set(multiprocessing.active_children()) - others:
                    process.terminate()


def _store(path: Path, spec: Geometry, part: Path, keep: bool) -> Stored:
    try:
        if not path.is_dir():
            return store_video(path, spec, part)
        from vddbench.data.sources.frames import store_frames

        return store_frames(path, spec, part)
    finally:
        if not keep:
            path.unlink(missing_ok=True)


def _first(waiting: deque[tuple[Video, Path, Future[Stored]]]) -> Finished:
    video, part, future = waiting[0]
    try:
        stored = future.result()
    except UnreadableVideo as problem:
        part.unlink(missing_ok=True)
        return Finished(video, problem, io.BytesIO())
    file = part.open("rb")
    part.unlink()  # the open file stays readable until it is closed
    return Finished(video, stored, file)


@contextmanager
def spawning() -> Iterator[None]:
    """Processes that multiprocessing spawns inside ignore Ctrl-C and import neither the main script nor the current folder."""
    with _no_interrupt(), _no_script(), _safe_path():
        yield


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Processes started inside inherit a blocked SIGINT; in this process SIGINT is only delayed."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _no_script() -> Iterator[None]:
    """Processes started inside do not import the main script, as multiprocessing would otherwise make them do.

    They need nothing from it, and importing the command line took as long as importing the decoder.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


@contextmanager
def _safe_path() -> Iterator[None]:
    """Python processes started inside never import a module from the current folder, which may hold a stranger's files."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def num_cores() -> int:
    """The number of cores that this process may use: a Slurm job's share, not the whole node."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
