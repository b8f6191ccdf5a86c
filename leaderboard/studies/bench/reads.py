"""How fast clips are read from a store in the page cache, against copying as many bytes sequentially.

`Split.clips` returns new memory each time, and allocating its pages costs about as much as the copy. The reference is therefore
a copy into new memory as well. A copy into reused memory is printed too; it shows what could still be gained.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from vddbench.data.store import Split, open_train

HEADERS = ("", "GB/s", "of the sequential copy")
BATCH = 64  # clips
ROUNDS = 40


def rows() -> list[list[str]]:
    """Rows of HEADERS for the store `bench`: medians over rounds that read one batch in each way."""
    train = open_train("bench")
    rng = np.random.default_rng(0)
    size = BATCH * train.spec.frames  # frames of a batch
    size = min(size, len(train.frames))
    used = np.ones((size, *train.frames.shape[1:]), np.uint8)
    train.frames.reshape(-1)[::4096].max()  # loads the frames into the page cache and this process's page tables

    def begin(number: int) -> int:
        return number * size % (len(train.frames) - size + 1)

    arms: dict[str, Callable[[int], object]] = {
        "copied in order, into new memory": lambda i: in_order(train, begin(i), np.empty_like(used)),
        "copied in order, into used memory": lambda i: in_order(train, begin(i), used),
        "`Split.clips`": lambda i: by_clips(train, rng),
        "a frame at a time": lambda i: by_frame(train, rng),
    }
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(ROUNDS):
        for name, read in arms.items():
            started = time.perf_counter()
            read(number)
            seconds[name].append(time.perf_counter() - started)
    return [row(name, seconds, used.nbytes, BATCH * train.spec.clip_bytes) for name in arms]


def row(name: str, seconds: dict[str, list[float]], in_order_bytes: int, clips_bytes: int) -> list[str]:
    """One way's row of HEADERS."""
    first = next(iter(seconds))
    num_bytes = in_order_bytes if name.startswith("copied") else clips_bytes
    per_byte = [(one / in_order_bytes) / (mine / num_bytes) for one, mine in zip(seconds[first], seconds[name], strict=True)]
    return [name, f"{num_bytes / median(seconds[name]) / 1e9:.2f}", f"{median(per_byte):.0%}"]


def in_order(train: Split, begin: int, out: np.ndarray) -> np.ndarray:
    np.copyto(out, train.frames[begin : begin + len(out)])
    return out


def chosen(train: Split, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    videos = rng.integers(0, len(train), BATCH)
    return videos, train.random_starts(videos, rng)


def by_clips(train: Split, rng: np.random.Generator) -> torch.Tensor:
    return train.clips(*chosen(train, rng))


def by_frame(train: Split, rng: np.random.Generator) -> torch.Tensor:
    """Reads like a dataset with one clip per item and one read per frame."""
    videos, starts = chosen(train, rng)
    first = (train.offsets[videos] + starts).tolist()
    frames = [[torch.from_numpy(np.array(train.frames[at + t])) for t in range(train.spec.frames)] for at in first]
    return torch.stack([torch.stack(clip) for clip in frames])
