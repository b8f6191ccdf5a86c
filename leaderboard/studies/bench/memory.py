"""Measures the peak memory of `prepare` and of opening a store: for videos, and for lists as long as the largest datasets.

A made-up video is one frame of 8x8 pixels, because only the list grows with a dataset: frames stream, a video at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from vddbench.data.build import build_store
from vddbench.data.datasets import kinetics400, ucf101
from vddbench.data.workers import num_cores
from vddbench.leaderboard.studies.bench.decoding import by_prepare, in_python
from vddbench.spec import Video

HEADERS = ("", "peak RSS, MB", "aim")
POLL_SECONDS = 0.02
OPEN = "from vddbench.data.store import Store; Store.open({!r}).train; import sys; assert 'torch' not in sys.modules"
LIST = "from vddbench.leaderboard.studies.bench.memory import prepare_list; prepare_list({})"


def rows(files: list[Path], lists: Sequence[int]) -> list[list[str]]:
    """Rows of HEADERS. lists: how many made-up videos."""
    watch = Watch()
    with watch:
        by_prepare(files, ucf101.SPEC, 2)
    parent, *others = watch.peaks()
    table = [[f"prepare of {len(files)} videos: the process that appends", f"{parent:,.0f}", "< 1000"]]
    table += [["... each of its 2 workers, at most", f"{max(others, default=0):,.0f}", "< 1000"]]
    table += [["opening that store and its train split", f"{peak_of(OPEN.format('bench')):,.0f}", "< 300"]]
    with ThreadPoolExecutor(num_cores()) as pool:
        for count, peaks in zip(lists, pool.map(peaks_of_list, lists), strict=True):
            table += [[f"prepare of {count:,} made-up videos", f"{peaks[0]:,.0f}", "< 1000"]]
            table += [["opening that store and its train split", f"{peaks[1]:,.0f}", "< 300"]]
    return table


def peaks_of_list(count: int) -> tuple[float, float]:
    """(MB that `prepare` of a made-up list takes, MB that opening its store takes)."""
    return peak_of(LIST.format(count)), peak_of(OPEN.format(f"list{count}"))


def peak_of(program: str) -> float:
    """Peak MB of a Python process that runs the program and imports nothing else."""
    return peak_in(in_python(f"{program}\nprint(open('/proc/self/status').read())"))


def peak_in(status: str) -> float:
    """Peak memory of a process in MB since its program started, from /proc/NUMBER/status; 0 if it has ended."""
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(line.split()[1]) * 1024 / 1e6


class Watch:
    """Records the peak memory of all processes that start inside the block, including children of these processes."""

    def __enter__(self) -> None:
        self.megabytes: dict[str, float] = {}
        self.others = set(children("self"))
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._poll)
        self.thread.start()

    def __exit__(self, *exception: object) -> None:
        self.ended.set()
        self.thread.join()

    def _poll(self) -> None:
        while not self.ended.wait(POLL_SECONDS):
            for process in set(children("self")) - self.others:
                with suppress(OSError):
                    peak = peak_in(Path(f"/proc/{process}/status").read_text())
                    self.megabytes[process] = max(peak, self.megabytes.get(process, 0.0))

    def peaks(self) -> list[float]:
        """MB of each process, in the order in which they started."""
        return [self.megabytes[process] for process in sorted(self.megabytes, key=int)]


def children(process: str) -> Iterator[str]:
    """Numbers of all descendants of a process."""
    with suppress(OSError):
        for file in Path(f"/proc/{process}/task").glob("*/children"):
            for child in file.read_text().split():
                yield child
                yield from children(child)


def prepare_list(count: int) -> None:
    """Prepares the store `listCOUNT` of `count` made-up videos, with names as long as those of Kinetics."""
    none: dict[str, object] = {"num_videos": None, "num_missing": None, "frames": 1, "size": 8}
    spec = kinetics400.SPEC.model_copy(update=none)
    build_store(f"list{count}", spec, made_up(count, spec.num_classes), render=render)


def made_up(count: int, num_classes: int) -> Iterator[Video]:
    for i in range(count):
        split, name = ("test" if i % 13 == 0 else "train"), f"abcde{i:06d}_{i % 300:06d}_{i % 300 + 10:06d}"
        path = Path("/data/kinetics400") / split / f"class {i % num_classes}" / f"{name}.mp4"
        yield Video(id=f"{split}/{name}", path=path, label=i % num_classes, split=split)  # type: ignore[arg-type]


def render(video: Video) -> np.ndarray:
    """One frame [1, 8, 8, 3] whose pixels are the bytes of the video's name, so each video has different pixels."""
    frame = np.zeros((1, 8, 8, 3), np.uint8)
    name = video.id.encode()[:192]
    frame.reshape(-1)[: len(name)] = np.frombuffer(name, np.uint8)
    return frame
