"""Generated videos, and stores of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vddbench.data.build import build_store
from vddbench.data.datasets import movingshapes
from vddbench.data.sources.folder import checked_spec
from vddbench.data.store import store_path
from vddbench.lookup import load
from vddbench.spec import DatasetSpec, Video

COUNTED = checked_spec(
    class_names=("a", "b"), frames=4, size=8, stride=1, resize=None, hflip_keeps_label=False,
    num_videos=None, validation_groups=(), student_steps={"1": 1}, source="", licence="",
)  # fmt: skip


VIDEOS = [Video(id=f"v{i}", path=None, label=i % 2, split="train" if i < 6 else "test") for i in range(9)]


def render(video: Video) -> np.ndarray:
    number = int(video.id[1:])
    return np.full((4 + number, 8, 8, 3), 10 * number, np.uint8)


def interrupted(name: str, spec: DatasetSpec = COUNTED) -> Path:
    """Prepares a store until Ctrl-C at the sixth video; returns its folder."""

    def render_five(video: Video) -> np.ndarray:
        if video.id == "v5":
            raise KeyboardInterrupt
        return render(video)

    with pytest.raises(KeyboardInterrupt):
        build_store(name, spec, VIDEOS, render=render_five)
    return store_path(name)


SIZE = 44  # pixels of the tiny store; the ranked student needs at least 43


SHARED = Path(__file__).parents[2].parent / "shared"  # real clips for development, beside the checkout


def quickest(method: str) -> str | None:
    """The preset to test a baseline with; the published settings of iterative baselines take hours."""
    return "smoke" if hasattr(load("baseline", method), "learner") else None


def longer(video: Video) -> np.ndarray:
    """The middle of a clip of movingshapes with 8, 11 or 14 frames, so that some videos have several clips and some one."""
    frames = movingshapes.render(video)[:, 10 : 10 + SIZE, 10 : 10 + SIZE]
    return np.concatenate([frames, frames[::-1]])[: 8 + 3 * (int(video.id[-1]) % 3)]
