"""movingshapes: the generated default dataset with 8 classes, {disc, cross} x {left, right, up, down}.

It uses integers only and random bits from SHAKE-256, so the bytes are the same on every machine and with every version of numpy
(a digest test pins them). One shape on a nearly uniform noisy background moves in a straight line on a torus: its start
is uniform, and what leaves the frame re-enters on the other side, so single frames have the same distribution for all four
directions. A still shows the shape but never the direction: a method that stores stills cannot exceed 25 %. Chance is
12.5 %. Source: this file. Licence: the project's licence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vddbench.spec import DatasetSpec, Video

SHAPES = ("cross", "disc")
STEPS = {"down": (1, 0), "left": (0, -1), "right": (0, 1), "up": (-1, 0)}  # (dy, dx)
PER_CLASS = {"train": 50, "validation": 12, "test": 50}
FRAMES, SIZE = 8, 64
SUB = 4  # subpixels a side: 4x4 supersampling gives smooth edges and quarter-pixel motion
NOISE = 6  # grey levels: noise is uniform from -6 to 6
DRAW_BYTES = 40  # random bytes for the parameters of a clip; the remaining ones are its noise

SPEC = DatasetSpec(
    class_names=tuple(f"{shape}_{way}" for shape in SHAPES for way in STEPS),
    frames=FRAMES,
    size=SIZE,
    stride=1,
    resize=None,
    hflip_keeps_label=False,  # left and right are classes
    num_videos={"train": 8 * (50 + 12), "test": 8 * 50},
    validation_groups=("validation",),
    student_steps={"1": 150, "5": 150, "10": 150, "full": 100},  # fewest tried that fit 16 clips a class: docs/fitting.md
    source="vddbench/datasets/movingshapes.py, generated",  # the file's first place; the text is part of every digest
    licence="Apache-2.0",
)
DIGEST = "817f16ef15ffc607db64ac093069c06292c3136baac6e0f3066e4c7a97a42ddc"  # of its store, on every machine


def videos(raw: Path) -> Iterator[Video]:
    """All clips; `raw` is unused. Ids are like `train/disc_left/007`; validation clips are train clips of that group."""
    for label, name in enumerate(SPEC.class_names):
        for part, count in PER_CLASS.items():
            for i in range(count):
                yield Video(
                    id=f"{part}/{name}/{i:03d}",
                    path=None,
                    label=label,
                    split="test" if part == "test" else "train",
                    group="validation" if part == "validation" else "",
                )


def render(video: Video) -> np.ndarray:
    """The frames of a clip, uint8 [8, 64, 64, 3]; they depend on the video's id and label only."""
    shape, way = SPEC.class_names[video.label].split("_")
    return moving(shape, way, f"movingshapes v1 {video.id}", SIZE)


def moving(shape: str, way: str, key: str, size: int) -> np.ndarray:
    """A clip of one moving shape, uint8 [8, size, size, 3], drawn from the bits of `key`. size: pixels, a multiple of 16."""
    bits = hashlib.shake_256(key.encode()).digest(DRAW_BYTES + FRAMES * size * size)
    draw, side = Draw(bits[:DRAW_BYTES]), size * SUB
    radius = draw.between(side * 3 // 16, side * 7 // 32)  # 12 to 14 pixels of 64
    speed = draw.between(side // 16, side * 5 // 64)  # 4 to 5 pixels of 64 a frame
    y, x = draw.between(0, side - 1), draw.between(0, side - 1)
    grey, contrast = draw.between(85, 110), draw.between(105, 135)  # brightness of the background, and the shape's over it
    background = np.array([grey + draw.between(-6, 6) for _ in range(3)])
    colour = background + np.array([contrast + draw.between(-20, 20) for _ in range(3)])
    noise = np.frombuffer(bits[DRAW_BYTES:], np.uint8).reshape(FRAMES, size, size, 1).astype(np.int64)
    noise = noise * (2 * NOISE + 1) // 256 - NOISE
    dy, dx = STEPS[way]
    frames = np.empty((FRAMES, size, size, 3), np.int64)
    for t in range(FRAMES):
        cover = coverage(shape, y + dy * speed * t, x + dx * speed * t, radius, size)[:, :, None]
        frames[t] = background + (colour - background) * cover // (SUB * SUB)
    clip: np.ndarray = np.clip(frames + noise, 0, 255).astype(np.uint8)
    return clip


class Draw:
    """Draws integers from a fixed string of random bytes, two bytes each."""

    def __init__(self, bits: bytes) -> None:
        self.values = iter(np.frombuffer(bits, "<u2").tolist())

    def between(self, low: int, high: int) -> int:
        """Draws an integer from low to high, both included."""
        value: int = next(self.values)
        return low + value * (high - low + 1) // 65536


def coverage(shape: str, y: int, x: int, radius: int, size: int) -> np.ndarray:
    """How many of each pixel's 4x4 subpixels the shape at (y, x) covers on the torus: int64 [size, size] in 0..16.

    y, x and radius are in subpixels; the bars of a cross are a third of its radius wide.
    """
    side = size * SUB
    dy = np.abs((np.arange(side) - y + side // 2) % side - side // 2)
    dx = np.abs((np.arange(side) - x + side // 2) % side - side // 2)
    rows, columns = np.flatnonzero(dy <= radius), np.flatnonzero(dx <= radius)  # of the square that holds the shape
    dy, dx = dy[rows, None], dx[None, columns]
    inside = np.zeros((side, side), np.uint8)
    inside[np.ix_(rows, columns)] = (
        (dy * dy + dx * dx <= radius * radius) if shape == "disc" else np.minimum(dy, dx) * 6 <= radius
    )
    by_row = inside.reshape(size, SUB, side).sum(1, dtype=np.uint8)
    return np.asarray(by_row.reshape(size, size, SUB).sum(2, dtype=np.int64))
