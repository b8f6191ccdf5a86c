"""Random real clips for distillers. A thread reads the clips of the next iteration while the device computes.

The clips of an iteration follow from (seed, iteration) alone, so a resumed run sees the same clips.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.contract import CannotServe
from vddbench.evaluation.engine import read_clips

Choose = Callable[[np.random.Generator], np.ndarray]  # returns rows of train videos
DRAW = 1  # number of the random stream that draws clips; methods use other numbers for what they draw themselves


def stream(seed: int, iteration: int, number: int) -> np.random.Generator:
    """The random numbers of one iteration. Each use of them within an iteration has a `number` of its own."""
    return np.random.default_rng([seed, iteration, number])


def balanced(train: Split, per_class: int) -> Choose:
    """Chooses `per_class` videos of each class, class by class. A class with fewer videos repeats them equally often.

    Raises ValueError if a class has no train video.
    """
    by_class = [np.flatnonzero(train.labels == label) for label in range(train.spec.num_classes)]
    empty = [train.spec.class_names[label] for label, rows in enumerate(by_class) if len(rows) == 0]
    if empty:
        raise CannotServe(
            f"class {empty[0]!r} of {train.dataset} has no train video to match; prepare the data without it (--classes)"
        )

    def choose(rng: np.random.Generator) -> np.ndarray:
        return np.concatenate([np.resize(rng.permutation(rows), per_class) for rows in by_class])

    return choose


def uniform(train: Split, count: int) -> Choose:
    """Chooses `count` videos of all classes. No video is chosen twice before all are chosen once."""
    return lambda rng: np.resize(rng.permutation(len(train)), count)


class Read(NamedTuple):
    """Clips [n, T, H, W, C] or frames [n, H, W, C], labels [n], and which of them must be mirrored, [n] bool."""

    clips: torch.Tensor
    labels: torch.Tensor
    mirrored: torch.Tensor


def mirror(clips: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    """[n, ..., H, W, C], each clip flipped along the width if its entry of `mirrored` is true. Does not wait for the device."""
    return torch.where(mirrored.view(-1, *[1] * (clips.ndim - 1)), clips.flip(-2), clips)


class RealClips:
    """Random clips of chosen train videos: random starts, randomly mirrored if that keeps the dataset's labels."""

    def __init__(self, train: Split, choose: Choose, seed: int, device: torch.device) -> None:
        self.train, self.choose, self.seed, self.device = train, choose, seed, device
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="real-clips")
        self.ahead: tuple[int, Future[Read]] | None = None
        self.clips_read, self.waited_seconds = 0, 0.0

    def get(self, iteration: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(clips [n, T, H, W, C] uint8, labels [n] int64) on the device. Starts to read the clips of the next iteration."""
        started = time.perf_counter()
        known, coming = self.ahead or (None, None)
        read = coming.result() if coming is not None and known == iteration else self._read(iteration)
        self.ahead = iteration + 1, self.reader.submit(self._read, iteration + 1)
        self.waited_seconds += time.perf_counter() - started
        self.clips_read += len(read.labels)
        clips, labels, mirrored = (part.to(self.device, non_blocking=True) for part in read)
        on_device = self.on_gpu and self.train.spec.hflip_keeps_label
        return (mirror(clips, mirrored) if on_device else clips), labels

    def _read(self, iteration: int) -> Read:
        """Reads the clips of an iteration. For a GPU, reads into pinned memory; the device then mirrors them.

        For 800 clips of 16x112x112, reading took 0.82 s, mirroring 1.06 s and a further copy 0.49 s (one core of a busy AMD
        EPYC, medians of 6). With a GPU the last two are saved.
        """
        rng = stream(self.seed, iteration, DRAW)
        rows = self.choose(rng)
        clips = self._pixels(rows, rng)
        labels = torch.from_numpy(self.train.labels[rows])
        mirrored = torch.zeros(len(rows), dtype=torch.bool)
        if self.train.spec.hflip_keeps_label:
            mirrored = torch.from_numpy(rng.random(len(rows)) < 0.5)
        if self.on_gpu:
            return Read(clips, labels.pin_memory(), mirrored.pin_memory())
        clips[mirrored] = clips[mirrored].flip(-2)  # copies half as much as `mirror`
        return Read(clips, labels, mirrored)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def _pixels(self, rows: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        return read_clips(self.train, rows, self.train.random_starts(rows, rng), self.device)


class RealFrames(RealClips):
    """Random single frames [n, H, W, C] of chosen train videos. Only these are read; each frame counts as one clip read."""

    def _pixels(self, rows: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        frames = random_frames(self.train, rows, rng)
        return frames.pin_memory() if self.on_gpu else frames


def random_frames(train: Split, rows: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """[n, H, W, C] uint8: one frame of each video, all its frames equally likely."""
    frame = rng.integers(0, train.last_starts[rows] + train.spec.frames)
    return torch.from_numpy(train.frames[train.offsets[rows] + frame])


class NoRealClips:
    """The RealData of a learner that reads real clips only before its first step."""

    clips_read = 0
    waited_seconds = 0.0
