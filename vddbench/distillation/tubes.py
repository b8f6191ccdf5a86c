"""Tubes: parts of train videos, cropped to a box, as candidates for a set, and a teacher's answers to them.

The answers for a class are one cached file under `$VDDBENCH_HOME/tubes`, so an interrupted run keeps the classes that it
finished.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from vddbench.data.store import Split
from vddbench.distillation.cached_work import Fresh, cost_of, do_once, work_path
from vddbench.distillation.contract import CannotServe
from vddbench.distillation.remedies import enough_memory
from vddbench.distillation.teacher import Teacher, answers
from vddbench.spec import ConfigValue
from vddbench.system.progress import Bar, bar

FORMAT = 1  # version of the cached files and of how tubes are cut out; after a change all are made again


class Tubes(NamedTuple):
    """Tube i shows the frames `frames[i]` of video `rows[i]`, frame t cropped to `boxes[i, t]`."""

    rows: np.ndarray  # [n] train videos
    frames: np.ndarray  # [n, T] numbers of frames in their video, from 0
    boxes: np.ndarray  # [n, T, 4] top, left, height, width in whole pixels

    def only(self, index: np.ndarray) -> Tubes:
        return Tubes(*(part[index] for part in self))


class Answers(NamedTuple):
    """probabilities: [n, K] float32 for the tubes of each class. cost: for the manifest."""

    probabilities: list[np.ndarray]
    cost: dict[str, ConfigValue]


def whole_clips(train: Split, rows: np.ndarray, starts: np.ndarray) -> Tubes:
    """Clips of T consecutive frames from `starts` on, not cropped."""
    frames = starts[:, None] + np.arange(train.spec.frames)
    boxes = np.broadcast_to([0, 0, train.spec.size, train.spec.size], (*frames.shape, 4))
    return Tubes(rows, frames, boxes)


def cut(train: Split, tubes: Tubes, size: int) -> torch.Tensor:
    """The tubes as uint8 [n, T, size, size, C], resized bilinearly with anti-aliasing."""
    out = torch.empty((len(tubes.rows), train.spec.frames, size, size, 3), dtype=torch.uint8)
    for i, (row, frames, boxes) in enumerate(zip(*tubes, strict=True)):
        pixels = torch.from_numpy(train.frames[train.offsets[row] + frames])
        still = bool((boxes == boxes[0]).all())
        for t in [slice(None)] if still else [slice(t, t + 1) for t in range(len(frames))]:
            top, left, height, width = boxes[t][0]
            out[i, t] = resized(pixels[t, top : top + height, left : left + width], size)
    return out


def resized(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """uint8 [T, h, w, C] -> uint8 [T, size, size, C]."""
    if pixels.shape[1:3] == (size, size):
        return pixels
    planes = F.interpolate(pixels.permute(0, 3, 1, 2).float(), (size, size), mode="bilinear", antialias=True)
    return planes.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def answers_to(train: Split, tubes: Sequence[Tubes], teacher: Teacher, tile: int, batch: int, title: str) -> Answers:
    """The teacher's answers to the tubes of each class. Computes those that are not cached, and shows progress.

    tile: pixels a side that a tube will have in a mosaic; the teacher sees it enlarged to a whole clip. batch: tubes at a time.
    Raises ValueError if memory runs out, or if a cached file is damaged or of another store.
    """
    works = []
    with bar(title, sum(len(part.rows) for part in tubes)) as progress, enough_memory("while tubes were compared", "batch"):
        for part in tubes:
            digest = hashlib.sha256(b"".join(np.ascontiguousarray(array, np.int64).tobytes() for array in part)).hexdigest()
            depends_on = [FORMAT, train.digest, train.index["video"].tolist(), teacher.name, tile, digest]
            path = work_path("tubes", train.dataset, depends_on)
            works.append(do_once(path, "file of answers", partial(_answers, train, part, teacher, tile, batch, progress)))
    return Answers([work.tensor[:].numpy() for work in works], cost_of("tubes", *works))


def _answers(train: Split, tubes: Tubes, teacher: Teacher, tile: int, batch: int, progress: Bar) -> Fresh:
    started, parts = time.monotonic(), []
    for index in np.split(np.arange(len(tubes.rows)), range(batch, len(tubes.rows), batch)):
        clips = cut(train, tubes.only(index), tile)
        enlarged = torch.stack([resized(clip, train.spec.size) for clip in clips])
        parts.append(answers(teacher.model, enlarged, train))
        progress.advance(len(index))
    return Fresh(torch.cat(parts), time.monotonic() - started, len(tubes.rows))


def tile_size(train: Split, mosaic: int, method: str) -> int:
    """Pixels a side of a tile of a mosaic of `mosaic` x `mosaic`. Raises ValueError if frames cannot be divided so."""
    if train.spec.size % mosaic:
        raise CannotServe(
            f"{method}: frames of {train.spec.size} pixels a side cannot be divided into {mosaic} x {mosaic} equal tiles; "
            "choose another mosaic in the method's file, 1 for none"
        )
    return train.spec.size // mosaic


def mosaics(tiles: torch.Tensor, mosaic: int) -> torch.Tensor:
    """[n*m*m, T, s, s, C] -> [n, T, m*s, m*s, C]: each m*m consecutive tiles side by side, row by row."""
    _, frames, size, _, channels = tiles.shape
    grid = tiles.view(-1, mosaic, mosaic, frames, size, size, channels).permute(0, 3, 1, 4, 2, 5, 6)
    return grid.reshape(-1, frames, mosaic * size, mosaic * size, channels)
