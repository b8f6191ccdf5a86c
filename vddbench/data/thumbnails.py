"""Small grey pictures of all frames of a split, to search for the video that a clip comes from. Made once, then cached.

A thumbnail is the luma of a frame averaged over GRID x GRID cells, minus its mean, scaled to int8: brightness and contrast do
not matter to the search (nearest.py). Frames of nearly one colour become all zeros and match nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from vddbench.data.fingerprint import LUMA
from vddbench.data.store import Split
from vddbench.system.cache import cached
from vddbench.system.files import canonical_json
from vddbench.system.home import home
from vddbench.system.progress import bar

GRID = 24  # cells a side: 5 x 5 pixels at 112 x 112. MiniUCF's 0.3 million frames take 0.2 GB
VERSION = 1  # of the content of a cached file; part of its name
MIN_CONTRAST = 1.0  # standard deviation of a frame's cells in grey levels; below it a thumbnail shows coding noise
FRAMES_AT_ONCE = 512


def luma(frames: np.ndarray) -> np.ndarray:
    """The luma of frames [..., H, W, 3] on the 0-255 scale, float32 [..., H, W]."""
    return np.asarray(frames.astype(np.float32) @ LUMA.astype(np.float32))


def averaging(size: int, cells: int, start: float, length: float) -> np.ndarray:
    """The matrix [cells, size] that averages the pixels from `start` to `start + length` over equal cells.

    Pixels on the edge of a cell count in part.
    """
    edges = start + length * np.arange(cells + 1) / cells
    pixel = np.arange(size)
    covered = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    weights = np.maximum(covered, 0).astype(np.float32)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def averaged(grey: np.ndarray, cells: int) -> np.ndarray:
    """Pictures [..., H, W] with H = W, averaged over cells: [..., cells, cells]."""
    weights = averaging(grey.shape[-1], cells, 0, grey.shape[-1])
    return np.asarray(weights @ grey @ weights.T)


def thumbnails(split: Split) -> np.ndarray:
    """The thumbnails of all frames of a split, int8 [frames, GRID, GRID], in the order of `split.frames`. A memory map."""
    num_frames = len(split.frames)
    key = canonical_json(
        [VERSION, split.digest, split.name, split.offsets.tolist()]
    )  # no digest covers the order of the frames
    name = f"{split.dataset}-{split.name}-{hashlib.sha256(key).hexdigest()[:16]}.i8"
    path = cached(home() / "thumbnails" / name, lambda: make_thumbnails(split))
    return np.memmap(path, np.int8, "r", shape=(num_frames, GRID, GRID))


def make_thumbnails(split: Split) -> Iterator[bytes]:
    """The content of the cached file, in parts."""
    with bar(f"thumbnails of {split.dataset} {split.name}", len(split.frames)) as progress:
        for first in range(0, len(split.frames), FRAMES_AT_ONCE):
            frames = split.frames[first : first + FRAMES_AT_ONCE]
            yield _scaled(averaged(luma(frames), GRID)).tobytes()
            progress.advance(len(frames))


def _scaled(pictures: np.ndarray) -> np.ndarray:
    """Pictures [n, GRID, GRID] without their means, as int8 with the largest value at 127, and 0 where contrast is too low."""
    centred = pictures - pictures.mean((1, 2), keepdims=True)
    largest = np.abs(centred).max((1, 2), keepdims=True)
    visible = centred.std((1, 2), keepdims=True) >= MIN_CONTRAST
    return np.where(visible, np.rint(127 * centred / np.maximum(largest, 1e-9)), 0).astype(np.int8)
