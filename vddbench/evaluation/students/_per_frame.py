"""Students that see one frame at a time: a 2-D ConvNet-3 on every frame, then a summary over time. Not a student itself.

Source: the cross-architecture students of SDD (arXiv 2312.00362): width 128, GroupNorm(C, C) as instance norm, ReLU, 2x2
average pooling; 8,192 features per frame; a summary over time; mean over time; linear. The released code did not run: it builds
the network for 112 pixels and feeds it 64.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from vddbench.evaluation.students._standardise import Standardise

SIDE, WIDTH = 64, 128
FEATURES = WIDTH * (SIDE // 8) ** 2  # per frame, 8,192


class PerFrame(nn.Module):
    """Clips of any shape; frames are brought to 64x64 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.standardise = Standardise()
        layers: list[nn.Module] = []
        channels = 3
        for _ in range(3):
            layers += [nn.Conv2d(channels, WIDTH, 3, padding=1), nn.GroupNorm(WIDTH, WIDTH), nn.ReLU(), nn.AvgPool2d(2)]
            channels = WIDTH
        self.frame = nn.Sequential(*layers)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, T, H, W] normalised -> [N, T, 8192]."""
        num_clips, _, frames = x.shape[:3]
        images = to_side(self.standardise(x).transpose(1, 2).flatten(0, 1))  # [N*T, C, 64, 64]
        features: torch.Tensor = self.frame(images).flatten(1).unflatten(0, (num_clips, frames))
        return features


class Recurrent(PerFrame):
    """A GRU or an LSTM reads the features of the frames in order; the mean of its hidden states is classified."""

    def __init__(self, kind: type[nn.GRU] | type[nn.LSTM], hidden: int, num_classes: int) -> None:
        super().__init__()
        self.recurrence = kind(FEATURES, hidden, batch_first=True)
        self.head = nn.Linear(hidden, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, T, H, W] normalised -> logits [N, K]."""
        hidden, _ = self.recurrence(self.features(x))
        logits: torch.Tensor = self.head(hidden.mean(1))
        return logits


class Mean(PerFrame):
    """The mean of the features over time is classified: the order of the frames does not matter."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(FEATURES, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, T, H, W] normalised -> logits [N, K]."""
        logits: torch.Tensor = self.head(self.features(x).mean(1))
        return logits


def to_side(images: torch.Tensor) -> torch.Tensor:
    """[M, C, H, W] -> [M, C, 64, 64]. Larger frames are cropped to their centre, smaller ones resized."""
    height, width = images.shape[2:]
    if min(height, width) < SIDE:
        return F.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False)
    top, left = (height - SIDE) // 2, (width - SIDE) // 2
    return images[:, :, top : top + SIDE, left : left + SIDE]
