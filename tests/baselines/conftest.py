"""A split that gradient matching learns from in a moment."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tests.baselines.test_mtt import smooth_loss
from tests.builders.stores import SIZE
from tests.builders.submissions import SPEC
from vddbench.baselines import mtt
from vddbench.data.store import Split
from vddbench.distillation.experts import Experts
from vddbench.distillation.teacher import Teacher


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


@pytest.fixture(scope="session")
def small_teacher() -> Teacher:
    """A teacher of the store `tiny` that is no trained MiniC3D, to save time: one convolution with batch norm, untrained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.AvgPool3d((1, 4, 4)), nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(8)]
        net = nn.Sequential(*layers)
        net(torch.randn(2, 3, 8, SIZE, SIZE))
    net.__dict__["embed"] = net[:5]  # no submodule, which the forward pass would run
    return Teacher(net.eval().requires_grad_(False), "small", {"teacher_seconds": 1.0, "teacher_clips_read": 2})  # type: ignore[arg-type]


class ToyExperts:
    """One expert of the small network of `smooth_loss`."""

    cost, clips_read, waited_seconds = {"expert_seconds": 0.0}, 0, 0.0

    def __init__(self) -> None:
        rng = torch.Generator().manual_seed(0)
        self.weights = torch.randn((2, 53), generator=rng)
        self.project = torch.randn((3 * 4 * 16 * 16, 6), generator=rng) / 50

    def __len__(self) -> int:
        return 1

    def start_and_target(self, expert: int, epoch: int, span: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        return self.weights[0], self.weights[1]


@pytest.fixture
def toy_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Experts and students of a few numbers, in place of MiniC3Ds."""
    experts = ToyExperts()

    def trajectories(split: Split, settings: Experts, device: torch.device) -> ToyExperts:
        return experts

    def loss(self: mtt.Matching, theta: torch.Tensor, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return smooth_loss(theta, x.flatten(1) @ experts.project, labels)

    monkeypatch.setattr(mtt, "trajectories", trajectories)
    monkeypatch.setattr(mtt, "random_net", lambda spec, seed, device: torch.nn.Identity())
    monkeypatch.setattr(mtt.Matching, "_loss", loss)
