"""A split that gradient matching learns from in a moment."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.builders.submissions import SPEC
from vddbench.data.store import Split


@pytest.fixture(scope="session")
def split() -> Split:
    """3 classes of 4 videos of 4 to 7 frames at 16 x 16: a class is a colour gradient in noise."""
    rng = np.random.default_rng(0)
    num_frames = np.tile([4, 5, 6, 7], 3)
    index = pd.DataFrame({
        "video": [f"v{i}" for i in range(12)],
        "label": np.repeat([0, 1, 2], 4),
        "num_frames": num_frames,
        "offset": np.cumsum(num_frames) - num_frames,
        "validation": False,
    })  # fmt: skip
    frames = rng.integers(0, 60, (num_frames.sum(), 16, 16, 3), dtype=np.uint8)
    for label, offset, length in zip(index["label"], index["offset"], num_frames, strict=True):
        frames[offset : offset + length, :, :, label] += (12 * np.arange(16)).astype(np.uint8)
    return Split(name="train", dataset="made", digest="0" * 64, spec=SPEC, index=index, frames=frames)
