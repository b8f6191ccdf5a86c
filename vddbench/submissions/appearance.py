"""Mean and contrast of clips, beside those of the train split: a wrong value range shows there before it costs accuracy."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from vddbench.data.store import Split, Store, store_path
from vddbench.spec import ClipSet

TRAIN_FRAMES = 512  # middle frames of as many evenly spaced train videos: 19 MB at 112 x 112, read in under a second
CLIP_VALUES = 16_000_000  # values that are measured: every n-th clip, if there are more
FACTOR = 1.75  # of contrast: a wrong range changes it by 2 to 5; honest sets stay within, except plain means: docs/packing.md
MAX_NOISE, MIN_VIDEO = 0.2, 0.6  # of `likeness`, which is 0.0 for random noise
SHIFT = 1.0  # of the mean, in contrasts of the train split


class Appearance(NamedTuple):
    """Statistics of all values of clips on the 0-255 scale."""

    mean: float
    contrast: float  # the standard deviation
    likeness: float  # of pixels side by side: 1 - mean squared difference / (2 * variance); 0 for noise

    def __str__(self) -> str:
        return f"mean {self.mean:.0f}, contrast {self.contrast:.0f}"


def of_clips(clip_set: ClipSet) -> Appearance:
    """The mean and contrast of the clips that a student sees."""
    step = max(1, len(clip_set) * clip_set.clips[0].numel() // CLIP_VALUES)
    return _measured(clip_set.clips[::step])


def of_train(train: Split) -> Appearance:
    """The mean and contrast of the middle frames of up to TRAIN_FRAMES videos."""
    videos = np.unique(np.linspace(0, len(train) - 1, TRAIN_FRAMES).astype(np.int64))
    middle = train.offsets[videos] + (train.last_starts[videos] + train.spec.frames) // 2
    return _measured(torch.from_numpy(np.stack([train.frames[frame] for frame in middle])))


def _measured(parts: torch.Tensor) -> Appearance:
    """The statistics of [N, ..., W, 3], one part at a time, because the parts may be memory-mapped."""
    sums = np.zeros(4)
    for part in parts:
        values = part.double()
        steps = values.diff(dim=-2)
        sums += [float(x) for x in (values.mean(), values.square().mean(), steps.square().mean(), 1)]
    mean, squares, steps_squared, _ = (sums / sums[3]).tolist()
    variance = max(squares - mean**2, 0.0)
    return Appearance(mean, math.sqrt(variance), 1 - steps_squared / (2 * variance) if variance else 1.0)


def train_of(dataset: str) -> Split | None:
    """The train split of the prepared dataset, or None if it is not prepared here."""
    return Store.open(dataset).train if store_path(dataset).is_dir() else None


def differs(clips: Appearance, train: Appearance) -> str | None:
    """A warning if mean or contrast are far from those of the train split, else None."""
    ratio = clips.contrast / max(train.contrast, 1e-6)
    is_far = not 1 / FACTOR <= ratio <= FACTOR or abs(clips.mean - train.mean) > SHIFT * train.contrast
    if not is_far:
        return noise(clips, train)
    return (
        f"THE CLIPS LOOK UNLIKE THE DATA: {clips}; the train split: {train}. A wrong value range looks like this; the student "
        "sees the clips as they are. If `vddbench pack` made them, look at them with --preview; --range states the range of "
        "pixels, and the stills of a static-dynamic set must be saved as its network reads them"
    )


def noise(clips: Appearance, train: Appearance | None) -> str | None:
    """A warning if pixels side by side hardly correlate although they do in the train split, or in video if that is None."""
    if clips.likeness > MAX_NOISE or (train is not None and train.likeness < MIN_VIDEO):
        return None
    of_video = "video by 0.9 or more" if train is None else f"the train split by {train.likeness:.2f}"
    return (
        f"the clips are noise: pixels side by side correlate by {clips.likeness:.2f}, in {of_video}. A wrong --layout looks "
        "like this, and so do clips of whitened (ZCA) data, which must be turned back into pixels first"
    )
