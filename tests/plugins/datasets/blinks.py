"""blinks: a made-up dataset. Class `fading` gets darker over time, class `rising` brighter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vddbench.spec import DatasetSpec, Video

SPEC = DatasetSpec(
    class_names=("fading", "rising"),
    frames=2,
    size=8,
    stride=1,
    resize=None,
    hflip_keeps_label=True,
    num_videos={"train": 8, "test": 4},
    validation_groups=("validation",),
    student_steps={"1": 20, "5": 20, "10": 20, "full": 20},
    source="this file, generated",
    licence="Apache-2.0",
)


def videos(raw: Path) -> Iterator[Video]:
    for i in range(12):
        split, group = ("test", "") if i < 4 else ("train", "validation" if i < 6 else "")
        yield Video(id=f"{split}/{i}", path=None, label=i % 2, split=split, group=group)  # type: ignore[arg-type]


def render(video: Video) -> np.ndarray:
    """[2, 8, 8, 3] uint8."""
    rng = np.random.default_rng(int(video.id.split("/")[1]))
    frames = rng.integers(0, 60, (2, 8, 8, 3), np.uint8)
    frames[video.label] += np.uint8(150)
    return frames
